"""Who hears whom: told by the packets, as everybody speaks with a voice of their own."""
import asyncio
from math import inf

from .call import PATIENCE, Call, Unexpected
from .stage import View
from .tape import Tape
from .voice import FRAME_SECONDS, Voice

SOME = 10
"""Loud packets of a voice that it takes to be heard."""
ENOUGH = 75
"""Packets that are listened to: 1.5 s, which is longer than any pause of the speech."""


def tape_of(call: Call) -> Tape:
    """The recording of one end of a call."""
    if call.rtp is None or call.rtp.tape is None:
        raise Unexpected(f"{call.phone.name} has no recording")
    return call.rtp.tape


class Ears:
    """Listens to tapes; what was heard is shown to whoever looks on."""

    def __init__(self, view: View | None):
        self.voices: tuple[Voice, ...] = ()
        self._view = view

    async def hears(self, tape: Tape, name: str) -> str:
        """That end hears that voice from now on, and no other. Raises Unexpected."""
        since = asyncio.get_running_loop().time()
        if not await tape.more(ENOUGH, PATIENCE):
            raise Unexpected(f"the {tape.owner} hears nothing")
        return self.heard(tape, name, since)

    def heard(self, tape: Tape, name: str, since: float = 0.0, until: float = inf, least: int = SOME,
              when: str = "") -> str:
        """The same between two times of the loop's clock. least: loud packets. when: what lookers-on call that time."""
        who = tape.who(self.voices, since, until)
        if who[name] < least or set(who) != {name}:
            found = ", ".join(f"{one} {FRAME_SECONDS * count:.1f} s" for one, count in who.items()) or "nobody"
            raise Unexpected(f"the {tape.owner} was to hear {name} alone, and heard {found}")
        text = f"the {tape.owner} hears {name} alone ({FRAME_SECONDS * who[name]:.1f} s)"
        if self._view is not None:
            self._view.audio(f"{when}: {text}" if when else text)
        return text
