"""How a call is established: asked about, routed, the agent called, and the caller told what the agent answers.

The INVITE to the agent makes the offer that the caller's made. Where that made none the agent does, early or with its
2xx, and the caller's PRACK or ACK brings the answer (RFC 3261 13.2.1, RFC 3262 5).
"""
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from proxy.calls.carried import answer_headers, invite_headers
from proxy.calls.hop import aims_of
from proxy.calls.prepare import results_of
from proxy.events import Answer, AskRequests
from sipcore.base.errors import SipEdgeError
from sipcore.base.place import Unresolved
from sipcore.stack.aim import seek
from sipcore.stack.leg import Leg
from sipcore.wire.message import Message
from sipcore.wire.multipart import description

if TYPE_CHECKING:
    from proxy.calls.call import Call
    from sipcore.stack.aim import Aim
    from sipcore.stack.offer import Offer


def begin(call: "Call") -> None:
    """Ask what is to be asked before it is routed, then call the agent."""
    call.tell("call.started")
    name = call.verdict.precall
    if not name:
        _route(call)
        return
    call.state = "asking"
    seconds = call.calls.timeout_of(name)
    question = AskRequests(ask=0, call=call.struct(), names=[name], deadline=seconds)
    call.calls.ask(question, seconds, partial(_asked, call))


def _asked(call: "Call", answer: Answer, sound: bytes) -> None:
    if call.state != "asking":
        return
    results = results_of(call, (call.verdict.precall,), answer)
    if results is not None:
        call.variables = {**call.variables_now(), "results": results}
    _route(call)


def _route(call: "Call") -> None:
    """Call the agent, once it is known where that is."""
    call.state = "calling"
    stack = call.calls.stack
    try:
        aims = aims_of(stack, call.verdict, call.request)
    except SipEdgeError as error:
        _refuse(call, error)
        return
    seek(stack, aims, call.request.call_id, partial(_found, call))


def _refuse(call: "Call", error: SipEdgeError) -> None:
    assert call.caller is not None
    call.status = error.status
    reason = error.reason if isinstance(error, Unresolved) else ""
    call.caller.reject(error.status, reason, getattr(error, "headers", ()))


def _found(call: "Call", aims: "list[Aim] | Unresolved") -> None:
    """The INVITE to the agent."""
    calls, request, verdict, caller = call.calls, call.request, call.verdict, call.caller
    if caller is None or caller.state not in ("inviting", "early"):
        # Gone while a name was looked up.
        return
    assert caller.dialog is not None
    dialog = caller.dialog
    settings = calls.settings
    if not call.offered and not caller.peer.supports("100rel"):
        # The agent's early offer could not be told reliably, and so not be answered before its 2xx.
        settings = replace(settings, reliable=False)
    leg = call.peer = Leg.outgoing(calls.stack, call, settings)
    try:
        way = calls.way(call, aims)
        if verdict.anchor:
            call.media = calls.open_media(call)
            call.media.take(caller, 0, "caller")
            call.media.take(leg, 1, "agent")
        body = caller.remote_sdp
        if body and not call.media.anchored:
            # With all else that came along in its parts.
            body = request.body
        if body:
            body = call.media.offer(caller, leg, body, way.listener)
        kind = None if call.media.anchored else request.header("Content-Type")
        call.open += 1
        if call.record is not None:
            call.record.called(way.to)
        leg.invite(way.uri, way.to, local=dialog.remote, remote=dialog.local,
                   headers=invite_headers(call, way.to[0]),
                   body=body, content_type=kind or "application/sdp", listener=way.listener,
                   ring_ms=verdict.ring_timeout, targets=way.others, uris=way.uris,
                   attempt_ms=verdict.try_timeout, max_forwards=caller.max_forwards - 1,
                   other_offer=partial(calls.retell, call, leg) if call.media.anchored else None)
    except SipEdgeError as error:
        call.open = 1
        call.peer = None
        _refuse(call, error)


