"""What a URI or a configuration names, and the addresses that it turned out to have."""
import zlib
from collections.abc import Sequence
from typing import NamedTuple

from .errors import Fault, SipEdgeError

LONGEST_SHOWN = 64
"""Characters of a name in a reason phrase."""
LONGEST_NAME, LONGEST_LABEL = 253, 63


def valid_host(host: str) -> bool:
    """Whether that can be asked for: labels of letters, digits, hyphens and underscores, and the last one is no number:
    that would be a mistyped address."""
    labels = host.split(".")
    return len(host) <= LONGEST_NAME and host.isascii() and not labels[-1].isdigit() and all(
        0 < len(label) <= LONGEST_LABEL and label.replace("-", "").replace("_", "").isalnum() for label in labels)
_PHRASES = {400: "Bad Request", 416: "Unsupported URI Scheme", 480: "Temporarily Unavailable", 482: "Loop Detected",
            503: "Service Unavailable"}


class Place(NamedTuple):
    """Where something is to be sent, as far as a URI says (RFC 3263 4). Equal ones have the same addresses."""

    host: str
    """In lower case, without a dot at its end."""
    port: int = 0
    """0: not said."""
    transport: str = ""
    """udp, tcp, tls, ws or wss; empty: not said."""
    secure: bool = False
    """`sips`: only what is encrypted will do."""

    @classmethod
    def of(cls, host: str, port: int = 0, transport: str = "", secure: bool = False) -> "Place":
        """The Place of a host and parameters as they are written."""
        return cls(host.lower().removesuffix("."), port, transport.lower(), secure)

    def __str__(self) -> str:
        return f"{self.host[:LONGEST_SHOWN]}:{self.port}" if self.port else self.host[:LONGEST_SHOWN]


class Reached(NamedTuple):
    """One address of a Place."""

    ip: str
    port: int
    transport: str
    name: str = ""
    """What its certificate has to name (RFC 5922 7.1): the host that was asked for; empty where that was an address."""
    level: int = 0
    """Lower ones are tried first."""
    weight: int = 1
    """Share among those of one level."""


class Unresolved(SipEdgeError):
    """A name that leads nowhere. The text says which one, and why.

    status: 400 for what is no host name, 416 where its transport does not go with sips, 480 where there is no usable
    address, 482 where they are all the edge's own, 503 where nobody answered.
    """

    fault: Fault = "peer"

    def __init__(self, place: Place, why: str, *, status: int = 503) -> None:
        super().__init__(f"{place} {why}")
        self.status = status

    @property
    def reason(self) -> str:
        """A reason phrase that says what did not resolve."""
        return f"{_PHRASES[self.status]} - {self}"


def seed_of(call_id: str) -> int:
    """What makes the order of addresses a function of the call."""
    return zlib.crc32(call_id.encode("utf-8", "surrogateescape"))


def in_order(found: Sequence[Reached], seed: int) -> list[Reached]:
    """The addresses as they are to be tried: by level, and within one as RFC 2782 draws by weight, where the draws are
    a function of seed."""
    if len(found) < 2:
        return list(found)
    order: list[Reached] = []
    for level in sorted({one.level for one in found}):
        # Those of weight 0 first, so that they are hardly ever drawn while there are others.
        left = sorted((one for one in found if one.level == level), key=lambda one: (one.weight > 0, one))
        while len(left) > 1:
            seed = (seed * 1103515245 + 12345) & 0x7FFFFFFF
            # The low bits of such a generator repeat soon.
            drawn = (seed >> 8) * (sum(one.weight for one in left) + 1) >> 23
            for index, one in enumerate(left):
                drawn -= one.weight
                if drawn <= 0:
                    order.append(left.pop(index))
                    break
        order += left
    return order
