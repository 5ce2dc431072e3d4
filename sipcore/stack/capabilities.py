"""What a leg says it can do, and what is remembered of what its peer said (RFC 3261 20.5, 20.37)."""
from functools import lru_cache

from sipcore.wire.message import Message

ALLOW = "INVITE, ACK, CANCEL, BYE, OPTIONS, INFO, MESSAGE, UPDATE, PRACK, REFER, NOTIFY, SUBSCRIBE"
EXTENSIONS = ("100rel", "timer", "replaces", "norefersub", "nosub")
"""Option tags that a Require may name towards a leg: what the user agent of legs is made with."""


_NOTHING: frozenset[str] = frozenset()


# Far ends are of few kinds, so that most lines were read before, in another call.
@lru_cache(maxsize=1024)
def _upper(line: str) -> frozenset[str]:
    return frozenset(value.strip() for value in line.upper().split(","))


@lru_cache(maxsize=1024)
def _lower(line: str) -> frozenset[str]:
    return frozenset(value.strip() for value in line.lower().split(","))


class Peer:
    """What the far end can do, as far as its messages have told."""

    __slots__ = ("_allow", "_refused", "_supported")

    def __init__(self) -> None:
        self._allow: frozenset[str] | None = None
        self._supported: frozenset[str] | None = None
        self._refused = _NOTHING

    def learn(self, message: Message) -> None:
        """Take Allow and Supported of a message of the far end."""
        line = message.joined("Allow")
        if line is not None:
            self._allow = _upper(line)
        line = message.joined("Supported")
        if line is not None:
            self._supported = _lower(line)

    def refuse(self, method: str) -> None:
        """It answered 405 or 501 to this method."""
        self._refused |= {method}

    def allows(self, method: str) -> bool | None:
        """None where nothing is known."""
        if method in self._refused:
            return False
        return None if self._allow is None else method in self._allow

    def supports(self, option: str) -> bool | None:
        """None where nothing is known."""
        return None if self._supported is None else option in self._supported
