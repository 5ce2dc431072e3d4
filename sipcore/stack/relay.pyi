from sipcore.stack.failover import Failover
from sipcore.stack.flows import Flows

class Relay(Failover):
    flows: Flows | None
