"""Offers and answers inside a dialog (RFC 3264, RFC 3311, RFC 6337): the far end's exchanges, and ours.

  their request     while our offer is open   491 (14.2; RFC 3311 5.2)
                    while theirs is open      500 with Retry-After
  ours              491                       again after 2.1-4 s where the Call-ID is ours, else 0-2 s (14.1)
                    500 with Retry-After      again after that time
                    422                       again with the interval that Min-SE names (RFC 4028 7.3)
                    408, 481, silence         the leg ends (14.1)
                    any other refusal         the session stays as it was

One exchange of ours is under way at a time; more wait in the leg.
"""
import random
from typing import TYPE_CHECKING

from sipcore.stack import sessiontimer
from sipcore.stack.handler import Handler
from sipcore.stack.inside import Inside
from sipcore.stack.outgoing import Headers
from sipcore.wire.message import Message
from sipcore.wire.multipart import description

if TYPE_CHECKING:
    from sipcore.stack.alarms import Alarm
    from sipcore.stack.dialog import Dialog
    from sipcore.stack.leg import Leg
    from sipcore.stack.reliable import Prack
    from sipcore.stack.uac import ClientTransaction
    from sipcore.stack.uas import ServerTransaction

NONE, OURS, THEIRS = 0, 1, 2
"""Whose offer waits for its answer."""

RETRIES = 12
"""Times that an exchange of ours is repeated for 491, 500 and 422: with the waits of 14.1 as long as the far end's own
exchange may take where the network loses some of it."""
_LONGEST_WAIT = 10
"""Seconds of a Retry-After that are waited (RFC 3311 5.2 says 0-10)."""


class Offer(Handler):
    """An exchange of the far end that its owner answers: `accept` or `reject`, now or later, once.

    method: INVITE, UPDATE or PRACK for a request of theirs (body: their offer, empty where the offer is asked from us);
    ACK or the PRACK of ours (`ours` is True) where their offer came in a 2xx or a reliable provisional response and
    the answer goes back in a request of ours.
    """

    __slots__ = ("body", "client", "leg", "made", "method", "ours", "prack", "request", "tx")

    def __init__(self, leg: "Leg", method: str, body: bytes, tx: "ServerTransaction | None" = None,
                 client: "ClientTransaction | None" = None, prack: "Prack | None" = None) -> None:
        self.leg = leg
        self.method = method
        self.body = body
        self.tx = tx
        self.client = client
        self.prack = prack
        self.ours = tx is None
        self.request = tx.request if tx is not None else None
        self.made = b""
        """What accept answered, or offered where body was empty."""
        leg.exchange = self
        leg.pending = THEIRS if body else NONE
        if tx is not None:
            tx.handler = self

    @property
    def open(self) -> bool:
        return self.leg.exchange is self

    def accept(self, body: bytes = b"", headers: Headers = ()) -> bool:
        """Answer it with a description, or make the offer that was asked for; whether it was still possible.

        Raises BadText where a header could break the message; the exchange is still open then.
        """
        leg = self.leg
        if not self.open:
            return False
        if self.tx is not None:
            if not self.tx.waiting:
                return self._close() and False
            granted = () if self.method == "PRACK" else sessiontimer.grant(leg, self.tx.request)
            self.tx.respond(leg.agent.time, 200, headers=[*leg.own_headers(), *granted, *headers], body=body)
        self._close()
        self.made = body
        if self.body:
            leg.remote_sdp = self.body
        elif body:
            # Their answer comes in the ACK.
            leg.pending = OURS
        if body:
            leg.local_sdp = body
        if self.client is not None:
            leg.acknowledge(self.client, body, headers)
        elif self.prack is not None:
            self.prack.body = body
            self.prack.launch()
        leg.go_on()
        return True

    def reject(self, status: int = 488, reason: str = "", headers: Headers = ()) -> bool:
        """Refuse it: the session stays as it was. An offer in a 2xx or a provisional response cannot be refused but by
        ending the call (13.2.2.4, RFC 3262 5), which the leg then does."""
        leg = self.leg
        if not self.open:
            return False
        if self.tx is not None:
            if self.tx.waiting:
                self.tx.respond(leg.agent.time, status, reason, headers=headers)
            self._close()
            leg.go_on()
            return True
        self._close()
        if self.client is not None:
            leg.acknowledge(self.client, b"")
        leg.bye()
        return True

    def _close(self) -> bool:
        self.leg.exchange = None
        self.leg.pending = NONE
        return True

    def drop(self) -> None:
        """Their offer was overtaken by the answer of another fork."""
        self._close()

    def close(self) -> None:
        """The leg is over: whatever still waits is answered (15.1.2)."""
        self._close()
        if self.tx is not None and self.tx.waiting:
            self.tx.respond(self.leg.agent.time, 487)
        elif self.client is not None:
            self.leg.acknowledge(self.client, b"")

    def on_cancel(self, tx: "ServerTransaction") -> None:
        if self.open:
            self._close()
            self.leg.owner.on_reoffer_done(self.leg, self, 487, "Request Terminated", b"")
            self.leg.go_on()

    def on_ack(self, tx: "ServerTransaction", ack: Message) -> None:
        leg = self.leg
        if leg.state != "up" or self.body or not self.made:
            return
        leg.pending = NONE
        leg.remote_sdp = description(ack) or leg.remote_sdp
        leg.owner.on_reoffer_done(leg, self, 200, "OK", description(ack))
        leg.go_on()

    def on_unacknowledged(self, tx: "ServerTransaction") -> None:
        # 13.3.1.4 holds for a re-INVITE too.
        self.leg.lose("timeout", "no ACK")


