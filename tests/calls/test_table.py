"""The table of transfers: total, pure, and every way through it ends in exactly one terminal state."""
from itertools import product
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.calls.table import TABLE, Action, Event, Status, advance, start
from proxy.events import TERMINAL, Mode, TransferState

STATES: list[TransferState] = [state for state in get_args(TransferState) if state not in TERMINAL]
CHOICES: dict[Mode, tuple[str, ...]] = {
    "blind": ("end", "return", "bridge", "next"), "warm": ("end", "return", "next"), "attended": ("return",)}
SHAPES = [
    start(mode, on_failure, targets, whisper=whisper, key=key, agent=agent)
    for mode, choices in CHOICES.items()
    for on_failure in choices
    for targets in ((1, 3) if on_failure == "next" else (1,))
    for whisper, key in (((False, False), (True, False), (True, True)) if mode == "warm" else ((False, False),))
    for agent in (True, False)
]


def play(status, events):
    """Status and all actions, with the states on the way."""
    done: list[Any] = []
    states = [status.state]
    for event in events:
        status, actions = advance(status, event)
        done += actions
        if states[-1] != status.state:
            states.append(status.state)
    return status, done, states


def reachable(status):
    """Every Status that any sequence of events leads to."""
    seen, waiting = {status}, [status]
    while waiting:
        one = waiting.pop()
        for event in Event:
            after, _ = advance(one, event)
            if after not in seen:
                seen.add(after)
                waiting.append(after)
    return seen


def test_every_event_has_a_row_in_every_state():
    assert list(TABLE) == STATES
    for state, event in product(STATES, Event):
        for shape in SHAPES:
            after, actions = advance(shape._replace(state=state), event)
            assert after.state in (*STATES, *TERMINAL)
            assert all(isinstance(action, Action) for action in actions)


@pytest.mark.parametrize("state", sorted(TERMINAL))
def test_a_terminal_state_takes_nothing(state):
    for shape, event in product(SHAPES, Event):
        status = shape._replace(state=state)
        assert advance(status, event) == (status, ())


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_each_way_is_bounded_and_tells_its_end_once(shape):
    """All reachable statuses (so: all sequences of any length), with the number of targets bounding any circle."""
    for status in reachable(shape):
        if status.terminal:
            continue
        after, actions = advance(status, Event.DEADLINE)
        assert after.terminal, (status, after)
        assert actions.count(Action.FINISH) == 1
        for event in Event:
            after, actions = advance(status, event)
            assert (actions.count(Action.FINISH) == 1) is after.terminal, (status, event)
            assert after.left <= status.left
            # Back to an earlier state only by using up a target, or the one switch from REFER to INVITE.
            if after.state in STATES and STATES.index(after.state) < STATES.index(status.state):
                assert after.left < status.left


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_a_202_is_never_success(shape):
    for status in reachable(shape):
        after, _ = advance(status, Event.REFER_ACCEPTED)
        assert after.state != "completed" or status.state == "completed"
        if status.state in ("referring", "accepted"):
            for event in Event:
                if advance(status, event)[0].state == "completed":
                    assert event is Event.NOTIFY_OK


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_only_the_final_notify_or_the_bridge_completes(shape):
    for status, event in product(reachable(shape), Event):
        if not status.terminal and advance(status, event)[0].state == "completed":
            assert event in (Event.NOTIFY_OK, Event.BRIDGED)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_nobody_is_left_alone(shape):
    """After the end of it a caller who is there is with the agent, with the target, or hung up on."""
    for status, event in product(reachable(shape), Event):
        after, actions = advance(status, event)
        if status.terminal or not after.terminal:
            continue
        if after.state == "completed":
            assert Action.END_AGENT in actions
        elif after.agent and after.caller and Action.END_CALLER not in actions:
            assert Action.RETURN in actions
        else:
            assert Action.END_CALLER in actions
            assert Action.END_AGENT in actions
        finish = actions.index(Action.FINISH)
        assert all(actions.index(end) > finish for end in (Action.END_CALLER, Action.END_AGENT) if end in actions)


