"""Who is told what happens to the media of a controlled call."""
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from sipcore.anchor.bridgemedia import BridgeMedia


class MediaOwner(Protocol):
    """The owner of a BridgeMedia. Sides as there; of a side that was released nothing is said any more."""

    def on_source(self, media: "BridgeMedia", side: int, address: tuple[str, int], rank: int) -> None:
        """The first RTP of a side has come, or of a source that fits better (media.latch.Rank)."""

    def on_silent(self, media: "BridgeMedia", side: int, ms: int) -> None:
        """No RTP has come for so long from a side that should send."""

    def on_heard(self, media: "BridgeMedia", side: int, ms: int) -> None:
        """A side is heard again, after so long a silence."""

    def on_timeout(self, media: "BridgeMedia", ms: int) -> None:
        """No side has sent anything for so long, though none is on hold."""

    def on_digit(self, media: "BridgeMedia", side: int, digit: str, ms: int) -> None:
        """A side has pressed a key for so long (RFC 4733): one of "0123456789*#ABCD", "!" for a flash."""

    def on_played(self, media: "BridgeMedia", side: int, token: int, whole: bool) -> None:
        """What `play` gave this number to has ended; whole: by itself."""
