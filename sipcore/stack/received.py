"""Requests of the far end inside a leg's dialog: each one is answered, here or by the owner (RFC 3261 12.2.2)."""
from collections.abc import Callable
from typing import TYPE_CHECKING

from sipcore.base.errors import MalformedMessage
from sipcore.stack import sessiontimer
from sipcore.stack.called import Called
from sipcore.stack.calling import Calling
from sipcore.stack.capabilities import ALLOW
from sipcore.stack.offer import OURS, THEIRS, Offer
from sipcore.stack.referral import Referral, event_id, read_notify, refer_to
from sipcore.stack.reliable import LONGEST
from sipcore.wire.multipart import description
from sipcore.wire.tables import METHODS

if TYPE_CHECKING:
    from sipcore.stack.leg import Leg
    from sipcore.stack.uas import ServerTransaction


MOST_REFERRALS = 8
"""REFERs of one far end that have no outcome yet."""


def take(leg: "Leg", tx: "ServerTransaction") -> None:
    """Answer a request, or ask the owner to."""
    request = tx.request
    method = request.method
    if method != "BYE":
        leg.peer.learn(request)
    _TAKE.get(method, _on_other)(leg, tx)


def _on_bye(leg: "Leg", tx: "ServerTransaction") -> None:
    tx.respond(leg.agent.time, 200)
    reason = tx.request.joined("Reason") or ""
    phase = leg.phase
    if leg.state == "early" and isinstance(phase, Called):
        phase.on_bye(tx, reason or "BYE")
    elif leg.state == "early" and isinstance(phase, Calling):
        # A callee has no BYE before its 2xx (15); whoever sends one wants no call.
        phase.give_up("far", 487, "Request Terminated")
    elif isinstance(phase, Calling):
        return
    elif leg.ending is not None:
        leg.finish("us", leg.ending.reason)
    else:
        leg.finish("far", reason)


def _on_reinvite(leg: "Leg", tx: "ServerTransaction") -> None:
    if leg.state != "up":
        tx.respond(leg.agent.time, 481)
    elif not _clashes(leg, tx):
        _offered(leg, Offer(leg, "INVITE", description(tx.request), tx))


def _on_update(leg: "Leg", tx: "ServerTransaction") -> None:
    if leg.state not in ("early", "up"):
        tx.respond(leg.agent.time, 481)
        return
    body = description(tx.request)
    if body and tx.dialog is not leg.dialog:
        # Another fork's early dialog: the session that is spoken about is the first one's, until one answers.
        tx.respond(leg.agent.time, 500, headers=[("Retry-After", "5")])
        return
    if body and _clashes(leg, tx):
        return
    if body:
        _offered(leg, Offer(leg, "UPDATE", body, tx))
    elif _too_small(leg, tx):
        return
    else:
        tx.respond(leg.agent.time, 200, headers=[*leg.own_headers(), *sessiontimer.grant(leg, tx.request)])


def _offered(leg: "Leg", exchange: Offer) -> None:
    """Let the owner answer, but for a refresh: that is the leg's own business."""
    if leg.state == "up" and exchange.request is not None and sessiontimer.unchanged(leg, exchange.request):
        exchange.accept(leg.local_sdp)
    else:
        leg.owner.on_offer(leg, exchange)


def _clashes(leg: "Leg", tx: "ServerTransaction") -> bool:
    """Whether an offer had to be refused because of another one (14.2; RFC 3311 5.2)."""
    if leg.pending == OURS:
        tx.respond(leg.agent.time, 491)
    elif leg.pending == THEIRS or leg.exchange is not None:
        tx.respond(leg.agent.time, 500, headers=[("Retry-After", "5")])
    else:
        return _too_small(leg, tx)
    return True


def _too_small(leg: "Leg", tx: "ServerTransaction") -> bool:
    if not sessiontimer.too_small(leg, tx.request):
        return False
    tx.respond(leg.agent.time, 422, headers=[("Min-SE", str(leg.settings.min_se))])
    return True


def _on_prack(leg: "Leg", tx: "ServerTransaction") -> None:
    if isinstance(leg.phase, Called):
        leg.phase.on_prack(tx)
    else:
        tx.respond(leg.agent.time, 481)


def _on_options(leg: "Leg", tx: "ServerTransaction") -> None:
    tx.respond(leg.agent.time, 200, headers=[*leg.own_headers(), ("Accept", "application/sdp")])


def _on_refer(leg: "Leg", tx: "ServerTransaction") -> None:
    if leg.state != "up":
        tx.respond(leg.agent.time, 403 if leg.state == "early" else 481)
        return
    if len(leg.referrals) >= MOST_REFERRALS:
        tx.respond(leg.agent.time, 491)
        return
    try:
        to = refer_to(tx.request)
    except MalformedMessage as error:
        tx.respond(leg.agent.time, error.status, str(error))
        return
    leg.owner.on_refer(leg, Referral(leg, tx, to))


def _on_notify(leg: "Leg", tx: "ServerTransaction") -> None:
    """200 for a subscription of ours, also for 64*T1 after the end; 481 for any other (RFC 6665 4.1.3)."""
    now = leg.agent.time
    progress = read_notify(tx.request)
    if progress is not None:
        # Without an id it is the latest that waits, or that waited last (RFC 3515 2.4.6).
        known = [one for one in leg.referrings if progress.refer in one.known_by
                 or (progress.refer is None and (not one.outcome or one is leg.referrings[-1]))]
        if known and (not known[-1].outcome or now - known[-1].ended_at <= LONGEST):
            tx.respond(now, 200)
            known[-1].on_notify(progress)
            return
    tx.respond(now, 481)


def _on_subscribe(leg: "Leg", tx: "ServerTransaction") -> None:
    event = tx.request.header("Event") or ""
    if event.partition(";")[0].strip().lower() != "refer":
        tx.respond(leg.agent.time, 489, headers=[("Allow-Events", "refer")])
        return
    for referral in leg.referrals:
        if event_id(event) in (referral.subscription.refer, None):
            referral.on_subscribe(tx)
            return
    tx.respond(leg.agent.time, 481)


def _on_other(leg: "Leg", tx: "ServerTransaction") -> None:
    if leg.owner.on_message(leg, tx) or not tx.waiting:
        return
    if tx.request.method in METHODS:
        tx.respond(leg.agent.time, 405, headers=[("Allow", ALLOW)])
    else:
        tx.respond(leg.agent.time, 501)


_TAKE: dict[str, Callable[["Leg", "ServerTransaction"], None]] = {
    "BYE": _on_bye, "INVITE": _on_reinvite, "UPDATE": _on_update, "PRACK": _on_prack, "OPTIONS": _on_options,
    "REFER": _on_refer, "NOTIFY": _on_notify, "SUBSCRIBE": _on_subscribe,
}
