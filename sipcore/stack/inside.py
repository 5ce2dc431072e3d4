"""A request of ours inside a leg's dialog, repeated with credentials where it is challenged (RFC 3261 22.2)."""
from collections.abc import Callable
from typing import TYPE_CHECKING

from sipcore.base.errors import SipEdgeError
from sipcore.stack.dialog import State
from sipcore.stack.handler import Handler
from sipcore.stack.outgoing import Headers, Outgoing
from sipcore.stack.uac import CREDENTIALS
from sipcore.wire.message import Message

if TYPE_CHECKING:
    from sipcore.stack.dialog import Dialog
    from sipcore.stack.leg import Leg
    from sipcore.stack.uac import ClientTransaction

_OF_THE_SESSION = frozenset({"INVITE", "UPDATE"})
"""Requests whose 408, or silence, ends the call (12.2.1.2, 14.1); others say nothing about it (RFC 5057 5.3)."""
_OF_A_SUBSCRIPTION = frozenset({"NOTIFY", "SUBSCRIBE"})
"""Requests whose 481 ends a subscription, not the call (RFC 5057 5.1)."""
_OVER = frozenset({"BYE", "PRACK"})
"""Requests whose failure changes nothing: the INVITE's answer, or the end, comes anyway."""


_SIZED = frozenset({"INVITE", "UPDATE", "REFER"})
"""Requests that may be big (RFC 3261 18.1.1)."""
_AFTER = frozenset({"BYE", "NOTIFY"})
"""Requests that are still worth an answer when the leg is over: the far end may not know yet."""

Done = Callable[[int, str, Message | None], object]


class Inside(Handler):
    """One request, in as many transactions as it takes. Subclasses hear its outcome once, in `on_final`."""

    __slots__ = ("body", "by_tcp", "challenges", "content_type", "dialog", "headers", "leg", "method", "tcp_failed",
                 "tx")

    def __init__(self, leg: "Leg", method: str, headers: Headers = (), body: bytes = b"",
                 content_type: str = "application/sdp", dialog: "Dialog | None" = None) -> None:
        self.leg = leg
        self.method = method
        self.headers = tuple(headers)
        self.body = body
        self.content_type = content_type
        self.challenges = 0
        self.by_tcp = self.tcp_failed = False
        """Whether it was too big for UDP and went by TCP; whether no connection came about for it there."""
        dialog = dialog if dialog is not None else leg.dialog
        if dialog is None:
            raise ValueError("there is no dialog yet")
        self.dialog = dialog
        self.tx: ClientTransaction | None = None

    def send(self, more: Headers = ()) -> None:
        """Send it with the dialog's next CSeq number. LimitExceeded, BadText as `UserAgent.request`."""
        out = self.dialog.request(self.method, headers=(*self.headers, *more), body=self.body,
                                  content_type=self.content_type)
        leg, fit = self.leg, self.leg.settings.fit
        try:
            if fit is not None and self.method in _SIZED:
                out, self.by_tcp = fit(leg, out, leg.way(out), self.tcp_failed)
                out = self._signed_anew(out, more)
            self.tx = leg.send(self.signed(out), self, self.by_tcp)
        except SipEdgeError:
            self.dialog.inviting &= self.method != "INVITE"
            raise

    def _signed_anew(self, out: Outgoing, more: Headers) -> Outgoing:
        """With the credentials among `more` made for its body, where that is another one than was challenged."""
        renew = self.leg.settings.renew
        if renew is None or self.tx is None or out.body == self.tx.request.body:
            return out
        credentials = tuple([pair for pair in more if pair[0] in CREDENTIALS])
        if not credentials:
            return out
        kept = tuple([pair for pair in out.headers if pair not in credentials])
        return out.changed(headers=(*kept, *renew(self.leg, out, credentials, False)))

    def launch(self, more: Headers = ()) -> bool:
        """Send it where there is room for another transaction; whether there was."""
        try:
            self.send(more)
        except SipEdgeError:
            return False
        return True

    def on_final(self, status: int, reason: str, response: Message | None) -> None:
        """The outcome: what the far end said, or 408 and 503 with None where nothing came back."""

    def more_headers(self) -> Headers:
        """Headers that are made anew each time it is sent."""
        return ()

    def signed(self, out: Outgoing) -> Outgoing:
        """The request with the credentials that it is sent with before it is challenged, where there are some."""
        return out

    def on_response(self, tx: "ClientTransaction", response: Message) -> None:
        status = response.status
        if tx is not self.tx or status < 200:
            return
        leg, method = self.leg, self.method
        if method != "BYE":
            leg.peer.learn(response)
        if status in (401, 407) and self._answer_challenge(tx, response):
            return
        if status in (405, 501):
            leg.peer.refuse(method)
        lost = (status == 481 and method not in _OF_A_SUBSCRIPTION) or (status == 408 and method in _OF_THE_SESSION)
        if status < 300 or lost or method == "INVITE":
            self.dialog.answered(response)
        self.on_final(status, response.reason, response)
        if lost and method not in _OVER:
            leg.lose("error" if status == 481 else "timeout", f"{status} to {method}")

    def on_timeout(self, tx: "ClientTransaction", unreachable: bool) -> None:
        if tx is not self.tx:
            return
        leg, method = self.leg, self.method
        if unreachable and self.by_tcp:
            self.tcp_failed = True
            if method == "INVITE":
                self.dialog.inviting = False
            if self.launch(self.more_headers()):
                return
        if method == "INVITE":
            self.dialog.inviting = False
        lost = method in _OF_THE_SESSION and not unreachable
        if lost:
            self.dialog.state = State.ENDED
        self.on_final(*((503, "Service Unavailable") if unreachable else (408, "Request Timeout")), None)
        if lost:
            leg.lose("timeout", f"no answer to {method}")

    def _answer_challenge(self, tx: "ClientTransaction", response: Message) -> bool:
        """Whether the request is on its way again, with the same dialog identity and a higher CSeq number."""
        hook = self.leg.settings.authenticate
        if hook is None or (self.leg.state == "ended" and self.method not in _AFTER):
            return False
        credentials = hook(self.leg, tx.request, response, self.challenges)
        if not credentials:
            return False
        self.challenges += 1
        if self.method == "INVITE":
            self.dialog.inviting = False
        return self.launch((*self.more_headers(), *(one for one in credentials if one not in self.headers)))


class Goodbye(Inside):
    """The BYE that ends a leg; whatever becomes of it, the leg is over."""

    __slots__ = ("reason",)

    def __init__(self, leg: "Leg", headers: Headers = ()) -> None:
        Inside.__init__(self, leg, "BYE", headers)
        self.reason = ""

    def on_final(self, status: int, reason: str, response: Message | None) -> None:
        self.leg.finish("us", self.reason)


class Forwarded(Inside):
    """INFO, MESSAGE or another request for which the owner waits; done(status, reason, response or None)."""

    __slots__ = ("done",)

    def __init__(self, leg: "Leg", method: str, headers: Headers, body: bytes, content_type: str, *,
                 done: Done | None) -> None:
        Inside.__init__(self, leg, method, headers, body, content_type)
        self.done = done

    def on_final(self, status: int, reason: str, response: Message | None) -> None:
        self.leg.forwarding -= 1
        if self.done is not None:
            self.done(status, reason, response)
