"""The media of a call as its legs see it: bodies that cross as they are, or descriptions of the edge's own.

Sides of an anchored call: 0 the caller, 1 the agent, 2 and 3 targets.
"""
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Literal

from sipcore.anchor.mediaerror import MediaError
from sipcore.stack.leg import Leg

if TYPE_CHECKING:
    from proxy.config import Srtp
    from sipcore.anchor.agreement import Agreement
    from sipcore.anchor.bridgemedia import BridgeMedia

SoundCodec = Literal["PCMU", "PCMA", "G722"]
SRTP = {"pass": 0, "never": 1, "offer": 2, "require": 3}
"""The numbers of anchor.sdes.SrtpMode."""
SOUNDS: tuple[SoundCodec, ...] = ("PCMU", "PCMA", "G722")


class Passing:
    """Bodies cross unchanged: the media goes from end to end. One for all calls."""

    anchored = False

    def offer(self, source: Leg, to: Leg, body: bytes, listener: int = -1) -> bytes:
        """An offer of one leg as the other one is told it. Raises MediaError where it cannot be; nothing is pending
        then. listener: of a leg that has sent nothing yet."""
        return body

    def answer(self, source: Leg, to: Leg, body: bytes, final: bool = True) -> bytes:
        """An answer of one leg as the other one is told it."""
        return body

    def retell(self, leg: Leg, refusal: bytes) -> bytes:
        """The offer that a leg was called with, and has refused, in another way; empty where there is none. refusal:
        the description that came with it, if any."""
        return b""

    def retell_first(self, leg: Leg) -> bytes:
        """The same as at first, for another address of a leg that was told otherwise."""
        return b""

    def renewed(self, leg: Leg, body: bytes) -> None:
        """A leg has said something else to what it was told before."""

    def reoffered(self, leg: Leg, body: bytes) -> bytes:
        """A description that a leg gets as an offer of its own, as it is told that."""
        return body

    def reanswered(self, leg: Leg, body: bytes) -> None:
        """What it answered; empty: nothing."""

    def withdraw(self, one: Leg, other: Leg) -> None:
        """The pending offer between two legs came to nothing."""

    def settle(self, leg: Leg, source: Leg, body: bytes) -> None:
        """An offer that crossed to a leg was answered when its source did not wait any more; empty body: refused."""

    def join(self, one: Leg, other: Leg) -> None:
        """Let two legs hear each other."""

    def over(self, leg: Leg) -> None:
        """A leg is gone."""

    def close(self) -> dict[str, Any]:
        """The call is over: figures of the audio by role."""
        return {}

    def codec(self, leg: Leg) -> str:
        return ""


PASSING = Passing()


