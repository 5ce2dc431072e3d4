"""Stream rows of the attack list, with raw packets: connections that are never completed, from everywhere."""
import socket
import subprocess

import pytest
from scapy.layers.inet import IP, TCP
from scapy.packet import Raw

from sipcore.wire.message import Message
from tests.edge import EdgeProcess
from tests.security.range import EDGE, PEER, request

NOWHERE = "203.0.113"
"""Addresses that a packet can be written with, and that what is sent there does not reach."""
FLOOD = 2000
CONFIGURATION = """
[[listener]]
name = "edge"
bind = "tcp:192.0.2.1:5060"

[[group]]
name = "peers"
addresses = ["192.0.2.10"]
rate = 0

[[upstream]]
name = "pbx"
targets = [{ address = "192.0.2.20:5060" }]

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


def test_connections_that_are_never_completed(namespace, edge):
    """SYNs from addresses that nobody has, and in the peer's name: the peer connects, and no ban comes of it."""
    assert ask(namespace, "before") == 200
    syns(namespace, (f"{NOWHERE}.{number % 250 + 1}" for number in range(FLOOD)))
    with namespace.entered():
        half = subprocess.run(["ss", "-tn", "state", "syn-recv"], check=True, timeout=60, capture_output=True).stdout
    assert half.count(NOWHERE.encode()) > 10, "the kernel holds connections that are half open"
    syns(namespace, [PEER[0]] * 200)
    assert ask(namespace, "after") == 200
    stats = edge.wait_stats(lambda stats: stats["connections_accepted"] >= 2 and stats["connections"] == 0,
                            "no connection is left")
    assert (stats["connections_accepted"], stats["bans_earned"], stats["restarts"]) == (2, 0, 0)


def test_segments_of_connections_that_never_were(namespace, edge):
    """Data and resets in the peer's name that belong to no connection: the one that is there stays."""
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
    assert edge.stats()["framing_faults"] == 0


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
