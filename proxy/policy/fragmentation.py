"""The size check (transfers.md section 4): the budget of a request, and the steps when it is over.

Above M - 200 (1300 bytes where M is unknown; RFC 3261 18.1.1) the policy runs; above M - 28 (IPv6: M - 48) a UDP
packet really fragments. Sizes come from the code that renders the message, so they are exact.
"""
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from proxy.config import Upstream
from sipcore.wire.multipart import sdp_place
from sipcore.wire.sdp import keep_codecs

from .headers import Filled
from .references import NOBODY, Keeper

UNKNOWN_LIMIT = 1300
MARGIN = 200
USUAL_MTU = 1500
IPV4_UDP, IPV6_UDP = 28, 48
"""Bytes of the headers below SIP."""


def most_of(ipv6: bool) -> int:
    """Bytes of SIP that a datagram can carry, in however many pieces."""
    return 0xFFFF - (IPV6_UDP if ipv6 else IPV4_UDP)


class Budget:
    """How big a request may be, from the configured MTU and the path MTU that the kernel knows (0: unknown)."""

    def __init__(self, mtu: int, path_mtu: int = 0):
        self.mtu = min(mtu, path_mtu) if mtu and path_mtu else mtu or path_mtu
        self.limit = max(self.mtu - MARGIN, 1) if self.mtu else UNKNOWN_LIMIT

    def fragments(self, size: int, ipv6: bool) -> bool:
        """Whether a UDP packet with so many bytes of SIP goes out in pieces (1500 where nothing is known)."""
        return size > (self.mtu or USUAL_MTU) - (IPV6_UDP if ipv6 else IPV4_UDP)

    def line(self, size: int) -> str:
        """`1,342 of 1,300 bytes`."""
        return f"{size:,} of {self.limit:,} bytes"


Made = TypeVar("Made")
Covariant = TypeVar("Covariant", covariant=True)


class Draft(Protocol[Covariant]):
    """A request that can still be made smaller: a verdict on a forwarded one, or one of our own."""

    @property
    def filled(self) -> Sequence[Filled]:
        """Set headers, the ones to be dropped last first."""

    @property
    def ipv6(self) -> bool:
        """Whether it goes over IPv6."""

    def build(self, *, keep: int, instead: Filled | None, compact: bool, body: bytes | None) -> tuple[Covariant, int]:
        """The request with the first `keep` of the set headers, and its exact size. instead: one more header that
        stands in place of the others. body: in place of its own."""

    def shorter(self, codecs: tuple[str, ...]) -> bytes | None:
        """Its body with these codecs only; None where that changes nothing."""


@dataclass(slots=True)
class Outcome(Generic[Made]):
    """What the steps came to."""

    made: Made
    size: int
    """Bytes that are sent, with the room that is reserved for a digest answer."""
    steps: list[str]
    """What each step did, as text."""
    counters: list[str]
    """The name of a counter for each thing that happened."""
    keep: int
    """So many of the set headers are left."""
    instead: Filled | None = None
    """The header with the token that stands for the others."""
    refused: bool = False
    """It is too big, and the policy ends with `refuse` (513)."""
    sent_over: bool = False
    """It is over its budget, and sent nevertheless."""
    tcp: bool = False
    """It goes by TCP, where nothing is fragmented."""


NO_TCP = "no listener is bound to tcp"
TCP_FAILED = "the connection failed"
_ANY_SIZE = 1 << 32


def fit(draft: Draft[Made], settings: Upstream, budget: Budget, size: int = 0, no_tcp: str = "",
        keeper: Keeper = NOBODY) -> Outcome[Made]:
    """Walk the upstream's size policy until the request fits; the last step sends in pieces or refuses.

    no_tcp: why this request cannot go by TCP; empty where it can. keeper: keeps what goes by reference.

    size: what the stack is about to send, 0 for the draft's own size. What that is more (room for a digest answer) or
    less stays the same in every step.
    """
    return _Walk(draft, settings, budget, size).walk(no_tcp, keeper)


