from collections.abc import Callable, Iterable

from sipcore.stack.admission import Admission
from sipcore.stack.identity import Identity
from sipcore.stack.layer import Layer
from sipcore.stack.record import Records
from sipcore.stack.verdict import Request, Verdict

class Search: ...

class Proxy(Layer):
    admission: Admission
    records: Records
    troubles: list[str]
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
        groups: Iterable[str] = (),
        upstreams: Iterable[str] = (),
    ) -> None: ...
    def take_troubles(self) -> list[str]: ...
    def calls(self, upstream: int) -> int: ...
    def statistics(self) -> dict[str, int]: ...
    draining: bool
    busy: int
    def drain_calls(self) -> None: ...
    def finish(self, now: int) -> None: ...
