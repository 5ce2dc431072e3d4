import socket

from sipcore.stack.layer import Layer

def bind_udp(host: str, port: int, *, buffer_bytes: int = ...) -> socket.socket: ...

class UdpSocket:
    socket: socket.socket
    fd: int
    listener: int
    datagrams: int
    truncated: int
    errors: int
    address: tuple[str, int]
    drops: int
    def __init__(self, sock: socket.socket, listener: int, layer: Layer, message_limit: int = 65535) -> None: ...
    def close(self) -> None: ...
