"""Challenges to what the edge sends on controlled calls (transfers.md section 7, row 15): LegSettings.authenticate and
renew."""
from typing import TYPE_CHECKING, Any

from proxy.calls.call import Call

if TYPE_CHECKING:
    from proxy.calls.registry import Calls
    from sipcore.stack.hop import Hop
    from sipcore.stack.leg import Leg
    from sipcore.stack.legowner import Pairs
    from sipcore.stack.outgoing import Outgoing
    from sipcore.wire.message import Message


class Challenges:
    """Answers them by the accounts of the policy that the calls follow."""

    def __init__(self, calls: "Calls"):
        self._calls = calls

    def authenticate(self, leg: "Leg", request: "Outgoing", response: "Message", times: int) -> "Pairs":
        """The credentials that a leg's request is repeated with after a 401 or 407, for the times-th time counted from
        0; empty where there are none for whoever asks."""
        calls = self._calls
        answers = calls.policy.answers
        if not answers.any:
            return ()
        to = destination(leg, request)
        headers = answers.answer(to[:2], request, response, _upstream(leg), times)
        if headers:
            calls.count("challenges_answered")
        else:
            calls.count("challenges_refused")
            calls.log("warning", "challenge not answered", peer=f"{to[0]}:{to[1]}", method=request.method,
                      call_id=request.call_id, upstream=calls.upstream_at(to))
        return headers

    def renew(self, leg: "Leg", request: "Outgoing", credentials: "Pairs", spent: bool) -> "Pairs":
        """The credentials of a leg for a request that is sent without another challenge."""
        return self._calls.policy.answers.renew(destination(leg, request)[:2], request, credentials, _upstream(leg),
                                                spent=spent)


def _upstream(leg: "Leg") -> int:
    """Index of the upstream that a leg's call goes to; -1 where that says nothing."""
    owner: Any = leg.owner
    return owner.upstream if isinstance(owner, Call) else -1


def destination(leg: "Leg", request: "Outgoing") -> "Hop":
    """Where a request of a leg goes: outside a dialog to the target that is tried, inside one along its route."""
    hop = leg.way(request) if request.remote_tag else leg.far
    return hop[0], hop[1]
