from sipcore.stack.callrecord import CallRecord
from sipcore.stack.dialog import Dialog, DialogId
from sipcore.stack.handler import Handler
from sipcore.stack.holding import Holding, Transaction
from sipcore.stack.hop import Hop
from sipcore.stack.outgoing import Headers
from sipcore.stack.verdict import Verdict
from sipcore.wire.message import Message

class ServerTransaction(Transaction):
    request: Message
    tag: str
    cancelled: bool
    why: str | None
    dialog: Dialog | None
    verdict: Verdict | None
    group: int
    record: CallRecord | None
    @property
    def source(self) -> Hop: ...
    @property
    def waiting(self) -> bool: ...
    def respond(
        self,
        now: int,
        status: int,
        reason: str = ...,
        *,
        headers: Headers = ...,
        body: bytes = ...,
        content_type: str = ...,
    ) -> bool: ...

class UserAgentServer(Holding):
    handler: Handler
    dialogs: dict[DialogId, Dialog]
    extensions: frozenset[str]
