"""One call of an endpoint: its dialog and audio, what it hears as events to wait for, and what it can do."""
import asyncio
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from sipcore.base.errors import MalformedMessage
from sipcore.stack import referral
from sipcore.stack.dialog import Dialog
from sipcore.stack.handler import Handler
from sipcore.stack.outgoing import Outgoing, raw
from sipcore.stack.uac import ClientTransaction
from sipcore.stack.uas import ServerTransaction
from sipcore.wire.message import Message
from sipcore.wire.uri import URI

from .media import NotAcceptable, Rtp, accepted, answer, offer

if TYPE_CHECKING:
    from .phone import Phone

MOST_EVENTS = 100
PATIENCE = 15
"""Seconds that an event is waited for."""
LONGEST = 1800
"""Seconds until a call is ended, so that a phone that vanished leaves nothing behind."""


def address_in(uri: str) -> tuple[str, int]:
    """Where a URI leads: IP literals only, as no name is ever looked up here. ValueError otherwise."""
    parsed = URI(raw(uri))
    if parsed.scheme != "sip":
        raise ValueError(f"not a SIP URI: {uri}")
    return parsed.host.strip("[]"), parsed.port or 5060


class Unexpected(Exception):
    """What happened is not what the demo is to show."""


class Impossible(Exception):
    """What cannot be shown here, for a reason that is not the edge's: the step is skipped."""


