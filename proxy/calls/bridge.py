"""What passes between two legs that are joined: descriptions, offers inside the dialogs, INFO and MESSAGE.

Where the route anchors media, each leg is told an address of the edge's (proxy.calls.media); elsewhere bodies cross as
they are. An exchange of one leg is answered with what the other one answers:

  the request of a leg            what the other leg gets             the answer
  INVITE, UPDATE with an offer    the same with that offer            its 2xx, or its refusal
  INVITE without (offer asked)    INVITE without                      its offer in the 2xx; the answer comes in the ACK
  UPDATE without, and an INVITE   nothing: each leg keeps its own     200 at once, by the leg
  or UPDATE that refreshes what   session timer (RFC 4028)
  was said before
  another answer than before, to  INVITE or UPDATE with it        where that is another than before, the leg is
  a refresh of ours               as an offer (RFC 3264 8)        offered it; what it says then is not passed on
"""
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from proxy.calls.establishing import offered_late
from sipcore.base.errors import SipEdgeError
from sipcore.stack.leg import Leg
from sipcore.stack.offer import Offer, Reoffer
from sipcore.stack.sessiontimer import same
from sipcore.wire.message import Message

if TYPE_CHECKING:
    from proxy.calls.call import Call
    from sipcore.stack.uas import ServerTransaction

FORWARDED = ("INFO", "MESSAGE")
_KEPT = ("Info-Package", "Content-Disposition")
_RENEWED, _RETURNED = object(), object()
"""In the place of an exchange that waits: what a leg said anew, and the answer to that, on their way."""


def on_offer(call: "Call", leg: Leg, exchange: Offer) -> None:
    """An exchange of one of two joined legs begins."""
    other = call.joined_with(leg)
    if exchange.ours:
        _on_late_offer(call, leg, exchange)
    elif other is None or other.state != "up":
        # RFC 6337 4.3: there is nobody who could answer it now.
        exchange.reject(491)
    else:
        _cross(call, leg, other, exchange)


def _cross(call: "Call", leg: Leg, other: Leg, exchange: Offer) -> None:
    try:
        body = call.media.offer(leg, other, exchange.body) if exchange.body else b""
    except SipEdgeError as error:
        exchange.reject(error.status, headers=getattr(error, "headers", ()))
        return
    updates = exchange.method == "UPDATE" and other.peer_allows("UPDATE") is True
    token = other.update(body) if updates else other.reinvite(body)
    if token is None:
        call.media.withdraw(leg, other)
        exchange.reject(491)
        return
    call.crossing()[token] = (leg, exchange)


def on_reoffer_done(call: "Call", leg: Leg, token: Any, status: int, reason: str, body: bytes) -> None:
    """An exchange that was passed on has been answered; or the answer to an offer of ours came in an ACK."""
    asked = call.crossing().pop(token, None)
    if asked is None:
        return
    source, exchange = asked
    if exchange is _RENEWED:
        _on_renewed_answer(call, leg, source, body if status < 300 else b"")
        return
    if exchange is _RETURNED:
        with suppress(SipEdgeError):
            call.media.reanswered(leg, body if status < 300 else b"")
        return
    if exchange is None:
        call.media.withdraw(leg, source)
        return
    if not exchange.open:
        # Whoever asked is gone; what this one has agreed to holds all the same, a hold for example.
        call.media.settle(leg, source, body if status < 300 else b"")
        return
    if status >= 300:
        call.media.withdraw(leg, source)
        exchange.reject(status, reason)
        return
    try:
        if isinstance(token, Offer) or exchange.body:
            # For a token that is an Offer: the answer came in the ACK of `leg`, to the offer in a 2xx of `source`.
            exchange.accept(call.media.answer(leg, source, body) if body else b"")
        else:
            exchange.accept(call.media.offer(leg, source, body) if body else b"")
            call.crossing()[exchange] = (leg, None)
    except SipEdgeError as error:
        call.media.withdraw(leg, source)
        exchange.reject(error.status)


def on_renewed(call: "Call", leg: Leg, body: bytes) -> None:
    """One of two joined legs has said something else than before, and nobody has asked it to."""
    call.media.renewed(leg, body)
    other = call.joined_with(leg)
    if other is None or other.state != "up" or other.exchange is not None:
        # What waits for this leg's answer will be told what that says.
        return
    try:
        offer = call.media.offer(leg, other, body)
        # The edge's own address, where it anchors the media: a far end that has moved is no news there.
        token = _offered(other, offer) if not same(offer, other.local_sdp) else None
    except SipEdgeError:
        return
    if token is None:
        call.media.withdraw(leg, other)
    else:
        call.crossing()[token] = (leg, _RENEWED)


def _on_renewed_answer(call: "Call", other: Leg, leg: Leg, body: bytes) -> None:
    """body: what the other leg has answered, empty where it has not taken the offer."""
    if not body:
        call.media.withdraw(leg, other)
        return
    try:
        answer = call.media.answer(other, leg, body)
        if leg.state != "up" or same(answer, leg.local_sdp):
            return
        token = _offered(leg, call.media.reoffered(leg, answer))
    except SipEdgeError:
        call.media.withdraw(leg, other)
        return
    if token is None:
        call.media.reanswered(leg, b"")
    else:
        call.crossing()[token] = (leg, _RETURNED)


def _offered(leg: Leg, body: bytes) -> "Reoffer | None":
    return leg.update(body) if leg.peer_allows("UPDATE") is True else leg.reinvite(body)


def _on_late_offer(call: "Call", leg: Leg, exchange: Offer) -> None:
    """A leg made an offer in its 2xx: its answer comes in the ACK of the leg whose request asked for it."""
    crossing = call.crossing()
    for token, (source, waiting) in crossing.items():
        if waiting is None and source is leg:
            crossing[token] = (leg, exchange)
            return
    if not offered_late(call, leg, exchange):
        exchange.reject(488)


def on_message(call: "Call", leg: Leg, tx: "ServerTransaction") -> bool:
    """INFO and MESSAGE go to the other leg, and its answer comes back; whether this one does."""
    request = tx.request
    other = call.joined_with(leg)
    if request.method not in FORWARDED or other is None or other.state != "up":
        return False

    def done(status: int, reason: str, response: Message | None) -> None:
        if tx.waiting:
            tx.respond(call.calls.stack.time, status, reason)

    headers = [(name, value) for name in _KEPT if (value := request.header(name)) is not None]
    try:
        return other.forward(request.method, headers, request.body, done,
                             content_type=request.header("Content-Type") or "application/octet-stream")
    except SipEdgeError as error:
        # No 503: that would say that all of the edge has had enough.
        tx.respond(call.calls.stack.time, 500 if error.status == 503 else error.status, headers=[("Retry-After", "2")])
        return True
