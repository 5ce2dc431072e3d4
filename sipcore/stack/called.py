"""The far end's INVITE, until its ACK: the UAS's half of a leg's beginning (RFC 3261 13.3, RFC 3262 3).

  state      event                     to
  inviting   ring                      early
  inviting,  answer                    up (behind a reliable response with a description: when its PRACK came)
  early      reject, no PRACK          ended
             CANCEL, BYE (to the last  ended; the owner hears on_cancelled
             of several forks)
  up         ACK                       up, established
             64*T1 without ACK         BYE; ended

Where the call goes on to several that answer, each of them (a fork: the To tag there) may have an early dialog of its
own here, as behind a forking proxy (12.1, 13.2.2.4): in one dialog the first description would be the only one that
counts (13.2.1). The first fork has the leg's own dialog, each further one a Called beside it; the one that answers
becomes the leg's.
"""
from typing import TYPE_CHECKING

from sipcore.stack import sessiontimer
from sipcore.stack.dialog import Dialog, State
from sipcore.stack.forks import MOST_FORKS
from sipcore.stack.handler import Handler
from sipcore.stack.offer import NONE, OURS, Offer, choose
from sipcore.stack.outgoing import Headers, header_lines
from sipcore.stack.reliable import Reliable, matches
from sipcore.wire.message import Message
from sipcore.wire.multipart import description

if TYPE_CHECKING:
    from sipcore.stack.alarms import Alarm
    from sipcore.stack.leg import Leg
    from sipcore.stack.offer import Reoffer
    from sipcore.stack.uas import ServerTransaction

_MINUTE = 60_000
_MOST_WAITING = 8
"""Provisional responses that wait behind one that is to be acknowledged."""


