from collections.abc import Callable, Iterable

from sipcore.stack.alarms import Alarm
from sipcore.stack.dialog import Dialog
from sipcore.stack.handler import Handler
from sipcore.stack.identity import Identity
from sipcore.stack.naming import Naming
from sipcore.stack.uac import UserAgentClient

class UserAgent(UserAgentClient):
    naming: Naming
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
    def call_at(self, at: int, callback: Callable[[], object]) -> Alarm: ...
    def contact(self, user: str = "", listener: int = 0, secure: bool = False) -> str: ...
    def add(self, dialog: Dialog, owner: Handler) -> None: ...
    def remove(self, dialog: Dialog) -> None: ...
