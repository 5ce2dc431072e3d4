"""Phones behind NAT that have registered through the edge: who is sent an empty packet now and then (RFC 5626 3.5.1),
so that the way back to them stays open.

Only what a registrar has taken is kept, for as long as it has granted. All wait equally long, so the one whose turn is
next stands first. Memory: 300 bytes a phone, `most` of them; where one makes room, the one that waits next.
"""
from collections import OrderedDict
from collections.abc import Iterator

from sipcore.base.errors import SipEdgeError
from sipcore.wire.message import Message
from sipcore.wire.nameaddr import NameAddress

Flow = tuple[int, str, int]
"""Listener, address and port."""
AT_ONCE = 2000
"""Packets that are sent at a time at most."""
USUAL_SECONDS = 3600
LONGEST_SECONDS = 86_400


class Flows:
    """interval: ms between packets to the same phone."""

    def __init__(self, interval: int, most: int = 65_536):
        self.interval = interval
        self.most = most
        self._waiting: OrderedDict[Flow, tuple[int, int]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._waiting)

    def note(self, listener: int, host: str, port: int, response: bytes, now: int) -> None:
        """A registrar's 2xx to a REGISTER from there, in which the contacts stand that are registered now."""
        flow = listener, host, port
        self._waiting.pop(flow, None)
        seconds = _granted(Message(response))
        if seconds <= 0:
            return
        if len(self._waiting) >= self.most:
            self._waiting.popitem(last=False)
        self._waiting[flow] = now + self.interval, now + 1000 * seconds

    def due(self, now: int) -> Iterator[Flow]:
        """Whose turn it is; AT_ONCE of them at most, the rest next time."""
        for _ in range(min(len(self._waiting), AT_ONCE)):
            flow, (at, until) = next(iter(self._waiting.items()))
            if at > now:
                return
            del self._waiting[flow]
            if until > now:
                self._waiting[flow] = now + self.interval, until
                yield flow


def _granted(response: Message) -> int:
    """How long the contacts in a 2xx are good, in seconds: the longest; 0 for none."""
    general = _seconds(response.header("Expires"), USUAL_SECONDS)
    found = [0]
    for value in response.headers("Contact"):
        try:
            found.append(_seconds(NameAddress(value.encode("utf-8", "surrogateescape")).param("expires"), general))
        except (SipEdgeError, ValueError):
            continue
    return min(max(found), LONGEST_SECONDS)


def _seconds(text: str | None, default: int) -> int:
    digits = (text or "").strip()
    return int(digits) if digits.isascii() and digits.isdigit() and len(digits) <= 10 else default
