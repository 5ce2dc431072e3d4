"""The whole life of a transfer as one table: what each event does in each state, and who is hung up on, when.

Pure and total: `advance` is a function of the Status and the event alone, and TABLE has a row for every event in every
state that is not terminal (a terminal one takes nothing any more). Actions are names; proxy.calls.transfer does them.

  state        entered when                        left, at the latest, by
  preparing    somebody asked for the transfer     DEADLINE
  referring    REFER was sent (blind)              NOTIFY_NONE, DEADLINE
  accepted     a 2xx to REFER came: no outcome     NOTIFY_NONE, DEADLINE
  inviting     INVITE to the target was sent       RING_TIMEOUT, DEADLINE
  ringing      the target rings                    RING_TIMEOUT, DEADLINE
  whispering   it answered and hears the whisper   KEY_TIMEOUT, DEADLINE
  bridging     caller and target are joined        DEADLINE

Who hangs up when:
  caller   nothing is left to transfer: `cancelled`, the target is let go, then the agent. While a REFER of ours is
           with the caller's server its BYE says nothing about the outcome: a NOTIFY may still come within a short time;
           without one the outcome is `unknown` (RFC 5057 keeps the subscription after the BYE).
  agent    legal at any moment, also right after 202: the transfer goes on without it, the caller hears the hold sound.
           Nobody is left to return to then, so a failure ends the caller's call.
  target   before the bridge: a failure like any other, judged by `on_failure`.
"""
from collections.abc import Callable
from enum import Enum
from typing import NamedTuple

from proxy.events import TERMINAL, Mode, TransferState


class Event(Enum):
    """What can happen to a transfer."""

    PREPARED = "prepared"                   # context is there, checks passed
    PREPARE_FAILED = "prepare_failed"
    REFER_ACCEPTED = "refer_accepted"       # any 2xx
    REFER_REFUSED = "refer_refused"
    NOTIFY_PROGRESS = "notify_progress"
    NOTIFY_OK = "notify_final_ok"
    NOTIFY_FAILED = "notify_final_failed"
    NOTIFY_NONE = "notify_none"             # the bounded wait for a final NOTIFY, or for any answer, is over
    TARGET_RINGING = "target_ringing"
    TARGET_ANSWERED = "target_answered"
    TARGET_FAILED = "target_failed"         # its final answer, no answer at all, or no way to it
    RING_TIMEOUT = "ring_timeout"
    WHISPER_DONE = "whisper_done"           # heard to its end, or there is none
    KEY_ACCEPT = "key_accept"
    KEY_DECLINE = "key_decline"
    KEY_TIMEOUT = "key_timeout"
    BRIDGED = "bridged"
    REINVITE_FAILED = "reinvite_failed"     # caller and target cannot be joined
    CALLER_GONE = "caller_gone"
    AGENT_GONE = "agent_gone"
    TARGET_GONE = "target_gone"
    CANCEL = "cancel"                       # somebody asks for it to stop
    DEADLINE = "deadline"                   # of the whole transfer


class Action(Enum):
    """What a step asks for, in the order given."""

    REFER = "refer"                 # in the caller's dialog, to the current target
    INVITE = "invite"               # the current target
    NEXT = "next"                   # make the next target the current one
    HOLD = "hold"                   # the caller hears the hold sound
    WHISPER = "whisper"             # play it to the target alone as soon as it is ready
    AWAIT_KEY = "await_key"
    BRIDGE = "bridge"               # caller and target
    AWAIT_NOTIFY = "await_notify"   # for a short time: the caller's server has hung up
    DROP = "drop"                   # CANCEL or BYE to the target
    RETURN = "return"               # caller and agent hear each other as before
    FINISH = "finish"               # tell everybody who asked: exactly once, and before the BYEs
    END_CALLER = "end_caller"
    END_AGENT = "end_agent"


Actions = tuple[Action, ...]


