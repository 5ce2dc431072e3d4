"""Our INVITE, until the leg is up: the UAC's half of a leg's beginning (RFC 3261 13.2, 9.1; RFC 3262 4).

  state      event                              to
  inviting   101-199                            early
  inviting,  2xx                                up: ACK
  early      401, 407 with credentials          inviting, same Call-ID and tag, next CSeq number (22.2)
             422                                the same, with a longer interval (RFC 4028 7.3)
             415, 488, 606, where the owner     the same, once an address (21.4.26)
             has another offer
             no connection, by TCP for a size   inviting at the same address by UDP, with a fresh Call-ID and tag
             503, silence, unreachable          inviting at the next address, with a fresh Call-ID and tag
             300-699, silence at the last one   ended; the owner hears on_failed
             ring timeout                       ending: CANCEL; the owner hears on_failed 408
             cancel                             ending: CANCEL
  ending     300-699, silence                   ended
             2xx that crossed                   ended: ACK, BYE
  any        2xx of another fork or attempt     the same: ACK, BYE

What is left of an attempt after it is over stays with its transaction, and only acknowledges and ends what comes.
"""
from dataclasses import replace
from typing import TYPE_CHECKING

from sipcore.base.errors import MalformedMessage, SipEdgeError
from sipcore.stack import sessiontimer
from sipcore.stack.dialog import Dialog
from sipcore.stack.forks import MOST_FORKS, end_fork
from sipcore.stack.handler import Handler
from sipcore.stack.offer import NONE, OURS, Offer, choose
from sipcore.stack.outgoing import Headers, Outgoing
from sipcore.stack.reliable import Prack, Pracks, rseq_of
from sipcore.stack.route import by_tcp
from sipcore.wire.message import Message
from sipcore.wire.multipart import description

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sipcore.stack.alarms import Alarm
    from sipcore.stack.hop import Hop
    from sipcore.stack.leg import Leg
    from sipcore.stack.legowner import OtherOffer, Pairs
    from sipcore.stack.uac import ClientTransaction

RETOLD = (415, 488, 606)
"""What may be said of an offer's profile alone."""
RAISES = 3
"""Longer session intervals that an INVITE is repeated with: each 422 may name a longer one than the last."""


