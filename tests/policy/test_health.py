"""The state machine of a target: every event in every state, its thresholds, slow start, and any sequence at all."""
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.config import Health
from proxy.policy.health import STEPS, TABLE, WINDOW_MS, Change, Event, State, Target
from proxy.policy.members import FULL

UP, DEGRADED, DOWN, DRAINING = State.UP, State.DEGRADED, State.DOWN, State.DRAINING
PROBED = Health(probe_interval=10.0)


def target_in(state: State, settings: Health = PROBED) -> Target:
    """A target that came into a state at 0 by what brings one there."""
    target = Target(settings, -100_000)
    if state is DRAINING:
        target.drain(0)
    else:
        for _ in range({UP: 0, DEGRADED: settings.degraded_after, DOWN: settings.down_after}[state]):
            target.failed(0, "timeout")
    assert target.state is state
    return target


# What each event does in each state, said once more and in other words than the table's.
EXPECTED = {
    UP: {Event.DOUBTED: DEGRADED, Event.LOST: DOWN, Event.ASKED: DOWN, Event.DRAIN: DRAINING},
    DEGRADED: {Event.PROVEN: UP, Event.LOST: DOWN, Event.ASKED: DOWN, Event.DRAIN: DRAINING},
    DOWN: {Event.PROVEN: UP, Event.WAITED: DEGRADED, Event.DRAIN: DRAINING},
    DRAINING: {Event.RESUME: UP},
}


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("event", Event)
def test_every_event_in_every_state(state, event):
    assert TABLE[state, event] is EXPECTED[state].get(event, state)


def test_the_table_has_no_hole():
    assert set(TABLE) == {(state, event) for state in State for event in Event}


@pytest.mark.parametrize("state", [UP, DEGRADED, DOWN])
@pytest.mark.parametrize("act", ["answered", "failed", "drain", "resume", "advance"])
def test_what_happens_in_every_state(state, act):
    """One of each, on its own: below the thresholds nothing but draining changes anything."""
    target = target_in(state)
    change = target.failed(1, "503") if act == "failed" else getattr(target, act)(1)
    if act == "drain":
        assert change == Change(state, DRAINING, "asked for")
    else:
        assert change is None
        assert target.state is state


def test_failures_in_a_row_degrade_and_then_lose_it():
    target = Target(PROBED, 0)
    states = []
    for number in range(5):
        target.failed(number, "503")
        states.append(target.state)
    assert states == [UP, DEGRADED, DEGRADED, DOWN, DOWN]
    assert target.last_failure == "503"


def test_an_answer_between_failures_begins_the_row_anew():
    target = Target(PROBED, 0)
    for number in range(50):
        assert target.failed(number, "timeout") is None
        assert target.answered(number) is None
    assert target.state is UP
    assert not target.suspect


def test_a_change_says_why():
    target = Target(PROBED, 0)
    target.failed(0, "timeout")
    assert target.failed(1, "unreachable") == Change(UP, DEGRADED, "2 failures in a row, the last one: unreachable")
    target.answered(WINDOW_MS)
    assert target.answered(WINDOW_MS + 1) == Change(DEGRADED, UP, "2 answers in a row")


def test_a_degraded_target_is_up_again_only_after_a_calm_time():
    target = target_in(DEGRADED)
    for now in range(1, WINDOW_MS, 100):
        assert target.answered(now) is None
    assert target.answered(WINDOW_MS) is not None
    assert target.share(WINDOW_MS) == FULL


def test_a_share_of_failing_calls_degrades_without_two_in_a_row():
    target = Target(PROBED, 0)
    begun = 0
    changes = []
    for number in range(20):
        begun += 3
        changes.append(target.failed(number * 100, "timeout", begun))
        target.answered(number * 100 + 1)
    assert changes[4] == Change(UP, DEGRADED, "5 of 13 calls failed, the last one: timeout")
    assert not any(changes[:4])


def test_a_small_share_does_not():
    target = Target(PROBED, 0)
    for number in range(200):
        target.failed(number * 100, "timeout", (number + 1) * 10)
        target.answered(number * 100 + 1)
    assert target.state is UP