def choose(leg: "Leg", dialog: "Dialog | None") -> "list[Offer | Reoffer]":
    """Of several early dialogs this one is the leg's now (13.2.2.4), or none. What was agreed on in another, and what
    is under way there, has come to nothing: returns the tokens of that, for the owner to be told 487."""
    if leg.dialog is dialog:
        return []
    leg.dialog = dialog
    leg.local_sdp = b""
    lost: list[Offer | Reoffer] = []
    exchange, reoffer = leg.exchange, leg.reoffer
    if exchange is not None and exchange.tx is not None and exchange.tx.dialog is not dialog:
        exchange.close()
        lost.append(exchange)
    if reoffer is not None and reoffer.dialog is not dialog:
        reoffer.stop()
        leg.reoffer = None
        lost.append(reoffer)
    lost += [one for one in leg.queue if one.dialog is not dialog]
    leg.queue = tuple([one for one in leg.queue if one.dialog is dialog])
    return lost


class Reoffer(Inside):
    """A re-INVITE or UPDATE of ours, with all its repetitions. refresh: for the session timer, so that nobody else
    wants to know what became of it."""

    __slots__ = ("alarm", "refresh", "retries")

    def __init__(self, leg: "Leg", method: str, body: bytes, headers: Headers = (), refresh: bool = False) -> None:
        Inside.__init__(self, leg, method, headers, body)
        self.retries = 0
        self.alarm: Alarm | None = None
        self.refresh = refresh

    def start(self) -> None:
        """Send it; the leg has seen to it that it may be sent."""
        self.alarm = None
        if self.refresh and self.method == "INVITE":
            # What is in force now: it may have waited for an exchange that changed it.
            self.body = self.leg.local_sdp
        self.leg.pending = OURS if self.body else NONE
        self.send(self.more_headers())

    def more_headers(self) -> Headers:
        return self.leg.settings.says + sessiontimer.asked(self.leg)

    def stop(self) -> None:
        if self.alarm is not None:
            self.alarm.cancel()

    def on_response(self, tx: "ClientTransaction", response: Message) -> None:
        if self.leg.reoffer is not self:
            # The leg is over; a 2xx is acknowledged all the same, by the BYE's dialog.
            if self.method == "INVITE" and 200 <= response.status < 300:
                self.leg.acknowledge(tx, b"")
            return
        Inside.on_response(self, tx, response)

    def on_timeout(self, tx: "ClientTransaction", unreachable: bool) -> None:
        if self.leg.reoffer is self:
            Inside.on_timeout(self, tx, unreachable)

    def on_final(self, status: int, reason: str, response: Message | None) -> None:
        leg = self.leg
        leg.pending = NONE
        if 200 <= status < 300 and response is not None:
            self._accepted(status, reason, response)
            return
        wait = self._wait(status, response)
        if wait is not None and self.retries < RETRIES:
            self.retries += 1
            self.alarm = leg.after(wait, self._again)
            leg.go_on()
            return
        leg.reoffer = None
        if self.refresh:
            if status in (405, 501):
                leg.refresh()
        else:
            leg.owner.on_reoffer_done(leg, self, status, reason, b"")
        leg.go_on()

    def _wait(self, status: int, response: Message | None) -> int | None:
        """ms until it is worth while to try again; None where it is not."""
        if response is None:
            return None
        if status == 491:
            assert self.dialog is not None
            return random.randrange(2100, 4001, 10) if self.dialog.uac else random.randrange(0, 2001, 10)
        if status == 500:
            after = (response.header("Retry-After") or "").partition(";")[0].partition("(")[0].strip()
            if after.isascii() and after.isdigit() and len(after) < 4 and int(after) <= _LONGEST_WAIT:
                return max(int(after) * 1000, 100)
        if status == 422 and sessiontimer.raised(self.leg, response):
            return 0
        return None

    def _again(self) -> None:
        self.alarm = None
        self.leg.reoffer = None
        self.leg.queue = (self, *self.leg.queue)
        self.leg.go_on()

    def _accepted(self, status: int, reason: str, response: Message) -> None:
        leg, tx = self.leg, self.tx
        assert tx is not None
        body, before = description(response), leg.remote_sdp
        leg.reoffer = None
        sessiontimer.agreed(leg, response)
        if self.body:
            leg.local_sdp = self.body
            leg.remote_sdp = body or leg.remote_sdp
        exchange = None
        if self.method == "INVITE":
            if self.body or not body:
                leg.acknowledge(tx, b"")
            else:
                exchange = Offer(leg, "ACK", body, client=tx)
        if not self.refresh:
            leg.owner.on_reoffer_done(leg, self, status, reason, body)
        elif self.body and body and not sessiontimer.same(body, before):
            leg.owner.on_renewed(leg, body)
        if exchange is not None and exchange.open:
            leg.owner.on_offer(leg, exchange)
        leg.go_on()
