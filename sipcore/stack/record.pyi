from collections.abc import Iterable

from sipcore.base.wheel import Wheel

ENDS: tuple[str, ...]
REFER_STATES: tuple[str, ...]

class Journal:
    dropped: int
    waiting: int
    enabled: bool
    def __init__(self, capacity: int = ...) -> None: ...
    def write(self, at: int, fields: bytes) -> None: ...
    def take(self) -> bytes: ...

class Names:
    def __init__(self, names: Iterable[str] = ...) -> None: ...

class Records:
    wheel: Wheel
    capacity: int
    live: int
    up: int
    journal: Journal
    wall: int
    def __init__(self, capacity: int = ..., journal: Journal | None = None) -> None: ...
    def set_names(self, groups: Iterable[str], upstreams: Iterable[str]) -> bool: ...
    def call_id(self, slot: int, generation: int) -> str | None: ...
    def find(self, call_id: str) -> list[tuple[int, int]]: ...
    def record_size(self) -> int: ...
