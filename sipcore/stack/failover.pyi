from sipcore.stack.admission import Admission
from sipcore.stack.anchoring import Anchoring

class Search: ...

class Failover(Anchoring):
    admission: Admission
