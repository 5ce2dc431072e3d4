from .tap import Tap

RECEPTION_BYTES: int

class Receiver:
    def packet(
        self, sequence: int, timestamp: int = 0, arrival_ns: int = 0, clock: int = 8000, ssrc: int = 1
    ) -> None: ...
    def figures(self) -> dict[str, float]: ...
    def receive_often(self, operations: int) -> int: ...

class Pacing:
    def fast(self, now_us: int, n: int) -> bool: ...

def read_rtcp(data: bytes, about: int = 0) -> tuple[bool, dict[str, int]]: ...
def read_rtcp_often(data: bytes, operations: int) -> int: ...
def rewrite_rtcp(
    data: bytes, sender: tuple[int, int], reported: tuple[int, int], timestamp_add: int = 0, sequence_add: int = 0
) -> bytes | None: ...

class Passages:
    def passes(self, ntp_middle: int, now_us: int) -> None: ...
    def round_trip(self, lsr: int, dlsr: int, now_us: int) -> int: ...

class Playing:
    def __init__(
        self,
        frames: bytes,
        frame_bytes: int,
        *,
        ptime_us: int = 20000,
        step: int = 160,
        loop: bool = False,
        now_us: int = 0,
        payload: int = 0,
        ssrc: int = 1,
        sequence: int = 0,
        timestamp: int = 0,
    ) -> None: ...
    def next(self, now_us: int) -> bytes | None: ...
    @property
    def state(self) -> tuple[int, int, int, int]: ...
    def play_often(self, now_us: int, operations: int) -> int: ...

class Hearing:
    def packet(
        self, payload: bytes, timestamp: int, now_us: int = 0, ssrc: int = 1, clock: int = 8000
    ) -> list[tuple[str, int]]: ...
    def quiet(self, now_us: int) -> list[tuple[str, int]]: ...
    def hear_often(self, operations: int) -> int: ...

class Sending:
    def __init__(
        self,
        digits: str,
        *,
        duration_ms: int = 100,
        gap_ms: int = 60,
        ptime_ms: int = 20,
        clock: int = 8000,
        now_us: int = 0,
        payload: int = 101,
        ssrc: int = 1,
        sequence: int = 0,
        timestamp: int = 0,
    ) -> None: ...
    def next(self, now_us: int) -> bytes | None: ...
    @property
    def state(self) -> tuple[int, int, int]: ...

def tap_put(
    tap: Tap,
    data: bytes,
    *,
    time_ns: int = 0,
    session: int = 0,
    side: int = 0,
    sent: bool = False,
    rtcp: bool = False,
    far: tuple[str, int] = ("192.0.2.1", 4000),
) -> bool: ...
def tap_put_often(tap: Tap, data: bytes, operations: int) -> int: ...
