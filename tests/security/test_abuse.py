"""Floods, scanners and bans (attacks.md, "Floods"): the same bounds over every transport, and no ban that a packet with
somebody else's address could earn."""
import pytest

from sipcore.base.trie import Trie
from sipcore.stack.admission import Admission
from sipcore.stack.proxy import Proxy
from sipcore.stack.verdict import Target, Verdict

FRIEND, STRANGER, VICTIM, PBX = "127.0.0.2", "203.0.113.9", "127.0.0.3", "127.0.0.4"
SCANNER = "User-Agent: friendly-scanner"


def request(method="INVITE", number=0, *lines, transport="UDP", host=FRIEND):
    return "\r\n".join([
        f"{method} sip:2001@127.0.0.1 SIP/2.0", f"Via: SIP/2.0/{transport} {host}:5060;branch=z9hG4bK{number}",
        "Max-Forwards: 70", f"From: <sip:a@{host}>;tag=1", "To: <sip:2001@127.0.0.1>", f"Call-ID: {number}@{host}",
        f"CSeq: 1 {method}", *lines, "Content-Length: 0", "", ""]).encode()


class Edge:
    """A Proxy with a UDP and a TCP listener, fed by hand."""

    def __init__(self, rate=0, group_rate=0, strikes=3, unlisted="deny"):
        trie = Trie([("127.0.0.0/29", 0)])
        admission = Admission([trie, trie], unlisted=unlisted, unlisted_rate=1000, unlisted_burst=1000)
        admission.add_group("allow", ("INVITE", "OPTIONS"), rate=rate, burst=rate, group_rate=group_rate,
                            group_burst=group_rate)
        self.proxy = Proxy(admission=admission, decide=lambda _: Verdict(targets=(Target(PBX),)), transactions=1024,
                           dialogs=1024)
        self.proxy.add_listener("127.0.0.1", 5060)
        self.proxy.add_listener("127.0.0.1", 5060, transport="tcp")
        self.proxy.look_for((SCANNER + "*",))
        self.proxy.bans.strikes = strikes
        self.told: list[tuple[str, int]] = []
        self.proxy.on_ban = lambda host, until: self.told.append((host, until))
        self.now = 1_000_000
        self.number = 0

    def send(self, host, *lines, tcp=False, method="INVITE"):
        """What comes back to the sender, as a status or 0; a forwarded request counts as 100."""
        self.number += 1
        self.proxy.drain()
        self.proxy.feed(request(method, self.number, *lines, transport="TCP" if tcp else "UDP", host=host),
                        (host, 5060), self.now, 1 if tcp else 0)
        answers = [data for _, to, _, data in self.proxy.drain() if to == host and data.startswith(b"SIP/2.0")]
        return int(answers[-1][8:11]) if answers else 0

    def count(self, name):
        return self.proxy.statistics()[name]


@pytest.mark.parametrize("tcp", [False, True])
def test_a_scanner_hears_nothing_and_is_counted(tcp):
    edge = Edge()
    assert edge.send(FRIEND, SCANNER, tcp=tcp) == 0
    assert edge.send(FRIEND, "User-Agent: Friendly-Scanner/2", tcp=tcp) == 0
    assert edge.send(FRIEND, "User-Agent: a phone", tcp=tcp) == 100
    assert (edge.count("scanners"), edge.count("forwarded")) == (2, 1)


def test_a_strangers_scanner_gets_no_403_either():
    edge = Edge(unlisted="forbid")
    assert edge.send(STRANGER) == 403
    assert edge.send(STRANGER, SCANNER) == 0


def test_a_spoofed_address_never_earns_a_ban():
    edge = Edge()
    for _ in range(200):
        edge.send(VICTIM, SCANNER)
        edge.send(STRANGER)
    assert edge.told == []
    assert edge.count("bans") == 0
    # The victim's calls pass, whoever else sends with its address.
    assert edge.send(VICTIM) == 100


def test_a_connection_does_and_the_ban_is_for_every_transport():
    edge = Edge()
    for _ in range(3):
        assert edge.told == []
        edge.send(FRIEND, SCANNER, tcp=True)
    assert edge.told == [(FRIEND, edge.now + 600_000)]
    assert edge.send(FRIEND, tcp=True) == 0
    assert edge.send(FRIEND) == 0
    assert edge.send(VICTIM) == 100
    assert edge.count("banned") == 2
    edge.now += 600_000
    assert edge.send(FRIEND) == 100