def on_progress(call: "Call", leg: Leg, response: Message) -> None:
    """The agent's phone rings, or its early media is there."""
    caller = call.caller
    if leg is not call.peer or caller is None:
        return
    if not call.rang:
        call.rang = call.calls.stack.time
        call.state = "ringing"
        call.tell("call.ringing")
    body = description(response)
    late = body != b"" and not call.offered
    if late and leg.dialog is not None and response.to_tag != leg.dialog.remote_tag:
        # One offer at a time is answered: that of the first fork (RFC 3262 5).
        body, late = b"", False
    if late and call.media.anchored and response.header("RSeq") is None:
        # An offer comes in a reliable response (RFC 3261 13.2.1): that of the 2xx, which is told then.
        body, late = b"", False
    if body:
        try:
            body = call.media.offer(leg, caller, body) if late else call.media.answer(leg, caller, body, False)
            _connect(call)
        except SipEdgeError:
            # Early media that cannot be: the call may still be answered.
            body = b""
    token = caller.ring(response.status, body, answer_headers(call, response), fork=_fork(call, response))
    if late and token is not None:
        call.crossing()[token] = (leg, None)
    elif late:
        # Not told reliably: the 2xx makes the offer.
        call.media.withdraw(leg, caller)


def on_answered(call: "Call", leg: Leg, response: Message) -> None:
    """The agent has answered: the caller is, where it wants this one."""
    caller = call.caller
    if leg is not call.peer or caller is None:
        leg.bye()
        return
    body = description(response) if call.offered else _late_offer(call, leg)
    try:
        if body:
            body = (call.media.answer if call.offered else call.media.offer)(leg, caller, body)
        _connect(call)
    except SipEdgeError as error:
        call.status = error.status
        leg.bye()
        caller.reject(error.status, "", getattr(error, "headers", ()))
        return
    if not caller.answer(body, answer_headers(call, response), fork=_fork(call, response)):
        # A fork that the caller does not want; the others are taken back with its 2xx (RFC 3261 16.7 step 10).
        call.ended_by, call.status, call.reason = "caller", 487, "Request Terminated"
        leg.bye()
        caller.reject(487)
        return
    call.state = "up"
    call.status = response.status
    if call.record is not None:
        call.record.called(leg.far)
    call.answered = call.calls.stack.time
    duration = call.verdict.max_duration
    if duration:
        call.expiry = call.calls.stack.call_at(call.answered + 1000 * duration, call._expired)
    call.tell("call.answered")


def _late_offer(call: "Call", leg: Leg) -> bytes:
    """The offer that the caller is to be told with the 2xx. What was agreed on early holds, and a description that
    comes again says nothing (RFC 3261 13.2.1)."""
    exchange = leg.exchange
    return exchange.body if exchange is not None and (exchange.method == "ACK" or exchange is call.late) else b""


def _fork(call: "Call", response: Message) -> str:
    """Whom the caller hears of as a fork of its own: each that answers has its own description. The edge's is one
    and the same, where it anchors the media."""
    return "" if call.media.anchored else response.to_tag


def _connect(call: "Call") -> None:
    if not call.connected and call.media.anchored and call.caller is not None and call.peer is not None:
        call.connected = True
        call.media.join(call.caller, call.peer)


def on_failed(call: "Call", leg: Leg, status: int, reason: str, response: Message | None) -> None:
    """The agent was not reached, or has refused: so is the caller."""
    caller = call.caller
    if leg is not call.peer or caller is None:
        return
    call.status, call.reason = call.status or status, call.reason or reason
    call.ended_by = call.ended_by or call.peer_role
    caller.reject(status, reason, answer_headers(call, response) if response is not None else ())


def on_established(call: "Call", leg: Leg, ack: Message | None) -> None:
    """The caller's ACK: it may bring the answer to the agent's offer."""
    late, call.late = call.late, None
    if late is None or ack is None or call.peer is None:
        return
    try:
        body = description(ack)
        late.accept(call.media.answer(leg, call.peer, body) if body else b"")
    except SipEdgeError:
        late.reject(488)


def offered_late(call: "Call", leg: Leg, exchange: "Offer") -> bool:
    """The agent's 2xx had the offer: its answer comes in the caller's ACK."""
    if leg is not call.peer or call.offered or call.late is not None:
        return False
    call.late = exchange
    return True