class Called(Handler):
    """Belongs to its leg until the ACK."""

    __slots__ = ("alarm", "dialog", "final", "firm", "fork", "forks", "heard", "last", "leg", "lost", "offered",
                 "reliable", "required", "rseq", "sdp", "tx", "waiting")

    def __init__(self, leg: "Leg", tx: "ServerTransaction") -> None:
        self.leg = leg
        self.tx = tx
        assert leg.dialog is not None
        self.dialog = leg.dialog
        self.fork = ""
        self.forks: dict[str, Called] | None = None
        self.sdp = b""
        self.heard = leg.remote_sdp
        self.firm = self.lost = False
        self.alarm: Alarm | None = None
        self.last = 0
        self.offered = leg.pending != NONE
        self.rseq = 0
        self.reliable: Reliable | None = None
        self.waiting: list[Reliable] | None = None
        self.final: tuple[bytes, Headers] | None = None
        required = tx.request.header("Require")
        self.required = required is not None and "100rel" in required.lower()
        tx.handler = self

    def of(self, fork: str, answers: bool = False) -> "Called | None":
        """Who speaks for that fork; None where there are too many, unless it answers. Empty: the first."""
        if not fork or fork == self.fork:
            return self
        if not self.fork:
            self.fork = fork
            return self
        if self.forks is None:
            self.forks = {}
        found = self.forks.get(fork)
        if found is None and (answers or len(self.forks) + 1 < MOST_FORKS):
            leg = self.leg
            found = self.forks[fork] = Called(leg, self.tx)
            self.tx.handler = self
            found.offered = self.offered
            found.heard = description(self.tx.request)
            found.fork = fork
            found.dialog = Dialog.of_request(self.tx.request, leg.agent.new_tag(), self.dialog.contact)
            leg.agent.add(found.dialog, leg)
        return found

    def respond(self, status: int, body: bytes, headers: Headers) -> None:
        """A response in its dialog."""
        self.tx.tag = self.dialog.local_tag
        self.tx.respond(self.leg.agent.time, status, headers=headers, body=body)

    # --- what the owner does

    def ring(self, status: int, body: bytes, headers: Headers, reliable: bool) -> Reliable | None:
        leg = self.leg
        header_lines(headers)
        if self.final is not None or self.lost:
            return None
        if leg.state == "inviting":
            leg.enter_early()
        self.last = status
        if self.alarm is None:
            # 13.3.1.1: proxies give up on an INVITE that nobody says anything about for three minutes.
            self.alarm = leg.after(_MINUTE, self._on_minute)
        if not self.required and not (
                (reliable or body) and leg.settings.reliable and leg.peer.supports("100rel")):
            self.sdp = body or self.sdp
            self.respond(status, body, [*leg.own_headers(), *headers])
            return None
        one = Reliable(self, status, body, tuple(headers))
        if self.reliable is None:
            self._start(one)
            return one
        if self.waiting is None:
            self.waiting = []
        if len(self.waiting) == _MOST_WAITING:
            return None
        self.waiting.append(one)
        return one

    def _start(self, one: Reliable) -> None:
        # The first RSeq is drawn from a range (RFC 3262 3); 1 is in it, and ours are told apart by their dialog.
        self.rseq += 1
        self.reliable = one
        one.start(self.rseq)

    def answer(self, body: bytes, headers: Headers) -> bool:
        leg = self.leg
        header_lines(headers)
        if self.final is not None or not self.tx.waiting or self.dialog.state is State.ENDED:
            # A dialog that a BYE has ended begins no session any more (15).
            return False
        if self._awaits_prack():
            self.final = (body, headers)
            return True
        self._answer(body, headers)
        return leg.state == "up"

    def _answer(self, body: bytes, headers: Headers) -> None:
        leg = self.leg
        lost = self._choose() if leg.phase is not self or self.forks is not None else []
        self.stop()
        if leg.state == "inviting":
            leg.enter_early()
        if not body and self.offered and not self.firm:
            # 13.2.1: the answer has to be in a reliable response, if only in this one.
            body = self.sdp
        granted = sessiontimer.grant(leg, self.tx.request)
        self.respond(200, body, [*leg.own_headers(), *granted, *headers])
        assert leg.dialog is not None
        leg.dialog.accept()
        leg.state = "up"
        leg.local_sdp = body or self.sdp or leg.local_sdp
        leg.pending = OURS if body and not self.offered and leg.remote_sdp == b"" else NONE
        leg.tell_lost(lost)

    def _choose(self) -> "list[Offer | Reoffer]":
        """The other early dialogs end with the 2xx (13.2.2.4); returns what comes to nothing with them."""
        leg, first = self.leg, self.leg.phase
        assert isinstance(first, Called)
        others, first.forks = [first, *(first.forks or {}).values()], None
        leg.phase = self.tx.handler = self
        if leg.dialog is not self.dialog:
            leg.remote_sdp = self.heard
        lost = choose(leg, self.dialog)
        for other in others:
            if other is not self:
                other.stop()
                leg.agent.remove(other.dialog)
        return lost

    def reject(self, status: int, reason: str, headers: Headers) -> bool:
        if not self.tx.respond(self.leg.agent.time, status, reason, headers=headers):
            return False
        self.stop()
        self.leg.finish("us", f"{status} {reason}".strip())
        return True

    def stop(self) -> None:
        """Nothing provisional is sent any more, for no fork."""
        for other in (self.forks or {}).values():
            other.stop()
        if self.alarm is not None:
            self.alarm.cancel()
            self.alarm = None
        if self.reliable is not None:
            self.reliable.stop()
            self.reliable = None
        self.waiting = None

    def close(self) -> None:
        """The leg is over."""
        self.stop()
        for other in (self.forks or {}).values():
            self.leg.agent.remove(other.dialog)
        if self.tx.waiting:
            self.tx.respond(self.leg.agent.time, 487)

    # --- what happens

    def _on_minute(self) -> None:
        self.alarm = None
        if self.reliable is None:
            self.ring(self.last, b"", (), False)
        else:
            self.alarm = self.leg.after(_MINUTE, self._on_minute)

    def on_prack(self, tx: "ServerTransaction") -> None:
        """A PRACK in our dialog: 200, or 481 where it acknowledges nothing that waits (RFC 3262 3)."""
        for other in (self.forks or {}).values():
            if other.dialog is tx.dialog:
                other.on_prack(tx)
                return
        leg, reliable = self.leg, self.reliable
        if reliable is None or not matches(tx.request, reliable):
            tx.respond(leg.agent.time, 481)
            return
        reliable.stop()
        self.reliable = None
        body = description(tx.request)
        exchange = None
        if reliable.offers:
            leg.pending = NONE
            self.heard = body
            if self.dialog is leg.dialog:
                leg.remote_sdp = body
            tx.respond(leg.agent.time, 200)
            leg.owner.on_reoffer_done(leg, reliable, 200, "OK", body)
        elif body and self.dialog is not leg.dialog:
            # As an UPDATE there: the session that is spoken about is the first one's, until one answers.
            tx.respond(leg.agent.time, 488)
        elif body and leg.pending == NONE and leg.exchange is None:
            exchange = Offer(leg, "PRACK", body, tx)
        else:
            tx.respond(leg.agent.time, 200)
        self._go_on()
        if exchange is not None and exchange.open:
            leg.owner.on_offer(leg, exchange)

    def _go_on(self) -> None:
        if not self.tx.waiting or self.reliable is not None:
            return
        if self.waiting:
            self._start(self.waiting.pop(0))
        if self.final is not None and not self._awaits_prack():
            body, headers = self.final
            self._answer(body, headers)
        else:
            self.leg.go_on()

    def _awaits_prack(self) -> bool:
        """Whether a 2xx has to wait (RFC 3262 3)."""
        return bool(self.waiting) or (self.reliable is not None and self.reliable.body != b"")

    def on_no_prack(self) -> None:
        """64*T1 without PRACK: the INVITE is refused (RFC 3262 3); a fork alone falls silent, as there are callers that
        know one early dialog at a time."""
        self.lost = True
        first = self.leg.phase
        assert isinstance(first, Called)
        if self.final is None and not first.all_lost():
            self.reliable = self.waiting = None
            return
        if self.tx.respond(self.leg.agent.time, 504):
            self.leg.finish("timeout", "no PRACK")

    def all_lost(self) -> bool:
        """Of the first fork: whether there is nobody to talk to any more."""
        return self.lost and all(one.lost for one in (self.forks or {}).values())

    def on_bye(self, tx: "ServerTransaction", reason: str) -> None:
        """A BYE to an early dialog ends that alone (15): its fork falls silent, and the last one ends the call."""
        for one in (self, *(self.forks or {}).values()):
            if one.dialog is tx.dialog:
                one.lost = True
                if one.reliable is not None:
                    one.reliable.stop()
                one.reliable = one.waiting = None
                if one.final is not None or self.all_lost():
                    self.gone(reason)
                return

    def on_cancel(self, tx: "ServerTransaction") -> None:
        self.gone(tx.why or "cancelled")

    def gone(self, reason: str) -> None:
        """The far end wants no answer any more: by CANCEL, or by a BYE to the early dialog."""
        leg = self.leg
        if leg.state in ("inviting", "early"):
            self.close()
            leg.owner.on_cancelled(leg)
            leg.finish("far", reason)

    def on_ack(self, tx: "ServerTransaction", ack: Message) -> None:
        leg = self.leg
        leg.phase = None
        if leg.state == "ended":
            return
        if leg.pending == OURS:
            leg.pending = NONE
            leg.remote_sdp = description(ack)
        leg.established = True
        if leg.state == "up":
            leg.owner.on_established(leg, ack)
        leg.go_on()

    def on_unacknowledged(self, tx: "ServerTransaction") -> None:
        leg = self.leg
        leg.phase = None
        if leg.state == "ended":
            return
        leg.established = True
        if leg.state == "up":
            leg.owner.on_established(leg, None)
        leg.lose("timeout", "no ACK")
