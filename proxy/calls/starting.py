"""How a transfer begins: by the API or by an agent's REFER, with the same checks in the same order.

What cannot work is refused here, before a packet leaves and before anybody is told 202.
"""
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

from proxy.calls.transfer import Transfer
from proxy.config import Action, dotted
from proxy.policy.actions import check_action
from proxy.policy.context import changed
from proxy.policy.refusals import Refused

if TYPE_CHECKING:
    from proxy.calls.call import Call
    from sipcore.stack.referral import Referral

MOST_TRANSFERS = 100
"""Of one call: each leaves a record behind."""
NEEDS_MEDIA = "the call's route has `media = \"pass\"`: without the audio the edge can neither whisper nor join"


_LATER = 6.0
"""Seconds beyond its deadline that the outcome of a transfer may be known: a NOTIFY behind a BYE is waited for."""


def promised(deadline: float) -> int:
    """Seconds that whoever referred is promised the outcome within: the subscription must not end before."""
    return math.ceil(deadline + _LATER)


def start_transfer(call: "Call", action: Action, *, started_by: Literal["refer", "api"], target: str = "",
                   variables: Mapping[str, str | None] = {}, referral: "Referral | None" = None,
                   carried: tuple[tuple[str, str], ...] = ()) -> Transfer:
    """Begin a transfer. target: in place of the action's own. carried: what a Refer-To brought along.

    Raises Refused (409 where the call is in no state for it, 422 for the action or the target) and BadVariable.
    """
    if call.transfer is not None:
        raise Refused(409, "A Transfer Is Under Way", f"transfer {call.transfer.id} is {call.transfer.status.state}")
    if call.state != "up" or call.caller is None or call.peer is None:
        raise Refused(409, "The Call Is Not Up", f"the call is {call.state}")
    if call.late is not None:
        raise Refused(409, "The Call Is Not Up", "the caller has not answered the agent's offer yet")
    if call.transfers >= MOST_TRANSFERS:
        raise Refused(409, "Too Many Transfers", f"the call has had {MOST_TRANSFERS} transfers")
    targets = [target] if target else list(action.targets)
    if not targets:
        raise Refused(422, "A Transfer Target Is Missing",
                      "neither the action nor whoever starts the transfer names a target")
    _check_action(call, action)
    for one in targets:
        _check_target(call, action, one)
    if variables:
        changed(call.variables_now(), variables)
    flow = {name: value for name, value in variables.items() if value is not None}
    transfer = Transfer(call, action, targets, started_by=started_by, variables=flow, referral=referral,
                        carried=carried)
    call.transfer = transfer
    call.transfers += 1
    if referral is not None:
        # At once: a non-INVITE transaction outlives no webhook (RFC 4320).
        referral.accept(expires=promised(action.deadline))
    transfer.begin()
    return transfer


def _check_action(call: "Call", action: Action) -> None:
    if action.keep_agent:
        raise Refused(422, "Three-Way Is Not Available", "keep_agent: the agent cannot stay in this version")
    if not call.media.anchored:
        if action.mode == "warm":
            raise Refused(409, "Warm Needs Anchored Media", f"mode warm: {NEEDS_MEDIA}")
        if action.on_failure == "bridge":
            raise Refused(409, "Bridge Needs Anchored Media", f"on_failure bridge: {NEEDS_MEDIA}")
    assert call.caller is not None
    referee = call.calls.targets.referee(action.upstream, call.caller.far)
    takes_refer = referee.settings.refer and call.caller.peer_allows("REFER") is not False
    if action.mode == "blind" and action.on_failure != "bridge" and not takes_refer:
        # Never switched silently: `on_failure = "bridge"` is the rule that says so.
        raise Refused(409, "The Caller's Server Takes No REFER",
                      "mode blind: the caller's server does not allow REFER; expected mode warm, or on_failure bridge")
    # The same code as for the file and the API: what was good when it was saved may not be any more.
    for problem in check_action(call.calls.config, action, targets=call.calls.targets):
        raise Refused(422, "The Action Cannot Work", f"{dotted(problem.path)}: {problem.text}")


def _check_target(call: "Call", action: Action, target: str) -> None:
    """Raises Refused where the target can be no target: of a blind transfer the caller's server makes the call."""
    targets = call.calls.targets
    assert call.caller is not None
    reach = action.mode == "warm" or action.on_failure == "bridge"
    referee = None if reach else targets.referee(action.upstream, call.caller.far)
    targets.resolve(target, upstream=action.upstream, custom=call.custom, referee=referee, reach=reach,
                    call_id=call.request.call_id)
