"""Rows of the attack list that ask for datagrams elsewhere, over connections: framing, forged identifiers, floods."""
import socket
import ssl
import time
from collections.abc import Iterator

import pytest

from sipcore.wire.framer import Framing
from sipcore.wire.message import Message
from tests.certificates import Authority
from tests.edge import EdgeProcess
from tests.security.namespace import Namespace
from tests.security.range import GROWTH, PBX, PEER, SDP, SECONDS, STRANGER, Party, fresh, reply, request

PORTS = {"tcp": 5060, "tls": 5061}
LIMITED = {"tcp": "192.0.2.12", "tls": "192.0.2.13"}
"""Each with the burst of a source of its own."""
CONFIGURATION = """
[[listener]]
name = "udp"
bind = "udp:192.0.2.1:5060"
[[listener]]
name = "tcp"
bind = "tcp:192.0.2.1:5060"
[[listener]]
name = "tls"
bind = "tls:192.0.2.1:5061"
tls = ["edge"]
[[tls]]
name = "edge"
certificate = "{certificate}"
key = "{key}"
[[group]]
name = "peers"
addresses = ["192.0.2.10"]
rate = 0
[[group]]
name = "limited"
addresses = ["192.0.2.12", "192.0.2.13"]
rate = 5
burst = 5
[[group]]
name = "pbx"
addresses = ["192.0.2.20"]
[[upstream]]
name = "pbx"
targets = [{{ address = "192.0.2.20:5060" }}]
size_policy = ["refuse"]
mtu = 20000
[[route]]
to = "pbx"
[unlisted]
answer = "forbid"
answers = 5
# What is sent here must not ban the source of the next test.
[abuse]
strikes = 100000
"""
LENGTH = b"Content-Length: %d" % len(SDP)


class Connection:
    """One end of a connection to the edge. Reads what comes as a peer would."""

    def __init__(self, namespace: Namespace, authority: Authority, transport: str, host: str = PEER[0]):
        self.transport = transport
        self._socket = namespace.socket(socket.SOCK_STREAM, bind=(host, 0))
        self._socket.settimeout(SECONDS)
        self._socket.connect(("192.0.2.1", PORTS[transport]))
        if transport == "tls":
            context = ssl.create_default_context(cafile=str(authority.certificate))
            self._socket = context.wrap_socket(self._socket, server_hostname="edge.example.com")
        self._framing = Framing()
        self._messages: list[bytes] = []

    def request(self, method: str = "INVITE", **parts) -> bytes:
        return request(method, **parts).replace(b"SIP/2.0/UDP", f"SIP/2.0/{self.transport.upper()}".encode(), 1)

    def send(self, data: bytes) -> None:
        self._socket.sendall(data)

    def take(self) -> bytes:
        """The next message, empty where the connection has ended."""
        while not self._messages:
            try:
                data = self._socket.recv(65536)
            except ConnectionError:
                data = b""
            if not data:
                return b""
            self._messages += [frame for kind, frame in self._framing.feed(data) if kind == "message"]
        return self._messages.pop(0)

    def status(self) -> int:
        """Of the next answer, 0 where the connection has ended. What is answered to garbage need not parse."""
        answer = self.take()
        return int(answer.split(b" ", 2)[1]) if answer else 0

    def ask(self) -> int:
        """The status of an OPTIONS: everything before it has been handled."""
        unique = fresh()
        self.send(self.request("OPTIONS", uri="sip:192.0.2.1", unique=unique))
        while (answer := self.take()) and unique.encode() not in answer:
            continue
        return Message(answer).status if answer else 0

    def close(self) -> None:
        self._socket.close()


