"""An attended transfer that the edge runs: the agent has two calls through the edge, and joins their far ends.

The far end of the second call moves into the first one by a re-INVITE, so that neither of the two has to call anybody.
The agent may hang up both of its calls at once, as many do right after the 202: whoever it talked to is kept.
"""
from typing import TYPE_CHECKING, Any

from proxy.calls.join import Join
from proxy.calls.starting import promised
from proxy.calls.table import Event
from proxy.calls.target import Target
from proxy.calls.transfer import Transfer
from proxy.config import Action
from proxy.policy.refusals import Refused
from sipcore.base.errors import SipEdgeError
from sipcore.stack.leg import Leg

if TYPE_CHECKING:
    from proxy.calls.call import Call
    from sipcore.stack.offer import Offer
    from sipcore.stack.referral import Referral


def start_attended(call: "Call", named: Leg, referral: "Referral", action: Action) -> "Attended":
    """Join the caller with whoever is at the other end of the call that the named leg (the agent's) belongs to. Raises
    Refused."""
    other = named.owner
    leg = other.joined_with(named)
    caller = call.caller
    if other is call or leg is None or leg.state != "up" or other.transfer is not None:
        raise Refused(603, "Decline", "the dialog that Replaces names is in no call that could be joined")
    if caller is None or call.state != "up" or call.media.anchored != other.media.anchored:
        raise Refused(409, "The Call Is Not Up", "the two calls cannot be joined")
    transfer = Attended(call, action, other, leg, referral)
    call.transfer = transfer
    referral.accept(expires=promised(action.deadline))
    transfer.begin()
    return transfer


class Lent(Target):
    """The far end of the other call; it is the transfer's until the outcome is known."""

    transfer: "Attended"

    def __init__(self, transfer: "Attended", other: "Call", leg: Leg):
        Target.__init__(self, transfer)
        self.other = other
        self.leg = leg
        leg.owner = self
        if leg is other.caller:
            other.caller = None
        else:
            other.peer = None
        other.open -= 1
        transfer.call.open += 1

    def give_back(self) -> None:
        """It stays in the other call after all, with the agent, where that is still there; without anybody to talk to
        it is hung up on."""
        leg, other = self.leg, self.other
        if leg is None:
            return
        self.leg = None
        self.transfer.call.open -= 1
        self.transfer.call.media.over(leg)
        leg.owner = other
        other.open += 1
        alone = other.caller is None and other.peer is None
        if other.caller is None:
            other.caller = leg
        else:
            other.peer = leg
        if alone:
            leg.bye()

    def on_reoffer_done(self, leg: Leg, token: Any, status: int, reason: str, body: bytes) -> None:
        if self.transfer.join is not None:
            self.transfer.join.done(leg, token, status, reason, body)
        else:
            self.transfer.reinvited(leg, token, status, reason, body)

    def on_offer(self, leg: Leg, exchange: "Offer") -> None:
        exchange.reject(491)

    def on_ended(self, leg: Leg, by: str, reason: str) -> None:
        """The other call has nobody left for the agent then."""
        transfer = self.transfer
        gone = leg is self.leg
        if gone:
            self.leg = None
            for left in (self.other.caller, self.other.peer):
                if left is not None:
                    left.bye()
            self.other.close()
        Target.on_ended(self, leg, by, reason)
        if gone and transfer.status.state == "preparing":
            transfer.why = "whoever the caller was to be joined with hung up before"
            transfer.happen(Event.PREPARE_FAILED, 480, "Temporarily Unavailable")
        elif gone:
            transfer.happen(Event.TARGET_GONE, 0, reason)


class Attended(Transfer):
    """leg: the far end of the other call."""

    target: Lent

    def __init__(self, call: "Call", action: Action, other: "Call", leg: Leg, referral: "Referral"):
        dialog = leg.dialog
        target = dialog.target if dialog is not None else ""
        Transfer.__init__(self, call, action, [target], started_by="refer", variables={}, referral=referral,
                          mode="attended")
        self._told: Any = None
        self.other = other
        self.target = Lent(self, other, leg)

    def _bridge(self) -> None:
        leg, caller = self.leg, self.call.caller
        if leg is None or caller is None:
            raise Refused(481, "Call/Transaction Does Not Exist")
        if self.call.media.anchored:
            side = self.media.media.free_side()
            if side < 0:
                raise Refused(503, "No Side Is Free")
            self.media.take(leg, side, "target")
            before: Any = self.other.media
            body = self.media.invite(leg, caller, leg.listener, before)
            self.media.media.inherit(side, before.media, before.sides[leg])
        else:
            body = caller.remote_sdp
        self._token = leg.reinvite(body)
        if self._token is None:
            raise Refused(481, "Call/Transaction Does Not Exist")

    def reinvited(self, leg: Leg, token: Any, status: int, reason: str, body: bytes) -> None:
        """What the far end has answered to the re-INVITE that moves it here."""
        if token is not self._token or self.status.state != "bridging":
            return
        self._token = None
        if not 200 <= status < 300:
            self.happen(Event.REINVITE_FAILED, status, reason)
        elif self.call.media.anchored:
            self._moved(leg, body)
        else:
            self._tell_caller(body)

    def _moved(self, leg: Leg, body: bytes) -> None:
        try:
            self.media.answered(leg, body)
        except SipEdgeError as error:
            self.wrong(Event.REINVITE_FAILED, error)
            return
        self.join = Join(self)
        self.join.begin()

    def _tell_caller(self, body: bytes) -> None:
        """Where the audio goes from end to end the caller has to be told of the new one as well."""
        caller = self.call.caller
        self._told = caller.reinvite(body) if caller is not None else None
        if self._told is None:
            self.happen(Event.REINVITE_FAILED, 481, "Call/Transaction Does Not Exist")

    def caller_answered(self, token: Any, status: int, reason: str) -> bool:
        """Whether that was the caller's answer to a re-INVITE of ours."""
        if token is None or token is not self._told:
            return False
        self._told = None
        if 200 <= status < 300:
            self.happen(Event.BRIDGED)
        else:
            self.happen(Event.REINVITE_FAILED, status, reason)
        return True

    def _finish(self) -> None:
        if self.status.state != "completed":
            self.target.give_back()
        else:
            self.other.end("edge")
        Transfer._finish(self)
