"""The parties of an attack: an attacker with raw packets, a peer of the edge, the PBX behind it, and bystanders.

Whoever sends after an attack that something is through sends a marker: an OPTIONS that the edge answers itself.
Datagrams of one socket pair stay in their order, so that when the marker's answer is there, everything before it
has been handled; nobody waits for a time to pass.
"""
import itertools
import os
import select
import socket
import time
from typing import ClassVar

from scapy.layers.inet import IP, UDP, fragment
from scapy.packet import Raw

from sipcore.wire.message import Message
from sipcore.wire.nameaddr import NameAddress
from tests.edge import EdgeProcess
from tests.endpoints import build, host_port
from tests.security.namespace import Namespace

EDGE = ("192.0.2.1", 5060)
PEER = ("192.0.2.10", 5060)
PBX = ("192.0.2.20", 5060)
PHONE = ("192.0.2.30", 5060)
TORTURER = ("192.0.2.13", 5060)
ASKED = ("192.0.2.14", 5060)
STRANGER = ("198.18.0.1", 5060)
VICTIMS = "198.18"
GROWTH = 16 << 20
"""Bytes of memory that a worker may take more after an attack: pages touched for the first time, and no more."""
SECONDS = 60.0
USERS = "ann:{PLAIN}secret"
"""What the environment variable RANGE_USERS holds."""
CONFIGURATION = """
[[listener]]
name = "edge"
bind = "udp:192.0.2.1:5060"

[[group]]
name = "peers"
addresses = ["192.0.2.10", "192.0.2.11"]
rate = 0

[[group]]
name = "limited"
addresses = ["192.0.2.12"]
rate = 5
burst = 5

[[group]]
name = "torturers"
addresses = ["192.0.2.13"]
methods = ["INVITE", "OPTIONS", "REGISTER", "MESSAGE", "SUBSCRIBE", "PUBLISH"]

[[realm]]
name = "asked"
realm = "example.com"
users_env = "RANGE_USERS"
algorithms = ["MD5"]
nonces = 64

[[group]]
name = "asked"
addresses = ["192.0.2.14"]
rate = 0
auth = "asked"

[[group]]
name = "pbx"
addresses = ["192.0.2.20"]

[[group]]
name = "refused"
addresses = ["198.19.0.0/16"]
action = "forbid"

[unlisted]
answer = "forbid"
rate = 20
answers = 5

[[upstream]]
name = "pbx"
targets = [{ address = "192.0.2.20:5060" }]
size_policy = ["refuse"]
mtu = 20000

[[route]]
groups = ["peers", "limited", "asked"]
to = "pbx"
headers = ["edge"]

[[route]]
groups = ["torturers"]
methods = ["INVITE", "OPTIONS", "REGISTER", "MESSAGE", "SUBSCRIBE", "PUBLISH"]
to = "pbx"

[[headers]]
name = "edge"
on = ["INVITE"]
add = [{ name = "X-Edge", value = "edge" }]

# The guesses of one test must not ban the source of the next one.
[abuse]
strikes = 1000

[limits]
transactions = 20000
dialogs = 5000
memory = 64

[timers]
t1 = 0.1
t2 = 0.4
t4 = 0.5
"""
SDP = b"v=0\r\no=- 1 1 IN IP4 192.0.2.10\r\ns=-\r\nc=IN IP4 192.0.2.10\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n"
_SDP_TYPE = [("Content-Type", "application/sdp")]
_numbers = itertools.count(1)


def fresh() -> str:
    """A text that nobody has used before."""
    return f"{os.getpid()}x{next(_numbers)}"


