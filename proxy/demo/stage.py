"""The stage that all acts play on: the endpoints, who looks on, and what every act checks with."""
import asyncio
import os
from collections import Counter
from pathlib import Path
from typing import Protocol, TypeVar

from proxy.policy.fragmentation import Budget
from sipcore.stack.referral import Progress, read_notify
from sipcore.wire.message import Message

from .call import PATIENCE, Call, Unexpected
from .cast import (
    AGENT_HOST,
    AGENT_TONE,
    ASSISTANT_HOST,
    CALLER_HOST,
    CALLER_NUMBER,
    CALLER_TONE,
    HUMAN_TONE,
    PBX_HOST,
    PORT,
    Agent,
    Caller,
    Pbx,
)
from .phone import Phone

BUDGET = Budget(0)
SECRET_HEADER = "X-Internal-Ticket"
"""Sent by the caller; nobody outside may see it."""

Address = tuple[str, int]
Anyone = TypeVar("Anyone", bound=Phone)


def same(what: str, found: object, expected: object) -> None:
    """Raises Unexpected where they differ."""
    if found != expected:
        raise Unexpected(f"{what}: expected {expected!r}, found {found!r}")


def header(message: Message, name: str, expected: str) -> None:
    """Exactly one header of that name with that value."""
    same(name, message.headers(name), [expected])


def request_of(call: Call) -> Message:
    """The INVITE that began a call at whoever was called."""
    if call.request is None:
        raise Unexpected(f"{call.phone.name} has no INVITE")
    return call.request


async def notified(call: Call, patience: float = PATIENCE) -> Progress:
    """What the next NOTIFY says; patience: in seconds."""
    progress = read_notify(await call.expect("NOTIFY", patience))
    if progress is None:
        raise Unexpected("a NOTIFY of another package")
    return progress


async def both_hear(one: Call, tone: int, other: Call, other_tone: int) -> str:
    """Two calls that are one to the edge hear each other's tones."""
    if one.rtp is None or other.rtp is None:
        raise Unexpected("a call without audio")
    heard = await asyncio.gather(one.rtp.hears(tone), other.rtp.hears(other_tone))
    for call, frequency, clear in ((one, tone, heard[0]), (other, other_tone, heard[1])):
        if not clear:
            raise Unexpected(f"{call.phone.name} does not hear {frequency} Hz")
    return f"both tones, {one.rtp.received} packets"


class View(Protocol):
    """Whoever looks on."""

    def message(self, part: str, direction: str, data: bytes) -> None: ...
    def audio(self, text: str) -> None: ...
    def note(self, text: str) -> None: ...
    def verdict(self, text: str) -> None: ...
    def headers(self, title: str, message: Message, budget: str) -> None: ...


class Stage:
    """The endpoints around an edge; with recordings, a folder for them, also the agent of controlled calls. Raises
    OSError where an address is taken."""

    def __init__(self, edge: Address, ladder: View | None, network: str, recordings: Path | None = None):
        self.edge = edge
        self.ladder = ladder
        self.recordings = recordings
        self.pbx_uri = f"sip:%s@{network}.{PBX_HOST}:{PORT}"
        self.seen: Counter[tuple[str, str]] = Counter()
        """Requests that arrived, by endpoint and method."""
        self.phones: list[Phone] = []
        secret = os.urandom(32)

        def open_phone(kind: type[Anyone], name: str, user: str, number: int, frequency: int) -> Anyone:
            phone = kind(name, user, (f"{network}.{number}", PORT), edge, frequency=frequency, trace=self._trace,
                         secret=secret)
            self.phones.append(phone)
            return phone

        try:
            self.caller = open_phone(Caller, "caller", CALLER_NUMBER, CALLER_HOST, CALLER_TONE)
            self.agent = open_phone(Agent, "agent", "agent", AGENT_HOST, AGENT_TONE)
            self.pbx = open_phone(Pbx, "PBX", "pbx", PBX_HOST, HUMAN_TONE)
            if recordings is not None:
                self.assistant = open_phone(Agent, "agent", "assistant", ASSISTANT_HOST, AGENT_TONE)
        except OSError:
            self.close()
            raise

    def close(self) -> None:
        for phone in self.phones:
            phone.close()

    def _trace(self, part: str, direction: str, data: bytes) -> None:
        if direction == "in" and not data.startswith(b"SIP/2.0 "):
            self.seen[part, data.partition(b" ")[0].decode("latin-1")] += 1
        if self.ladder is not None:
            self.ladder.message(part, direction, data)

    def note(self, text: str) -> None:
        if self.ladder is not None:
            self.ladder.note(text)

    def show(self, title: str, message: Message) -> str:
        """Show a request in full; returns its size."""
        size = BUDGET.line(message.size)
        if self.ladder is not None:
            self.ladder.headers(title, message, size)
        return size
