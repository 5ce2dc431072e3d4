from sipcore.stack.admission import Admission
from sipcore.stack.bookkeeping import Bookkeeper

class Search: ...

class Relay(Bookkeeper):
    admission: Admission
