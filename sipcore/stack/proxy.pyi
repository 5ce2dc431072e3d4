from collections.abc import Callable, Iterable

from sipcore.stack.admission import Admission
from sipcore.stack.forward import Forwarding
from sipcore.stack.handler import Handler
from sipcore.stack.identity import Identity
from sipcore.stack.mediahook import MediaHook
from sipcore.stack.verdict import Request, Verdict

class Proxy(Forwarding):
    def __init__(
        self,
        identity: Identity | None = None,
        *,
        admission: Admission,
        decide: Callable[[Request], Verdict],
        oversize: Callable[[Request, Verdict, int], Verdict] | None = None,
        dialogs: int = ...,
        internal: Iterable[str] = (),
        outcome_ms: int = ...,
        media: MediaHook | None = None,
        handler: Handler | None = None,
        extensions: Iterable[str] = (),
        transactions: int = ...,
        memory: int = ...,
        t1: int = ...,
        t2: int = ...,
        t4: int = ...,
        timer_c: int = ...,
    ) -> None: ...
    def configure(
        self,
        admission: Admission,
        decide: Callable[[Request], Verdict],
        oversize: Callable[[Request, Verdict, int], Verdict] | None = None,
        *,
        internal: Iterable[str] = (),
        outcome_ms: int = ...,
        max_calls: int = 0,
        dialog_budget: int = 0,
        groups: Iterable[str] = (),
        upstreams: Iterable[str] = (),
        realms: Iterable[str] = (),
    ) -> None: ...
    def statistics(self) -> dict[str, int]: ...
    busy: int
    def keep_alive(self, listener: int, host: str, port: int) -> None: ...
    def drain_calls(self, on: bool = True) -> None: ...
    def forget_decisions(self) -> None: ...
