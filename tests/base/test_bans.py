"""Bans: how they are earned, how long they last, what they cost, and that the table is bounded."""
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipcore.base.bans import Bans

HOST, OTHER = "192.0.2.1", "192.0.2.2"


def bans(entries=64, **settings):
    return Bans(entries, key=b"0123456789abcdef", **({"strikes": 3, "window_ms": 1_000, "ban_ms": 10_000} | settings))


def test_strikes_within_the_window_earn_one():
    table = bans()
    assert [table.offend(HOST, now) for now in (5, 6, 7)] == [False, False, True]
    assert table.is_banned(HOST, 10_006)
    assert not table.is_banned(HOST, 10_007)
    assert not table.is_banned(OTHER, 8)
    assert table.all(8) == [(HOST, 10_007, 1)]
    assert table.all(10_007) == []
    assert table.earned == 1


def test_strikes_that_are_far_apart_do_not():
    table = bans()
    assert not any(table.offend(HOST, now) for now in range(0, 100_000, 501))


def test_the_next_one_is_twice_as_long_and_a_day_at_most():
    table, now, lengths = bans(ban_ms=10_000_000), 0, []
    for _ in range(6):
        while not table.offend(HOST, now):
            now += 1
        until = table.all(now)[0][1]
        lengths.append(until - now)
        now = until
    assert lengths == [10_000_000, 20_000_000, 40_000_000, 80_000_000, 86_400_000, 86_400_000]


def test_no_strikes_no_bans():
    table = bans(strikes=0)
    assert not any(table.offend(HOST, now) for now in range(100))


def test_what_is_sent_during_a_ban_does_not_make_it_longer():
    table = bans()
    for now in range(100):
        table.offend(HOST, now)
    assert table.all(50) == [(HOST, 10_002, 1)]


def test_it_can_be_lifted():
    table = bans()
    for now in range(3):
        table.offend(HOST, now)
    assert table.lift(HOST)
    assert not table.is_banned(HOST, 4)
    assert not table.lift(HOST)
    assert not table.lift(OTHER)
    # The strikes are forgotten, too.
    assert not table.offend(HOST, 5)


def test_it_can_be_given():
    table = bans()
    table.ban(HOST, 5_000, 0)
    assert table.is_banned(HOST, 4_999)
    assert table.banned == 1
    assert not table.is_banned(HOST, 5_000)


def test_an_ipv6_network_of_one_owner_is_one():
    table = bans()
    for number, now in enumerate((1, 2, 3), 1):
        table.offend(f"2001:db8::{number:x}", now)
    assert table.is_banned("2001:db8:0:0:ffff::1", 4)
    assert not table.is_banned("2001:db8:0:1::1", 4)
    assert table.all(4) == [("2001:db8::", 10_003, 1)]


def test_whoever_has_many_addresses_fills_a_bounded_table():
    table = bans(entries=64)
    for number in range(5_000):
        for now in range(3):
            table.offend(f"10.0.{number >> 8}.{number & 255}", number + now)
    assert len(table.all(5_000)) <= 64
    assert table.banned <= 64


def test_strikes_push_no_ban_out():
    table = bans(entries=64)
    table.ban(HOST, 10**9, 0)
    for number in range(5_000):
        table.offend(f"10.0.{number >> 8}.{number & 255}", number)
    assert table.is_banned(HOST, 5_000)


@pytest.mark.parametrize("entries", [0, 4, 12, 1 << 25])
def test_its_size_is_a_power_of_two(entries):
    with pytest.raises(ValueError, match="power of two"):
        Bans(entries)


HOSTS = st.sampled_from([f"192.0.2.{number}" for number in range(12)])


@given(st.lists(st.tuples(st.sampled_from(["offend", "ban", "lift"]), HOSTS, st.integers(0, 2_000)), max_size=80))
def test_its_count_is_right_whatever_happens(acts):
    table, now = bans(entries=8), 0
    for act, host, later in acts:
        now += later
        if act == "offend":
            assert table.offend(host, now) == table.is_banned(host, now)
        elif act == "ban":
            table.ban(host, now + 500, now)
            assert table.is_banned(host, now)
        else:
            table.lift(host)
            assert not table.is_banned(host, now)
        in_effect = table.all(now)
        assert len(in_effect) <= table.banned <= 8
        assert all(table.is_banned(one, now) for one, _, _ in in_effect)
