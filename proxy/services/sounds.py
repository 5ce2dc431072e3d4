"""Sounds into the frames that the relay plays, cut at their longest; and a shelf of the ones that were made lately."""
import io
import stat
from collections import OrderedDict
from collections.abc import Hashable
from pathlib import Path
from typing import BinaryIO, Literal

from sipcore.media.sound import BYTES_PER_MS, LONGEST, SoundError, prepare

from .client import NoAnswer

Codec = Literal["PCMU", "PCMA", "G722"]
PTIME = 20
FRAME_BYTES = PTIME * BYTES_PER_MS
FILE_BYTES = 64 * 1024 * 1024
_RATES = range(1000, 192_001)


def load_libraries() -> None:
    """Import what sounds are made with, which takes longer than many a sound."""
    import G722  # noqa: F401
    import soundfile  # noqa: F401
    import soxr  # noqa: F401


def encode(data: bytes, codec: Codec, longest: float, name: str) -> bytes:
    """The frames of a sound in memory, FRAME_BYTES each, at most `longest` seconds of it.

    name: what errors call it. Raises NoAnswer where it is no sound.
    """
    return _encode(io.BytesIO(data), codec, longest, name)


def encode_file(path: Path, codec: Codec, longest: float) -> bytes:
    """The same from a file. A pipe or a device would be waited for, so that only a file of its own is opened."""
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):
            raise NoAnswer(f"{path.name} is not a file")
        if found.st_size > FILE_BYTES:
            raise NoAnswer(f"{path.name} has more than {FILE_BYTES} bytes")
        with path.open("rb") as file:
            return _encode(file, codec, longest, path.name)
    except OSError as error:
        raise NoAnswer(f"{path.name}: {error.strerror}") from None


def _encode(file: BinaryIO, codec: Codec, longest: float, name: str) -> bytes:
    import soundfile

    try:
        with soundfile.SoundFile(file) as sound:
            rate: int = sound.samplerate
            # What a header says decides how much memory is asked for.
            if rate not in _RATES or sound.channels > 8:
                raise NoAnswer(f"{name} has {sound.channels} channels at {rate} Hz")
            samples = sound.read(int(min(longest, LONGEST) * rate), dtype="float32", always_2d=True)
        return prepare(samples, rate, codecs=[codec], ptime=PTIME, name=name).frames[codec]
    except soundfile.LibsndfileError:
        raise NoAnswer(f"{name} is not a sound that can be read") from None
    except SoundError as error:
        raise NoAnswer(str(error)) from None


class Shelf:
    """Sounds by what they were made from; of more than `size` bytes the ones that were wanted last are kept."""

    def __init__(self, size: int):
        self._size = size
        self._used = 0
        self._sounds: OrderedDict[Hashable, bytes] = OrderedDict()

    def get(self, key: Hashable) -> bytes | None:
        frames = self._sounds.get(key)
        if frames is not None:
            self._sounds.move_to_end(key)
        return frames

    def put(self, key: Hashable, frames: bytes) -> None:
        self._used += len(frames) - len(self._sounds.pop(key, b""))
        self._sounds[key] = frames
        while self._used > self._size:
            _, oldest = self._sounds.popitem(last=False)
            self._used -= len(oldest)
