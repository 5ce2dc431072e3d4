"""Streams over IPv6 through a running edge: TCP and TLS in and out, and certificates for addresses."""
import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator

import pytest

from sipcore.wire.framer import Framing
from sipcore.wire.message import Message
from tests.certificates import Authority
from tests.edge import EdgeProcess
from tests.endpoints import build

CONFIGURATION = """
[[listener]]
name = "tcp"
bind = "tcp:[::1]:{tcp}"

[[listener]]
name = "tls"
bind = "tls:[::1]:{tls}"
tls = ["edge"]

[[tls]]
name = "edge"
certificate = "{certificate}"
key = "{key}"
ca = "{ca}"

[[group]]
name = "phones"
addresses = ["::1"]
methods = ["MESSAGE"]

[[upstream]]
name = "pbx"
targets = [{{ address = "[::1]:{target}", transport = "{transport}" }}]

[[route]]
methods = ["MESSAGE"]
to = "pbx"
"""


def free_port() -> int:
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as sock:
        return int(sock.getsockname()[1])


def read(sock: socket.socket) -> Message:
    """The next message of a connection."""
    framing = Framing()
    while True:
        data = sock.recv(65536)
        if not data:
            raise ConnectionError("the connection has ended")
        for kind, frame in framing.feed(data):
            if kind == "message":
                return Message(frame)


def respond(message: Message, status: int) -> bytes:
    lines = [(name, value) for name, value in message.items() if name in ("Via", "From", "To", "Call-ID", "CSeq")]
    return build(f"SIP/2.0 {status} Reason", lines)


@contextlib.contextmanager
def server(wrap: Callable[[socket.socket], socket.socket]) -> Iterator[tuple[int, list[Message]]]:
    """Answers one request of one connection over IPv6: its port, and what was asked."""
    heard: list[Message] = []
    listening = socket.create_server(("::1", 0), family=socket.AF_INET6)

    def serve() -> None:
        with contextlib.suppress(OSError):
            plain, _ = listening.accept()
            with plain, wrap(plain) as sock:
                heard.append(read(sock))
                sock.sendall(respond(heard[0], 200))
                sock.recv(65536)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield listening.getsockname()[1], heard
    finally:
        listening.shutdown(socket.SHUT_RDWR)
        listening.close()
        thread.join(60)
        assert not thread.is_alive()


@pytest.mark.parametrize(("came", "left", "names", "status"), [
    ("tcp", "tcp", "", 200), ("tls", "tcp", "", 200), ("tcp", "tls", "IP:::1", 200), ("tls", "tls", "IP:::1", 200),
    ("tcp", "tls", "IP:::2", 503), ("tcp", "tls", "IP:127.0.0.1", 503),
], ids=["tcp-tcp", "tls-tcp", "tcp-tls", "tls-tls", "another address", "an address of IPv4"])
def test_a_request_and_its_answer(tmp_path, came, left, names, status):
    authority = Authority(tmp_path)
    certificate, key = authority.give("edge", "IP:::1")
    theirs = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    theirs.load_cert_chain(*authority.give("pbx", names or "IP:::1"))
    ports = {"tcp": free_port(), "tls": free_port()}
    with contextlib.ExitStack() as stack:
        target, heard = stack.enter_context(server(
            (lambda plain: plain) if left == "tcp" else (lambda plain: theirs.wrap_socket(plain, server_side=True))))
        edge = stack.enter_context(EdgeProcess(tmp_path, CONFIGURATION.format(
            **ports, certificate=certificate, key=key, ca=authority.certificate, target=target, transport=left)))
        plain = socket.create_connection(("::1", ports[came]), timeout=60)
        port = plain.getsockname()[1]
        ours = ssl.create_default_context(cafile=str(authority.certificate))
        with plain, plain if came == "tcp" else ours.wrap_socket(plain, server_hostname="::1") as sock:
            sock.sendall(build("MESSAGE sip:someone@example.com SIP/2.0", [
                ("Via", f"SIP/2.0/{came.upper()} [::1]:5070;branch=z9hG4bK1;rport"), ("Max-Forwards", "70"),
                ("From", "<sip:a@[::1]>;tag=1"), ("To", "<sip:someone@example.com>"), ("Call-ID", "one"),
                ("CSeq", "1 MESSAGE")]))
            answer = read(sock)
        assert answer.status == status
        # The source as it was seen (RFC 3581).
        assert "received=::1" in answer.headers("Via")[0]
        assert f"rport={port}" in answer.headers("Via")[0]
        if status == 200:
            assert heard[0].uri == f"sip:someone@[::1]:{target}"
            assert heard[0].headers("Via")[0].startswith(f"SIP/2.0/{left.upper()} [::1]:{ports[left]};")
        else:
            reason = edge.wait_log_line(event="target failed")["reason"]
            assert reason == f"certificate is for {'::2' if names == 'IP:::2' else '127.0.0.1'}, not for ::1"
