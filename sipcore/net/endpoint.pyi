import asyncio
import socket
from collections.abc import Callable, Sequence

from sipcore.net.sender import Sender
from sipcore.net.stream import Streams
from sipcore.net.udp import UdpSocket
from sipcore.stack.layer import Layer
from sipcore.stack.record import Journal

def monotonic_ms() -> int: ...
def wall_offset_ms() -> int: ...

class Endpoint:
    layer: Layer
    sender: Sender
    sockets: list[UdpSocket | None]
    datagrams: list[UdpSocket]
    streams: Streams | None
    running: bool
    def __init__(
        self,
        layer: Layer,
        sockets: Sequence[socket.socket | None],
        *,
        journal: Journal | None = None,
        journal_fd: int = -1,
        message_limit: int = 65535,
        on_trouble: Callable[[str], None] | None = None,
        streams: Streams | None = None,
    ) -> None: ...
    def start(self, loop: asyncio.AbstractEventLoop) -> None: ...
    def stop(self) -> None: ...
    def close(self) -> None: ...
    def wake(self) -> None: ...
    def finish_journal(self, ms: int) -> None: ...
    def set_trace(self, trace: Callable[[str, int, str, int, bytes], None] | None) -> None: ...
    def statistics(self) -> dict[str, int]: ...
