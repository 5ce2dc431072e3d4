"""The first call to a target that nobody has called yet takes the time of its own name and its own connection, whatever
other targets and name servers do (issue 5, "How fast")."""
import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from sipcore.wire.message import Message
from tests.edge import EdgeProcess
from tests.net.nameservers import liar, name_bytes, record, reply
from tests.net.streams import request
from tests.runtime.test_streams import free_port

DNS_SECONDS = 1.0
"""How long the name server takes for the new target's name."""
NEIGHBOURS = 8
"""Calls that wait for each of the others."""
CONFIGURATION = """
[[listener]]
name = "udp"
bind = "udp:127.0.0.1:{edge}"
[[listener]]
name = "tcp"
bind = "tcp:127.0.0.1:{edge}"
[[group]]
name = "phones"
addresses = ["127.0.0.2"]
methods = ["MESSAGE"]
rate = 0
[[upstream]]
name = "dead"
targets = [{{ address = "127.0.0.1:{dead}", transport = "tcp" }}]
[[upstream]]
name = "good"
targets = [{{ address = "127.0.0.1:{good}", transport = "tcp" }}]
[[route]]
methods = ["MESSAGE"]
users = ["dead"]
to = "dead"
[[route]]
methods = ["MESSAGE"]
users = ["good"]
to = "good"
[[route]]
methods = ["MESSAGE"]
to = "request-uri"
[streams]
connect_timeout = 30
[timers]
try_timeout = 30
[dns]
servers = ["{server}"]
deadline = 30
"""


@pytest.fixture
def swallowing() -> Iterator[int]:
    """A port whose SYNs are swallowed: a listening socket whose queue is full."""
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(socket.socket())
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        for _ in range(4):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(server.getsockname())
        with pytest.raises(OSError, match="not connected"):
            waiting.getpeername()
        yield server.getsockname()[1]


@pytest.fixture
def good() -> Iterator[int]:
    """A server by TCP that answers one request."""
    def serve() -> None:
        with contextlib.suppress(OSError):
            peer, _ = server.accept()
            with peer:
                asked = Message(peer.recv(65536))
                lines = [f"{name}: {value}" for name, value in asked.items()
                         if name in ("Via", "From", "To", "Call-ID", "CSeq")]
                peer.sendall("\r\n".join(["SIP/2.0 200 OK", *lines, "Content-Length: 0"]).encode() + b"\r\n\r\n")
                peer.recv(1)

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=serve)
        thread.start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)
    thread.join()


def slow(query: bytes) -> list[bytes]:
    """The new name after a while; of others nothing is ever heard."""
    if name_bytes("new.test") not in query:
        return []
    time.sleep(DNS_SECONDS)
    return [reply(query, record("new.test", 1, socket.inet_aton("127.0.0.1")))]


@contextlib.contextmanager
def phone() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.2", 0))
        sock.settimeout(60)
        yield sock


def ask(sock: socket.socket, edge: int, uri: str, number: int = 0) -> None:
    name = f"{uri[4:8]}-{number}"
    data = request("MESSAGE", to=uri, transport="UDP", port=sock.getsockname()[1], branch=name, call_id=name)
    sock.sendto(data.replace(b"UDP 127.0.0.1:", b"UDP 127.0.0.2:"), ("127.0.0.1", edge))


def statuses(sock: socket.socket) -> list[int]:
    sock.setblocking(False)
    found = []
    with contextlib.suppress(BlockingIOError):
        while True:
            found.append(Message(sock.recv(65536)).status)
    return found


@pytest.mark.parametrize(("uri", "dns"), [("sip:new@new.test:{good};transport=tcp", DNS_SECONDS),
                                          ("sip:good@127.0.0.9", 0.0)], ids=["a name", "an address"])
def test_nothing_is_queued_behind_another_target(tmp_path: Path, swallowing: int, good: int, uri: str,
                                                 dns: float) -> None:
    uri = uri.format(good=good)
    port = free_port()
    with liar(slow) as server, phone() as others, phone() as ours, EdgeProcess(tmp_path, CONFIGURATION.format(
            edge=port, dead=swallowing, good=good, server=server)) as edge:
        for number in range(NEIGHBOURS):
            ask(others, port, "sip:dead@127.0.0.9", number)
            ask(others, port, f"sip:lost@lost{number}.test;transport=tcp", number)
        edge.wait_stats(lambda stats: stats["requests_in"] == 2 * NEIGHBOURS and stats["dns_asked"] >= NEIGHBOURS,
                        "the others wait")
        began = time.monotonic()
        ask(ours, port, uri)
        while (answer := Message(ours.recv(65536))).status < 200:
            continue
        took = time.monotonic() - began
        print(f"first call: {took:.4f} s, {took - dns:.4f} s of them beside the name server's")
        assert answer.status == 200
        # The others wait 30 seconds, and still do: behind one of them it would have come later than that.
        assert [status for status in statuses(others) if status >= 200] == []
        assert dns <= took < 25
        stats = edge.stats()
        assert (stats["connections_failed"], stats["dns_failed"]) == (0, 0)
