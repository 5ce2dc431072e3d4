from collections.abc import Iterable, Mapping

from sipcore.media.offload_program import Program
from sipcore.media.ports import PortPool
from sipcore.media.tap import Tap

LATCHED: int
SILENT: int
HEARD_AGAIN: int
TIMEOUT: int
DTMF: int
PLAYED: int
CLOSED: int
RELEASED: int
_Where = tuple[str, int]

class MediaRelay:
    def __init__(
        self,
        pools: Iterable[PortPool],
        *,
        sessions: int = 4096,
        learn_ms: int = 10_000,
        silence_ms: int = 5000,
        timeout_ms: int = 60_000,
        watch_ms: int = 1000,
        realtime: bool = True,
        nice: int = -10,
        queue: int = 4096,
        places: int = 256,
        tap: Tap | None = None,
        program: Program | None = None,
        settled: int = 25,
    ) -> None: ...
    @property
    def pools(self) -> tuple[PortPool, ...]: ...
    @property
    def sessions(self) -> int: ...
    @property
    def open_sessions(self) -> int: ...
    @property
    def opened(self) -> int: ...
    @property
    def refused(self) -> int: ...
    @property
    def commands_waited(self) -> int: ...
    @property
    def commands_lost(self) -> int: ...
    def add_pool(self, pool: PortPool) -> int: ...
    def keep(self, number: int, spare: int, *, ahead: bool = False) -> None: ...
    def open(self) -> int: ...
    def bind(self, session: int, side: int, pool: int) -> int: ...
    def release(self, session: int, side: int) -> bool: ...
    def close(self, session: int) -> None: ...
    def fileno(self) -> int: ...
    def take_events(self) -> list[tuple[int, int, int, int, int, _Where | None]]: ...
    def stop(self) -> None: ...
    def generation(self, session: int) -> int: ...
    def port(self, session: int, side: int) -> int: ...
    def set_aim(
        self,
        session: int,
        side: int,
        *,
        rtp: _Where | None = None,
        rtcp: _Where | None = None,
        signalling: _Where | None = None,
        learning: int = 1,
        mux: bool = False,
        active: bool = True,
        moved: bool = False,
        rtcp_moved: bool = False,
        sends: bool = True,
        receives: bool = True,
        secure: bool = False,
        payload: int = 255,
        event_payload: int = 255,
        ptime: int = 20,
        clock: int = 8000,
    ) -> None: ...
    def set_keys(
        self, session: int, side: int, receive: tuple[str, bytes], send: tuple[str, bytes]
    ) -> None: ...
    def set_origin(self, session: int, side: int, from_session: int, from_side: int) -> None: ...
    def set_hearing(self, session: int, hears: Mapping[int, Iterable[int]]) -> None: ...
    def map_payloads(
        self, session: int, side: int, payloads: Mapping[int, int], laws: Mapping[int, str] = ...
    ) -> None: ...
    def play(
        self,
        session: int,
        side: int,
        frames: bytes,
        *,
        payload: int,
        frame_bytes: int = 160,
        ptime: int = 20,
        timestamp_step: int = 160,
        loop: bool = False,
    ) -> bool: ...
    def send_digits(
        self,
        session: int,
        side: int,
        digits: str,
        *,
        payload: int,
        duration_ms: int = 100,
        gap_ms: int = 100,
        ptime: int = 20,
        clock: int = 8000,
    ) -> bool: ...
    def stop_playing(self, session: int, side: int) -> None: ...
    def capture(self, session: int, on: bool = True) -> None: ...
    @property
    def tap(self) -> Tap | None: ...
    def side_counters(self, session: int, side: int) -> dict[str, int]: ...
    def totals(self) -> dict[str, int]: ...
