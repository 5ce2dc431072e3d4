"""A controlled call: two legs of the edge's own, back to back, and the transfer that may be under way.

The Call owns the legs that are joined, `caller` and `peer` (the agent; after a transfer the target); a target that is
being called belongs to its Transfer until then. What is said here of each leg's events is all that a plain call does.

Cost: one object with slots a call, two legs; Structs for others are made only where somebody listens.

Long because a call's beginning, what its legs say while it is up, and its end are one text.
"""
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from proxy.calls import bridge
from proxy.calls.carried import answer_headers, bye_headers, invite_headers
from proxy.calls.gone import GONE
from proxy.calls.hop import aims_of
from proxy.calls.media import PASSING, Passing
from proxy.calls.prepare import results_of
from proxy.calls.records import call_struct, leg_struct
from proxy.calls.refer import on_progress, on_refer
from proxy.calls.table import Event
from proxy.events import Answer, AskRequests, CallState, Record, Role, new_id
from proxy.events import Call as CallStruct
from proxy.events import Event as Said
from proxy.events import Leg as LegStruct
from proxy.policy.context import call_variables
from sipcore.base.errors import SipEdgeError
from sipcore.base.place import Unresolved
from sipcore.stack.aim import seek
from sipcore.stack.leg import Leg
from sipcore.stack.outgoing import address_of, uri_of
from sipcore.stack.verdict import Verdict
from sipcore.wire.message import Message
from sipcore.wire.multipart import description

if TYPE_CHECKING:
    from proxy.calls.registry import Calls
    from proxy.calls.transfer import Transfer
    from sipcore.stack.aim import Aim
    from sipcore.stack.alarms import Alarm
    from sipcore.stack.offer import Offer
    from sipcore.stack.referral import Referral
    from sipcore.stack.uas import ServerTransaction

MOST_TRANSFERS = 20
"""Of a call, kept to be shown while it lasts."""
MOST_LEGS = 40
"""Of a record."""


_PLAIN = Verdict()


