"""The size check (transfers.md section 4): the budget of a request, and the steps when it is over.

Above M - 200 (1300 bytes where M is unknown; RFC 3261 18.1.1) the policy runs; above M - 28 (IPv6: M - 48) a UDP
packet really fragments. Sizes come from the code that renders the message, so they are exact.
"""
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from proxy.config import LATER_STEPS, Upstream
from sipcore.stack.verdict import Request, Verdict
from sipcore.wire.sdp import keep_codecs

UNKNOWN_LIMIT = 1300
MARGIN = 200
USUAL_MTU = 1500
IPV4_UDP, IPV6_UDP = 28, 48
"""Bytes of the headers below SIP."""


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


class Draft(Protocol):
    """A verdict that can still be made smaller."""

    @property
    def names(self) -> list[str]:
        """Set headers, the ones to be dropped last first."""

    def verdict(self, *, keep: int, compact: bool, body: bytes | None) -> Verdict:
        """The verdict with the first `keep` of the set headers."""


@dataclass(slots=True)
class Outcome:
    """What the steps came to."""

    verdict: Verdict
    size: int
    steps: list[str]
    """What each step did, as text."""
    counters: list[str]
    """The name of a counter for each thing that happened."""


def fit(request: Request, draft: Draft, settings: Upstream, budget: Budget, size: int) -> Outcome:
    """Walk the upstream's size policy until the request fits; the last step sends in pieces or refuses.

    size: what the stack is about to send. Where that is more than the draft's own size (room for a digest
    answer), the difference stays reserved in every step.
    """
    names, body = draft.names, request.body
    keep, compact, shorter = len(names), False, None
    steps: list[str] = []
    counters = ["size.over"]

    def built() -> tuple[Verdict, int]:
        verdict = draft.verdict(keep=keep, compact=compact, body=shorter)
        return verdict, _size(request, verdict)

    verdict, now = built()
    room = max(0, size - now)
    now += room
    for step in settings.size_policy:
        if now <= budget.limit:
            break
        if step == "compact":
            compact = True
            steps.append("compact header names")
            counters.append("size.compact")
            verdict, now = _with(built, room)
        elif step == "drop":
            while keep and now > budget.limit:
                keep -= 1
                verdict, now = _with(built, room)
            if keep < len(names):
                steps.append(f"dropped {', '.join(reversed(names[keep:]))}")
                counters += ["size.drop"] * (len(names) - keep)
        elif step == "codecs":
            shorter = _fewer_codecs(request, body, settings.codecs)
            if shorter is not None:
                steps.append(f"kept only codecs {', '.join(settings.codecs)}")
                counters.append("size.codecs")
                verdict, now = _with(built, room)
        elif step in LATER_STEPS:
            steps.append(f"{step} (not in this version)")
        elif step == "refuse":
            steps.append("refused")
            counters.append("size.refuse")
            refusal = Verdict(action=Verdict.REJECT, status=513, reason="Message Too Large")
            return Outcome(refusal, now, steps, counters)
        else:
            ipv6 = any(":" in target.host for target in verdict.targets) or ":" in request.host
            pieces = budget.fragments(now, ipv6)
            steps.append("sent in fragments" if pieces else "sent over budget, in one packet")
            counters.append("size.fragment" if pieces else "size.sent_over")
    return Outcome(verdict, now, steps, counters)


def _with(built: Callable[[], tuple[Verdict, int]], room: int) -> tuple[Verdict, int]:
    verdict, size = built()
    return verdict, size + room


def _size(request: Request, verdict: Verdict) -> int:
    """The size towards the target whose URI is longest."""
    return max(request.size_with(verdict, index) for index in range(len(verdict.targets) or 1))


def _fewer_codecs(request: Request, body: bytes, names: tuple[str, ...]) -> bytes | None:
    """The SDP with only these codecs; None where that changes nothing, or where the body is none that can be
    read."""
    kind = (request.header("Content-Type") or "").partition(";")[0].strip().lower()
    if not names or kind != "application/sdp" or request.header("Content-Encoding") is not None:
        return None
    try:
        shorter = keep_codecs(body, names)
    except ValueError:
        return None
    return shorter if len(shorter) < len(body) else None
