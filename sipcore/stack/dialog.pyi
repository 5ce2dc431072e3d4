from enum import Enum
from typing import Any

from sipcore.stack.outgoing import Headers, Outgoing
from sipcore.wire.message import Message

TARGET_REFRESH: frozenset[str]
MAX_ROUTES: int
DialogId = tuple[str, str, str]

class State(Enum):
    EARLY = "early"
    CONFIRMED = "confirmed"
    ENDED = "ended"

class Dialog:
    call_id: str
    local_tag: str
    remote_tag: str
    local: str
    remote: str
    target: str
    route: tuple[str, ...]
    contact: str
    uac: bool
    inviting: bool
    invited: bool
    state: State
    owner: Any
    local_cseq: int
    def __init__(
        self,
        *,
        call_id: str,
        local_tag: str,
        remote_tag: str,
        local: str,
        remote: str,
        target: str,
        route: tuple[str, ...],
        contact: str,
        uac: bool,
        local_cseq: int = 0,
        remote_cseq: int | None = None,
        state: State = ...,
    ) -> None: ...
    @property
    def id(self) -> DialogId: ...
    @property
    def remote_cseq(self) -> int | None: ...
    @staticmethod
    def of_request(request: Message, local_tag: str, contact: str, *, state: State = ...) -> Dialog: ...
    @staticmethod
    def of_response(request: Outgoing, response: Message) -> Dialog: ...
    def request(
        self, method: str, *, headers: Headers = (), body: bytes = b"", content_type: str = "application/sdp"
    ) -> Outgoing: ...
    def ack(
        self, cseq: int, *, headers: Headers = (), body: bytes = b"", content_type: str = "application/sdp"
    ) -> Outgoing: ...
    def receive(self, request: Message) -> int: ...
    def responded(self, request: Message, status: int) -> None: ...
    def refresh(self, message: Message) -> None: ...
    def answered(self, response: Message) -> None: ...
    def unanswered(self, method: str) -> None: ...
    def accept(self) -> None: ...

def outbound(request: Outgoing, proxy: str) -> Outgoing: ...