class Anchored(Passing):
    """The media of one call that goes through the edge."""

    anchored = True

    def __init__(self, media: "BridgeMedia"):
        self.media = media
        self.sides: dict[Leg, int] = {}
        self.figures: dict[str, Any] = {}
        self.roles: dict[int, str] = {0: "caller", 1: "agent"}

    def take(self, leg: Leg, side: int, role: str, srtp: "Srtp | None" = None) -> None:
        """A leg's media is that of a side from now on. srtp: the rule of its upstream, where that is not the route's.
        """
        self.sides[leg] = side
        if srtp is not None:
            self.media.set_srtp(side, SRTP[srtp])
        self.roles[side] = role

    def leg_on(self, side: int) -> Leg | None:
        return next((leg for leg, number in self.sides.items() if number == side), None)

    # --- offers and answers that cross

    def offer(self, source: Leg, to: Leg, body: bytes, listener: int = -1) -> bytes:
        media, side = self.media, self.sides[source]
        media.offer_from(side, body, source.far, source.listener)
        try:
            return media.offer_to(self.sides[to], to.listener if listener < 0 else listener, side)
        except MediaError:
            media.withdraw(side)
            raise

    def answer(self, source: Leg, to: Leg, body: bytes, final: bool = True) -> bytes:
        side, other = self.sides[source], self.sides[to]
        self.media.answer_from(side, body, source.far, final)
        if self.media.pending(other) != "theirs":
            return self.media.descriptions(other)[0] or b""
        return self.media.answer_to(other, side, final)

    def retell(self, leg: Leg, refusal: bytes) -> bytes:
        try:
            return self.media.retell(self.sides[leg], refusal) if leg in self.sides else b""
        except MediaError:
            return b""

    def retell_first(self, leg: Leg) -> bytes:
        try:
            return self.media.retell_first(self.sides[leg]) if leg in self.sides else b""
        except MediaError:
            return b""

    def withdraw(self, one: Leg, other: Leg) -> None:
        for leg in (one, other):
            if leg in self.sides:
                self.media.withdraw(self.sides[leg])

    def renewed(self, leg: Leg, body: bytes) -> None:
        if leg in self.sides:
            with suppress(MediaError):
                self.media.answer_again(self.sides[leg], body, leg.far)

    def reoffered(self, leg: Leg, body: bytes) -> bytes:
        return self.media.offer_to(self.sides[leg], leg.listener)

    def reanswered(self, leg: Leg, body: bytes) -> None:
        if body:
            self.answered(leg, body)
        else:
            self.give_up(leg)

    def settle(self, leg: Leg, source: Leg, body: bytes) -> None:
        if body and leg in self.sides:
            try:
                self.media.answer_from(self.sides[leg], body, leg.far)
            except MediaError:
                self.media.withdraw(self.sides[leg])
            self.withdraw(source, source)
        else:
            self.withdraw(leg, source)

    def pending(self, leg: Leg) -> bool:
        """Whether an offer of a leg's, or one to it, has no answer yet."""
        return self.media.pending(self.sides[leg]) != ""

    # --- offers and answers of the edge's own

    def invite(self, to: Leg, like: Leg, listener: int, before: "Anchored | None" = None) -> bytes:
        """The offer for a leg that is new here, with the codecs of another one; an offer of that one's that waits for
        the agent's answer is none of its. before: the media of the call that it comes from."""
        return self.media.offer_to(self.sides[to], listener, self.sides[like], anew=True,
                                   before=(before.media, before.sides[to]) if before is not None else None)

    def reoffer(self, to: Leg, like: Leg, codecs: tuple[str, ...] = ()) -> bytes:
        """An offer inside a dialog, with what another leg has agreed on."""
        return self.media.offer_to(self.sides[to], to.listener, self.sides[like], codecs=codecs, anew=True)

    def answered(self, leg: Leg, body: bytes) -> None:
        """A leg answered an offer of the edge's."""
        self.media.answer_from(self.sides[leg], body, leg.far)

    def own_answer(self, leg: Leg, body: bytes) -> bytes:
        """The answer to the offer of a leg that hears nobody else now."""
        side = self.sides[leg]
        self.media.offer_from(side, body, leg.far, leg.listener)
        try:
            return self.media.answer_to(side)
        except MediaError:
            self.media.withdraw(side)
            raise

    def give_up(self, leg: Leg) -> None:
        """An offer of the edge's was refused."""
        self.media.withdraw(self.sides[leg])

    # --- who hears whom

    def join(self, one: Leg, other: Leg) -> None:
        self.media.connect(self.sides[one], self.sides[other])

    def isolate(self, leg: Leg) -> None:
        if leg in self.sides:
            self.media.isolate(self.sides[leg])

    def agreed(self, one: Leg, other: Leg) -> "Agreement":
        return self.media.agreed(self.sides[one], self.sides[other])

    def converted(self, one: Leg, other: Leg) -> "Agreement":
        """How two legs can be joined by converting G.711, where neither takes another codec."""
        return self.media.agreed(self.sides[one], self.sides[other], True, False)

    def play(self, leg: Leg, sound: bytes, codec: str, loop: bool = False) -> int:
        """A number for the end of it; 0 where it cannot be played to that leg."""
        return self.media.play(self.sides[leg], sound, codec, loop)

    def stop_playing(self, leg: Leg) -> None:
        if leg in self.sides:
            self.media.stop_playing(self.sides[leg])

    def sound_codec(self, leg: Leg) -> SoundCodec:
        """What a sound for a leg is to be encoded in, as far as that is known."""
        return next(iter(self.sound_codecs(leg)), "PCMU")

    def sound_codecs(self, leg: Leg) -> tuple[SoundCodec, ...]:
        """What a sound can be played to a leg in; empty where that is nothing, or not agreed yet."""
        codecs = self.media.codecs(self.sides[leg])
        return tuple(codec for codec in SOUNDS if codec in codecs)

    def codec(self, leg: Leg) -> str:
        codecs = self.media.codecs(self.sides[leg]) if leg in self.sides else ()
        return codecs[0] if codecs else ""

    # --- ends

    def over(self, leg: Leg) -> None:
        side = self.sides.pop(leg, None)
        if side is not None and not self.media.closed:
            self._keep(side, self.media.release(side))

    def close(self) -> dict[str, Any]:
        for side, figures in self.media.close().items():
            self._keep(side, figures)
        return self.figures

    def _keep(self, side: int, figures: dict[str, Any]) -> None:
        if figures:
            self.figures[self.roles.get(side, "target")] = figures
