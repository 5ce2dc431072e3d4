"""Stream rows of the attack list, with raw packets: connections that are never completed, from everywhere."""
import contextlib
import socket
import subprocess
import time

import pytest
from scapy.layers.inet import IP, TCP
from scapy.layers.l2 import Ether
from scapy.packet import Raw

from sipcore.wire.message import Message
from tests.edge import EdgeProcess
from tests.security.range import EDGE, PEER, request

NOWHERE = "203.0.113"
"""Addresses that a packet can be written with, and that what is sent there does not reach."""
BY_HAND = f"{NOWHERE}.251"
"""A peer among them, whose every segment is written here."""
FLOOD = 2000
CONFIGURATION = """
[[listener]]
name = "edge"
bind = "tcp:192.0.2.1:5060"

[[group]]
name = "peers"
addresses = ["192.0.2.10", "203.0.113.251"]
rate = 0

[[upstream]]
name = "pbx"
targets = [{ transport = "tcp", address = "192.0.2.20:5060" }]

[[route]]
to = "pbx"

[streams]
connections = 64
per_source = 8

[abuse]
strikes = 3
"""


@pytest.fixture(scope="module")
def edge(namespace, tmp_path_factory):
    with namespace.entered():
        # An answer leaves by one end of a pair, and the other end belongs to nobody.
        for line in ("link add nowhere type veth peer name behind", "link set nowhere arp off up", "link set behind up",
                     f"route add {NOWHERE}.0/24 dev nowhere"):
            subprocess.run(["ip", *line.split()], check=True, timeout=60)
        running = EdgeProcess(tmp_path_factory.mktemp("streams"), CONFIGURATION)
    with running:
        yield running


def ask(namespace, unique: str, host: str = PEER[0]) -> int:
    """The status that a host gets over a connection of its own."""
    with namespace.socket(socket.SOCK_STREAM, bind=(host, 0)) as sock:
        sock.settimeout(60)
        sock.connect(EDGE)
        sock.sendall(request("OPTIONS", uri=f"sip:{EDGE[0]}", unique=unique).replace(b"SIP/2.0/UDP", b"SIP/2.0/TCP"))
        return Message(sock.recv(65536)).status


def syns(namespace, sources) -> None:
    """The first packet of a connection from each source, and nothing more."""
    with namespace.socket(socket.SOCK_RAW, socket.IPPROTO_RAW) as raw:
        for number, source in enumerate(sources):
            syn = TCP(sport=1024 + number % 60_000, dport=EDGE[1], flags="S", seq=number)
            packet = IP(src=source, dst=EDGE[0]) / syn
            raw.sendto(bytes(packet), (EDGE[0], 0))


def ended(edge: EdgeProcess, before: int) -> dict[str, int]:
    """The counters once connections since that many have been counted, and none is left."""
    return edge.wait_stats(lambda stats: stats["connections_accepted"] > before and stats["connections"] == 0,
                           "the connection has been counted, and has ended")


def test_connections_that_are_never_completed(namespace, edge):
    """SYNs from addresses that nobody has, and in the peer's name: the peer connects, and no ban comes of it."""
    assert ask(namespace, "before") == 200
    syns(namespace, (f"{NOWHERE}.{number % 250 + 1}" for number in range(FLOOD)))
    with namespace.entered():
        half = subprocess.run(["ss", "-tn", "state", "syn-recv"], check=True, timeout=60, capture_output=True).stdout
    assert half.count(NOWHERE.encode()) > 10, "the kernel holds connections that are half open"
    syns(namespace, [PEER[0]] * 200)
    assert ask(namespace, "after") == 200
    stats = ended(edge, 1)
    assert (stats["connections_accepted"], stats["bans_earned"], stats["restarts"]) == (2, 0, 0)


def test_segments_of_connections_that_never_were(namespace, edge):
    """Data and resets in the peer's name that belong to no connection: the one that is there stays."""
    before = edge.stats()["connections_accepted"]
    with namespace.socket(socket.SOCK_STREAM, bind=(PEER[0], 0)) as sock:
        sock.settimeout(60)
        sock.connect(EDGE)
        port = sock.getsockname()[1]
        with namespace.socket(socket.SOCK_RAW, socket.IPPROTO_RAW) as raw:
            for number in range(200):
                for flags, data in (("R", b""), ("PA", request("OPTIONS", uri=f"sip:{EDGE[0]}"))):
                    # The sequence number is a guess, as an attacker off the path has to guess it.
                    packet = IP(src=PEER[0], dst=EDGE[0]) / TCP(sport=port, dport=EDGE[1], flags=flags,
                                                                seq=number << 24, ack=1) / Raw(data)
                    raw.sendto(bytes(packet), (EDGE[0], 0))
        sock.sendall(request("OPTIONS", uri=f"sip:{EDGE[0]}").replace(b"SIP/2.0/UDP", b"SIP/2.0/TCP"))
        assert Message(sock.recv(65536)).status == 200
    assert ended(edge, before)["framing_faults"] == 0