class _Walk(Generic[Made]):
    """A request on its way through the steps. now: its size, with the room that is reserved."""

    def __init__(self, draft: Draft[Made], settings: Upstream, budget: Budget, size: int):
        self.draft = draft
        self.settings = settings
        self.budget = budget
        self.names = [header.name for header in draft.filled]
        self.keep = len(self.names)
        self.instead: Filled | None = None
        self.compact = False
        self.body: bytes | None = None
        self.steps: list[str] = []
        self.counters: list[str] = []
        self.room = 0
        self.made, self.now = self.build()
        self.room = size - self.now if size else 0
        self.now += self.room

    def build(self) -> tuple[Made, int]:
        made, size = self.draft.build(keep=self.keep, instead=self.instead, compact=self.compact, body=self.body)
        return made, size + self.room

    def did(self, text: str, *counters: str) -> None:
        self.steps.append(text)
        self.counters += counters

    def walk(self, no_tcp: str, keeper: Keeper) -> Outcome[Made]:
        limit, settings, left = self.budget.limit, self.settings, list(self.settings.size_policy)
        if self.now > limit:
            self.counters.append("size.over")
        while left and self.now > limit:
            match left.pop(0):
                case "compact":
                    self.compact = True
                    self.did("compact header names", "size.compact")
                    self.made, self.now = self.build()
                case "drop":
                    self.drop()
                case "codecs":
                    self.body = self.draft.shorter(settings.codecs)
                    if self.body is not None:
                        self.did(f"kept only codecs {', '.join(settings.codecs)}", "size.codecs")
                        self.made, self.now = self.build()
                case "tcp" if no_tcp:
                    self.did(f"tcp ({no_tcp})", "size.tcp_failed")
                case "tcp":
                    self.did("by TCP", "size.tcp")
                    if "reference" in left:
                        self.refer(keeper, _ANY_SIZE)
                    return self.outcome(tcp=True)
                case "reference":
                    self.refer(keeper, limit)
                case "refuse":
                    self.did("refused", "size.refuse")
                    return self.outcome(refused=True)
                case "fragment" if self.now > most_of(self.draft.ipv6):
                    self.did("refused, too big for UDP", "size.refuse")
                    return self.outcome(refused=True)
                case "fragment":
                    pieces = self.budget.fragments(self.now, self.draft.ipv6)
                    self.did("sent in fragments" if pieces else "sent over budget, in one packet",
                             "size.fragment" if pieces else "size.sent_over")
        if "reference" in left:
            # What `drop` has taken away is not lost, where a token still finds room.
            self.refer(keeper, limit)
        return self.outcome(sent_over=self.now > limit)

    def outcome(self, *, refused: bool = False, sent_over: bool = False, tcp: bool = False) -> Outcome[Made]:
        return Outcome(self.made, self.now, self.steps, self.counters, self.keep, self.instead, refused, sent_over, tcp)

    def drop(self) -> None:
        before = self.keep
        while self.keep and self.now > self.budget.limit:
            self.keep -= 1
            self.made, self.now = self.build()
        if self.keep < before:
            self.did(f"dropped {', '.join(reversed(self.names[self.keep:before]))}",
                     *["size.drop"] * (before - self.keep))

    def refer(self, keeper: Keeper, limit: int) -> None:
        """One header with a token in place of those that are dropped already, and of as many more as it takes to come
        down to limit. Where it takes all of them and more, they go so only if that makes the request smaller."""
        over = self.now > limit
        if not self.names or (not over and self.keep == len(self.names)):
            return
        before = self.keep, self.made, self.now
        why = self._refer(keeper, limit, self.keep - over)
        if why:
            self.keep, self.made, self.now = before
            self.instead = None
            self.did(f"reference ({why})", "size.reference_failed")
        else:
            self.did(f"{', '.join(reversed(self.names[self.keep:]))} by reference", "size.reference")

    def _refer(self, keeper: Keeper, limit: int, most: int) -> str:
        """Why not; the request is as it would be then. most: so many headers may be left."""
        made = keeper.make()
        if isinstance(made, str):
            return made
        text, token = made
        before = self.now
        self.instead = Filled(self.settings.reference_header, text, 0)
        for keep in range(most, -1, -1):
            self.keep = keep
            self.made, self.now = self.build()
            if self.now <= limit:
                break
        else:
            if self.now >= before:
                return "it has no room"
        # All of them: who shows the token has everything in one place, whatever was dropped where.
        return keeper.keep(token, {header.name: header.value for header in self.draft.filled})


def fewer_codecs(body: bytes, content_type: str, encoded: bool, names: tuple[str, ...]) -> bytes | None:
    """The body with only these codecs in its SDP, which may be a part of a multipart body (RFC 5621 3.1); None where
    that changes nothing, or where the SDP is none that can be read. encoded: it has a Content-Encoding."""
    place = sdp_place(body, content_type) if names and not encoded else None
    if place is None:
        return None
    start, stop = place
    try:
        shorter = keep_codecs(body[start:stop], names)
    except ValueError:
        return None
    return body[:start] + shorter + body[stop:] if len(shorter) < stop - start else None