@pytest.mark.parametrize("shape", [shape for shape in SHAPES if shape.mode != "attended"], ids=str)
def test_a_called_target_is_let_go_on_every_way_but_success(shape):
    called = {"inviting", "ringing", "whispering", "bridging"}
    for status, event in product(reachable(shape), Event):
        after, actions = advance(status, event)
        if status.state in called and after.state not in (*called, "completed"):
            assert Action.DROP in actions, (status, event)
        if Action.INVITE in actions and status.state in called:
            assert actions.index(Action.DROP) < actions.index(Action.INVITE)


def test_all_sequences_of_four_events_of_a_blind_transfer():
    """Spelled out rather than by reachability: in each, at most one FINISH, and nothing after it."""
    interesting = [Event.PREPARED, Event.REFER_ACCEPTED, Event.REFER_REFUSED, Event.NOTIFY_OK, Event.NOTIFY_FAILED,
                   Event.NOTIFY_NONE, Event.CALLER_GONE, Event.AGENT_GONE, Event.CANCEL, Event.DEADLINE]
    for on_failure in ("end", "return", "bridge", "next"):
        for events in product(interesting, repeat=4):
            status, done, states = play(start("blind", on_failure, 2), events)
            assert done.count(Action.FINISH) == status.terminal
            assert sum(state in TERMINAL for state in states) == status.terminal


@given(st.sampled_from(SHAPES), st.lists(st.sampled_from(Event), max_size=40))
@settings(max_examples=300, deadline=None)
def test_any_sequence_with_a_deadline_ends_in_one_terminal_state(shape, events):
    status, done, states = play(shape, [*events, Event.DEADLINE])
    assert status.terminal
    assert done.count(Action.FINISH) == 1
    assert [state in TERMINAL for state in states].count(True) == 1


# --- the ways that transfers.md section 5 describes


def ends(shape, *events):
    status, done, _ = play(shape, events)
    return status.state, status.fell_back, done


def test_blind_by_default_ends_the_call_on_failure():
    shape = start("blind", "", 1)
    for event in (Event.REFER_REFUSED, Event.NOTIFY_FAILED):
        state, fell_back, done = ends(shape, Event.PREPARED, event)
        assert (state, fell_back) == ("failed", "end")
        assert done == [Action.REFER, Action.FINISH, Action.END_CALLER, Action.END_AGENT]


def test_blind_with_a_net_returns_to_the_agent():
    state, fell_back, done = ends(start("blind", "return", 1), Event.PREPARED, Event.REFER_ACCEPTED,
                                  Event.NOTIFY_FAILED)
    assert (state, fell_back) == ("failed", "return")
    assert done == [Action.REFER, Action.RETURN, Action.FINISH]


def test_blind_with_a_bridge_invites_where_refer_failed_and_then_returns():
    shape = start("blind", "bridge", 1)
    state, fell_back, done = ends(shape, Event.PREPARED, Event.REFER_REFUSED, Event.TARGET_ANSWERED, Event.BRIDGED)
    assert (state, fell_back) == ("completed", "bridge")
    assert done == [Action.REFER, Action.INVITE, Action.BRIDGE, Action.FINISH, Action.END_AGENT]
    state, fell_back, done = ends(shape, Event.PREPARED, Event.REFER_REFUSED, Event.TARGET_FAILED)
    assert (state, fell_back, done[-3:]) == ("failed", "return", [Action.DROP, Action.RETURN, Action.FINISH])


def test_blind_goes_through_the_list_and_then_back():
    state, fell_back, done = ends(start("blind", "next", 2), Event.PREPARED, Event.NOTIFY_FAILED, Event.REFER_REFUSED)
    assert (state, fell_back) == ("failed", "return")
    assert done == [Action.REFER, Action.NEXT, Action.REFER, Action.RETURN, Action.FINISH]


def test_warm_goes_through_the_list_and_never_touches_the_agent_on_failure():
    state, fell_back, done = ends(start("warm", "next", 2), Event.PREPARED, Event.TARGET_FAILED, Event.RING_TIMEOUT)
    assert (state, fell_back) == ("failed", "return")
    assert done == [Action.INVITE, Action.DROP, Action.NEXT, Action.INVITE, Action.DROP, Action.RETURN, Action.FINISH]


