"""Token buckets against exact arithmetic, and the limiter by source under floods."""
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipcore.base.bucket import RateBucket, SourceLimiter

NEVER = (1 << 64) - 1
KEY = bytes(range(16))


@given(st.integers(0, 5000), st.integers(0, 50), st.lists(st.one_of(st.integers(0, 40), st.integers(0, 10_000))))
def test_exact_against_fractions(rate: int, burst: int, steps: list[int]) -> None:
    bucket, limiter = RateBucket(rate, burst), SourceLimiter(rate, burst, 8, KEY)
    tokens, now = Fraction(burst), 0
    for step in steps:
        now += step
        tokens = min(tokens + Fraction(step * rate, 1000), Fraction(burst))
        allowed = tokens >= 1
        assert bucket.allow(now) == allowed
        assert limiter.allow("192.0.2.1", now) == allowed
        tokens -= allowed


def test_never_more_than_burst_plus_rate() -> None:
    bucket = RateBucket(100, 10)
    allowed = [now for now in range(10_000) for _ in range(3) if bucket.allow(now)]
    for start in range(0, 10_000, 500):
        assert sum(start <= now < start + 500 for now in allowed) <= 10 + 50
    assert len(allowed) == 10 + 999


@pytest.mark.parametrize("first", [0, 1, 1 << 40, NEVER])
def test_begins_full(first: int) -> None:
    bucket = RateBucket(1, 3)
    assert [bucket.allow(first) for _ in range(4)] == [True, True, True, False]


def test_time_that_goes_back_gives_nothing_and_takes_nothing() -> None:
    bucket, limiter = RateBucket(1, 1), SourceLimiter(1, 1)
    for now, allowed in ((10_000, True), (5000, False), (10_999, False), (11_000, True)):
        assert bucket.allow(now) == allowed
        assert limiter.allow("192.0.2.1", now) == allowed


def test_a_long_time_fills_it_and_no_more() -> None:
    bucket = RateBucket((1 << 32) - 1, 2)
    for now in (0, NEVER - 1, NEVER):
        assert [bucket.allow(now) for _ in range(2)] == [True, True]
    assert not bucket.allow(NEVER)


@pytest.mark.parametrize("rate", [0, 1, 1000])
def test_burst_zero_refuses_everything(rate: int) -> None:
    bucket, limiter = RateBucket(rate, 0), SourceLimiter(rate, 0)
    assert not any(bucket.allow(now) or limiter.allow("192.0.2.1", now) for now in range(0, 100_000, 5000))
    assert limiter.refused == 20


def test_sources_do_not_share() -> None:
    limiter = SourceLimiter(1, 1, 1024)
    assert all(limiter.allow(f"192.0.2.{i}", 5) for i in range(100))
    assert not any(limiter.allow(f"192.0.2.{i}", 5) for i in range(100))
    assert limiter.refused == 100


def test_ipv6_counts_by_64_and_apart_from_ipv4() -> None:
    limiter = SourceLimiter(1, 1)
    assert limiter.allow("2001:db8:0:1::1", 0)
    assert not limiter.allow("2001:db8:0:1:ffff::2", 0)
    assert limiter.allow("2001:db8:0:2::1", 0)
    assert limiter.allow("c000:201::", 0)  # its first four bytes are those of 192.0.2.1
    assert limiter.allow("192.0.2.1", 0)
    assert not limiter.allow("::ffff:192.0.2.1", 0)


def test_a_flood_of_sources_softens_the_limit_and_refuses_nobody_else() -> None:
    """Many more sources than entries: the peer may be forgotten (a fresh burst), and is never refused for it."""
    limiter = SourceLimiter(10, 5, 64, KEY)
    refused = 0
    for second in range(20):
        for i in range(2000):
            limiter.allow(f"10.{second}.{i // 256}.{i % 256}", second * 1000 + i // 2)
        refused += not limiter.allow("192.0.2.1", second * 1000 + 999)
    assert refused == 0
    assert limiter.evicted > 30_000


def test_the_least_recently_used_source_makes_room() -> None:
    limiter = SourceLimiter(1, 1, 8, KEY)  # one set
    for i in range(8):
        assert limiter.allow(f"192.0.2.{i}", 10 + i)
    assert not limiter.allow("192.0.2.0", 20)  # a refused source stays
    assert limiter.allow("192.0.2.8", 21)  # in place of .1
    assert limiter.evicted == 1
    assert not any(limiter.allow(f"192.0.2.{i}", 22) for i in (0, 2, 3, 4, 5, 6, 7, 8))
    assert limiter.allow("192.0.2.1", 23)


def test_a_source_that_is_full_again_is_forgotten_without_a_count() -> None:
    limiter = SourceLimiter(1, 1, 8, KEY)
    for i in range(16):
        assert limiter.allow(f"192.0.2.{i}", i * 1000)
    assert limiter.evicted == 0


def test_a_peer_whose_address_was_spoofed_recovers_at_its_rate() -> None:
    limiter = SourceLimiter(10, 20)
    for i in range(10_000):
        limiter.allow("192.0.2.1", i // 10)
    assert [limiter.allow("192.0.2.1", 999 + 100 * i) for i in range(1, 30)] == [True] * 29


@pytest.mark.parametrize(
    ("rate", "burst", "entries", "key", "expected"),
    [
        (-1, 1, 64, KEY, "rate"), (1 << 32, 1, 64, KEY, "rate"), (1, -1, 64, KEY, "burst"),
        (1, 4294968, 64, KEY, "burst"), (1, 1, 4, KEY, "power of two"), (1, 1, 100, KEY, "power of two"),
        (1, 1, 64, b"short", "16 bytes"),
    ],
)
def test_impossible_limits_are_refused(rate: int, burst: int, entries: int, key: bytes, expected: str) -> None:
    with pytest.raises(ValueError, match=expected):
        SourceLimiter(rate, burst, entries, key)


def test_the_largest_burst_fits() -> None:
    limiter = SourceLimiter(0, 4294967)
    assert limiter.allow("192.0.2.1", 0)
    assert limiter.allow("192.0.2.1", 0)
