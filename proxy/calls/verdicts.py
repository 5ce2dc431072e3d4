"""What became of a transfer, as a sentence for people who know neither SIP nor this program.

"The caller's server accepted the REFER, its call to 2001 was busy (486), the caller went back to the agent."
"""
from dataclasses import dataclass

from proxy.calls.table import Event, Status

_SAID = {
    403: "was forbidden", 404: "led to a number that does not exist", 408: "was not answered", 410: "led to a number "
    "that is gone", 480: "found nobody", 481: "failed", 484: "led to an incomplete number", 486: "was busy",
    487: "was cancelled", 488: "found no common codec", 502: "found no way", 503: "found no way",
    504: "was not answered in time", 600: "was busy", 603: "was declined", 604: "led to a number that does not exist",
    606: "found no common codec",
}
_PREPARED = "What the transfer needs could not be prepared"


@dataclass(frozen=True, slots=True)
class Attempt:
    """A target that was tried, and how that ended.

    referred: by REFER, else by an INVITE of the edge. accepted: a 2xx to the REFER came. event: what ended it.
    """

    target: str
    referred: bool
    event: Event
    status: int = 0
    reason: str = ""
    accepted: bool = False
    seconds: float = 0.0
    """How long it was allowed to ring."""


def short(target: str) -> str:
    """A target as people say it: its user part, or all of what has none."""
    rest = target.strip("<>").partition(":")[2] or target
    return rest.partition(";")[0].partition("?")[0].rpartition("@")[0] or rest.partition(";")[0]


def sentence(status: Status, attempts: list[Attempt], why: str = "") -> str:
    """status: the terminal one. why: what was wrong where nothing was tried, or what is to be added."""
    parts = [_attempt(attempt) for attempt in attempts]
    if why or not parts:
        parts.append(why or _PREPARED)
    text = ", then ".join(part for part in parts if part)
    return f"{text[:1].upper()}{text[1:]}, {_end(status)}."


def _code(attempt: Attempt) -> str:
    return f" ({attempt.status})" if attempt.status else ""


def _words(attempt: Attempt) -> str:
    """The predicate for a failed call."""
    said = _SAID.get(attempt.status, f"failed: {attempt.reason}" if attempt.reason else "failed")
    return f"{said}{_code(attempt)}"


def _attempt(attempt: Attempt) -> str:
    return (_referred if attempt.referred else _called)(attempt, short(attempt.target))


def _referred(attempt: Attempt, name: str) -> str:
    accepted = "the caller's server accepted the REFER"
    match attempt.event:
        case Event.REFER_REFUSED if attempt.status == 408:
            return f"the caller's server did not answer the REFER to {name} (408)"
        case Event.REFER_REFUSED:
            return f"the caller's server did not take the REFER to {name}{_refusal(attempt)}"
        case Event.NOTIFY_OK:
            return f"{accepted}, {name} answered{_code(attempt)}"
        case Event.NOTIFY_FAILED:
            return f"{accepted}, its call to {name} {_words(attempt)}"
        case Event.CALLER_GONE:
            return f"{accepted if attempt.accepted else 'the caller was referred'} to {name} and hung up without " \
                   "saying what came of it"
        case _:
            if attempt.accepted:
                return f"{accepted} to {name} and never said what came of it"
            return f"the caller's server did not answer the REFER to {name}"


def _refusal(attempt: Attempt) -> str:
    return f" ({attempt.status} {attempt.reason})".replace(" )", ")") if attempt.status else ""


def _called(attempt: Attempt, name: str) -> str:
    match attempt.event:
        case Event.BRIDGED:
            return f"{name} answered"
        case Event.RING_TIMEOUT:
            return f"{name} did not answer within {attempt.seconds:g} s"
        case Event.KEY_DECLINE:
            return f"{name} declined by key"
        case Event.KEY_TIMEOUT:
            return f"{name} answered and pressed no key"
        case Event.TARGET_GONE:
            return f"{name} answered and hung up"
        case Event.REINVITE_FAILED:
            return f"{name} answered and could not be joined with the caller{_refusal(attempt)}"
        case Event.CALLER_GONE:
            return f"the caller hung up before {name} had taken the call"
        case Event.DEADLINE:
            return f"{name} had not taken the call when the time for the transfer was over"
        case Event.CANCEL:
            return f"the transfer to {name} was cancelled"
        case _:
            return f"the call to {name} {_words(attempt)}"


def _end(status: Status) -> str:
    if status.state == "completed":
        return "the caller is connected there"
    if not status.caller:
        return "nobody was left to transfer"
    if not status.agent or status.fell_back == "end":
        return "the call ended"
    if status.mode == "blind" and status.state != "cancelled":
        return "the caller went back to the agent"
    return "the caller stayed with the agent"
