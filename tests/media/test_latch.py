"""Learning: each row of the table in latch.pyx, before, during and after the window."""
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipcore.media.latch import LatchProbe

OFF, SIGNALLED_FIRST, ANY = 0, 1, 2
SIGNALLED, OTHER_PORT = ("192.0.2.10", 5004), ("192.0.2.10", 6004)
SIGNALLING, STRANGER = ("198.51.100.7", 5004), ("203.0.113.9", 5004)
RANKED = [STRANGER, SIGNALLING, OTHER_PORT, SIGNALLED]
WINDOW = 10_000_000
LEAST = {OFF: 3, SIGNALLED_FIRST: 1, ANY: 0}


def latch(learning: int = SIGNALLED_FIRST, **how: bool) -> LatchProbe:
    made = LatchProbe()
    made.aim(SIGNALLED, ("198.51.100.7", 5060), learning=learning, learn=WINDOW, **how)
    return made


@pytest.mark.parametrize("learning", LEAST)
@pytest.mark.parametrize("rank", range(4))
def test_nobody_gets_in_before_media_is_allowed(learning: int, rank: int) -> None:
    early = latch(learning, active=False)
    assert early.admit(RANKED[rank]) == "early"
    assert early.target == SIGNALLED


@pytest.mark.parametrize("learning", LEAST)
@pytest.mark.parametrize("rank", range(4))
@pytest.mark.parametrize(("now", "open_to"), [(0, LEAST), (WINDOW - 1, LEAST), (WINDOW, {}), (WINDOW * 9, {})])
def test_who_may_be_first(learning: int, rank: int, now: int, open_to: dict[int, int]) -> None:
    first = latch(learning)
    taken = rank >= open_to.get(learning, 3)
    assert first.admit(RANKED[rank], now=now) == ("latched" if taken else "wrong")
    assert first.target == (RANKED[rank] if taken else SIGNALLED)
    if taken:
        assert first.admit(RANKED[rank], now=now + WINDOW * 5) == "known"
        assert first.rank == rank


@pytest.mark.parametrize("learning", LEAST)
@pytest.mark.parametrize("have", range(4))
@pytest.mark.parametrize("comes", range(4))
@pytest.mark.parametrize("now", [1, WINDOW])
def test_only_a_better_one_takes_over_and_only_while_learning(learning: int, have: int, comes: int, now: int) -> None:
    taken = latch(learning)
    if taken.admit(RANKED[have]) != "latched":
        return
    if have == comes:
        other = (RANKED[have][0], 7004)     # its host and another port: as good, or (for the signalled one) worse
        assert taken.admit(other, ssrc=2, now=now) == "wrong"
    else:
        assert taken.admit(RANKED[comes], ssrc=2, now=now) == ("latched" if comes > have and now < WINDOW else "wrong")


@pytest.mark.parametrize("learning", LEAST)
@pytest.mark.parametrize(
    ("ssrc", "silent_us", "host", "let_in"),
    [
        (1, 500_000, SIGNALLED[0], True),
        (1, 499_999, SIGNALLED[0], False),
        (2, 500_000, SIGNALLED[0], False),
        (1, 500_000, SIGNALLING[0], False),
        (1, 500_000, STRANGER[0], False),
    ],
)
def test_rebinding(learning: int, ssrc: int, silent_us: int, host: str, let_in: bool) -> None:
    bound = latch(learning)
    bound.admit(SIGNALLED, ssrc=1, now=0)
    heard = WINDOW * 2
    assert bound.admit(SIGNALLED, ssrc=1, now=heard) == "known"
    moved = (host, 9000)
    let_in = let_in and learning != OFF
    assert bound.admit(moved, ssrc=ssrc, now=heard + silent_us) == ("latched" if let_in else "wrong")
    # Afterwards the old port is the stranger.
    assert bound.admit(SIGNALLED, ssrc=1, now=heard + silent_us + 1) == ("wrong" if let_in else "known")


def test_ssrc_of_the_last_packet_counts() -> None:
    changed = latch()
    changed.admit(SIGNALLED, ssrc=1)
    changed.admit(SIGNALLED, ssrc=2, now=1)
    assert changed.admit(OTHER_PORT, ssrc=1, now=WINDOW * 2) == "wrong"
    assert changed.admit(OTHER_PORT, ssrc=2, now=WINDOW * 2) == "latched"


def test_moved_media_forgets_and_learns_again() -> None:
    moved = latch()
    moved.admit(SIGNALLED)
    there = ("192.0.2.99", 7000)
    later = WINDOW * 3
    moved.aim(there, moved=True, active=False, now=later, learn=WINDOW)
    assert moved.target == there
    assert moved.admit(there, now=later) == "early"
    moved.aim(there, now=later + 5, learn=WINDOW)
    assert moved.admit(SIGNALLED, now=later + 6) == "wrong"
    assert moved.admit(("192.0.2.99", 7777), now=later + 6) == "latched"
    assert moved.admit(there, now=later + 7) == "latched"


def test_same_aim_again_opens_no_new_window() -> None:
    again = latch()
    again.aim(SIGNALLED, now=WINDOW - 1, learn=WINDOW)
    assert again.admit(OTHER_PORT, now=WINDOW) == "wrong"


def test_without_a_signalled_address() -> None:
    unknown = LatchProbe()
    unknown.aim(None, None, learning=ANY, learn=WINDOW)
    assert unknown.target is None
    assert unknown.admit(STRANGER, now=WINDOW) == "wrong"
    unknown.aim(None, SIGNALLING, learning=ANY, moved=True, learn=WINDOW)
    assert unknown.admit(STRANGER) == "latched"
    assert unknown.admit(SIGNALLING) == "latched"
    assert unknown.target == SIGNALLING


@given(
    st.sampled_from([OFF, SIGNALLED_FIRST]),
    st.lists(st.tuples(st.sampled_from([STRANGER, ("192.0.2.11", 5004), ("2001:db8::1", 5004)]),
                       st.integers(0, 3), st.integers(0, 2_000_000))),
)
def test_a_stranger_never_gets_in(learning: int, packets: list[tuple[tuple[str, int], int, int]]) -> None:
    safe, now = latch(learning), 0
    for source, ssrc, step in packets:
        now += step
        assert safe.admit(source, ssrc=ssrc, now=now) == "wrong"
    assert safe.target == SIGNALLED
    assert safe.admit(SIGNALLED, now=now) == "latched"
