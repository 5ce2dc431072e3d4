"""Reliable provisional responses (RFC 3262), for both roles.

UAS: each one is sent again (T1, doubling) until its PRACK comes; the next one, and a 2xx after a description, wait for
that; after 64*T1 the INVITE is refused (3). UAC: each one is taken once, in the order of RSeq, and acknowledged (4).
"""
from typing import TYPE_CHECKING

from sipcore.stack.inside import Inside
from sipcore.stack.offer import NONE, OURS
from sipcore.stack.outgoing import Outgoing
from sipcore.wire.message import Message

if TYPE_CHECKING:
    from sipcore.stack.alarms import Alarm
    from sipcore.stack.called import Called
    from sipcore.stack.calling import Calling
    from sipcore.stack.dialog import Dialog

T1 = 500
LONGEST = 64 * T1
"""ms (RFC 3261 17.1.1.1)."""

_MOST_FORKS = 32


class Reliable:
    """A provisional response of ours that waits for its PRACK; the token of `Leg.ring`."""

    __slots__ = ("alarm", "body", "called", "headers", "interval", "offers", "rseq", "status", "until")

    def __init__(self, called: "Called", status: int, body: bytes, headers: tuple[tuple[str, str], ...]) -> None:
        self.called = called
        self.status = status
        self.body = body
        self.headers = headers
        self.offers = False
        self.interval = T1
        self.until = 0
        self.rseq = 0
        self.alarm: Alarm | None = None

    def start(self, rseq: int) -> None:
        leg = self.called.leg
        self.rseq = rseq
        self.until = leg.agent.time + LONGEST
        if self.body:
            self.offers = leg.pending == NONE and not self.called.offered
            leg.pending = OURS if self.offers else NONE
            leg.local_sdp = self.called.sdp = self.body
            self.called.firm = True
        self._send()

    def stop(self) -> None:
        if self.alarm is not None:
            self.alarm.cancel()
            self.alarm = None

    def _send(self) -> None:
        leg = self.called.leg
        self.called.respond(self.status, self.body, [
            *leg.own_headers(), ("Require", "100rel"), ("RSeq", str(self.rseq)), *self.headers])
        self.alarm = leg.after(min(self.interval, self.until - leg.agent.time), self._on_due)

    def _on_due(self) -> None:
        self.alarm = None
        if self.called.leg.agent.time >= self.until:
            self.called.on_no_prack()
            return
        self.interval *= 2
        self._send()


class Prack(Inside):
    """Our PRACK; its body is the answer where the provisional response brought an offer."""

    __slots__ = ("calling",)

    def __init__(self, calling: "Calling", dialog: "Dialog", rseq: int) -> None:
        Inside.__init__(self, calling.leg, "PRACK", [("RAck", f"{rseq} {calling.out.cseq} INVITE")], dialog=dialog)
        self.calling = calling

    def signed(self, out: Outgoing) -> Outgoing:
        """Who asked for a password for the INVITE will ask for one here."""
        return out if self.challenges else out.changed(headers=(*out.headers, *self.calling.renew(out)))


class Pracks:
    """What reliable provisional responses to our INVITE have told, by To tag. Made with the first of them."""

    __slots__ = ("answered", "last")

    def __init__(self) -> None:
        self.last: dict[str, int] = {}
        self.answered: dict[str, bytes] = {}
        """Descriptions that answered our offer, or offered: the INVITE's 2xx does not bring another one."""

    def fresh(self, tag: str, rseq: int) -> bool:
        """Whether it is the next one (4): others are dropped, and acknowledged by nobody."""
        last = self.last.get(tag)
        if (last is not None and rseq != last + 1) or (last is None and len(self.last) >= _MOST_FORKS):
            return False
        self.last[tag] = rseq
        return True


def rseq_of(response: Message) -> int:
    """RSeq of a response that asks for PRACK; 0 for any other."""
    value = response.header("RSeq")
    if value is None or not (value.isascii() and value.isdigit() and len(value) <= 10):
        return 0
    return int(value) if any(option.lower() == "100rel" for option in response.headers("Require")) else 0


def matches(request: Message, reliable: Reliable) -> bool:
    """Whether a PRACK acknowledges it: RAck is RSeq, CSeq number and method of the INVITE (7.2)."""
    parts = (request.header("RAck") or "").split()
    number, method = reliable.called.tx.request.cseq
    return parts == [str(reliable.rseq), str(number), method]