def request(method: str = "INVITE", *, user: str = "2000", source: tuple[str, int] = PEER, unique: str = "",
            branch: str = "", call_id: str = "", cseq: int = 1, to_tag: str = "",
            extra: tuple[tuple[str, str], ...] = (), uri: str = "", body: bytes | None = None) -> bytes:
    """A whole request as a well-meaning peer would send it."""
    unique = unique or fresh()
    if body is None:
        body = SDP if method == "INVITE" else b""
    headers = [
        ("Via", f"SIP/2.0/UDP {source[0]}:{source[1]};branch={branch or 'z9hG4bK' + unique}"),
        ("Max-Forwards", "70"),
        ("From", f"<sip:peer@{source[0]}>;tag=f{unique}"),
        ("To", f"<sip:{user}@{EDGE[0]}>" + (f";tag={to_tag}" if to_tag else "")),
        ("Call-ID", call_id or unique),
        ("CSeq", f"{cseq} {method}"),
        ("Contact", f"<sip:peer@{source[0]}:{source[1]}>"),
        *extra,
    ]
    if body:
        headers += _SDP_TYPE
    return build(f"{method} {uri or f'sip:{user}@{EDGE[0]}:{EDGE[1]}'} SIP/2.0", headers, body)


def reply(to: bytes, status: str, *, tag: str = "pbx", contact: tuple[str, int] = PBX, body: bytes = b"") -> bytes:
    """The PBX's answer to a request that it received."""
    message = Message(to)
    headers = [("Via", value) for value in message.headers("Via")]
    headers += [("Record-Route", value) for value in message.headers("Record-Route")]
    headers.append(("From", str(message.header("From"))))
    asked = str(message.header("To"))
    headers.append(("To", asked if ";tag=" in asked else f"{asked};tag={tag}"))
    headers += [(name, str(message.header(name))) for name in ("Call-ID", "CSeq")]
    headers.append(("Contact", f"<sip:pbx@{host_port(*contact)}>"))
    return build(f"SIP/2.0 {status}", headers + _SDP_TYPE if body else headers, body)


