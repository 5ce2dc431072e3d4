"""Listening sockets of streams."""
import socket

BACKLOG = 1024
UNSENT = 1 << 17
"""Bytes that the kernel keeps for a peer that does not read; the rest waits in a queue of ours, which is bounded."""
DEAD_MS = 30_000
"""How long sent bytes may go unconfirmed before the kernel gives a peer up that has vanished."""


def listen_stream(transport: str, host: str, port: int) -> socket.socket:
    """A non-blocking socket that listens; what is taken from it has its options. OSError says what cannot be bound."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, DEAD_MS)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind((host, port))
        sock.listen(BACKLOG)
    except OSError as error:
        sock.close()
        raise OSError(error.errno, f"cannot bind {transport}:{host}:{port}: {error.strerror}") from None
    return sock
