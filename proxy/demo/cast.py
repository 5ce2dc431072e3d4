"""Who takes part in the demo: a caller that can be transferred, an agent, and a PBX with a few extensions."""
import tempfile
from pathlib import Path

from sipcore.base.errors import SipEdgeError
from sipcore.stack.referral import Subscription, refer_to
from sipcore.stack.uas import ServerTransaction
from sipcore.wire.message import Message

from .call import Call, Unexpected
from .phone import Phone
from .voice import Voice, can_speak, spoken, toned

NETWORK = "127.0.0"
CALLER_HOST, AGENT_HOST, PBX_HOST, ASSISTANT_HOST = 2, 3, 4, 5
"""Last numbers of the endpoints' addresses; the edge tells them apart by these."""
PORT = 5070
CALLER_NUMBER = "+15550100"
CALLER_TONE, AGENT_TONE, HUMAN_TONE, WHISPER_TONE = 1000, 600, 440, 850
"""Hz: each one sounds different, so that it can be told who hears whom."""
NAME = "Ann Müller"
CALLER_SAYS = "This is Ann Müller. You charged me twice for the same thing."
AGENT_SAYS = "I am sorry to hear that. I will hand you over to a colleague."
HUMAN_SAYS = "Billing department, Bob speaking. I see what it is about."
PICKS_UP_AFTER = 0.6
"""Seconds that the person at 2001 lets it ring."""


class Caller(Phone):
    """Does what a transferred phone does (RFC 3515): 202, a NOTIFY at once, INVITE, a NOTIFY with how it ended."""

    transferred: Call | None = None

    def on_refer(self, call: Call, tx: ServerTransaction) -> None:
        try:
            target = refer_to(tx.request)
        except SipEdgeError as error:
            tx.respond(self.now(), error.status)
            return
        tx.respond(self.now(), 202)
        subscription = Subscription(call.own, tx.request)
        call.send(subscription.notify(100))
        by = tx.request.header("Referred-By")
        new = self.call(target.uri, (*target.headers, ("Referred-By", by)) if by else target.headers)
        new.watch = lambda kind, message: self._report(call, subscription, kind, message)
        self.transferred = new

    def _report(self, call: Call, subscription: Subscription, kind: str, message: Message | None) -> None:
        status = message.status if message is not None else 408
        if not kind.startswith("INVITE") or status < 200 or subscription.ended:
            return
        try:
            call.send(subscription.notify(status, message.reason if message is not None else ""))
        except Unexpected:
            return


class Agent(Phone):
    """Answers every call."""


class Pbx(Phone):
    """`echo` returns the caller's audio, 2001 is a person who picks up, 2002 is busy; nobody else is there."""

    def on_invite(self, call: Call, user: str) -> None:
        if user == "echo":
            call.answer(echo=True)
        elif user == "2001":
            call.ring()
            self.loop.call_later(PICKS_UP_AFTER, call.answer)
        elif user == "2002":
            call.refuse(486)
        else:
            call.refuse(404)


def cast_voices() -> tuple[Voice, Voice, Voice]:
    """What caller, agent and the person say. OSError where they cannot speak."""
    if not can_speak():
        return toned("caller", CALLER_TONE), toned("agent", AGENT_TONE), toned("human", HUMAN_TONE)
    with tempfile.TemporaryDirectory(prefix="sipedge-demo-") as name:
        folder = Path(name)
        return (spoken("caller", CALLER_SAYS, "en-gb+f3", folder), spoken("agent", AGENT_SAYS, "en-us+f2", folder),
                spoken("human", HUMAN_SAYS, "en-us+m3", folder))