def test_a_lost_target_comes_back_and_gets_its_weight_step_by_step():
    target = target_in(DOWN)
    assert target.share(5) == 0
    target.answered(100_000)
    assert target.answered(100_500) == Change(DOWN, UP, "2 answers in a row")
    shares, now = [], 100_500
    while (due := target.due(now)) is not None:
        shares.append(target.share(now))
        assert now < due <= now + 20_000 // STEPS
        now = due
        target.advance(now)
    assert now == 120_500
    assert shares == [FULL * step // STEPS for step in range(1, STEPS + 1)]
    assert target.share(now) == FULL


def test_without_a_slow_start_it_gets_all_at_once():
    target = target_in(DOWN, Health(probe_interval=1.0, slow_start=0.0))
    target.answered(1)
    target.answered(2)
    assert target.share(2) == FULL
    assert target.due(2) is None


def test_what_nobody_probes_is_tried_again_after_a_while():
    target = target_in(DOWN, Health(retry_after=15.0, degraded_weight=0.5, slow_start=10.0))
    assert target.due(0) == 15_000
    assert target.advance(14_999) is None
    assert target.advance(15_000) == Change(DOWN, DEGRADED, "tried again")
    assert target.share(15_000) == FULL // STEPS // 2
    # One failure is enough now,
    assert target.failed(15_100, "timeout") is not None
    assert target.state is DOWN
    # and one answer is not.
    target.advance(30_100)
    target.answered(30_200)
    target.answered(30_300)
    assert target.state is UP
    assert target.share(30_300) not in (None, 0, FULL)


def test_what_is_probed_is_not():
    assert target_in(DOWN).due(0) is None


def test_a_draining_target_gets_nothing_whatever_it_answers():
    target = target_in(DRAINING)
    assert target.share(0) is None
    for now in range(20):
        assert target.answered(now) is None
        assert target.failed(now, "timeout") is None
        assert target.share(now) is None
    assert target.resume(100) == Change(DRAINING, UP, "asked for")
    assert target.share(100) == FULL // STEPS


def test_what_failed_while_it_drained_is_found_out_soon():
    target = target_in(DRAINING)
    for now in range(20):
        target.failed(now, "timeout")
    target.resume(100)
    target.failed(101, "timeout")
    assert target.state is DEGRADED


ACTS = st.lists(st.tuples(st.sampled_from(["answered", "failed", "advance", "drain", "resume"]),
                          st.integers(0, 20_000)), max_size=80)
SETTINGS = st.builds(
    Health, probe_interval=st.sampled_from([0.0, 5.0]), degraded_after=st.integers(1, 5), down_after=st.integers(1, 6),
    up_after=st.integers(1, 4), degraded_share=st.sampled_from([0.0, 0.3, 1.0]),
    retry_after=st.sampled_from([0.1, 9.0]), slow_start=st.sampled_from([0.0, 0.003, 7.0]),
    degraded_weight=st.sampled_from([0.0, 0.5, 1.0]))


@given(settings=SETTINGS, acts=ACTS)
def test_any_sequence_of_anything(settings, acts):
    """Whatever happens: states follow the table's ways, shares stay in bounds, what is due lies ahead, and an answered
    target is never further down than before."""
    target, now, begun = Target(settings, 0), 0, 0
    seen = [target.state]
    for act, later in acts:
        now += later
        was = target.state
        if act == "failed":
            begun += 1
            change = target.failed(now, "timeout", begun)
        else:
            change = getattr(target, act)(now)
        assert (change is None) == (target.state is was)
        if change is not None:
            assert (change.was, change.now) == (was, target.state)
            assert target.since == now
        if act == "answered":
            assert target.state is was or target.state is UP
        if act == "failed" and was is not DRAINING and target.failures >= settings.down_after:
            assert target.state is DOWN
        share = target.share(now)
        assert (share is None) == (target.state is DRAINING)
        assert share is None or 0 <= share <= FULL
        assert target.state is not DOWN or share == 0
        due = target.due(now)
        if due is not None and act == "advance":
            assert due > now
        seen.append(target.state)
    ways = {(one, other) for one, other in pairwise(seen) if one is not other}
    assert ways <= {(state, then) for (state, _), then in TABLE.items()}


@given(settings=SETTINGS, acts=ACTS)
def test_a_target_that_answers_again_is_up_in_the_end(settings, acts):
    target, now = Target(settings, 0), 0
    for act, later in acts:
        now += later
        if act == "failed":
            target.failed(now, "timeout")
        elif act != "drain":
            getattr(target, act)(now)
    for _ in range(settings.up_after + 1):
        now += WINDOW_MS
        target.advance(now)
        target.answered(now)
    assert target.state is UP
    target.advance(now + 60_000)
    assert target.share(now + 60_000) == FULL


@pytest.mark.parametrize("settings", [PROBED, Health()], ids=["probed", "not probed"])
def test_a_pause_is_kept_whatever_it_answers_meanwhile(settings):
    target = Target(settings, 0)
    assert target.failed(1000, "503", pause=20) == Change(UP, DOWN, "it wants no calls for 20 s: 503")
    # Not even where no other target is left.
    assert target.share(1000) is None
    for now in range(2000, 21_000, 1000):
        assert target.answered(now) is None
        assert target.advance(now) is None
    assert target.due(20_999) == 21_000
    assert target.advance(21_000) == Change(DOWN, DEGRADED, "tried again")
    assert target.share(21_000) is not None
    # One failure more loses it, as one that came back without probes.
    assert target.failed(21_002, "503") is not None
    assert target.state is DOWN
    assert target.share(21_002) == 0


def test_a_pause_is_bounded_may_be_made_longer_and_means_nothing_to_who_takes_none():
    target = Target(Health(longest_pause=30.0), 0)
    assert target.failed(0, "503", pause=86_400) == Change(UP, DOWN, "it wants no calls for 30 s: 503")
    assert target.due(0) == 30_000
    assert target.failed(10_000, "503", pause=5) is None
    assert target.due(10_000) == 30_000
    assert target.failed(20_000, "503", pause=15) is None
    assert target.due(20_000) == 35_000
    assert target.advance(34_999) is None
    assert target.advance(35_000) == Change(DOWN, DEGRADED, "tried again")
    stubborn = Target(Health(longest_pause=0.0), 0)
    assert stubborn.failed(0, "503", pause=20) is None
    assert (stubborn.state, stubborn.share(0)) == (UP, FULL)


def test_an_operator_goes_before_a_pause():
    target = Target(PROBED, 0)
    target.failed(0, "503", pause=20)
    assert target.drain(1) == Change(DOWN, DRAINING, "asked for")
    assert target.failed(2, "503", pause=20) is None
    assert target.resume(3) == Change(DRAINING, UP, "asked for")
    assert target.share(100_000) == FULL
