"""What the people of the demo say: speech from espeak-ng, or a tone of their own where that is not installed."""
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from sipcore.base.errors import SipEdgeError
from sipcore.media.g711 import DECODED
from sipcore.media.sound import prepare

from .g711 import tone

PROGRAM = "espeak-ng"
SECONDS = 10
"""How long a sentence may take to be spoken, by the clock of the machine."""
FRAME = 160
"""Bytes and samples of a packet."""
FRAME_SECONDS = 0.02
LOUD = 400
"""Mean amplitude (of 32768) from which on a frame is no silence."""
CODECS = ("PCMU", "PCMA")


def can_speak() -> bool:
    """Whether espeak-ng is there."""
    return shutil.which(PROGRAM) is not None


def is_loud(codec: str, frame: bytes) -> bool:
    """Whether there is anything to hear in a frame."""
    samples = DECODED[codec]
    return sum(abs(samples[byte]) for byte in frame) > LOUD * len(frame)


@dataclass(frozen=True, slots=True)
class Voice:
    """Somebody's sound, said again and again: whole frames for each codec."""

    name: str
    frames: dict[str, bytes]

    def owns(self, codec: str) -> frozenset[bytes]:
        """The frames in which it can be heard."""
        sound = self.frames[codec]
        every = {sound[at:at + FRAME] for at in range(0, len(sound), FRAME)}
        return frozenset(frame for frame in every if is_loud(codec, frame))


def toned(name: str, frequency: int) -> Voice:
    """A tone in the place of a voice."""
    return Voice(name, {codec: tone(codec, frequency) for codec in CODECS})


def spoken(name: str, text: str, accent: str, folder: Path) -> Voice:
    """A sentence by espeak-ng. accent: its name of a voice; folder: for the file that it writes. OSError where it
    cannot be had."""
    file = folder / f"{name}.wav"
    try:
        subprocess.run([PROGRAM, "-v", accent, "-w", str(file), "--stdin"], input=text.encode(), check=True,
                       timeout=SECONDS, capture_output=True)
        return Voice(name, prepare(file, codecs=CODECS).frames)
    except (subprocess.SubprocessError, SipEdgeError) as error:
        raise OSError(f"{PROGRAM}: {error}") from None
