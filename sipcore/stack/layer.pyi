from typing import Any

from sipcore.base.linger import Linger
from sipcore.base.outbox import Outbox
from sipcore.base.pool import Pool
from sipcore.base.wheel import Wheel
from sipcore.stack.identity import Identity

class Layer:
    identity: Identity
    wheel: Wheel
    linger: Linger
    pool: Pool
    outbox: Outbox
    capacity: int
    live: int
    def __init__(
        self,
        identity: Identity | None = None,
        *,
        transactions: int = ...,
        memory: int = ...,
        t1: int = ...,
        t2: int = ...,
        t4: int = ...,
        timer_c: int = ...,
    ) -> None: ...
    def add_listener(
        self, host: str, port: int, public_host: str | None = None, public_port: int | None = None
    ) -> int: ...
    def set_limits(self, message: int = 65535, headers: int = 128, line: int = 8192) -> None: ...
    def use_counters(self, page: Any) -> None: ...
    def statistics(self) -> dict[str, int]: ...
    def feed(self, data: bytes, source: tuple[str, int], now: int, listener: int = 0) -> None: ...
    def advance(self, now: int) -> None: ...
    def deadline(self) -> int | None: ...
    def drain(self) -> list[tuple[int, str, int, bytes]]: ...
    def unreachable(self, data: bytes, now: int) -> None: ...
