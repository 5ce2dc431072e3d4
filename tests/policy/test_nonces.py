"""Nonces that nobody keeps until they are used, each count once, in bounded memory; and wrong answers, counted."""
from hypothesis import given
from hypothesis import strategies as st

from proxy.policy.attempts import MOST, Attempts
from proxy.policy.nonces import WINDOW, Nonces

HOST = "192.0.2.1"


def test_a_nonce_is_good_for_its_realm_source_and_time():
    nonces, other = Nonces("a", 100, b"k" * 32), Nonces("b", 100, b"k" * 32)
    nonce = nonces.make(10_000, HOST)
    assert len(nonce) == 36
    assert nonces.good(nonce, 10_000, HOST, 5000)
    assert nonces.good(nonce, 15_000, HOST, 5000)
    assert not nonces.good(nonce, 15_001, HOST, 5000)
    assert not nonces.good(nonce, 5_000, HOST, 5000)
    assert not nonces.good(nonce, 10_000, "192.0.2.2", 5000)
    assert not other.good(nonce, 10_000, HOST, 5000)
    assert not Nonces("a", 100).good(nonce, 10_000, HOST, 5000)
    assert len(nonces) == 0


@given(st.text(max_size=60))
def test_any_other_text_is_no_nonce(text):
    assert not Nonces("a", 100).good(text, 0, HOST, 1 << 47)


def test_each_count_passes_once_and_may_come_late():
    nonces = Nonces("a", 100)
    nonce = nonces.make(0, HOST)
    assert [nonces.use(nonce, count, HOST) for count in (1, 1, 3, 2, 2, 0, 1 << 32)] == [
        True, False, True, True, False, False, False]
    assert nonces.use(nonce, 3 + WINDOW, HOST)
    assert not nonces.use(nonce, 3, HOST)
    assert nonces.use(nonce, 4, HOST)
    assert nonces.use(nonce, 0xFFFFFFFF, HOST)
    assert not any(nonces.use(nonce, count, HOST) for count in (1, 5, 100, 0xFFFFFFFF))
    assert len(nonces) == 1


@given(st.lists(st.integers(1, 200), max_size=100))
def test_no_count_ever_passes_twice(counts):
    nonces = Nonces("a", 100)
    nonce = nonces.make(0, HOST)
    passed = [count for count in counts if nonces.use(nonce, count, HOST)]
    assert len(set(passed)) == len(passed)


def test_what_is_forgotten_is_never_good_once_more():
    nonces = Nonces("a", 64)
    used = [nonces.make(at, HOST) for at in range(100)]
    unused = nonces.make(10, HOST)
    assert all(nonces.use(nonce, 1, HOST) for nonce in used)
    assert len(nonces) == 64
    assert not any(nonces.use(nonce, count, HOST) for nonce in used[:36] for count in (1, 2))
    assert not nonces.use(unused, 1, HOST)
    assert nonces.use(used[-1], 2, HOST)
    nonces.resize(10)
    assert len(nonces) == 10
    assert not nonces.use(used[80], 2, HOST)


def test_wrong_answers_come_back_with_time():
    attempts = Attempts(3, 6)
    for _ in range(3):
        assert not attempts.blocked(HOST, 1000)
        attempts.fail(HOST, 1000)
    assert attempts.blocked(HOST, 1000)
    assert attempts.blocked(HOST, 10_999)
    assert not attempts.blocked(HOST, 11_000)
    assert not attempts.blocked("192.0.2.2", 1000)


def test_a_network_of_one_owner_is_one_source():
    attempts = Attempts(1, 1)
    attempts.fail("2001:db8::1", 0)
    assert attempts.blocked("2001:db8:0:0:ffff::2", 0)
    assert not attempts.blocked("2001:db8:0:1::1", 0)


def test_sources_are_bounded():
    attempts = Attempts(1, 1)
    for number in range(MOST + 10):
        attempts.fail(f"10.0.{number >> 8}.{number & 255}", 0)
    assert not attempts.blocked("10.0.0.0", 0)
    assert attempts.blocked("10.0.0.10", 0)
