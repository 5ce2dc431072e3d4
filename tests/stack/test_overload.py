"""Overload control by itself: what begins it, how much it refuses, and how it ends; time is an argument."""
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipcore.stack.overload import Overload
from tests.endpoints import Bench

MS = 1000


def overload(lag=50, fill=900, retry_after=10):
    one = Overload(seed=7)
    one.limit_to(lag, fill, retry_after)
    return one


def work(one, begin, ms, lag_ms, step=10, fill=0, lost=False):
    """What is seen every few ms, for so long; the time then."""
    for now in range(begin, begin + ms, step):
        one.seen(round(lag_ms * MS), fill, lost, now)
    return begin + ms


def refused(one, now, count=2000):
    return sum(one.refused(now) for _ in range(count)) / count


def test_without_lag_nothing_is_refused():
    one = overload()
    now = work(one, 1_000, 5_000, 2)
    assert (one.share, one.on, refused(one, now)) == (0, False, 0)


def test_a_burst_is_no_overload():
    one = overload()
    for begin in range(1_000, 10_000, 400):
        now = work(one, begin, 90, 300)
        now = work(one, now, 310, 1)
    assert (one.share, one.entered) == (0, 0)


def test_a_standing_queue_is_and_more_is_refused_while_it_stands():
    one = overload()
    now = work(one, 1_000, 220, 60)
    shares = []
    for _ in range(40):
        now = work(one, now, 100, 60)
        shares.append(one.share)
    assert one.on
    assert shares == sorted(shares)
    assert shares[-1] == 1000
    assert refused(one, now) == 1
    assert one.entered == 1


def test_the_deeper_the_queue_the_faster():
    slow, fast = overload(), overload()
    now = work(slow, 1_000, 500, 60)
    assert work(fast, 1_000, 500, 400) == now
    assert fast.share > 2 * slow.share


def test_it_ends_gently_and_says_so_once():
    one = overload()
    now = work(one, 1_000, 3_000, 200)
    assert one.share == 1000
    before, shares = 1001, []
    while one.on:
        now = work(one, now, 100, 1)
        shares.append(one.share)
        assert one.share <= before
        before = one.share
    assert 3_000 < 100 * len(shares) < 10_000
    assert (one.share, one.entered) == (0, 1)


def test_a_share_is_a_share():
    one = overload()
    now = work(one, 1_000, 600, 60)
    assert 0 < one.share < 1000
    assert abs(refused(one, now) - one.share / 1000) < 0.05


def test_lost_packets_count_whatever_the_lag():
    one = overload()
    work(one, 1_000, 1_000, 0.1, lost=True)
    assert one.share > 0


def test_full_transactions_refuse_the_more_the_fuller():
    one = overload(fill=900)
    work(one, 1_000, 300, 0, fill=899)
    assert one.share == 0
    work(one, 2_000, 300, 0, fill=950)
    assert 400 <= one.share <= 520
    work(one, 3_000, 300, 0, fill=1000)
    assert one.share == 1000


def test_idleness_ends_it_too():
    one = overload()
    now = work(one, 1_000, 3_000, 200)
    assert one.share == 1000
    assert refused(one, now + 60_000) < 0.2
    assert refused(one, now + 120_000) == 0


def test_off_is_off():
    one = overload(lag=0)
    work(one, 1_000, 5_000, 900, lost=True)
    assert one.share == 0


def test_retry_after_is_spread():
    one = overload(retry_after=10)
    lines = Counter(one.line() for _ in range(3_000))
    seconds = sorted(int(line.removeprefix(b"Retry-After: ")) for line in lines)
    assert (seconds[0], seconds[-1]) == (10, 20)
    assert len(seconds) >= 10
    assert max(lines.values()) < 3_000 / 4


@given(st.lists(st.tuples(st.integers(1, 3_000), st.integers(0, 10**9), st.integers(0, 1000), st.booleans()),
                max_size=60))
def test_anything_at_all_keeps_it_in_bounds_and_calm_ends_it(seen):
    one, now = overload(), 0
    for later, lag, fill, lost in seen:
        now += later
        one.seen(lag, fill, lost, now)
        assert 0 <= one.share <= 1000
        assert one.on or one.share == 0
    now = work(one, now + 1, 12_000, 0)
    assert (one.share, one.on) == (0, False)


class TestOnTheWire:
    @pytest.fixture
    def bench(self):
        bench = Bench()
        bench.proxy.overload.limit_to(50, 900, 10)
        return bench

    def overloaded(self, bench):
        now = bench.link.now
        for at in range(now - 5_000, now + 1, 10):
            bench.proxy.overload.seen(400_000, 0, False, max(0, at))
        assert bench.proxy.overload.share == 1000

    def test_what_begins_is_refused_and_what_is_under_way_goes_on(self, bench):
        alice, bob = bench.phone("alice", "127.0.0.2"), bench.phone("bob", "127.0.0.3")
        one, _ = bench.call(alice, bob)
        ringing = alice.request("INVITE", bob.uri, call_id="c2")
        bench.run()
        invite = bob.take("INVITE")
        bob.answer(invite, 180)
        bench.run(10_000)
        assert alice.names() == ["100", "180"]
        self.overloaded(bench)
        refused = alice.request("INVITE", bob.uri, call_id="c3")
        bench.run()
        answer = alice.take("503")
        assert 10 <= int(answer.header("Retry-After")) <= 20
        alice.ack(refused, answer)
        bench.run()
        assert bob.received() == []
        # The call that rang is answered and acknowledged, the one that is up changes and ends.
        bob.answer(invite, 486)
        bench.run()
        alice.ack(ringing, alice.take("486"))
        one.send("INVITE")
        bench.run()
        bob.answer(bob.take("ACK", "INVITE"), 200)
        bench.run()
        one.send("BYE")
        bench.run()
        bob.answer(next(one for one in bob.received() if one.name == "BYE"), 200)
        bench.run()
        assert alice.names()[-1] == "200"
        assert bench.count("overload_refused") == 1

    def test_a_request_that_comes_again_is_answered_as_before(self, bench):
        """Half of all are refused: of no INVITE is one copy refused and the next one forwarded."""
        alice, bob = bench.phone("alice", "127.0.0.2"), bench.phone("bob", "127.0.0.3")
        bench.run(10_000)
        self.overloaded(bench)
        at = bench.link.now
        while bench.proxy.overload.share > 500:
            at += 10
            bench.proxy.overload.seen(0, 0, False, at)
        bench.run(at - bench.link.now)
        invites = [alice.request("INVITE", bob.uri, call_id=f"c{n}") for n in range(20)]
        bench.run(1)
        for invite in invites:
            alice.send(invite)
        bench.run(1)
        refused = Counter(one.message.call_id for one in alice.received() if one.name == "503")
        assert set(refused.values()) == {2}
        assert 0 < len(refused) < 20
        assert refused.keys().isdisjoint(one.message.call_id for one in bob.received())

    def test_options_is_answered_for_whoever_asks_whether_we_live(self, bench):
        alice, bob = bench.phone("alice", "127.0.0.2"), bench.phone("bob", "127.0.0.3")
        bench.run(10_000)
        self.overloaded(bench)
        alice.request("OPTIONS", bob.uri)
        bench.run()
        assert bob.names() == ["OPTIONS"]
