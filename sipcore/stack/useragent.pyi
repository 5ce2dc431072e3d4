from collections.abc import Callable, Iterable

from sipcore.stack.alarms import Alarm
from sipcore.stack.callrecord import CallRecord
from sipcore.stack.dialog import Dialog, DialogId
from sipcore.stack.handler import Handler
from sipcore.stack.hop import Hop
from sipcore.stack.identity import Identity
from sipcore.stack.layer import Layer
from sipcore.stack.naming import Naming
from sipcore.stack.outgoing import Headers, Outgoing
from sipcore.stack.verdict import Verdict
from sipcore.wire.message import Message

CREDENTIALS: frozenset[str]

class Transaction:
    agent: UserAgent
    listener: int
    status: int
    handler: Handler

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

class UserAgent(Layer):
    handler: Handler
    naming: Naming
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
    def call_at(self, at: int, callback: Callable[[], object]) -> Alarm: ...
    def new_tag(self) -> str: ...
    def new_call_id(self) -> str: ...
    def contact(self, user: str = "", listener: int = 0, secure: bool = False) -> str: ...
    def add(self, dialog: Dialog, owner: Handler) -> None: ...
    def remove(self, dialog: Dialog) -> None: ...
    def request(
        self, now: int, out: Outgoing, to: Hop, handler: Handler | None = None, *, listener: int = 0,
        timeout: int = 0,
    ) -> ClientTransaction: ...
