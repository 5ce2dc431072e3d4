from sipcore.stack.handler import Handler
from sipcore.stack.holding import Transaction
from sipcore.stack.hop import Hop
from sipcore.stack.outgoing import Headers, Outgoing
from sipcore.stack.uas import UserAgentServer

CREDENTIALS: frozenset[str]

class ClientTransaction(Transaction):
    request: Outgoing
    data: bytes
    target: Hop
    @property
    def acknowledged(self) -> int: ...
    @property
    def pending(self) -> bool: ...
    def cancel(self, now: int, headers: Headers = ()) -> bool: ...
    def give_up(self, now: int) -> None: ...
    def ack(
        self, now: int, out: Outgoing, to: Hop, to_tag: str, *, late: Handler | None = None, listener: int = -1
    ) -> None: ...

class UserAgentClient(UserAgentServer):
    def request(
        self, now: int, out: Outgoing, to: Hop, handler: Handler | None = None, *, listener: int = 0,
        timeout: int = 0,
    ) -> ClientTransaction: ...
