"""Caller and target into one call: in one step of the relay where what both agreed on fits, else after a re-INVITE.

The target was offered the caller's codecs, so most of the time nothing more is said. Where the two have chosen
differently, one of them is offered what the other one uses, each once at most; where that does not help, G.711 of one
law becomes that of the other if the action allows it, or they cannot be joined.
"""
from typing import TYPE_CHECKING, Any

from proxy.calls.table import Event
from sipcore.base.errors import SipEdgeError
from sipcore.stack.leg import Leg

if TYPE_CHECKING:
    from proxy.calls.media import Anchored
    from proxy.calls.transfer import Transfer
    from sipcore.anchor.agreement import Agreement


class Join:
    """One attempt to bridge. Its outcome is BRIDGED or REINVITE_FAILED."""

    def __init__(self, transfer: "Transfer"):
        self.transfer = transfer
        self.call = transfer.call
        self._tried: set[Leg] = set()
        self._leg: Leg | None = None
        self._token: Any = None
        self._waiting = False

    @property
    def media(self) -> "Anchored":
        media = self.call.media
        assert media.anchored
        return media  # type: ignore[return-value]

    def begin(self) -> None:
        caller, target = self.call.caller, self.transfer.leg
        if caller is None or target is None:
            self._failed(481, "Call/Transaction Does Not Exist")
            return
        if self.media.pending(caller):
            # An exchange with the agent is under way, a hold as a rule: what it leads to is what has to fit.
            self._waiting = True
            return
        agreed = self.media.agreed(caller, target)
        if agreed.outcome in ("same", "renumber"):
            self._connect(agreed, caller, target)
            return
        asked = self.media.leg_on(agreed.side) if agreed.outcome == "reinvite" else None
        like = caller if asked is target else target
        if asked is not None and asked not in self._tried and self._ask(asked, like):
            return
        if self.transfer.action.transcode:
            converted = self.media.converted(caller, target)
            if converted.outcome == "transcode":
                self.transfer.note("transcode", converted.why)
                self._connect(converted, caller, target)
                return
        self._failed(488, "No Common Codec")

    def _connect(self, agreed: "Agreement", caller: Leg, target: Leg) -> None:
        self.media.media.apply(agreed)
        self.media.join(caller, target)
        self.transfer.happen(Event.BRIDGED)

    def settled(self) -> None:
        """An exchange between caller and agent is over."""
        if self._waiting and self.transfer.status.state == "bridging":
            self._waiting = False
            self.begin()

    def done(self, leg: Leg, token: Any, status: int, reason: str, body: bytes) -> bool:
        """The outcome of a re-INVITE; whether it was one of ours."""
        if token is None or token is not self._token:
            return False
        self._token = None
        if self.transfer.status.state != "bridging":
            self.media.give_up(leg)
            return True
        if 200 <= status < 300:
            try:
                self.media.answered(leg, body)
            except SipEdgeError as error:
                self.transfer.note("reinvite", str(error))
        else:
            self.media.give_up(leg)
            self.transfer.note("reinvite", f"{status} {reason}")
        self.begin()
        return True

    def _ask(self, leg: Leg, like: Leg) -> bool:
        self._tried.add(leg)
        try:
            body = self.media.reoffer(leg, like)
        except SipEdgeError as error:
            self.transfer.note("reinvite", str(error))
            return False
        self._token = leg.reinvite(body)
        if self._token is None:
            self.media.give_up(leg)
            return False
        self.transfer.note("reinvite", "target" if leg is self.transfer.leg else "caller")
        return True

    def _failed(self, status: int, reason: str) -> None:
        self.transfer.happen(Event.REINVITE_FAILED, status, reason)