class Call:
    """One call. state: as proxy.events.CallState. Times are the stack's ms; 0: not yet."""

    __slots__ = (
        "answered", "audio", "began", "caller", "calls", "cause", "connected", "ended", "ended_by", "expiry", "gone",
        "group", "identifier", "late", "left_role", "media", "offers", "open", "passed", "past", "peer", "peer_role",
        "rang", "reason", "record", "request", "state", "status", "transfer", "transfers", "variables", "verdict",
    )

    def __init__(self, calls: "Calls", tx: "ServerTransaction"):
        self.calls = calls
        self.request: Message = tx.request
        self.verdict = tx.verdict or _PLAIN
        self.group = tx.group
        self.record = tx.record
        self.identifier = ""
        self.state: CallState = "calling"
        self.began = calls.stack.time
        self.rang = self.answered = self.ended = 0
        self.status = 0
        self.reason = ""
        self.ended_by = ""
        self.cause = ""
        """Why the edge itself ended it, as its log line calls that."""
        self.variables: dict[str, Any] | None = None
        self.media: Passing = PASSING
        self.connected = False
        """Whether caller and peer hear each other."""
        self.audio: dict[str, Any] | None = None
        self.transfer: Transfer | None = None
        self.transfers = 0
        """How many there were, with the one that runs."""
        self.past: tuple[Transfer, ...] = ()
        self.gone: tuple[LegStruct, ...] = ()
        """Legs that are over, where somebody gets the call's record."""
        self.offers: dict[Any, Any] | None = None
        self.passed: dict[Any, Referral] | None = None
        self.late: Offer | None = None
        self.expiry: Alarm | None = None
        self.peer: Leg | None = None
        self.peer_role: Role = "agent"
        self.left_role: Role = "agent"
        """Of whoever a transfer has taken out."""
        self.caller: Leg | None = Leg.incoming(calls.stack, tx, self, calls.settings)
        self.open = int(self.caller is not None)
        """Legs that are not over."""

    @property
    def id(self) -> str:
        """Made when somebody asks for it: most calls are never named."""
        if not self.identifier:
            self.identifier = new_id(self.calls.worker)
            self.calls.named[self.identifier] = self
        return self.identifier

    @property
    def offered(self) -> bool:
        """Whether the caller's INVITE came with an offer."""
        return bool(description(self.request))

    # --- how it begins

    def begin(self) -> None:
        """Ask what is to be asked before it is routed, then call the agent."""
        self.tell("call.started")
        name = self.verdict.precall
        if not name:
            self._route()
            return
        self.state = "asking"
        seconds = self.calls.timeout_of(name)
        self.calls.ask(AskRequests(ask=0, call=self.struct(), names=[name], deadline=seconds), seconds, self._asked)

    def _asked(self, answer: Answer, sound: bytes) -> None:
        if self.state != "asking":
            return
        results = results_of(self, (self.verdict.precall,), answer)
        if results is not None:
            self.variables = {**self.variables_now(), "results": results}
        self._route()

    def _route(self) -> None:
        """Call the agent, once it is known where that is."""
        self.state = "calling"
        stack = self.calls.stack
        try:
            aims = aims_of(stack, self.verdict, self.request)
        except SipEdgeError as error:
            self._refuse(error)
            return
        seek(stack, aims, self.request.call_id, self._found)

    def _refuse(self, error: SipEdgeError) -> None:
        assert self.caller is not None
        self.status = error.status
        reason = error.reason if isinstance(error, Unresolved) else ""
        self.caller.reject(error.status, reason, getattr(error, "headers", ()))

    def _found(self, aims: "list[Aim] | Unresolved") -> None:
        calls, request, verdict, caller = self.calls, self.request, self.verdict, self.caller
        if caller is None or caller.state not in ("inviting", "early"):
            # Gone while a name was looked up.
            return
        assert caller.dialog is not None
        dialog = caller.dialog
        settings = calls.settings
        if not self.offered and not caller.peer.supports("100rel"):
            # The agent's early offer could not be told reliably, and so not be answered before its 2xx.
            settings = replace(settings, reliable=False)
        leg = self.peer = Leg.outgoing(calls.stack, self, settings)
        try:
            way = calls.way(self, aims)
            if verdict.anchor:
                self.media = calls.open_media(self)
                self.media.take(caller, 0, "caller")
                self.media.take(leg, 1, "agent")
            body = caller.remote_sdp
            if body and not self.media.anchored:
                # With all else that came along in its parts.
                body = request.body
            if body:
                body = self.media.offer(caller, leg, body, way.listener)
            kind = None if self.media.anchored else request.header("Content-Type")
            self.open += 1
            if self.record is not None:
                self.record.called(way.to)
            leg.invite(way.uri, way.to, local=dialog.remote, remote=dialog.local,
                       headers=invite_headers(self, way.to[0]),
                       body=body, content_type=kind or "application/sdp", listener=way.listener,
                       ring_ms=verdict.ring_timeout, targets=way.others, uris=way.uris,
                       attempt_ms=verdict.try_timeout, max_forwards=caller.max_forwards - 1,
                       other_offer=partial(calls.retell, self, leg) if self.media.anchored else None)
        except SipEdgeError as error:
            self.open = 1
            self.peer = None
            self._refuse(error)

    # --- LegOwner: the agent's answers to our INVITE

    def on_progress(self, leg: Leg, response: Message) -> None:
        caller = self.caller
        if leg is not self.peer or caller is None:
            return
        if not self.rang:
            self.rang = self.calls.stack.time
            self.state = "ringing"
            self.tell("call.ringing")
        body = description(response)
        late = body != b"" and not self.offered
        if late and leg.dialog is not None and response.to_tag != leg.dialog.remote_tag:
            # One offer at a time is answered: that of the first fork (RFC 3262 5).
            body, late = b"", False
        if late and self.media.anchored and response.header("RSeq") is None:
            # An offer comes in a reliable response (RFC 3261 13.2.1): that of the 2xx, which is told then.
            body, late = b"", False
        if body:
            try:
                body = self.media.offer(leg, caller, body) if late else self.media.answer(leg, caller, body, False)
                self._connect()
            except SipEdgeError:
                # Early media that cannot be: the call may still be answered.
                body = b""
        token = caller.ring(response.status, body, answer_headers(self, response), fork=self._fork(response))
        if late and token is not None:
            self.crossing()[token] = (leg, None)
        elif late:
            # Not told reliably: the 2xx makes the offer.
            self.media.withdraw(leg, caller)

    def on_answered(self, leg: Leg, response: Message) -> None:
        caller = self.caller
        if leg is not self.peer or caller is None:
            leg.bye()
            return
        body = description(response) if self.offered else self._late_offer(leg)
        try:
            if body:
                body = (self.media.answer if self.offered else self.media.offer)(leg, caller, body)
            self._connect()
        except SipEdgeError as error:
            self.status = error.status
            leg.bye()
            caller.reject(error.status, "", getattr(error, "headers", ()))
            return
        if not caller.answer(body, answer_headers(self, response), fork=self._fork(response)):
            # A fork that the caller does not want; the others are taken back with its 2xx (RFC 3261 16.7 step 10).
            self.ended_by, self.status, self.reason = "caller", 487, "Request Terminated"
            leg.bye()
            caller.reject(487)
            return
        self.state = "up"
        self.status = response.status
        if self.record is not None:
            self.record.called(leg.far)
        self.answered = self.calls.stack.time
        duration = self.verdict.max_duration
        if duration:
            self.expiry = self.calls.stack.call_at(self.answered + 1000 * duration, self._expired)
        self.tell("call.answered")

    def _late_offer(self, leg: Leg) -> bytes:
        """The offer that the caller is to be told with the 2xx. What was agreed on early holds, and a description that
        comes again says nothing (RFC 3261 13.2.1)."""
        exchange = leg.exchange
        return exchange.body if exchange is not None and (exchange.method == "ACK" or exchange is self.late) else b""

    def _fork(self, response: Message) -> str:
        """Whom the caller hears of as a fork of its own: each that answers has its own description. The edge's is one
        and the same, where it anchors the media."""
        return "" if self.media.anchored else response.to_tag

    def _connect(self) -> None:
        if not self.connected and self.media.anchored and self.caller is not None and self.peer is not None:
            self.connected = True
            self.media.join(self.caller, self.peer)

    def on_failed(self, leg: Leg, status: int, reason: str, response: Message | None) -> None:
        caller = self.caller
        if leg is not self.peer or caller is None:
            return
        self.status, self.reason = self.status or status, self.reason or reason
        self.ended_by = self.ended_by or self.peer_role
        caller.reject(status, reason, answer_headers(self, response) if response is not None else ())

    def on_cancelled(self, leg: Leg) -> None:
        """The caller has given up; on_ended follows."""
        self.ended_by = self.ended_by or "caller"
        self.status = self.status or 487
        self.reason = self.reason or "Request Terminated"

    def on_established(self, leg: Leg, ack: Message | None) -> None:
        late, self.late = self.late, None
        if late is None or ack is None or self.peer is None:
            return
        try:
            body = description(ack)
            late.accept(self.media.answer(leg, self.peer, body) if body else b"")
        except SipEdgeError:
            late.reject(488)

    # --- LegOwner: what happens while it is up

    def on_offer(self, leg: Leg, exchange: "Offer") -> None:
        bridge.on_offer(self, leg, exchange)

    def on_reoffer_done(self, leg: Leg, token: Any, status: int, reason: str, body: bytes) -> None:
        transfer = self.transfer
        if transfer is not None:
            if transfer.join is not None and transfer.join.done(leg, token, status, reason, body):
                return
            if transfer.caller_answered(token, status, reason):
                return
        bridge.on_reoffer_done(self, leg, token, status, reason, body)
        if transfer is not None and transfer.join is not None:
            transfer.join.settled()

    def on_renewed(self, leg: Leg, body: bytes) -> None:
        bridge.on_renewed(self, leg, body)

    def on_message(self, leg: Leg, tx: "ServerTransaction") -> bool:
        return bridge.on_message(self, leg, tx)

    def on_refer(self, leg: Leg, referral: "Referral") -> None:
        on_refer(self, leg, referral)

    def on_refer_progress(self, leg: Leg, token: Any, kind: str, status: int, reason: str) -> None:
        passed = self.passed.get(token) if self.passed is not None else None
        if passed is not None:
            on_progress(passed, kind, status, reason, self.calls.refer_ms / 1000)
            if self.passed is not None and kind in ("refused", "final", "unknown"):
                self.passed.pop(token, None)
        elif self.transfer is not None:
            self.transfer.refer_progress(token, kind, status, reason)
        if leg.state == "ended" and not leg.awaiting:
            leg.owner = GONE

    def on_ended(self, leg: Leg, by: str, reason: str) -> None:
        self.open -= 1
        if not leg.awaiting:
            leg.owner = GONE
        transfer, caller, peer = self.transfer, self.caller, self.peer
        self.keep(leg, "caller" if leg is caller else self.peer_role if leg is peer else self.left_role)
        if leg is caller:
            self.caller = None
            self._ended("caller", by)
            if transfer is not None:
                transfer.happen(Event.CALLER_GONE)
            elif peer is not None:
                peer.bye(bye_headers(by, reason))
        elif leg is peer:
            self.peer = None
            if transfer is not None:
                transfer.happen(Event.AGENT_GONE)
            else:
                self._ended(self.peer_role, by)
                if caller is not None:
                    caller.bye(bye_headers(by, reason))
        if self.media.anchored:
            self.media.over(leg)
        self.close()

    def _ended(self, role: str, by: str) -> None:
        if not self.ended_by:
            self.ended_by = role if by == "far" else "edge"

    def _expired(self) -> None:
        self.expiry = None
        self.end("edge", "duration")

    # --- how it ends

    def end(self, by: Literal["edge", "api"], cause: str = "stop") -> None:
        """Hang up on everybody. cause: as in the call's log line."""
        if not self.ended_by:
            self.ended_by, self.cause = by, cause
        transfer, caller, peer = self.transfer, self.caller, self.peer
        if not self.answered:
            self.status = self.status or 503
            if caller is not None:
                caller.reject(503)
            if peer is not None:
                peer.bye()
            return
        for leg in (caller, peer):
            if leg is not None:
                leg.bye()
        if transfer is not None:
            transfer.happen(Event.CALLER_GONE)
            if by == "edge" and cause == "stop":
                # Nobody will be here to hear what a REFER came to.
                transfer.happen(Event.NOTIFY_NONE, 0, "the edge stops")

    def abandon(self) -> None:
        """Over, whatever its legs still wait for."""
        self.end("edge", "stop")
        self.open = 0
        self.close()

    def close(self) -> None:
        """The call is over when no leg is left, and nobody who still waits for the outcome of a transfer."""
        if self.open or self.transfer is not None or self.state == "ended":
            return
        self.state = "ended"
        self.ended = self.calls.stack.time
        if self.expiry is not None:
            self.expiry.cancel()
            self.expiry = None
        if self.media.anchored:
            self.audio = self.media.close()
        self.offers = self.passed = None
        self.calls.over(self)
        self.tell("call.ended")
        if self.calls.services.used:
            self.calls.services.emit(Record(at=self.ended + self.calls.wall, call=self.struct()))

    def keep(self, leg: Leg, role: Role) -> None:
        """A leg is over: the record has it, the latest ones of very many."""
        if self.calls.services.used:
            self.gone = (*self.gone, leg_struct(self, leg, role))[-MOST_LEGS:]

    # --- for the bridge and for transfers

    def joined_with(self, leg: Leg) -> Leg | None:
        """The leg that hears this one; None while it hears nobody, or somebody who plays to it."""
        if leg is self.caller:
            return self.peer
        return self.caller if leg is self.peer else None

    def crossing(self) -> dict[Any, Any]:
        """Exchanges that wait for the other leg's answer, by that leg's token."""
        if self.offers is None:
            self.offers = {}
        return self.offers

    def referrals(self) -> "dict[Any, Referral]":
        """REFERs that were passed on, by the token of the other leg."""
        if self.passed is None:
            self.passed = {}
        return self.passed

    def offered_late(self, leg: Leg, exchange: "Offer") -> bool:
        """The agent's 2xx had the offer: its answer comes in the caller's ACK."""
        if leg is not self.peer or self.offered or self.late is not None:
            return False
        self.late = exchange
        return True

    def swap(self) -> None:
        """Whoever was called is the caller of a transfer: it was the agent who began this call."""
        self.caller, self.peer = self.peer, self.caller
        self.peer_role = "agent"

    def adopt(self, leg: Leg) -> None:
        """A target takes the agent's place."""
        leg.owner = self
        self.peer = leg
        self.left_role, self.peer_role = self.peer_role, "target"

    def transfer_over(self, transfer: "Transfer") -> None:
        self.transfer = None
        self.past = (*self.past, transfer)[-MOST_TRANSFERS:]
        self.close()

    # --- as others see it

    def struct(self) -> CallStruct:
        return call_struct(self)

    def tell(self, name: str) -> None:
        services = self.calls.services
        if services.used and services.wants(name):
            services.emit(Said(name=name, at=self.calls.now, call=self.struct()))

    def group_of(self, leg: Leg) -> int:
        """The group of a leg's far end: the caller's as it was admitted, others by their address."""
        if self.began and not leg.uac:
            return self.group
        return self.calls.group_at(leg.listener, leg.far[0])

    @property
    def custom(self) -> str:
        """The upstream for bare extensions: that of the agent's group."""
        if self.peer is None:
            return ""
        group = self.group_of(self.peer)
        return self.calls.config.groups[group].custom_telephony if group >= 0 else ""

    @property
    def caller_address(self) -> str:
        """Who calls, as a From or To value without tag; of a call that the agent began, whoever was called."""
        request = self.request
        return address_of(request.header("To" if self.caller is not None and self.caller.uac else "From") or "")

    @property
    def called_address(self) -> str:
        """Whom the call was for: the agent."""
        request = self.request
        return address_of(request.header("From" if self.caller is not None and self.caller.uac else "To") or "")

    def variables_now(self) -> dict[str, Any]:
        """The variables, made when they are first needed: most calls never need them."""
        if self.variables is None:
            request = self.request
            trusted = self.calls.trusted(self.group)
            self.variables = call_variables(
                request.call_id, uri_of(request.header("From") or ""), uri_of(request.header("To") or ""),
                request.items(), None if trusted else self.calls.internal)
        return self.variables