class Call(Handler):
    """One leg of an endpoint. Events are named `INVITE 180` for a response, `BYE` for a request, `INVITE timeout`."""

    def __init__(self, phone: "Phone", frequency: int):
        self.phone = phone
        self.frequency = frequency
        self.dialog: Dialog | None = None
        self.rtp: Rtp | None = None
        self.sdp = b""
        self.request: Message | None = None
        """The INVITE that was received."""
        self.client: ClientTransaction | None = None
        self.server: ServerTransaction | None = None
        self.up = False
        self.leaving = False
        self.watch: Callable[[str, Message | None], None] | None = None
        self._events: asyncio.Queue[tuple[str, Message | None]] = asyncio.Queue(MOST_EVENTS)
        self._longest = phone.loop.call_later(LONGEST, self.hang_up)

    # --- events

    def tell(self, kind: str, message: Message | None = None) -> None:
        if self._events.full():
            self._events.get_nowait()
        self._events.put_nowait((kind, message))
        if self.watch is not None:
            self.watch(kind, message)

    async def next_event(self) -> str:
        """What happens next."""
        return (await self._events.get())[0]

    async def expect(self, kind: str, patience: float = PATIENCE) -> Message:
        """The next event of this kind within patience (s); earlier ones of other kinds are passed over. Raises
        Unexpected."""
        passed: list[str] = []
        try:
            async with asyncio.timeout(patience):
                while True:
                    heard, message = await self._events.get()
                    if heard == kind and message is not None:
                        return message
                    passed.append(heard)
        except TimeoutError:
            seen = ", ".join(passed) or "nothing"
            raise Unexpected(f"{self.phone.name}: expected {kind} within {patience} s, came {seen}") from None

    def take_unheard(self) -> str:
        """What has happened that nobody has waited for."""
        heard = []
        while not self._events.empty():
            heard.append(self._events.get_nowait()[0])
        return ", ".join(heard) or "nothing"

    # --- as the caller

    def invite(self, uri: str, headers: Sequence[tuple[str, str]]) -> None:
        self.rtp = self.phone.open_audio(self.frequency)
        self.sdp = offer(self.phone.host, self.rtp.port)
        out = self.phone.outgoing("INVITE", uri, headers=headers, body=self.sdp)
        self.client = self.phone.send(out, self.phone.edge, self)

    def on_response(self, tx: ClientTransaction, response: Message) -> None:
        method, status = response.cseq[1], response.status
        if method == "INVITE" and response.to_tag and 100 < status < 300:
            self._follow(tx, response)
        elif self.dialog is not None and tx is not self.client:
            self.dialog.answered(response)
        if method == "INVITE" and tx is self.client and status >= 300:
            self.close()
        if method == "BYE" and status >= 200:
            self.close()
        self.tell(f"{method} {status}", response)

    def _follow(self, tx: ClientTransaction, response: Message) -> None:
        """A response that makes or confirms the dialog; a second callee's 2xx is ended at once."""
        if self.dialog is None or (not self.up and self.dialog.remote_tag != response.to_tag):
            if self.dialog is not None:
                self.phone.agent.remove(self.dialog)
            self.dialog = Dialog.of_response(tx.request, response)
            self.phone.agent.add(self.dialog, self)
        elif self.dialog.remote_tag != response.to_tag:
            if response.status >= 200:
                other = Dialog.of_response(tx.request, response)
                self._acknowledge(tx, other)
                self._send_in(other, other.request("BYE"))
            return
        else:
            self.dialog.answered(response)
        if response.status >= 200:
            self._acknowledge(tx, self.dialog)
            self.up = True
            if self.leaving:
                # The 2xx crossed our CANCEL (15.1.2).
                self.hang_up()
            else:
                self._start_audio(response)

    def _start_audio(self, response: Message) -> None:
        if self.rtp is None or self.rtp.agreed is not None:
            return
        try:
            self.rtp.start(accepted(response.body))
        except NotAcceptable:
            self.hang_up()

    def _acknowledge(self, tx: ClientTransaction, dialog: Dialog) -> None:
        ack = dialog.ack(tx.request.cseq)
        tx.ack(self.phone.now(), ack, address_in(ack.destination), dialog.remote_tag)
        self.phone.wake()

    def on_timeout(self, tx: ClientTransaction, unreachable: bool) -> None:
        if self.dialog is not None and tx is not self.client:
            self.dialog.unanswered(tx.request.method)
        if tx is self.client or tx.request.method == "BYE":
            self.close()
        self.tell(f"{tx.request.method} {'unreachable' if unreachable else 'timeout'}")

    # --- as the callee

    def take(self, tx: ServerTransaction) -> bool:
        """The INVITE that begins the call; False where it begins none, and was answered so."""
        try:
            self.dialog = Dialog.of_request(tx.request, tx.tag, self.phone.agent.contact(self.phone.user))
        except (MalformedMessage, ValueError) as error:
            tx.respond(self.phone.now(), 400, str(error) if isinstance(error, MalformedMessage) else "")
            self.close()
            return False
        self.request, self.server = tx.request, tx
        tx.handler = self
        self.phone.agent.add(self.dialog, self)
        return True

    def _respond(self, status: int, body: bytes = b"") -> None:
        if self.server is not None and self.dialog is not None and self.server.waiting:
            headers = [("Contact", self.dialog.contact)] if status < 300 else []
            self.server.respond(self.phone.now(), status, headers=headers, body=body)
            self.phone.wake()

    def ring(self) -> None:
        self._respond(180)

    def refuse(self, status: int) -> None:
        self._respond(status)
        self.close()

    def answer(self, *, echo: bool = False) -> None:
        """200 with an answer to the offer, or with an offer of our own where there was none; 488 where nothing fits."""
        if self.server is None or self.dialog is None or not self.server.waiting:
            return
        self.rtp = self.phone.open_audio(0 if echo else self.frequency, echo=echo)
        try:
            if self.server.request.body:
                self.sdp, agreed = answer(self.server.request.body, self.phone.host, self.rtp.port, any_codec=echo)
                self.rtp.start(agreed)
            else:
                self.sdp = offer(self.phone.host, self.rtp.port)
        except NotAcceptable:
            self.refuse(488)
            return
        self.dialog.accept()
        self.up = True
        self._respond(200, self.sdp)

    def on_cancel(self, tx: ServerTransaction) -> None:
        self.close()
        self.tell("CANCEL", tx.request)

    def on_ack(self, tx: ServerTransaction, ack: Message) -> None:
        if ack.body and self.rtp is not None and self.rtp.agreed is None:
            try:
                self.rtp.start(accepted(ack.body))
            except NotAcceptable:
                self.hang_up()
        self.tell("ACK", ack)

    def on_unacknowledged(self, tx: ServerTransaction) -> None:
        self.hang_up()

    # --- inside the dialog

    def on_request(self, tx: ServerTransaction) -> None:
        method = tx.request.method
        if method == "REFER":
            self.phone.on_refer(self, tx)
        elif method == "INVITE" and self.dialog is not None:
            # The session stays as it is (RFC 3261 14.2).
            tx.respond(self.phone.now(), 200, headers=[("Contact", self.dialog.contact)], body=self.sdp)
        elif method in ("BYE", "NOTIFY", "OPTIONS", "INFO"):
            tx.respond(self.phone.now(), 200)
        else:
            tx.respond(self.phone.now(), 501)
        self.tell(method, tx.request)
        if method == "BYE":
            self.close()

    def _send_in(self, dialog: Dialog, out: Outgoing) -> None:
        self.phone.send(out, address_in(out.destination), self)

    def send(self, out: Outgoing) -> None:
        """A request that the dialog made."""
        if self.dialog is None:
            raise Unexpected(f"{self.phone.name} has no call")
        self._send_in(self.dialog, out)

    @property
    def own(self) -> Dialog:
        if self.dialog is None:
            raise Unexpected(f"{self.phone.name} has no call")
        return self.dialog

    def reinvite(self) -> None:
        """The same session again: whoever answers it still is in the call."""
        self.send(self.own.request("INVITE", body=self.sdp))

    def refer(self, target: str, headers: Sequence[tuple[str, str]] = ()) -> None:
        self.send(referral.refer(self.own, target, headers=headers))

    def hang_up(self) -> None:
        """BYE, or CANCEL where nobody has answered yet, or a refusal."""
        if self.up and self.dialog is not None:
            self.up = False
            self.send(self.dialog.request("BYE"))
        elif self.client is not None and self.client.pending:
            self.leaving = True
            self.client.cancel(self.phone.now())
            self.phone.wake()
        elif self.server is not None and self.server.waiting:
            self.refuse(480)
        if self.rtp is not None:
            self.rtp.close()

    def close(self) -> None:
        """It is over: no dialog, no audio."""
        self.up = False
        self._longest.cancel()
        if self.dialog is not None:
            self.phone.agent.remove(self.dialog)
        if self.rtp is not None:
            self.rtp.close()
        if self in self.phone.calls:
            self.phone.calls.remove(self)