def test_strangers_on_connections_earn_one_too_and_hear_nothing_more():
    edge = Edge(unlisted="forbid")
    answers = [edge.send(STRANGER, tcp=True) for _ in range(5)]
    assert answers[:3] == [403, 403, 403]
    assert answers[3:] == [0, 0]
    assert [host for host, _ in edge.told] == [STRANGER]


def test_an_address_that_has_answered_a_nonce_is_proven():
    edge = Edge()
    edge.send(STRANGER)
    for _ in range(3):
        assert edge.told == []
        edge.proxy.offend(STRANGER)
    assert edge.told == [(STRANGER, edge.now + 600_000)]
    with pytest.raises(ValueError, match="IP"):
        edge.proxy.offend("phone.example")


def test_a_ban_can_be_lifted():
    edge = Edge()
    for _ in range(3):
        edge.send(FRIEND, SCANNER, tcp=True)
    assert edge.proxy.bans.lift(FRIEND)
    assert edge.send(FRIEND) == 100


def test_a_call_of_a_banned_address_goes_on():
    edge = Edge()
    edge.proxy.feed(request(number=1), (FRIEND, 5060), edge.now)
    invite = next(data for _, to, _, data in edge.proxy.drain() if to == PBX)
    edge.proxy.bans.ban(PBX, edge.now + 60_000, edge.now)
    edge.proxy.bans.ban(FRIEND, edge.now + 60_000, edge.now)
    vias = b"".join(line + b"\r\n" for line in invite.split(b"\r\n") if line.startswith(b"Via:"))
    route = next(line for line in invite.split(b"\r\n") if line.startswith(b"Record-Route:"))
    edge.proxy.feed(b"SIP/2.0 200 OK\r\n" + vias + route + b"\r\nFrom: <sip:a@127.0.0.2>;tag=1\r\n"
                    b"To: <sip:2001@127.0.0.1>;tag=2\r\nCall-ID: 1@127.0.0.2\r\nCSeq: 1 INVITE\r\n"
                    b"Contact: <sip:b@127.0.0.4>\r\n"
                    b"Content-Length: 0\r\n\r\n", (PBX, 5060), edge.now)
    assert [data[:11] for _, to, _, data in edge.proxy.drain() if to == FRIEND] == [b"SIP/2.0 200"]
    bye = request("BYE", 2).replace(b"To: <sip:2001@127.0.0.1>", b"To: <sip:2001@127.0.0.1>;tag=2").replace(
        b"Call-ID: 2@", b"Call-ID: 1@").replace(b"sip:2001@127.0.0.1 SIP", b"sip:b@127.0.0.4 SIP").replace(
        b"Max-Forwards", b"Route: " + route.partition(b": ")[2] + b"\r\nMax-Forwards")
    edge.proxy.feed(bye, (FRIEND, 5060), edge.now)
    assert [data[:3] for _, to, _, data in edge.proxy.drain() if to == PBX] == [b"BYE"]


def test_the_rate_of_a_source_is_one_over_all_transports():
    edge = Edge(rate=10)
    answers = [edge.send(FRIEND, tcp=bool(number % 2)) for number in range(40)]
    assert answers.count(100) == 10
    assert answers.count(503) == 30
    assert edge.send(VICTIM, tcp=True) == 100


def test_the_rate_of_a_group_too():
    edge = Edge(group_rate=10)
    answers = [edge.send((FRIEND, VICTIM)[number % 2], tcp=number % 4 > 1) for number in range(40)]
    assert answers.count(100) == 10


def test_a_flood_of_addresses_keeps_its_bounds():
    edge = Edge(unlisted="forbid")
    for number in range(20_000):
        edge.send(f"203.{number >> 16}.{number >> 8 & 255}.{number & 255}", SCANNER, tcp=True)
    assert len(edge.proxy.bans.all(edge.now)) <= edge.proxy.bans.entries
    assert edge.send(FRIEND) == 100