class ByHand:
    """A connection of BY_HAND whose segments are written one by one: no kernel puts them in order."""

    def __init__(self, namespace, port: int):
        self.raw = namespace.socket(socket.SOCK_RAW, socket.IPPROTO_RAW)
        with namespace.entered():
            # What the edge sends to nobody leaves by one end of a pair, and can be read at the other one.
            self.seen = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
            self.seen.bind(("behind", 0))
        self.port, self.first, self.acknowledged, self.data, self.sent = port, 1000, 0, b"", 0
        self.send("S", -1)
        self.until(lambda tcp: tcp.flags.S and tcp.flags.A)
        self.send("A", 0)

    def send(self, flags: str, at: int, data: bytes = b"") -> None:
        """A segment; at: where its data stands in the stream."""
        packet = IP(src=BY_HAND, dst=EDGE[0]) / TCP(sport=self.port, dport=EDGE[1], flags=flags, window=65535,
                                                    seq=self.first + at, ack=self.acknowledged) / Raw(data)
        self.raw.sendto(bytes(packet), (EDGE[0], 0))

    def until(self, true, seconds: float = 60.0) -> None:
        """Take in segments of the edge's, and acknowledge data that comes in its order. Raises TimeoutError."""
        deadline = time.monotonic() + seconds
        while True:
            self.seen.settimeout(max(deadline - time.monotonic(), 0.001))
            packet = Ether(self.seen.recv(65536))
            if IP not in packet or TCP not in packet or (packet[IP].dst, packet[TCP].dport) != (BY_HAND, self.port):
                continue
            tcp, data = packet[TCP], bytes(packet[TCP].payload)[:packet[IP].len - 20 - 4 * packet[TCP].dataofs]
            if tcp.flags.S:
                self.acknowledged = tcp.seq + 1
            elif data and tcp.seq == self.acknowledged:
                self.data += data
                self.acknowledged += len(data)
                self.send("A", 0)
            if true(tcp):
                return

    def bring(self, parts: list[tuple[int, bytes]], true) -> None:
        """Send segments, and all of them again each second until there is an answer: the edge's kernel may have no room
        for so many at once."""
        self.sent = max(at + len(data) for at, data in parts)
        for _ in range(60):
            for at, data in parts:
                self.send("PA", at, data)
            with contextlib.suppress(TimeoutError):
                self.until(true, 1.0)
                return
        raise TimeoutError

    def close(self) -> None:
        self.send("R", self.sent)
        self.raw.close()
        self.seen.close()


@pytest.mark.parametrize("how", ["a byte each", "backwards", "overlapping", "twice"])
def test_segments_in_every_shape_are_the_same_messages(namespace, edge, how):
    """Three requests in segments that are tiny, come in the wrong order, bring what was there, or come again."""
    before = edge.stats()["connections_accepted"]
    names = [f"{how[0]}{number}" for number in range(3)]
    data = b"".join(request("OPTIONS", uri=f"sip:{EDGE[0]}", unique=name).replace(b"SIP/2.0/UDP", b"SIP/2.0/TCP")
                    for name in names)
    size = 1 if how == "a byte each" else 97
    parts = [(at, data[at:at + size + (30 if how == "overlapping" else 0)]) for at in range(0, len(data), size)]
    if how == "backwards":
        parts.reverse()
    elif how == "twice":
        parts = [part for part in parts for _ in range(2)]
    with contextlib.closing(ByHand(namespace, 40_000 + len(how))) as peer:
        peer.bring(parts, lambda _: peer.data.count(b"\r\n\r\n") == 3)
        answers = [Message(part + b"\r\n\r\n") for part in peer.data.split(b"\r\n\r\n")[:-1]]
    assert [(answer.status, answer.call_id) for answer in answers] == [
        (200, Message(request("OPTIONS", unique=name)).call_id) for name in names]
    assert ended(edge, before)["framing_faults"] == 0


def test_one_source_takes_no_other_one_its_place(namespace, edge):
    """A stranger holds as many connections as it gets; so it is with another, and the peer comes in beside them."""
    before = edge.stats()
    held = []
    try:
        for host in ("198.18.0.1", "198.18.0.2"):
            for _ in range(30):
                held.append(namespace.socket(socket.SOCK_STREAM, bind=(host, 0)))
                held[-1].settimeout(60)
                held[-1].connect(EDGE)
        edge.wait_stats(lambda stats: stats["connections_refused"] >= before["connections_refused"] + 44,
                        "all but eight of each are refused")
        assert ask(namespace, "beside") == 200
    finally:
        for sock in held:
            sock.close()


def test_garbage_over_a_connection_bans_its_source_and_not_whom_packets_name(namespace, edge):
    for _ in range(3):
        with namespace.socket(socket.SOCK_STREAM, bind=("198.18.0.9", 0)) as sock:
            sock.settimeout(60)
            sock.connect(EDGE)
            sock.sendall(b"GET / HTTP/1.1\r\n\r\n")
            assert sock.recv(1) == b""
    edge.wait_stats(lambda stats: stats["bans"] == 1, "it is banned")
    with namespace.socket(socket.SOCK_STREAM, bind=("198.18.0.9", 0)) as sock:
        sock.settimeout(60)
        sock.connect(EDGE)
        assert sock.recv(1) == b""
    assert ask(namespace, "neighbour") == 200