class Status(NamedTuple):
    """Where a transfer stands.

    on_failure: `end`, `return`, `bridge` or `next`. left: targets that were not tried yet. whisper, key: the target
    hears something, has to press a key. agent, caller: whether that leg is there. fell_back: as in the record.
    """

    mode: Mode
    on_failure: str
    left: int = 0
    whisper: bool = False
    key: bool = False
    audio: bool = False
    """The caller hears the hold sound from the beginning, not only without an agent."""
    state: TransferState = "preparing"
    agent: bool = True
    caller: bool = True
    fell_back: str = ""

    @property
    def terminal(self) -> bool:
        return self.state in TERMINAL


Step = tuple[Status, Actions]
_Outcome = Callable[[Status], Step]


def start(mode: Mode, on_failure: str, targets: int, *, whisper: bool = False, key: bool = False, audio: bool = False,
          agent: bool = True) -> Status:
    """The Status that a transfer begins with; an empty on_failure is the mode's default."""
    chosen = on_failure or ("end" if mode == "blind" else "return")
    return Status(mode, chosen, max(targets - 1, 0), whisper, key, audio, agent=agent)


def advance(status: Status, event: Event) -> Step:
    """What an event leads to."""
    if status.terminal:
        return status, ()
    return TABLE[status.state][event](status)


# --- outcomes: what the rows of the table consist of


def _stay(status: Status) -> Step:
    """Nothing that concerns this state, or nothing that changes it."""
    return status, ()


def _to(state: TransferState, *actions: Action) -> _Outcome:
    def outcome(status: Status) -> Step:
        return status._replace(state=state), actions
    return outcome


def _begin(status: Status) -> Step:
    if status.mode == "attended":
        return status._replace(state="bridging"), (Action.BRIDGE,)
    if status.mode == "blind":
        return status._replace(state="referring"), (Action.REFER,)
    hold = (Action.HOLD,) if status.audio else ()
    return status._replace(state="inviting"), (*hold, Action.INVITE)


def _answered(status: Status) -> Step:
    if status.whisper or status.key:
        return status._replace(state="whispering"), (Action.WHISPER,)
    return status._replace(state="bridging"), (Action.BRIDGE,)


def _heard(status: Status) -> Step:
    return (status, (Action.AWAIT_KEY,)) if status.key else _bridge(status)


def _bridge(status: Status) -> Step:
    return status._replace(state="bridging"), (Action.BRIDGE,)


def _completed(status: Status) -> Step:
    """The caller is with the target; an old dialog of the caller's (blind) ends with the agent's."""
    ends = (Action.END_CALLER, Action.END_AGENT) if status.state in ("referring", "accepted") else (Action.END_AGENT,)
    return status._replace(state="completed"), (Action.FINISH, *ends)


def _over(status: Status, state: TransferState, *before: Action, end: bool = False) -> Step:
    """A terminal state without success: back to the agent, or, without one or where that is the rule, the end."""
    if end or not status.agent or not status.caller:
        fell_back = "end" if state != "cancelled" else status.fell_back
        return (status._replace(state=state, fell_back=fell_back),
                (*before, Action.FINISH, Action.END_CALLER, Action.END_AGENT))
    fell_back = "return" if state != "cancelled" else status.fell_back
    return status._replace(state=state, fell_back=fell_back), (*before, Action.RETURN, Action.FINISH)


def _drop(status: Status) -> Actions:
    """Let a target go that was called; one of another call (attended) stays there."""
    return (Action.DROP,) if status.state in _CALLED and status.mode != "attended" else ()


def _failure(status: Status) -> Step:
    """The target could not be had: `on_failure` says what now."""
    dropped = _drop(status)
    if not status.caller or status.on_failure == "end":
        return _over(status, "failed", *dropped, end=True)
    if status.on_failure == "next" and status.left:
        again = status._replace(left=status.left - 1, fell_back="next")
        if status.state in _CALLED:
            return again._replace(state="inviting"), (*dropped, Action.NEXT, Action.INVITE)
        return again._replace(state="referring"), (Action.NEXT, Action.REFER)
    if status.on_failure == "bridge" and status.state in ("referring", "accepted"):
        # Once: an INVITE that fails as well is the end of it.
        hold = () if status.agent else (Action.HOLD,)
        return status._replace(state="inviting", on_failure="return", fell_back="bridge"), (*hold, Action.INVITE)
    return _over(status, "failed", *dropped)