class Ground:
    """The edge, its PBX, and the connections of one attack."""

    def __init__(self, namespace: Namespace, edge: EdgeProcess, authority: Authority):
        self.namespace, self.edge, self.authority = namespace, edge, authority
        self.pbx = Party(namespace, PBX)
        self.open: list[Connection] = []
        self.before = edge.stats()
        self.memory = edge.resident()

    def connect(self, transport: str = "tcp", host: str = PEER[0]) -> Connection:
        self.open.append(Connection(self.namespace, self.authority, transport, host))
        return self.open[-1]

    def rose(self, name: str) -> int:
        return self.edge.stats()[name] - self.before[name]

    def call_is_taken(self) -> None:
        """Somebody else calls, over a connection of its own; the PBX has heard of nobody else."""
        other, unique = self.connect(), fresh()
        other.send(other.request(unique=unique))
        invite = self.pbx.expect(b"INVITE", unique.encode())
        assert [data for data in self.pbx.received if data.startswith(b"INVITE")] == [invite]
        self.pbx.send(reply(invite, "486 Busy Here"))
        statuses: list[int] = []
        while not statuses or 0 < statuses[-1] < 200:
            statuses.append(other.status())
        assert statuses == [100, 486]


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def edge(namespace: Namespace, authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[EdgeProcess]:
    certificate, key = authority.give("edge", "DNS:edge.example.com")
    with namespace.entered():
        running = EdgeProcess(tmp_path_factory.mktemp("rows"), CONFIGURATION.format(certificate=certificate, key=key))
    with running:
        yield running


@pytest.fixture
def ground(namespace: Namespace, edge: EdgeProcess, authority: Authority) -> Iterator[Ground]:
    built = Ground(namespace, edge, authority)
    try:
        yield built
        built.call_is_taken()
        edge.assert_unharmed()
        assert edge.resident() - built.memory < GROWTH
    finally:
        for one in built.open:
            one.close()
        built.pbx.close()


@pytest.mark.parametrize("transport", PORTS)
@pytest.mark.parametrize("length", [b"-1", b"4294967300", b"18446744073709551620", b"99999", b"1 2", b"0x10", b"",
                                    None],
                         ids=["negative", "2^32+4", "2^64+4", "larger", "two", "hexadecimal", "empty", "missing"])
def test_what_follows_a_length_that_lies_never_becomes_a_message(ground, transport, length):
    peer = ground.connect(transport)
    line = LENGTH + b"\r\n" if length is None else LENGTH
    whole = peer.request()
    assert line in whole
    peer.send(whole.replace(line, b"" if length is None else b"Content-Length: " + length)
              + peer.request(user="smuggled"))
    assert (peer.status(), peer.status()) == (400, 0)
    ground.edge.wait_stats(lambda stats: stats["framing_faults"] > ground.before["framing_faults"], "it is counted")
    assert (ground.rose("framing_faults"), ground.rose("forwarded")) == (1, 0)


@pytest.mark.parametrize("transport", PORTS)
def test_a_length_that_is_right_ends_a_message_and_no_more(ground, transport):
    """Its body looks like another message, and is none."""
    peer, unique = ground.connect(transport), fresh()
    inner = peer.request(user="smuggled")
    peer.send(peer.request("MESSAGE", unique=unique, body=inner))
    assert peer.ask() == 200
    assert ground.rose("requests_in") == 2


@pytest.mark.parametrize("transport", PORTS)
@pytest.mark.parametrize("line", [
    b"Contact\x01: <sip:evil@198.18.0.9>", b"X-\x00Zero: 1", b"X-Nul: a\x00b", b": nameless", b"no colon here",
    b"X Space: 1", b"X-Cr: a\rContact: <sip:evil@198.18.0.9>",
], ids=["control-in-name", "nul-in-name", "nul-in-value", "no-name", "no-colon", "space-in-name", "bare-cr"])
def test_what_two_readers_could_read_differently_is_refused(ground, transport, line):
    peer = ground.connect(transport)
    peer.send(peer.request().replace(b"Max-Forwards: 70\r\n", b"Max-Forwards: 70\r\n" + line + b"\r\n"))
    assert peer.status() == 400
    assert ground.rose("forwarded") == 0
    assert ground.rose("malformed_requests") == 1


@pytest.mark.parametrize("transport", PORTS)
def test_what_belongs_to_nothing_is_counted_and_the_connection_goes_on(ground, transport):
    """CANCEL and ACK without an INVITE, and responses whose branch is nobody's or only looks like the edge's."""
    peer = ground.connect(transport)
    peer.send(peer.request("CANCEL") + peer.request("ACK"))
    assert peer.status() == 481
    for branch in ("z9hG4bK" + fresh(), "z9hG4bK" + "a" * 33, "z9hG4bK" + "0" * 33):
        peer.send(reply(request(branch=branch), "200 OK").replace(b"SIP/2.0/UDP", b"SIP/2.0/TCP"))
    assert peer.ask() == 200
    assert (ground.rose("stray_cancels"), ground.rose("stray_acks"), ground.rose("stray_responses")) == (1, 1, 3)
    assert ground.rose("forwarded") == 0


@pytest.mark.parametrize("transport", PORTS)
def test_one_branch_twice_over_two_connections_is_one_transaction(ground, transport):
    """What a peer sends again when its connection has broken is no second call (RFC 3261 17.2.3)."""
    one, unique = ground.connect(transport), fresh()
    whole = one.request(unique=unique)
    one.send(whole)
    invite = ground.pbx.expect(b"INVITE", unique.encode())
    other = ground.connect(transport)
    other.send(whole)
    assert other.ask() == 200
    ground.pbx.send(reply(invite, "486 Busy Here"))
    assert ground.rose("calls") == 1
    ground.pbx.received.clear()


@pytest.mark.parametrize("transport", PORTS)
def test_a_stranger_s_flood_over_its_connection(ground, transport):
    """Nothing of it is forwarded or kept, and few answers come back."""
    stranger = ground.connect(transport, STRANGER[0])
    flood = b"".join(stranger.request(method) for method in ("INVITE", "REGISTER", "OPTIONS", "MESSAGE")
                     for _ in range(500))
    begun = time.monotonic()
    stranger.send(flood)
    ground.edge.wait_stats(lambda stats: stats["requests_in"] + stats["rate_limited"]
                           >= ground.before["requests_in"] + ground.before["rate_limited"] + 2000, "all of it is read")
    assert (ground.rose("forwarded"), ground.rose("calls")) == (0, 0)
    # Ten at once, and then five a second.
    answered = ground.rose("answered")
    assert answered <= 10 + 5 * (time.monotonic() - begun)


@pytest.mark.parametrize("transport", PORTS)
def test_a_listed_source_is_held_to_its_rate_over_its_connection(ground, transport):
    limited = ground.connect(transport, LIMITED[transport])
    limited.send(b"".join(limited.request("OPTIONS", uri="sip:192.0.2.1") for _ in range(500)))
    found = [limited.status() for _ in range(500)]
    assert set(found) == {200, 503}
    assert found[:5] == [200] * 5
    assert ground.rose("rate_limited") == found.count(503) > 400
