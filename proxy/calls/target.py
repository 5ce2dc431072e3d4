"""Whoever a transfer calls: the leg to its target, until that is joined with the caller or gone."""
from functools import partial
from typing import TYPE_CHECKING, Any

from proxy.calls.gone import GONE
from proxy.calls.hop import NoWay, hop_to
from proxy.calls.table import Action, Event
from proxy.calls.whispering import key_of
from proxy.policy.refusals import Refused
from sipcore.base.errors import SipEdgeError
from sipcore.base.place import Unresolved
from sipcore.stack.aim import Aim, Seeker, seek
from sipcore.stack.leg import Leg

if TYPE_CHECKING:
    from proxy.calls.prepare import Invitation
    from proxy.calls.transfer import Transfer
    from sipcore.stack.alarms import Alarm
    from sipcore.stack.hop import Hop
    from sipcore.stack.offer import Offer
    from sipcore.stack.referral import Referral
    from sipcore.stack.uas import ServerTransaction
    from sipcore.wire.message import Message


class Target:
    """The LegOwner of that leg; one after the other is called, where the transfer has several targets. leg: None while
    nobody is called."""

    def __init__(self, transfer: "Transfer"):
        self.transfer = transfer
        self.leg: Leg | None = None
        self._ringing: Alarm | None = None
        self._seeker: Seeker | None = None

    # --- what the transfer does with it

    def invite(self) -> None:
        """Call the present one, once it is known where that is. Raises Refused, SipEdgeError."""
        transfer = self.transfer
        invitation = transfer.preparation.invitation(transfer.targets[transfer.at])
        aims = [Aim(hop.uri, hop.host, hop.port, hop.transport, hop.name, hop.listener, hop.place)
                for hop in invitation.destination.hops]
        self._ringing = transfer.after(transfer.action.ring_timeout, Event.RING_TIMEOUT)
        call = transfer.call
        self._seeker = seek(call.calls.stack, aims, call.request.call_id, partial(self._found, invitation))

    def _found(self, invitation: "Invitation", aims: "list[Aim] | Unresolved") -> None:
        try:
            if isinstance(aims, Unresolved):
                raise Refused(aims.status, aims.reason, str(aims))
            self._call(invitation, aims)
        except (Refused, SipEdgeError) as error:
            self.transfer.failed(Action.INVITE, error)

    def _call(self, invitation: "Invitation", aims: "list[Aim]") -> None:
        transfer, call = self.transfer, self.transfer.call
        caller = call.caller
        assert caller is not None
        # A leg of its own for each attempt: fresh Call-ID and tag, or the peer merges it with the last one (482).
        leg = Leg.outgoing(call.calls.stack, self, call.calls.settings)
        first, *rest = self._reached(aims)
        # What is offered names the address of one listener.
        others = [aim for aim in rest if aim.listener == first.listener]
        if len(others) < len(rest):
            transfer.note("addresses", f"{len(rest) - len(others)} by another listener are not tried")
        side = transfer.media.media.free_side()
        if side < 0:
            raise Refused(503, "No Side Is Free", "the last target has not gone yet")
        transfer.media.take(leg, side, "target", invitation.destination.peer.settings.srtp)
        try:
            body = transfer.media.invite(leg, caller, first.listener)
            leg.invite(first.uri, self._hop(first), local=invitation.local, remote=invitation.remote,
                       headers=invitation.headers, body=body, listener=first.listener,
                       targets=tuple(self._hop(aim) for aim in others), uris=tuple(aim.uri for aim in others),
                       max_forwards=caller.max_forwards - 1, other_offer=partial(self._retell, leg))
        except SipEdgeError:
            transfer.media.over(leg)
            raise
        transfer.note("invite", transfer.targets[transfer.at])
        call.open += 1
        self.leg = leg
        if transfer.whispering is not None:
            transfer.whispering.prepare()

    def _retell(self, leg: Leg, response: "Message | None") -> bytes:
        call = self.transfer.call
        body = call.calls.retell(call, leg, response)
        if body and response is not None:
            self.transfer.note("srtp", f"{response.status} {response.reason}: offered in another profile")
        return body

    def _hop(self, aim: Aim) -> "Hop":
        return hop_to(self.transfer.call.calls.stack, aim.host, aim.port, aim.transport, aim.name)

    def _reached(self, aims: list[Aim]) -> list[Aim]:
        """The aims that a listener reaches, each with its listener. Raises NoWay where there is none."""
        stack = self.transfer.call.calls.stack
        found = [aim if aim.listener >= 0 else aim._replace(listener=stack.listener_for(self._hop(aim), 0))
                 for aim in aims]
        reached = [aim for aim in found if aim.listener >= 0]
        if not reached:
            raise NoWay(f"no listener reaches {aims[0].host} by {aims[0].transport}", status=503)
        return reached

    def drop(self) -> None:
        """Call it no longer, or hang up on it."""
        transfer = self.transfer
        leg, self.leg = self.leg, None
        self.stop_ringing()
        if transfer.whispering is not None:
            transfer.whispering.end(leg)
        if leg is not None:
            # Its owner stays this one, which hears nothing of it any more but its end.
            transfer.media.isolate(leg)
            leg.bye()

    def stop_ringing(self) -> None:
        """It has answered, or need not any more."""
        if self._seeker is not None:
            self._seeker.cancel()
            self._seeker = None
        if self._ringing is not None:
            self._ringing.cancel()
            self._ringing = None

    # --- LegOwner

    def on_progress(self, leg: Leg, response: "Message") -> None:
        if leg is self.leg:
            self.transfer.happen(Event.TARGET_RINGING, response.status, response.reason)
            self.transfer.pass_on(response.status, response.reason)

    def on_answered(self, leg: Leg, response: "Message") -> None:
        if leg is not self.leg:
            leg.bye()
            return
        self.stop_ringing()
        try:
            self.transfer.media.answered(leg, leg.remote_sdp)
        except SipEdgeError as error:
            self.transfer.wrong(Event.TARGET_FAILED, error)
            return
        self.transfer.happen(Event.TARGET_ANSWERED, response.status, response.reason)

    def on_failed(self, leg: Leg, status: int, reason: str, response: "Message | None") -> None:
        if leg is self.leg:
            self.transfer.happen(Event.TARGET_FAILED, status, reason)

    def on_ended(self, leg: Leg, by: str, reason: str) -> None:
        call = self.transfer.call
        call.open -= 1
        call.keep(leg, "target")
        leg.owner = GONE
        call.media.over(leg)
        if leg is self.leg:
            self.transfer.happen(Event.TARGET_GONE, 0, reason)
        call.close()

    def on_offer(self, leg: Leg, exchange: "Offer") -> None:
        """The target offers anew while it hears nobody but the whisper."""
        try:
            if exchange.body:
                exchange.accept(self.transfer.media.own_answer(leg, exchange.body))
            else:
                exchange.reject(491)
        except SipEdgeError as error:
            exchange.reject(error.status)

    def on_reoffer_done(self, leg: Leg, token: Any, status: int, reason: str, body: bytes) -> None:
        if self.transfer.join is not None:
            self.transfer.join.done(leg, token, status, reason, body)

    def on_renewed(self, leg: Leg, body: bytes) -> None:
        """What it has moved to is for the relay alone, until it is joined."""
        self.transfer.call.media.renewed(leg, body)

    def on_message(self, leg: Leg, tx: "ServerTransaction") -> bool:
        """DTMF by INFO counts as a key too."""
        key, whispering = key_of(tx.request), self.transfer.whispering
        if not key or whispering is None or leg is not self.leg:
            return False
        tx.respond(self.transfer.call.calls.stack.time, 200)
        whispering.pressed(key)
        return True

    def on_refer(self, leg: Leg, referral: "Referral") -> None:
        """A target that is not in the call yet transfers nobody."""
        referral.reject(603)

    def on_refer_progress(self, leg: Leg, token: Any, kind: str, status: int, reason: str) -> None:
        """The edge refers no target."""

    def on_cancelled(self, leg: Leg) -> None:
        """Targets are called; they do not call."""

    def on_established(self, leg: Leg, ack: "Message | None") -> None:
        """As above."""
