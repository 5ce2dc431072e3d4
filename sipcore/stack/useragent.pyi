from collections.abc import Iterable

from sipcore.stack.dialog import Dialog, DialogId
from sipcore.stack.handler import Handler
from sipcore.stack.identity import Identity
from sipcore.stack.layer import Layer
from sipcore.stack.outgoing import Headers, Outgoing
from sipcore.wire.message import Message

class ServerTransaction:
    agent: UserAgent
    request: Message
    listener: int
    tag: str
    status: int
    cancelled: bool
    dialog: Dialog | None
    handler: Handler
    @property
    def source(self) -> tuple[str, int]: ...
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

class ClientTransaction:
    agent: UserAgent
    request: Outgoing
    data: bytes
    status: int
    listener: int
    handler: Handler
    @property
    def pending(self) -> bool: ...
    def cancel(self, now: int) -> bool: ...
    def ack(self, now: int, out: Outgoing, to: tuple[str, int], to_tag: str) -> None: ...

class UserAgent(Layer):
    handler: Handler
    dialogs: dict[DialogId, Dialog]
    extensions: frozenset[str]
    troubles: list[str]
    def __init__(
        self,
        identity: Identity | None = None,
        *,
        handler: Handler | None = None,
        extensions: Iterable[str] = ...,
        transactions: int = ...,
        memory: int = ...,
        t1: int = ...,
        t2: int = ...,
        t4: int = ...,
        timer_c: int = ...,
    ) -> None: ...
    @property
    def time(self) -> int: ...
    def take_troubles(self) -> list[str]: ...
    def new_tag(self) -> str: ...
    def new_call_id(self) -> str: ...
    def contact(self, user: str = "", listener: int = 0) -> str: ...
    def add(self, dialog: Dialog, owner: Handler) -> None: ...
    def remove(self, dialog: Dialog) -> None: ...
    def request(
        self, now: int, out: Outgoing, to: tuple[str, int], handler: Handler | None = None, *, listener: int = 0
    ) -> ClientTransaction: ...