def _failed(status: Status) -> Step:
    """The end, whatever targets are left: the context, the time or the way to join them is missing."""
    ends = status.on_failure == "end" and status.state != "preparing"
    return _over(status, "failed", *_drop(status), end=ends)


def _unknown(status: Status) -> Step:
    """The caller's server may have called the target or not: no other target is tried."""
    return _over(status, "unknown", end=status.on_failure == "end")


def _cancelled(status: Status) -> Step:
    return _over(status, "cancelled", *_drop(status))


def _caller_gone(status: Status) -> Step:
    return _over(status._replace(caller=False), "cancelled", *_drop(status))


def _caller_left_refer(status: Status) -> Step:
    return status._replace(caller=False), (Action.AWAIT_NOTIFY,) if status.caller else ()


def _agent_gone(status: Status) -> Step:
    held = status.agent and status.caller
    return status._replace(agent=False), (Action.HOLD,) if held else ()


_CALLED = frozenset({"inviting", "ringing", "whispering", "bridging"})

# --- the table. What is not named in a state does not concern it: _total writes those rows out as _stay.


def _total(rows: dict[Event, _Outcome]) -> dict[Event, _Outcome]:
    return {event: rows.get(event, _stay) for event in Event}


_REFERRED: dict[Event, _Outcome] = {
    Event.REFER_REFUSED: _failure,
    # A NOTIFY may come before the answer to the REFER; it says nothing about a 2xx, so the state waits for that.
    Event.NOTIFY_OK: _completed,
    Event.NOTIFY_FAILED: _failure,
    Event.NOTIFY_NONE: _unknown,
    Event.CALLER_GONE: _caller_left_refer,
    Event.AGENT_GONE: _agent_gone,
    Event.DEADLINE: _unknown,
    # CANCEL stays: a REFER cannot be called back.
}
_OFFERED: dict[Event, _Outcome] = {
    Event.TARGET_RINGING: _to("ringing"),
    Event.TARGET_ANSWERED: _answered,
    Event.TARGET_FAILED: _failure,
    Event.RING_TIMEOUT: _failure,
    Event.TARGET_GONE: _failure,
    Event.CALLER_GONE: _caller_gone,
    Event.AGENT_GONE: _agent_gone,
    Event.CANCEL: _cancelled,
    Event.DEADLINE: _failed,
}
TABLE: dict[TransferState, dict[Event, _Outcome]] = {
    "preparing": _total({
        Event.PREPARED: _begin,
        Event.PREPARE_FAILED: _failed,
        Event.CALLER_GONE: _caller_gone,
        Event.AGENT_GONE: _agent_gone,
        Event.CANCEL: _cancelled,
        Event.DEADLINE: _failed,
    }),
    "referring": _total(_REFERRED | {Event.REFER_ACCEPTED: _to("accepted")}),
    "accepted": _total(_REFERRED | {Event.REFER_REFUSED: _stay}),
    "inviting": _total(_OFFERED),
    "ringing": _total(_OFFERED | {Event.TARGET_RINGING: _stay}),
    "whispering": _total({
        Event.WHISPER_DONE: _heard,
        Event.KEY_ACCEPT: _bridge,
        Event.KEY_DECLINE: _failure,
        Event.KEY_TIMEOUT: _failure,
        Event.TARGET_FAILED: _failure,
        Event.TARGET_GONE: _failure,
        Event.REINVITE_FAILED: _failure,
        Event.CALLER_GONE: _caller_gone,
        Event.AGENT_GONE: _agent_gone,
        Event.CANCEL: _cancelled,
        Event.DEADLINE: _failed,
    }),
    "bridging": _total({
        Event.BRIDGED: _completed,
        Event.REINVITE_FAILED: _failure,
        Event.TARGET_FAILED: _failure,
        Event.TARGET_GONE: _failure,
        Event.CALLER_GONE: _caller_gone,
        Event.AGENT_GONE: _agent_gone,
        Event.DEADLINE: _failed,
    }),
}
"""State, then event, to the outcome."""
