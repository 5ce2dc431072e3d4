import socket

from sipcore.net.tls import TlsContext

MOST_CONNECTIONS: int

class Connections:
    listener: int
    def __init__(
        self, sockets: list[socket.socket], *, listening: bool, context: TlsContext | None = None
    ) -> None: ...
    def close(self) -> None: ...
