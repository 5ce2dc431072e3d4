"""A leg: one dialog of the edge's own with a far end, and everything around it (RFC 3261 12-15).

  state      begins with                                ends with
  new        Leg.outgoing                               invite
  inviting   INVITE sent, or received (Leg.incoming)    1xx, 2xx, refusal, CANCEL
  early      1xx received or sent                       2xx, refusal, CANCEL, PRACK that never came
  up         2xx received or sent                       BYE of either side, a lost dialog, an expired session
  ending     cancel or bye                              the answer to CANCEL's INVITE or to BYE, or their absence
  ended      on_ended, exactly once                     -

What an INVITE goes through until the leg is up stands in calling (ours) and called (theirs), offers and answers after
it in offer, requests of the far end in received, REFER in referral (theirs) and referring (ours), session timers in
sessiontimer. All of them are Handlers of their own transactions, and let go when they are over, so that a leg that is
up is one object and its dialog.

A far end that sends BYE right after REFER leaves a Referral that can still report; a leg that sent REFER answers
NOTIFYs for 64*T1 after its end (section 7 of the requirement, rows 4 and 6).

Time is `agent.time`: whoever calls a leg from outside `feed` and `advance` calls `agent.advance(now)` first. Every
command returns False or None where the leg's state does not allow it any more, so that a command that crosses a BYE
harms nothing; BadText is raised for text that would break a message, and nothing has happened then. Callbacks come
synchronously, also inside the owner's own command.

The user agent of legs is made with `extensions=capabilities.EXTENSIONS`.

Long because it is all that an owner may ask of a leg, and what the parts of a leg share."""
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from sipcore.base.errors import LimitExceeded, MalformedMessage, SipEdgeError
from sipcore.stack import sessiontimer
from sipcore.stack.called import Called
from sipcore.stack.calling import Calling
from sipcore.stack.capabilities import Peer
from sipcore.stack.dialog import Dialog, State
from sipcore.stack.forks import LATE, credentials_of
from sipcore.stack.handler import Handler
from sipcore.stack.hop import Hop
from sipcore.stack.inside import Forwarded, Goodbye
from sipcore.stack.legowner import PLAIN, LegOwner, LegSettings, OtherOffer, Pairs
from sipcore.stack.offer import NONE, THEIRS, Offer, Reoffer
from sipcore.stack.outgoing import Headers, Outgoing, header_lines
from sipcore.stack.received import take
from sipcore.stack.referral import Referral
from sipcore.stack.referring import Referring
from sipcore.stack.reliable import LONGEST
from sipcore.stack.route import Insecure, by_tcp, is_settled, is_sips, way_to
from sipcore.wire.message import Message
from sipcore.wire.multipart import description

if TYPE_CHECKING:
    from sipcore.stack.alarms import Alarm
    from sipcore.stack.uac import ClientTransaction
    from sipcore.stack.uas import ServerTransaction
    from sipcore.stack.useragent import UserAgent

MOST_FORWARDED = 32
MOST_REFERRINGS = 16
"""Of one leg: a far end that floods its dialog takes nothing from others."""


