"""A REFER from one of the legs (usually the agent's): passed to the other leg, refused, or run by the edge, as the
`[[refer]]` rules say; the first that matches acts, and none is 603.

Passed through, the far end's own status comes back and nothing is waited for; run, 202 goes out at once and NOTIFYs
follow. A Replaces that names a dialog of the edge's is carried over to what the target knows; any other one passes as
it came (RFC 3891; section 7, row 20).
"""
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from proxy.calls.attended import start_attended
from proxy.calls.carried import lines_of, named, replaced
from proxy.calls.starting import promised, start_transfer
from proxy.policy.context import BadVariable
from proxy.policy.headers import Patterns, escape, unescape
from proxy.policy.refer_to import ReferTo
from proxy.policy.refusals import Refused
from proxy.policy.targets import referred
from sipcore.base.errors import SipEdgeError
from sipcore.stack.verdict import Request

if TYPE_CHECKING:
    from proxy.calls.call import Call
    from proxy.policy.transfers import Rule
    from sipcore.stack.leg import Leg
    from sipcore.stack.referral import Referral


def on_refer(call: "Call", leg: "Leg", referral: "Referral") -> None:
    """Answer a REFER."""
    calls = call.calls
    other = call.joined_with(leg)
    if other is None or other.state != "up" or call.transfer is not None:
        # One transfer at a time; whoever asks may ask again.
        referral.reject(491 if call.transfer is not None else 481)
        return
    listener, source = leg.listener, leg.far
    request = Request.parse(referral.request.data, group=call.group_of(leg), listener=listener, source=source,
                            in_dialog=True)
    try:
        rule, target = calls.policy.refer(request)
        if rule.action == "run":
            _run(call, leg, referral, rule)
        else:
            _pass_on(call, other, referral, rule, request, target)
    except Refused as refused:
        calls.count("transfers_refused")
        status = refused.status if refused.status not in (409, 422) else 603 if refused.status == 409 else 400
        referral.reject(status, refused.reason)
    except BadVariable as bad:
        referral.reject(400, f"Bad {bad.args[0]}")
    except SipEdgeError as error:
        referral.reject(error.status)


def _run(call: "Call", leg: "Leg", referral: "Referral", rule: "Rule") -> None:
    """The edge carries it out by the named action. Raises Refused."""
    action = call.calls.action(rule.transfer)
    if action is None:
        raise Refused(603, "Decline", f'no transfer action is called "{rule.transfer}"')
    asked = referred(referral.request.headers("Refer-To"))
    if leg is call.caller:
        # Whoever refers is the agent of that transfer, also where it was the one who called.
        call.swap()
    known = named(call.calls, asked.replaces) if asked.replaces else None
    if known is not None:
        start_attended(call, known[0], referral, action)
    else:
        start_transfer(call, action, started_by="refer", target="" if action.targets else asked.text, referral=referral,
                       carried=asked.headers)


def _pass_on(call: "Call", other: "Leg", referral: "Referral", rule: "Rule", request: Request,
             target: ReferTo) -> None:
    """Send it on in the other leg's dialog, and what comes back to the referrer. Raises Refused."""
    verdict = rule.draft(request, _across(call, target)).verdict()
    value = next((text.decode("utf-8", "surrogateescape") for name, text in verdict.replace if name == "Refer-To"),
                 referral.target)
    inside = () if call.calls.trusted(call.group_of(other)) else call.calls.internal.patterns
    removed = Patterns((*verdict.remove, *inside))
    headers = [(name, text) for name, text in _carried(referral.request.items()) if not removed.match(name)]
    headers += lines_of(verdict.insert)
    token = other.refer(value, headers, wait_ms=call.calls.refer_ms)
    if token is None:
        raise Refused(481, "Call/Transaction Does Not Exist")
    call.referrals()[token] = referral


def _carried(headers: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """What of a REFER crosses: context, and nothing that belongs to the dialog or the hop."""
    return [(name, value) for name, value in headers
            if name.lower().startswith("x-") or name.lower() in ("user-to-user", "referred-by", "refer-sub", "subject")]


def on_refer_progress(call: "Call", token: Any, kind: str, status: int, reason: str) -> bool:
    """What became of a REFER that was passed on, in the far end's words; whether it was one of those."""
    referral = call.passed.get(token) if call.passed is not None else None
    if referral is None:
        return False
    if kind == "accepted":
        referral.accept(expires=promised(call.calls.refer_ms / 1000), status=status)
    elif kind == "refused":
        referral.reject(status, reason)
    elif kind == "progress":
        referral.progress(status, reason)
    elif kind == "final":
        referral.final(status, reason)
    elif kind == "unknown":
        referral.final(408, "Outcome Unknown")
    if call.passed is not None and kind in ("refused", "final", "unknown"):
        call.passed.pop(token, None)
    return True


def _across(call: "Call", target: ReferTo) -> ReferTo:
    """A Refer-To whose Replaces names a dialog of the edge's, as its target knows that dialog; and where the URI is the
    edge itself, because that is what the referrer knew, the target's own."""
    if not target.has_replaces:
        return target
    uri = target.uri
    start = uri.find("?", uri.rfind("@") + 1)
    parts = uri[start + 1:].split("&")
    for index, part in enumerate(parts):
        name, _, value = part.partition("=")
        if name.lower() != "replaces":
            continue
        across = replaced(call.calls, unescape(value))
        if across is None or across[0].dialog is None:
            return target
        parts[index] = f"{name}={escape(across[1])}"
        plain = across[0].dialog.target if call.calls.targets.is_own(target.host, target.port) else uri[:start]
        return replace(target, uri=f"{plain}?{'&'.join(parts)}", changed=True)
    return target
