from sipcore.base.place import Reached, Unresolved
from sipcore.stack.naming import Pending
from sipcore.stack.relay import Relay

class Seeking(Relay):
    pending: Pending
    def resolved(self, handle: int, outcome: tuple[Reached, ...] | Unresolved, now: int) -> None: ...
