from collections.abc import Iterable, Mapping

from sipcore.media.sessions import Sessions

LATCHED: int
SILENT: int
HEARD_AGAIN: int
TIMEOUT: int
DTMF: int
PLAYED: int
CLOSED: int
RELEASED: int
_Where = tuple[str, int]

class MediaRelay(Sessions):
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
    def side_counters(self, session: int, side: int) -> dict[str, int]: ...
    def totals(self) -> dict[str, int]: ...
