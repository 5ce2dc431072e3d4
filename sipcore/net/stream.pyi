import socket
from collections.abc import Callable, Mapping, Sequence

from sipcore.net.openings import Openings
from sipcore.net.tls import TlsContext
from sipcore.stack.layer import Layer

class Streams(Openings):
    def __init__(
        self,
        layer: Layer,
        sockets: Sequence[socket.socket | None],
        transports: Sequence[str],
        *,
        connections: int = 16384,
        message_limit: int = 65535,
        rate: int = 50,
        log: Callable[[str, str, dict[str, object]], None] | None = None,
    ) -> None: ...
    def configure(
        self,
        *,
        tls: Sequence[tuple[TlsContext, TlsContext] | None] = (),
        origins: Sequence[Sequence[str]] = (),
        groups: Mapping[str, int] | None = None,
        per_source: int = 100,
        unlisted: int = 1000,
        queue: int = 262144,
        idle: int = 900_000,
        unlisted_idle: int = 32_000,
        handshake: int = 5000,
        message: int = 5000,
        write: int = 10_000,
        connect: int = 3000,
        keepalive: int = 0,
    ) -> None: ...
    def start(self) -> None: ...
    def stop(self, now: int) -> None: ...
    def close(self) -> None: ...
    def set_trace(self, trace: Callable[[str, int, str, int, bytes], None] | None) -> None: ...
    def statistics(self) -> dict[str, int]: ...