class Leg(Handler):
    """Made by `incoming` or `outgoing`. local_sdp, remote_sdp: the descriptions in force, empty for none yet."""

    __slots__ = (
        "agent", "dialog", "ending", "established", "exchange", "far", "forwarding", "hop", "hop_uri", "least",
        "listener", "local_sdp", "max_forwards", "out", "owner", "peer", "pending", "phase", "queue", "referrals",
        "referrings", "remote_sdp", "reoffer", "settings", "state", "timer", "uac",
    )

    def __init__(self, agent: "UserAgent", owner: Any, settings: LegSettings, uac: bool) -> None:
        self.agent = agent
        self.owner = owner
        self.settings = settings
        self.uac = uac
        self.state = "new"
        self.dialog: Dialog | None = None
        self.peer = Peer()
        self.phase: Called | Calling | None = None
        self.established = False
        """Whether the INVITE's transaction is complete: ACK sent or received."""
        self.listener = 0
        self.far: Hop = ("", 0)
        """Where the far end is reached when its URIs have names: where the INVITE came from, or went to."""
        self.hop: Hop = ("", 0)
        self.out = 0
        """Listener that requests inside the dialog are sent from: hop's transport may be another than the INVITE's."""
        self.hop_uri = ""
        self.max_forwards = 70
        self.local_sdp = b""
        self.remote_sdp = b""
        self.pending = NONE
        """Whose offer waits for its answer."""
        self.exchange: Offer | None = None
        self.reoffer: Reoffer | None = None
        self.queue: tuple[Reoffer, ...] = ()
        self.timer: sessiontimer.SessionTimer | None = None
        self.least = sessiontimer.LEAST
        """Min-SE of the way to the far end, as far as 422 told."""
        self.forwarding = 0
        """Requests of `forward` that have no answer yet."""
        self.ending: Goodbye | None = None
        self.referrals: tuple[Referral, ...] = ()
        """REFERs of theirs that are not over."""
        self.referrings: tuple[Referring, ...] = ()
        """REFERs of ours, the latest last; those long ended are forgotten with the next."""

    def __repr__(self) -> str:
        return f"Leg({self.state}, {self.dialog!r})"

    # --- how a leg begins

    @classmethod
    def outgoing(cls, agent: "UserAgent", owner: Any, settings: LegSettings = PLAIN) -> "Leg":
        return cls(agent, owner, settings, True)

    @classmethod
    def incoming(cls, agent: "UserAgent", tx: "ServerTransaction", owner: Any,
                 settings: LegSettings = PLAIN) -> "Leg | None":
        """The leg of an INVITE without To tag. None where it cannot begin a call and was answered: no Contact (400), no
        hop left to go on (483), a session interval that is too small (422)."""
        request = tx.request
        leg = cls(agent, owner, settings, False)
        try:
            secure = is_sips(request.uri)
            leg.dialog = Dialog.of_request(request, tx.tag, agent.contact("", tx.listener, secure))
        except MalformedMessage as error:
            tx.respond(agent.time, error.status, str(error))
            return None
        hops = request.header("Max-Forwards")
        if hops is not None:
            leg.max_forwards = int(hops) if hops.isascii() and hops.isdigit() else 70
            if leg.max_forwards == 0:
                tx.respond(agent.time, 483)
                return None
        leg.peer.learn(request)
        if sessiontimer.too_small(leg, request):
            tx.respond(agent.time, 422, headers=[("Min-SE", str(settings.min_se))])
            return None
        leg.listener = tx.listener
        leg.far = tx.source
        leg.remote_sdp = description(request)
        leg.pending = THEIRS if leg.remote_sdp else NONE
        leg.state = "inviting"
        leg.phase = Called(leg, tx)
        return leg

    def invite(self, uri: str, to: Hop, *, local: str, remote: str, headers: Headers = (), body: bytes = b"",
               content_type: str = "application/sdp", listener: int = 0, ring_ms: int = 0, route: Sequence[str] = (),
               targets: Sequence[Hop] = (), uris: Sequence[str] = (), attempt_ms: int = 4000,
               max_forwards: int = 70, other_offer: OtherOffer | None = None) -> bool:
        """Call. local, remote: From and To values without tags; to, then targets: addresses tried one after the other,
        a silent one for attempt_ms; uris: the request URIs of targets, where they differ from uri; ring_ms: how
        long it may take altogether, 0 for as long as the transaction.

        max_forwards: what the request has left that this call goes on for, already counted down; below 0 on_failed
        hears 483. other_offer: asked for another body where a target refuses the offer, once each. BadText and
        LimitExceeded are raised with nothing done.
        """
        if self.state != "new":
            return False
        agent = self.agent
        if max_forwards < 0:
            self.state = "ending"
            self.owner.on_failed(self, 483, "Too Many Hops", None)
            self.finish("error", "483 Too Many Hops")
            return False
        self.listener = listener
        self.max_forwards = max_forwards
        given = tuple(headers)
        out = Outgoing(method="INVITE", uri=uri, call_id=agent.new_call_id(), cseq=1, local=local,
                       local_tag=agent.new_tag(), remote=remote, route=tuple(route),
                       contact=agent.contact("", listener, is_sips(uri)),
                       headers=given + self.settings.says + self.settings.asks,
                       body=body, content_type=content_type, max_forwards=max_forwards)
        phase = Calling(self, out, given, (to, *targets), attempt_ms, tuple(uris), other_offer)
        phase.start()
        self.phase = phase
        self.state = "inviting"
        if ring_ms:
            phase.ringing = self.after(ring_ms, phase.on_ring_timeout)
        return True

    # --- what the owner does

    def cancel(self, reason: str = "cancelled", headers: Headers = ()) -> bool:
        """Take our INVITE back; on_ended follows when it is over, a 2xx that crosses is acknowledged and ended."""
        return isinstance(self.phase, Calling) and self.phase.cancel("us", reason, headers)

    def ring(self, status: int = 180, body: bytes = b"", headers: Headers = (), reliable: bool = False,
             fork: str = "") -> Any:
        """Send a provisional response (101-199). Reliably where the INVITE requires it, or where the far end supports
        it and there is a body or reliable is True; a token then, else None. fork: who says it, where several may; each
        has an early dialog of its own."""
        if isinstance(self.phase, Called) and self.state in ("inviting", "early"):
            called = self.phase.of(fork)
            return called.ring(status, body, headers, reliable) if called is not None else None
        return None

    def answer(self, body: bytes = b"", headers: Headers = (), fork: str = "") -> bool:
        """200 to the INVITE: body is the answer, or an offer where the INVITE had none. fork: as of ring; False where
        the far end has ended its early dialog with a BYE."""
        if isinstance(self.phase, Called) and self.state in ("inviting", "early"):
            called = self.phase.of(fork, answers=True)
            return called is not None and called.answer(body, headers)
        return False

    def reject(self, status: int, reason: str = "", headers: Headers = ()) -> bool:
        """Refuse the INVITE (300-699)."""
        if isinstance(self.phase, Called) and self.state in ("inviting", "early"):
            return self.phase.reject(status, reason, headers)
        return False

    def reinvite(self, body: bytes, headers: Headers = ()) -> Reoffer | None:
        """Send a re-INVITE as soon as no other exchange is under way; its token. Empty body: the far end offers."""
        return self._exchange("INVITE", body, headers)

    def update(self, body: bytes, headers: Headers = ()) -> Reoffer | None:
        """The same by UPDATE (RFC 3311), which an early dialog may have too."""
        return self._exchange("UPDATE", body, headers)

    def _exchange(self, method: str, body: bytes, headers: Headers) -> Reoffer | None:
        if self.dialog is None or self.state not in ("early", "up"):
            return None
        header_lines(headers)
        reoffer = Reoffer(self, method, body, headers)
        self.queue += (reoffer,)
        self.go_on()
        return reoffer

    def bye(self, headers: Headers = (), reason: str = "") -> bool:
        """End the leg, whatever its state: BYE, CANCEL, or 480. A BYE waits for the ACK to our 2xx (15) and for the
        answer to a final NOTIFY (section 7, row 5)."""
        header_lines(headers)
        if self.state in ("inviting", "early"):
            return self.cancel(reason or "cancelled", headers) if self.uac else self.reject(480)
        if self.state == "new":
            self.finish("us", reason)
            return True
        if self.state != "up":
            return False
        self.state = "ending"
        self.ending = Goodbye(self, headers)
        self.ending.reason = reason
        self.go_on()
        return True

    def forward(self, method: str, headers: Headers = (), body: bytes = b"", done: Any = None,
                content_type: str = "application/sdp") -> bool:
        """Send INFO, MESSAGE or another request of no effect on the dialog; done(status, reason, response or None).

        LimitExceeded where MOST_FORWARDED of them wait for an answer.
        """
        if self.state not in ("early", "up") or self.dialog is None:
            return False
        if self.forwarding >= MOST_FORWARDED:
            raise LimitExceeded("too many requests inside one dialog wait for an answer")
        Forwarded(self, method, headers, body, content_type, done=done).send()
        self.forwarding += 1
        return True

    def refer(self, refer_to: str, headers: Headers = (), *, wait_ms: int = 120_000,
              notify_ms: int = LONGEST) -> Referring | None:
        """Ask the far end to call refer_to (a URI, or a whole Refer-To value in brackets); its token. Referred-By is
        ours unless headers has one. on_refer_progress tells the rest, `unknown` after wait_ms at the latest. Before the
        ACK to our 2xx it waits for that: who missed the 2xx knows of no dialog yet.

        LimitExceeded where MOST_REFERRINGS are awaited, or have ended a moment ago.
        """
        if self.state != "up":
            return None
        now = self.agent.time
        fresh = [one for one in self.referrings if not one.outcome or now - one.ended_at < LONGEST]
        if len(fresh) >= MOST_REFERRINGS:
            raise LimitExceeded("too many REFERs inside one dialog")
        referring = Referring(self, refer_to, headers, wait_ms, notify_ms)
        if self.established:
            referring.send()
        self.referrings = (*fresh, referring)
        return referring

    @property
    def awaiting(self) -> bool:
        """Whether the outcome of a REFER of ours is still to come: on_refer_progress may tell it after the end."""
        return self.referrings != () and any(not one.outcome for one in self.referrings)

    def peer_allows(self, method: str) -> bool | None:
        """Whether the far end takes a method: Allow of its last message that had one, and 405 and 501 to what we sent;
        None where nothing is known."""
        return self.peer.allows(method)

    @property
    def offered(self) -> bytes:
        """The far end's description that waits for our answer; empty where none does."""
        if self.pending != THEIRS:
            return b""
        return self.exchange.body if self.exchange is not None else self.remote_sdp

    # --- what the parts of a leg share

    def after(self, ms: int, callback: Callable[[], object]) -> "Alarm | None":
        """An alarm; None where all are in use: what waits then has the transaction's own bounds, or none."""
        try:
            return self.agent.call_at(self.agent.time + ms, callback)
        except LimitExceeded:
            return None

    def way(self, out: Outgoing) -> Hop:
        """Where a request inside the dialog goes. Insecure where that would be without the TLS that sips: asks for."""
        uri = out.destination
        if uri != self.hop_uri:
            self.hop, self.out = way_to(self.agent, uri, self.far, self.listener)
            self.hop_uri = uri if is_settled(self.agent, uri) else ""
        return self.hop

    def send(self, out: Outgoing, handler: Handler, tcp: bool = False) -> "ClientTransaction":
        """Send a request inside the dialog; tcp: this one alone by TCP."""
        hop, listener = self.way(out), self.out
        if tcp:
            hop = by_tcp(hop)
            listener = self.agent.listener_for(hop, listener)
        return self.agent.request(self.agent.time, out, hop, handler, listener=listener)

    def acknowledge(self, tx: "ClientTransaction", body: bytes, headers: Headers = ()) -> None:
        """ACK to the 2xx of an INVITE in our dialog."""
        assert self.dialog is not None
        ack = self.dialog.ack(tx.request.cseq, headers=(*credentials_of(tx.request), *headers), body=body)
        try:
            hop = self.way(ack)
        except Insecure as error:
            self.lose("error", str(error))
            return
        tx.ack(self.agent.time, ack, hop, self.dialog.remote_tag, late=LATE, listener=self.out)

    def own_headers(self) -> Pairs:
        """What every response of ours that makes or refreshes the dialog says."""
        assert self.dialog is not None
        return (("Contact", self.dialog.contact), *self.settings.says)

    def enter_early(self) -> None:
        """Our tag is about to be known: requests inside the dialog may come."""
        self.state = "early"
        assert self.dialog is not None
        self.agent.add(self.dialog, self)

    def was_answered_by(self, response: Message) -> bool:
        """Whether a 2xx is that of the leg's own dialog."""
        return self.dialog is not None and response.to_tag == self.dialog.remote_tag

    def tell_lost(self, tokens: "Sequence[Offer | Reoffer]") -> None:
        """Exchanges that came to nothing because their dialog has ended."""
        for token in tokens:
            self.owner.on_reoffer_done(self, token, 487, "Request Terminated", b"")

    def stop_timer(self) -> None:
        if self.timer is not None:
            self.timer.stop()
            self.timer = None

    def refresh(self) -> None:
        """Refresh the session (RFC 4028 7.4), unless an exchange that does is on its way."""
        if self.state != "up" or self.reoffer is not None or self.queue:
            return
        method = "UPDATE" if self.peer.allows("UPDATE") else "INVITE"
        self.queue = (Reoffer(self, method, b"", refresh=True),)
        self.go_on()

    def go_on(self) -> None:
        """Send what waits for something to be over, if it is."""
        if self.ending is not None:
            if self.established and self.ending.tx is None and not (self.referrals and self._reporting()):
                self._say_goodbye()
            return
        if self.established:
            for referring in self.referrings:
                referring.begin()
        while self.queue and self.reoffer is None and self._quiet(self.queue[0]):
            reoffer, *rest = self.queue
            self.reoffer, self.queue = reoffer, tuple(rest)
            try:
                reoffer.start()
            except SipEdgeError as error:
                self.reoffer = None
                self.pending = NONE
                if not reoffer.refresh:
                    # Not before the owner has its token.
                    said = partial(self._unsent, reoffer, error.status, str(error))
                    if self.after(1, said) is None:
                        said()

    def _unsent(self, reoffer: Reoffer, status: int, reason: str) -> None:
        if self.state != "ended":
            self.owner.on_reoffer_done(self, reoffer, status, reason, b"")

    def _quiet(self, reoffer: Reoffer) -> bool:
        """Whether nothing is under way that an exchange of ours would run into."""
        if self.pending != NONE or self.exchange is not None:
            return False
        if self.state == "early":
            return reoffer.method == "UPDATE" and self.local_sdp != b"" and not (
                isinstance(self.phase, Called) and self.phase.reliable is not None)
        return self.state == "up" and self.established and not reoffer.dialog.invited

    def _reporting(self) -> bool:
        return any(referral.reporting for referral in self.referrals)

    def settle_referrals(self) -> None:
        """One of them may be over."""
        self.referrals = tuple(one for one in self.referrals if not one.over)
        self.go_on()

    def _say_goodbye(self) -> None:
        assert self.ending is not None
        if not self.ending.launch():
            self.finish("us", self.ending.reason)

    def lose(self, by: str, reason: str) -> None:
        """The dialog is of no use any more: BYE, whose answer is not waited for, and the end."""
        if self.state == "ended":
            return
        if self.dialog is not None and self.established:
            Goodbye(self).launch()
        self.finish(by, reason)

    def finish(self, by: str, reason: str) -> None:
        """The leg is over; only the first call counts."""
        if self.state == "ended":
            return
        self.state = "ended"
        self.stop_timer()
        phase, self.phase = self.phase, None
        if phase is not None:
            phase.close()
        if self.exchange is not None:
            self.exchange.close()
        waiting, self.queue = self.queue, ()
        if self.reoffer is not None:
            self.reoffer.stop()
            waiting = (self.reoffer, *waiting)
            self.reoffer = None
        self.tell_lost([reoffer for reoffer in waiting if not reoffer.refresh])
        for referral in self.referrals:
            referral.close()
        if by != "us":
            for referring in self.referrings:
                referring.lost()
        if self.dialog is not None:
            self.dialog.state = State.ENDED
            if self.referrals or self.referrings:
                self._let_go()
            else:
                self.agent.remove(self.dialog)
        # It holds the leg, which nothing else may hold any more.
        self.ending = None
        self.owner.on_ended(self, by, reason)

    def _let_go(self) -> None:
        """Forget the dialog, 64*T1 after the last subscription in it: until then its NOTIFYs are answered."""
        assert self.dialog is not None
        now = self.agent.time
        kept = self.referrals or any(not one.outcome or now - one.ended_at < LONGEST for one in self.referrings)
        if not kept or self.after(LONGEST, self._let_go) is None:
            self.agent.remove(self.dialog)

    def on_request(self, tx: "ServerTransaction") -> None:
        take(self, tx)


__all__ = ["PLAIN", "Leg", "LegOwner", "LegSettings"]