class Calling(Handler):
    """targets: addresses to try one after the other; uris: request URIs of those behind the first; attempt_ms: how
    long one that says nothing is waited for while there is another; other_offer: see Leg.invite."""

    __slots__ = (
        "alarm", "at", "attempt_ms", "by_tcp", "challenges", "credentials", "forks", "given", "leg", "other_offer",
        "out", "over", "pracks", "previews", "raises", "retold", "ringing", "spent", "targets", "tcp_failed", "tx",
        "uris",
    )

    def __init__(self, leg: "Leg", out: Outgoing, given: "Pairs", targets: "Sequence[Hop]", attempt_ms: int,
                 uris: tuple[str, ...] = (), other_offer: "OtherOffer | None" = None) -> None:
        self.leg = leg
        self.out = out
        self.given = given
        self.targets = targets
        self.uris = uris
        self.attempt_ms = attempt_ms
        self.other_offer = other_offer
        self.retold = False
        """Whether the address that is tried has refused an offer, and was made another one."""
        self.at = 0
        self.by_tcp = self.tcp_failed = False
        """Whether the INVITE was too big for UDP and went by TCP; whether no connection came about for it there."""
        self.challenges = 0
        self.raises = 0
        self.credentials: Pairs = ()
        self.spent = False
        """Whether they were sent."""
        self.forks: dict[str, Dialog] | None = None
        self.pracks: Pracks | None = None
        self.previews: dict[str, bytes] | None = None
        self.over: tuple[str, str] | None = None
        """(by, reason) once nobody wants an answer any more; by "" once there was one."""
        self.alarm: Alarm | None = None
        self.ringing: Alarm | None = None
        self.tx: ClientTransaction | None = None

    # --- attempts

    def start(self) -> None:
        """Raises what `UserAgent.request` raises; nothing has happened then."""
        leg, agent, out = self.leg, self.leg.agent, self.out
        to, listener = self.targets[self.at], leg.listener
        leg.far = to
        if leg.settings.fit is not None:
            out, self.by_tcp = leg.settings.fit(leg, out, to, self.tcp_failed)
            if self.by_tcp:
                # This request alone: Contact, and where the dialog's others go, stay as they are.
                to = by_tcp(to)
                listener = agent.listener_for(to, listener)
        if self.credentials and (self.spent or self.tx is None or out.body != self.tx.request.body):
            # Behind the size policy: what it sends is what they are for.
            out = self._signed(out)
        self.out = out
        self.tx = agent.request(agent.time, out, to, self, listener=listener)
        self.spent = True
        leg.pending = OURS if out.body else NONE
        if self.attempt_ms and self.at + 1 < len(self.targets):
            self.alarm = leg.after(self.attempt_ms, self._on_silence)

    def _signed(self, out: Outgoing) -> Outgoing:
        """With the credentials of an earlier challenge made anew: they are as long as they were."""
        headers = tuple([pair for pair in out.headers if pair not in self.credentials])
        return out.changed(headers=(*headers, *self.renew(out)))

    def renew(self, out: Outgoing) -> "Pairs":
        """The credentials of an earlier challenge, for another request."""
        renew = self.leg.settings.renew
        if self.credentials:
            self.credentials = renew(self.leg, out, self.credentials, self.spent) if renew is not None else ()
        return self.credentials

    def _again(self) -> bool:
        """The same attempt once more, for a challenge or a longer session interval."""
        out = self.out
        return self._started(out.call_id, out.local_tag, out.cseq + 1)

    def _without_tcp(self) -> bool:
        """The same address once more, by the next step of the size policy: no connection came about."""
        agent = self.leg.agent
        self.tcp_failed = True
        self.spent = False
        return self._started(agent.new_call_id(), agent.new_tag(), 1)

    def _next(self) -> bool:
        """The next address, as a call of its own: Call-ID and tag of a repeated INVITE would merge (8.2.2.2)."""
        retry = self.leg.settings.retry
        if self.at + 1 >= len(self.targets) or (retry is not None and not retry(self.targets[self.at])):
            return False
        self.at += 1
        self.credentials = ()
        self.challenges = 0
        self.tcp_failed = False
        if self.retold and self.other_offer is not None:
            self.retold = False
            self.out = replace(self.out, body=self.other_offer(None) or self.out.body)
        if self.uris:
            self.out = replace(self.out, uri=self.uris[self.at - 1])
        agent = self.leg.agent
        return self._started(agent.new_call_id(), agent.new_tag(), 1)

    def _started(self, call_id: str, local_tag: str, cseq: int) -> bool:
        leg = self.leg
        self._stop_attempt()
        self._forget_forks()
        leg.state = "inviting"
        headers = (*self.given, *leg.settings.says, *sessiontimer.asked(leg), *self.credentials)
        self.out = replace(self.out, call_id=call_id, local_tag=local_tag, cseq=cseq, headers=headers)
        try:
            self.start()
        except SipEdgeError:
            return False
        return True

    def _stop_attempt(self) -> None:
        if self.alarm is not None:
            self.alarm.cancel()
            self.alarm = None

    def _forget_forks(self) -> None:
        if self.forks is not None:
            for dialog in self.forks.values():
                self.leg.agent.remove(dialog)
            self.forks = None
        self.leg.tell_lost(choose(self.leg, None))
        self.leg.remote_sdp = b""
        self.pracks = None
        self.previews = None

    def _on_silence(self) -> None:
        """This address says nothing: its transaction is left to itself, and ended should it wake up."""
        self.alarm = None
        tx = self.tx
        if tx is not None:
            tx.give_up(self.leg.agent.time)
        if self._next() and tx is not None:
            tx.cancel(self.leg.agent.time)

    # --- ends

    def stop(self) -> None:
        self._stop_attempt()
        if self.ringing is not None:
            self.ringing.cancel()
            self.ringing = None

    def close(self) -> None:
        """The leg is over."""
        self.stop()
        if self.over is None:
            self.over = "us", ""
        if self.tx is not None:
            self.tx.cancel(self.leg.agent.time)
        if self.forks is not None:
            for dialog in self.forks.values():
                self.leg.agent.remove(dialog)
            self.forks = None

    def cancel(self, by: str, reason: str, headers: Headers = ()) -> bool:
        """Want no answer any more; whether one was still to come."""
        if self.over is not None or self.tx is None:
            return False
        self.over = by, reason
        self.stop()
        self.leg.state = "ending"
        self.tx.cancel(self.leg.agent.time, headers)
        return True

    def on_ring_timeout(self) -> None:
        self.ringing = None
        self.give_up("timeout", 408, "Request Timeout")

    def give_up(self, by: str, status: int, reason: str) -> None:
        """CANCEL, and tell the owner at once: the next target need not wait for the 487."""
        if self.cancel(by, reason):
            self.leg.owner.on_failed(self.leg, status, reason, None)

    # --- answers

    def on_response(self, tx: "ClientTransaction", response: Message) -> None:
        status = response.status
        if tx is not self.tx or (self.over is not None and not self.over[0]):
            if 200 <= status < 300 and not (tx is self.tx and self.leg.was_answered_by(response)):
                end_fork(tx, response)
        elif status < 200:
            self._on_provisional(tx, response)
        elif status < 300:
            self._on_answer(tx, response)
        else:
            self._on_refusal(status, tx, response)

    def _on_provisional(self, tx: "ClientTransaction", response: Message) -> None:
        leg, tag = self.leg, response.to_tag
        if self.alarm is not None:
            self._stop_attempt()
        if response.status == 100 or self.over is not None:
            return
        leg.peer.learn(response)
        try:
            dialog = self._fork(tag, response) if tag else None
        except MalformedMessage:
            dialog = None
        exchange = None
        rseq = rseq_of(response) if response.header("RSeq") is not None else 0
        if rseq and dialog is not None:
            if self.pracks is None:
                self.pracks = Pracks()
            if not self.pracks.fresh(tag, rseq):
                return
            exchange = self._acknowledge(dialog, tag, rseq, response)
        elif dialog is not None and response.body:
            if self.previews is None:
                self.previews = {}
            self.previews[tag] = description(response)
        leg.state = "early"
        leg.owner.on_progress(leg, response)
        if exchange is not None and exchange.open:
            leg.owner.on_offer(leg, exchange)
        leg.go_on()

    def _fork(self, tag: str, response: Message) -> Dialog | None:
        """The early dialog that a provisional response belongs to."""
        leg = self.leg
        if self.forks is None:
            self.forks = {}
        dialog = self.forks.get(tag)
        if dialog is None and len(self.forks) < MOST_FORKS:
            dialog = Dialog.of_response(self.out, response)
            self.forks[tag] = dialog
            leg.agent.add(dialog, leg)
            if leg.dialog is None:
                leg.dialog = dialog
        return dialog

    def _acknowledge(self, dialog: Dialog, tag: str, rseq: int, response: Message) -> Offer | None:
        """PRACK; where the response brought an offer, once the owner has answered that (RFC 3262 5)."""
        leg = self.leg
        assert self.pracks is not None
        prack = Prack(self, dialog, rseq)
        body = description(response)
        if body and tag not in self.pracks.answered:
            self.pracks.answered[tag] = body
            if not self.out.body and dialog is leg.dialog and leg.exchange is None:
                return Offer(leg, "PRACK", body, prack=prack)
            if self.out.body and dialog is leg.dialog:
                leg.pending = NONE
                leg.local_sdp, leg.remote_sdp = self.out.body, body
        prack.launch()
        return None

    def _on_answer(self, tx: "ClientTransaction", response: Message) -> None:
        leg, tag = self.leg, response.to_tag
        if self.alarm is not None or self.ringing is not None:
            self.stop()
        leg.peer.learn(response)
        if self.over is not None:
            by, reason = self.over
            end_fork(tx, response)
            leg.finish(by, reason)
            return
        forks, self.forks = self.forks or {}, None
        dialog = forks.pop(tag, None)
        for other in forks.values():
            leg.agent.remove(other)
        try:
            if dialog is None:
                dialog = Dialog.of_response(self.out, response)
                leg.agent.add(dialog, leg)
            else:
                dialog.answered(response)
        except MalformedMessage as error:
            self._on_bad_answer(tx, response, str(error), dialog)
            return
        self.over = "", ""
        settled = leg.dialog is dialog and self.pracks is not None and tag in self.pracks.answered
        lost = choose(leg, dialog)
        leg.state = "up"
        leg.established = True
        body = description(response)
        exchange = None
        if self.out.body:
            leg.pending = NONE
            leg.local_sdp = leg.local_sdp or self.out.body
            if not settled:
                body = body or (self.previews or {}).get(tag, b"")
                leg.remote_sdp = body or (self.pracks.answered.get(tag, b"") if self.pracks is not None else b"")
        elif not settled:
            # Where it offered reliably, and another fork's offer was being answered, the 2xx may bring none.
            body = body or (self.pracks.answered.get(tag, b"") if self.pracks is not None else b"")
            if leg.exchange is not None:
                leg.exchange.drop()
            if body:
                exchange = Offer(leg, "ACK", body, client=tx)
        if exchange is None:
            leg.acknowledge(tx, b"")
        leg.phase = None
        self.previews = self.pracks = None
        sessiontimer.agreed(leg, response)
        leg.tell_lost(lost)
        leg.owner.on_answered(leg, response)
        if exchange is not None and exchange.open:
            leg.owner.on_offer(leg, exchange)
        leg.go_on()

    def _on_bad_answer(self, tx: "ClientTransaction", response: Message, why: str, dialog: Dialog | None) -> None:
        """A 2xx whose Contact or Record-Route cannot be read: acknowledged and ended the way the INVITE went."""
        leg = self.leg
        self.over = "", ""
        if dialog is not None:
            leg.agent.remove(dialog)
        leg.dialog = None
        end_fork(tx, response)
        leg.owner.on_failed(leg, 502, why, response)
        leg.finish("error", why)

    def _on_refusal(self, status: int, tx: "ClientTransaction", response: Message) -> None:
        leg = self.leg
        leg.peer.learn(response)
        if self.over is None:
            if status in (401, 407) and self._answer_challenge(tx, response):
                return
            if status == 422 and self.raises < RAISES and sessiontimer.raised(leg, response):
                self.raises += 1
                if self._again():
                    return
            if status in RETOLD and self._make_other_offer(response):
                return
            if status == 503 and self._next():
                return
        self._failed(status, response.reason, response, "far")

    def _make_other_offer(self, response: Message) -> bool:
        """Once an address."""
        body = self.other_offer(response) if self.other_offer is not None and not self.retold else b""
        if not body:
            return False
        self.retold = True
        self.out = replace(self.out, body=body)
        return self._again()

    def _answer_challenge(self, tx: "ClientTransaction", response: Message) -> bool:
        hook = self.leg.settings.authenticate
        if hook is None:
            return False
        credentials = hook(self.leg, tx.request, response, self.challenges)
        if not credentials:
            return False
        self.challenges += 1
        self.credentials = tuple([one for one in credentials if one not in self.given])
        self.spent = False
        return self._again()

    def on_timeout(self, tx: "ClientTransaction", unreachable: bool) -> None:
        if tx is not self.tx or (self.over is not None and not self.over[0]):
            return
        if self.over is None and unreachable and self.by_tcp and self._without_tcp():
            return
        if self.over is None and (unreachable or self.leg.state == "inviting") and self._next():
            return
        if unreachable:
            self._failed(503, "Service Unavailable", None, "error")
        else:
            self._failed(408, "Request Timeout", None, "timeout")

    def _failed(self, status: int, reason: str, response: Message | None, by: str) -> None:
        """No call comes of it any more."""
        leg = self.leg
        if self.over is not None:
            leg.finish(self.over[0], self.over[1])
            return
        self.over = "", ""
        self.stop()
        leg.state = "ending"
        leg.owner.on_failed(leg, status, reason, response)
        leg.finish(by, f"{status} {reason}".strip())