class Party:
    """A UDP socket of somebody, and what arrived at it. A request that is repeated byte for byte, as its answer is slow
    to come or a test before has not given one, is none."""

    _requests: ClassVar[set[bytes]] = set()
    """What arrived at anybody: each has a branch of its own."""

    def __init__(self, namespace: Namespace, address: tuple[str, int]):
        self.address = address
        family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self._socket = namespace.socket(bind=address, family=family)
        self._socket.setblocking(False)
        self.received: list[bytes] = []

    def fileno(self) -> int:
        return self._socket.fileno()

    def send(self, data: bytes, to: tuple[str, int] = EDGE) -> None:
        self._socket.sendto(data, to)

    def take(self) -> list[bytes]:
        """Everything that has arrived since the last time."""
        taken = []
        while True:
            try:
                data = self._socket.recv(65535)
            except BlockingIOError:
                break
            except ConnectionRefusedError:
                continue
            if self._is_new(data):
                taken.append(data)
        return taken

    def expect(self, start: bytes, containing: bytes = b"", seconds: float = SECONDS) -> bytes:
        """The next message that begins so and contains that; what comes before it is kept in received alone."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            if select.select([self], [], [], left)[0]:
                data = self._socket.recv(65535)
                if self._is_new(data) and data.startswith(start) and containing in data:
                    return data
        raise AssertionError(f"{self.address} got no {start!r} with {containing!r}, but {self.received[-5:]}")

    def _is_new(self, data: bytes) -> bool:
        if data.partition(b"\r\n")[0].endswith(b" SIP/2.0"):
            if data in self._requests:
                return False
            self._requests.add(data)
        self.received.append(data)
        return True

    def close(self) -> None:
        self._socket.close()


class Range:
    """One attack's stage."""

    def __init__(self, namespace: Namespace, edge: EdgeProcess):
        self.namespace, self.edge = namespace, edge
        self._parties: list[Party] = []
        self._raw = namespace.socket(socket.SOCK_RAW, socket.IPPROTO_RAW)
        self.peer, self.pbx = self.party(PEER), self.party(PBX)
        self.mark()
        self._before = edge.stats()
        self._memory = edge.resident()

    def party(self, address: tuple[str, int]) -> Party:
        self._parties.append(Party(self.namespace, address))
        return self._parties[-1]

    def rose(self, name: str) -> int:
        """By how much a counter rose since the beginning."""
        return self.edge.stats()[name] - self._before[name]

    def raw(self, data: bytes, *, source: tuple[str, int] = PEER, to: tuple[str, int] = EDGE,
            checksum: int | None = None, declared: int | None = None, fragment_at: int = 0, order: int = 1,
            last: bool = True) -> None:
        """One datagram to the edge, built by hand.

        checksum, declared: the UDP checksum and length where they shall be wrong. fragment_at: bytes an IP
        fragment carries; order: -1 sends the last fragment first; last: False leaves the last one out.
        """
        udp = UDP(sport=source[1], dport=to[1], chksum=checksum, len=declared)
        packet = IP(src=source[0], dst=to[0], id=next(_numbers) & 0xFFFF, ttl=64) / udp / Raw(data)
        pieces = fragment(packet, fragment_at) if fragment_at else [packet]
        for piece in (pieces if last else pieces[:-1])[::order]:
            self._raw.sendto(bytes(piece), (to[0], 0))

    def mark(self) -> None:
        """Wait until the edge has handled everything that was sent to it before."""
        unique = fresh()
        self.peer.send(request("OPTIONS", uri=f"sip:{EDGE[0]}", unique=unique))
        self.peer.expect(b"SIP/2.0 200", unique.encode())

    def call(self) -> tuple[bytes, bytes]:
        """A call that is answered: the INVITE as the PBX got it, and the 200 as the peer got it."""
        unique = fresh()
        self.peer.send(request(unique=unique))
        invite = self.pbx.expect(b"INVITE", unique.encode())
        self.pbx.send(reply(invite, "200 OK"))
        answer = self.peer.expect(b"SIP/2.0 200", unique.encode())
        self.peer.send(self.inside("ACK", answer, cseq=1))
        self.pbx.expect(b"ACK", unique.encode())
        return invite, answer

    def inside(self, method: str, answer: bytes, *, cseq: int = 2, source: tuple[str, int] = PEER,
               body: bytes = b"") -> bytes:
        """A request of the caller inside the dialog that a 200 made."""
        message = Message(answer)
        headers = [("Via", f"SIP/2.0/UDP {source[0]}:{source[1]};branch=z9hG4bK{fresh()}")]
        headers += [("Route", value) for value in reversed(message.headers("Record-Route"))]
        headers += [("Max-Forwards", "70"), ("From", str(message.header("From"))), ("To", str(message.header("To"))),
                    ("Call-ID", str(message.header("Call-ID"))), ("CSeq", f"{cseq} {method}")]
        if body:
            headers += [("Contact", f"<sip:peer@{source[0]}:{source[1]}>"), *_SDP_TYPE]
        target = str(NameAddress(Message(answer).headers("Contact")[0].encode()).uri)
        return build(f"{method} {target} SIP/2.0", headers, body)

    def hang_up(self, answer: bytes, *, cseq: int = 2, callee: Party | None = None,
                edge: tuple[str, int] = EDGE) -> None:
        """End a call as its caller does: that it works shows that the call is alive.

        callee: the PBX unless said. edge: where the callee sends to.
        """
        call_id = str(Message(answer).header("Call-ID")).encode()
        self.peer.send(self.inside("BYE", answer, cseq=cseq))
        bye = (callee or self.pbx).expect(b"BYE", call_id)
        (callee or self.pbx).send(reply(bye, "200 OK"), edge)
        self.peer.expect(b"SIP/2.0 200", call_id)

    def nothing_forwarded(self) -> None:
        """After everything was handled, the PBX has received nothing."""
        self.mark()
        assert self.pbx.take() == []

    def assert_unharmed(self) -> None:
        """The same worker, no restart, no memory taken, and calls that work."""
        self.pbx.take()
        self.peer.take()
        self.hang_up(self.call()[1])
        self.edge.assert_unharmed()
        assert self.edge.resident() - self._memory < GROWTH
        assert self.rose("decide_errors") == 0

    def close(self) -> None:
        self._raw.close()
        for party in self._parties:
            party.close()