def test_warm_whispers_waits_for_the_key_and_bridges():
    shape = start("warm", "", 1, whisper=True, key=True)
    state, _, done = ends(shape, Event.PREPARED, Event.TARGET_RINGING, Event.TARGET_ANSWERED, Event.WHISPER_DONE,
                          Event.KEY_ACCEPT, Event.BRIDGED)
    assert state == "completed"
    assert done == [Action.INVITE, Action.WHISPER, Action.AWAIT_KEY, Action.BRIDGE, Action.FINISH, Action.END_AGENT]


@pytest.mark.parametrize("event", [Event.KEY_DECLINE, Event.KEY_TIMEOUT, Event.TARGET_GONE])
def test_a_target_that_declines_or_hangs_up_returns_the_caller(event):
    shape = start("warm", "", 1, whisper=True, key=True)
    state, fell_back, done = ends(shape, Event.PREPARED, Event.TARGET_ANSWERED, Event.WHISPER_DONE, event)
    assert (state, fell_back) == ("failed", "return")
    assert done[-3:] == [Action.DROP, Action.RETURN, Action.FINISH]


@pytest.mark.parametrize("way", [[], [Event.TARGET_RINGING], [Event.TARGET_ANSWERED],
                                 [Event.TARGET_ANSWERED, Event.WHISPER_DONE]])
def test_the_caller_hanging_up_lets_the_target_go(way):
    shape = start("warm", "next", 3, whisper=True)
    state, _, done = ends(shape, Event.PREPARED, *way, Event.CALLER_GONE)
    assert state == "cancelled"
    assert done[-4:] == [Action.DROP, Action.FINISH, Action.END_CALLER, Action.END_AGENT]


def test_the_callers_bye_while_referred_waits_shortly_and_is_then_unknown():
    shape = start("blind", "return", 1)
    begun = (Event.PREPARED, Event.REFER_ACCEPTED, Event.CALLER_GONE)
    assert ends(shape, *begun)[0] == "accepted"
    assert ends(shape, *begun)[2][-1] == Action.AWAIT_NOTIFY
    assert ends(shape, *begun, Event.NOTIFY_NONE)[0] == "unknown"
    assert ends(shape, *begun, Event.NOTIFY_OK)[0] == "completed"
    assert ends(shape, *begun, Event.NOTIFY_FAILED)[:2] == ("failed", "end")


@pytest.mark.parametrize("on_failure", ["end", "return", "bridge", "next"])
def test_the_agents_bye_right_after_202_changes_nothing_but_where_a_failure_leads(on_failure):
    shape = start("blind", on_failure, 1)
    gone = (Event.AGENT_GONE, Event.PREPARED, Event.REFER_ACCEPTED)
    assert ends(shape, *gone, Event.NOTIFY_OK)[0] == "completed"
    state, fell_back, done = ends(shape, *gone, Event.NOTIFY_FAILED)
    if on_failure == "bridge":
        assert (state, fell_back) == ("inviting", "bridge")
    else:
        assert (state, fell_back) == ("failed", "end")
        assert Action.END_CALLER in done
    assert Action.HOLD in done


def test_a_refer_cannot_be_cancelled_and_a_ringing_target_can():
    assert ends(start("blind", "", 1), Event.PREPARED, Event.CANCEL)[0] == "referring"
    state, _, done = ends(start("warm", "", 1), Event.PREPARED, Event.CANCEL)
    assert (state, done[-3:]) == ("cancelled", [Action.DROP, Action.RETURN, Action.FINISH])


def test_what_cannot_be_prepared_leaves_the_call_as_it_was():
    modes: list[Mode] = ["blind", "warm"]
    for mode in modes:
        state, fell_back, done = ends(start(mode, "end", 1), Event.PREPARE_FAILED)
        assert (state, fell_back, done) == ("failed", "return", [Action.RETURN, Action.FINISH])


def test_status_is_a_value():
    shape = start("warm", "next", 2)
    advance(shape, Event.PREPARED)
    assert shape == Status("warm", "next", 1)
