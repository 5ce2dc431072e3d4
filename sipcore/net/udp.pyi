from socket import socket as Socket

from sipcore.net.backlog import Backlog
from sipcore.stack.layer import Layer

def bind_udp(host: str, port: int, *, buffer_bytes: int = ..., send_buffer_bytes: int = ...) -> Socket: ...

class UdpSocket:
    socket: Socket
    fd: int
    listener: int
    backlog: Backlog
    datagrams: int
    truncated: int
    errors: int
    address: tuple[str, int]
    drops: int
    def __init__(self, sock: Socket, listener: int, layer: Layer, message_limit: int = 65535) -> None: ...
    def close(self) -> None: ...
