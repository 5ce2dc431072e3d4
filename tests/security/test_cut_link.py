"""A target by TCP behind a link that is cut: nothing says so, neither an ICMP error nor a reset."""
import contextlib
import os
import selectors
import socket
import subprocess
import threading
from collections.abc import Iterator

import pytest

from sipcore.wire.framer import Framing
from sipcore.wire.message import Message
from tests.edge import EdgeProcess, wait_until
from tests.net.streams import request
from tests.security.namespace import Namespace

EDGE, FAR = "10.77.0.1", "10.77.0.2"
INSIDE, OUTSIDE = "tofar", "fromfar"
CONFIGURATION = f"""
[[listener]]
name = "udp"
bind = "udp:{EDGE}:5060"
[[listener]]
name = "tcp"
bind = "tcp:{EDGE}:5060"
[[group]]
name = "phones"
addresses = ["{EDGE}"]
methods = ["MESSAGE"]
rate = 0
[[upstream]]
name = "pbx"
targets = [{{ address = "{FAR}:5060", transport = "tcp" }},
           {{ address = "{EDGE}:5070", transport = "tcp", priority = 1 }}]
[upstream.health]
down_after = 1000
degraded_after = 1000
[[upstream]]
name = "near"
targets = [{{ address = "{EDGE}:5070", transport = "tcp" }}]
[[route]]
methods = ["MESSAGE"]
users = ["near"]
to = "near"
[[route]]
methods = ["MESSAGE"]
to = "pbx"
[streams]
connect_timeout = 1
keepalive = 1
[timers]
try_timeout = 1
"""


class Server:
    """Answers each request by TCP with 200 and its own name as the reason, and empty lines with one."""

    def __init__(self, namespace: Namespace, address: tuple[str, int], name: str):
        self._name = name
        self._listening = namespace.socket(socket.SOCK_STREAM, bind=address)
        self._listening.listen()
        self._read, self._write = os.pipe()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        with selectors.DefaultSelector() as selector, contextlib.ExitStack() as stack:
            selector.register(self._read, selectors.EVENT_READ)
            selector.register(stack.enter_context(self._listening), selectors.EVENT_READ)
            framings: dict[socket.socket, Framing] = {}
            while True:
                for key, _ in selector.select():
                    if key.fd == self._read:
                        return
                    if key.fileobj is self._listening:
                        peer = stack.enter_context(self._listening.accept()[0])
                        framings[peer] = Framing()
                        selector.register(peer, selectors.EVENT_READ)
                        continue
                    peer = key.fileobj  # type: ignore[assignment]
                    with contextlib.suppress(OSError):
                        if data := peer.recv(65536):
                            self._answer(peer, framings[peer].feed(data))
                            continue
                    selector.unregister(peer)

    def _answer(self, peer: socket.socket, frames: list[tuple[str, bytes]]) -> None:
        for kind, data in frames:
            if kind == "ping":
                peer.sendall(b"\r\n")
            elif kind == "message":
                lines = [f"{name}: {value}" for name, value in Message(data).items()
                         if name in ("Via", "From", "To", "Call-ID", "CSeq")]
                peer.sendall("\r\n".join([f"SIP/2.0 200 {self._name}", *lines, "Content-Length: 0"]).encode()
                             + b"\r\n\r\n")

    def close(self) -> None:
        os.write(self._write, b".")
        self._thread.join(60)
        os.close(self._read)
        os.close(self._write)


class Link:
    """Two machines, and the cable between them."""

    def __init__(self, near: Namespace, far: Namespace):
        self.near, self.far = near, far
        with near.entered():
            self._ip(f"link add {INSIDE} type veth peer name {OUTSIDE} netns /proc/{os.getpid()}/fd/{far.descriptor}")
            self._ip(f"address add {EDGE}/24 dev {INSIDE}")
            self._ip(f"link set {INSIDE} up")
        with far.entered():
            self._ip(f"address add {FAR}/24 dev {OUTSIDE}")
        self.join()

    def cut(self) -> None:
        with self.far.entered():
            self._ip(f"link set {OUTSIDE} down")

    def join(self) -> None:
        with self.far.entered():
            self._ip(f"link set {OUTSIDE} up")

    def _ip(self, command: str) -> None:
        subprocess.run(["ip", *command.split()], check=True, timeout=60)


@pytest.fixture
def link() -> Iterator[Link]:
    if os.geteuid() != 0:
        pytest.skip("network namespaces need root")
    with contextlib.ExitStack() as stack:
        found = Link(*(stack.enter_context(contextlib.closing(Namespace())) for _ in range(2)))
        for namespace, address, name in ((found.far, (FAR, 5060), "far"), (found.near, (EDGE, 5070), "near")):
            stack.enter_context(contextlib.closing(Server(namespace, address, name)))
        yield found


class Phone:
    """Asks by UDP, again and again with another call."""

    def __init__(self, link: Link):
        self._sock = link.near.socket(bind=(EDGE, 0))
        self._sock.settimeout(60)
        self._asked = 0

    def ask(self, user: str = "pbx") -> str:
        """Who has answered; the status where that is nobody."""
        self._asked += 1
        name = f"{user}-{self._asked}"
        self._sock.sendto(request("MESSAGE", to=f"sip:{user}@{EDGE}", transport="UDP", branch=name, call_id=name,
                                  port=self._sock.getsockname()[1]).replace(b"UDP 127.0.0.1:", b"UDP %s:" % (
                                      EDGE.encode())), (EDGE, 5060))
        while True:
            answer = Message(self._sock.recv(65536))
            if answer.status >= 200 and answer.call_id == name:
                return answer.reason if answer.status == 200 else str(answer.status)

    def close(self) -> None:
        self._sock.close()


def test_calls_go_on_elsewhere_and_come_back(link: Link, tmp_path_factory: pytest.TempPathFactory) -> None:
    with link.near.entered():
        running = EdgeProcess(tmp_path_factory.mktemp("cut"), CONFIGURATION)
    with running as edge, contextlib.closing(Phone(link)) as phone:
        assert phone.ask() == "far"
        edge.wait_stats(lambda stats: stats["stream_pings"], "the target has been pinged")
        link.cut()
        # The connection is there still, and takes what nobody will read; others have theirs.
        assert phone.ask() == "near"
        assert phone.ask("near") == "near"
        lost = edge.wait_log_line(event="connection to target ended")
        assert (lost["target"], lost["reason"]) == (f"{FAR}:5060", "no answer to a keepalive")
        # Without it a connection does not come about, either within its time or because no neighbour is there.
        assert phone.ask() == "near"
        assert edge.wait_log_line(event="target failed")["target"] == f"{FAR}:5060"
        link.join()
        wait_until(lambda: phone.ask() == "far", "the target is found again")
        assert phone.ask("near") == "near"
