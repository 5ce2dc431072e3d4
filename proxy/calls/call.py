"""A controlled call: two legs of the edge's own, back to back, and the transfer that may be under way.

The Call owns the legs that are joined, `caller` and `peer` (the agent; after a transfer the target); a target that is
being called belongs to its Transfer until then. What each leg says goes to what it is about: how the call is
established, what crosses between joined legs, a REFER, the transfer.

Cost: one object with slots a call, two legs; Structs for others are made only where somebody listens.
"""
from typing import TYPE_CHECKING, Any, Literal

from proxy.calls import bridge, establishing, refer
from proxy.calls.carried import bye_headers
from proxy.calls.gone import GONE
from proxy.calls.media import PASSING, Passing
from proxy.calls.records import call_struct, leg_struct
from proxy.calls.table import Event
from proxy.events import Call as CallStruct
from proxy.events import CallState, Record, Role, new_id
from proxy.events import Event as Said
from proxy.events import Leg as LegStruct
from proxy.policy.context import call_variables
from sipcore.stack.leg import Leg
from sipcore.stack.outgoing import address_of, uri_of
from sipcore.stack.verdict import Verdict
from sipcore.wire.message import Message
from sipcore.wire.multipart import description

if TYPE_CHECKING:
    from proxy.calls.registry import Calls
    from proxy.calls.transfer import Transfer
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
        "group_name", "identifier", "late", "left_role", "media", "offers", "open", "passed", "past", "peer",
        "peer_role", "rang", "reason", "record", "request", "state", "status", "transfer", "transfers",
        "upstream_name", "variables", "verdict",
    )

    def __init__(self, calls: "Calls", tx: "ServerTransaction"):
        self.calls = calls
        self.request: Message = tx.request
        self.verdict = tx.verdict or _PLAIN
        self.group_name = calls.group_name(tx.group)
        """A reload moves groups and upstreams to other indices: a call knows its own by their names."""
        self.upstream_name = calls.upstream_name(self.verdict.upstream)
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
    def group(self) -> int:
        """Index of the caller's group as it was admitted; UNLISTED where it was in none, or that is gone."""
        return self.calls.group_index(self.group_name)

    @property
    def upstream(self) -> int:
        """Index of the upstream that the call goes to; -1 where there is none, or it is gone."""
        return self.calls.upstream_index(self.upstream_name)

    @property
    def offered(self) -> bool:
        """Whether the caller's INVITE came with an offer."""
        return bool(description(self.request))

    def begin(self) -> None:
        """Ask what is to be asked before it is routed, then call the agent."""
        establishing.begin(self)

    # --- LegOwner

    def on_progress(self, leg: Leg, response: Message) -> None:
        establishing.on_progress(self, leg, response)

    def on_answered(self, leg: Leg, response: Message) -> None:
        establishing.on_answered(self, leg, response)

    def on_failed(self, leg: Leg, status: int, reason: str, response: Message | None) -> None:
        establishing.on_failed(self, leg, status, reason, response)

    def on_cancelled(self, leg: Leg) -> None:
        """The caller has given up; on_ended follows."""
        self.ended_by = self.ended_by or "caller"
        self.status = self.status or 487
        self.reason = self.reason or "Request Terminated"

    def on_established(self, leg: Leg, ack: Message | None) -> None:
        establishing.on_established(self, leg, ack)

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
        refer.on_refer(self, leg, referral)

    def on_refer_progress(self, leg: Leg, token: Any, kind: str, status: int, reason: str) -> None:
        if not refer.on_refer_progress(self, token, kind, status, reason) and self.transfer is not None:
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
