"""Keepalives on a UDP port (RFC 5626 4.4): who is told where he sends from, how often, and what gets no answer."""
import pytest

from sipcore.base.trie import Trie
from sipcore.stack.admission import Admission
from sipcore.wire.stun import stun_answer
from tests.endpoints import METHODS, Bench
from tests.wire.test_stun import INDICATION, attribute, stun


def answers(phone):
    return [packet.data for packet in phone.port.inbox]


@pytest.fixture
def guarded():
    """127.0.0.0/24 may do all, 127.0.1.0/24 is denied, 127.0.2.0/24 forbidden, the rest is unlisted, all aloud."""
    admission = Admission([Trie([("127.0.0.0/24", 0), ("127.0.1.0/24", 1), ("127.0.2.0/24", 2)])], unlisted="forbid")
    admission.add_group("allow", METHODS)
    admission.add_group("deny")
    admission.add_group("forbid")
    return Bench(admission=admission)


def test_a_listed_source_is_told_its_address(guarded):
    alice = guarded.phone("alice", "127.0.0.2", 40000)
    alice.send(stun())
    guarded.run()
    assert answers(alice) == [stun_answer(stun(), "127.0.0.2", 40000)]
    assert (guarded.count("stun_answered"), guarded.asked) == (1, [])


def test_over_ipv6():
    bench = Bench(listeners=[("::1", 5060)])
    alice = bench.phone("alice", "fd00::2", 5070, ("::1", 5060))
    alice.send(stun())
    bench.run()
    assert answers(alice) == [stun_answer(stun(), "fd00::2", 5070)]


@pytest.mark.parametrize(("host", "counter"), [
    ("127.0.1.2", "denied"), ("127.0.2.2", "forbidden"), ("127.0.9.2", "unlisted_dropped"),
])
def test_anybody_else_gets_nothing(guarded, host, counter):
    stranger = guarded.phone("x", host)
    for data in (stun(), stun(attributes=attribute(0x0002, bytes(8)))):
        stranger.send(data)
    guarded.run()
    assert answers(stranger) == []
    assert (guarded.count(counter), guarded.count("stun_answered")) == (2, 0)


def test_a_banned_source_gets_nothing():
    bench = Bench()
    alice = bench.phone("alice", "127.0.0.2")
    bench.proxy.bans.ban("127.0.0.2", bench.link.now + 60_000, bench.link.now)
    alice.send(stun())
    bench.run()
    assert answers(alice) == []
    assert bench.count("banned") == 1


def test_what_is_malformed_or_asks_nothing_is_counted_and_dropped(guarded):
    alice = guarded.phone("alice", "127.0.0.2")
    for data in (stun(INDICATION), b"\r\n\r\n", b"\r\n", b"", stun(0x0101), stun()[:-1], b"\0", b"\1" * 500):
        alice.send(data)
    guarded.run()
    assert answers(alice) == []
    assert (guarded.count("keepalives"), guarded.count("stun_malformed")) == (4, 4)
    assert guarded.count("malformed_requests") == 0


def test_a_source_asks_as_often_as_it_may_begin_something_and_takes_nothing_from_its_group():
    bench = Bench(group={"rate": 2, "burst": 3, "group_rate": 1, "group_burst": 1})
    alice, carol = bench.phone("alice", "127.0.0.2"), bench.phone("carol", "127.0.0.4")
    bob = bench.phone("bob", "127.0.0.3")
    for _ in range(5):
        alice.send(stun())
    bench.run()
    assert len(answers(alice)) == 3
    assert bench.count("rate_limited") == 2
    carol.request("OPTIONS", bob.uri)
    bench.run()
    bob.take("OPTIONS")
