from sipcore.stack.admission import Admission
from sipcore.stack.anchoring import Anchoring
from sipcore.stack.flows import Flows

class Search: ...

class Relay(Anchoring):
    admission: Admission
    flows: Flows | None
