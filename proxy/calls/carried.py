"""Headers that a controlled call carries from leg to leg: the stack's table, with what the verdict sets and removes."""
import re
from functools import lru_cache
from typing import TYPE_CHECKING

from proxy.policy.headers import Patterns
from sipcore.base.errors import MalformedMessage
from sipcore.stack.crossing import crossing
from sipcore.stack.outgoing import Headers
from sipcore.stack.replaces import Replaces, parse, toward

if TYPE_CHECKING:
    from proxy.calls.call import Call
    from proxy.calls.registry import Calls
    from sipcore.stack.leg import Leg
    from sipcore.wire.message import Message


# RFC 3326 2: a protocol, and parameters.
_REASON = re.compile(r"[A-Za-z0-9.!%*_+`'~-]+ *;.*", re.ASCII | re.DOTALL)


@lru_cache(maxsize=4096)
def lines_of(lines: bytes) -> tuple[tuple[str, str], ...]:
    """Complete header lines as pairs."""
    pairs = (line.partition(": ") for line in lines.decode("utf-8", "surrogateescape").split("\r\n"))
    return tuple((name, value) for name, colon, value in pairs if colon)


@lru_cache(maxsize=256)
def _patterns(names: tuple[str, ...]) -> Patterns:
    return Patterns(names)


def invite_headers(call: "Call", host: str) -> Headers:
    """Of the INVITE to the agent at that address."""
    verdict, request = call.verdict, call.request
    calls = call.calls
    trusted = calls.trusting and calls.trusted(call.group) and calls.trusts(host)
    found = crossing(request, trusted=trusted)
    if found and verdict.remove:
        removed = _patterns(verdict.remove)
        found = tuple(pair for pair in found if not removed.match(pair[0]))
    if verdict.insert:
        found = (*found, *lines_of(verdict.insert))
    replaces = request.header("Replaces")
    if replaces is None:
        return found
    across = replaced(call.calls, replaces)
    found = (*found, ("Replaces", across[1] if across is not None else replaces))
    # Who does not insist gets a call of its own from a peer that does not know Replaces (RFC 3891 4).
    insists = any(option.lower() == "replaces" for option in request.headers("Require"))
    return (*found, ("Require", "replaces")) if insists else found


def bye_headers(by: str, reason: str) -> Headers:
    """Of the BYE to one far end, after that of the other one. by, reason: as Leg.finish says them."""
    return (("Reason", reason),) if by == "far" and _REASON.fullmatch(reason) else ()


def named(calls: "Calls", value: str) -> "tuple[Leg, Replaces] | None":
    """The leg of one of our calls that a Replaces value names, and the value; None for an unknown dialog."""
    try:
        replaces = parse(value)
    except MalformedMessage:
        return None
    leg = replaces.find(calls.stack)
    return (leg, replaces) if leg is not None and leg.owner in calls.all else None


def replaced(calls: "Calls", value: str) -> "tuple[Leg, str] | None":
    """A Replaces value that names a dialog of ours, as the far end of the other leg knows that call: that leg, and the
    value there. None for any other one, which stays as it came."""
    found = named(calls, value)
    other = found[0].owner.joined_with(found[0]) if found is not None else None
    if found is None or other is None or other.dialog is None:
        return None
    return other, toward(other, found[1].early_only).render()


def answer_headers(call: "Call", response: "Message") -> Headers:
    """Of what the caller is answered, made from an answer of the agent's."""
    calls, peer = call.calls, call.peer
    trusted = calls.trusting and peer is not None and calls.trusted(call.group) and calls.trusts(peer.far[0])
    found = crossing(response, trusted=trusted)
    if not trusted and found:
        internal = calls.internal
        found = tuple(pair for pair in found if not internal.match(pair[0]))
    if 300 <= response.status < 400 or response.status == 485:
        # Where else the caller may try, and no target inside a dialog (RFC 3261 8.1.3.4, 21.4.23).
        found = (*found, *(("Contact", value) for value in response.headers("Contact")))
    return found
