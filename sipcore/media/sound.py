"""Sounds that the relay plays: read, mixed to one channel, resampled and encoded once, before anybody hears them.

The libraries (numpy, soundfile, soxr, G722) are imported when the first sound is prepared: a worker that only relays
never loads them.
"""
import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypedDict

from ..base.errors import Fault, SipEdgeError
from .g711 import encoding

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

LONGEST = 600.0
"""Seconds of a sound: 4.8 MB for each codec."""

RATES = {"PCMU": 8000, "PCMA": 8000, "G722": 16000}
"""Samples a second that a codec encodes; each one makes 8 bytes and 8 units of the RTP clock out of a millisecond
(G.722 too: RFC 3551 4.5.2)."""

PAYLOADS = {"PCMU": 0, "PCMA": 8, "G722": 9}
"""Static payload types (RFC 3551 6)."""

BYTES_PER_MS = 8


class SoundError(SipEdgeError):
    """A sound cannot be used; the text names it and says what is wrong and what would be right."""

    fault: Fault = "configuration"


class Order(TypedDict):
    """What `MediaRelay.play` wants to know of a sound."""

    frames: bytes
    payload: int
    frame_bytes: int
    ptime: int
    timestamp_step: int


@dataclass(frozen=True, slots=True)
class Sound:
    """A prepared sound.

    frames: for each codec all frames one after the other, each `frame_bytes` long, the last one filled up with
    silence. The bytes never change, and the relay that plays them borrows the buffer until it says PLAYED. ptime:
    milliseconds of a frame.
    """

    name: str
    ptime: int
    frames: dict[str, bytes]

    @property
    def frame_bytes(self) -> int:
        return self.ptime * BYTES_PER_MS

    def order(self, codec: str, payload: int | None = None) -> Order:
        """The sound in one codec, as in `relay.play(session, side, **sound.order("PCMA"))`.

        payload: the payload type, where not the codec's static one. SoundError where it was not prepared in the codec.
        """
        if codec not in self.frames:
            raise SoundError(f"{self.name}: not prepared in {codec}; expected one of {', '.join(self.frames)}")
        return Order(
            frames=self.frames[codec], payload=PAYLOADS[codec] if payload is None else payload,
            frame_bytes=self.frame_bytes, ptime=self.ptime, timestamp_step=self.frame_bytes,
        )

    @property
    def seconds(self) -> float:
        """How long it is, whole frames."""
        return len(next(iter(self.frames.values()))) / (1000 * BYTES_PER_MS)


def prepare(
    source: "str | os.PathLike[str] | NDArray[np.generic]",
    rate: int = 0,
    *,
    codecs: Iterable[str] = ("PCMU", "PCMA", "G722"),
    ptime: int = 20,
    name: str = "",
) -> Sound:
    """Read and encode a sound.

    source: a file of any kind that soundfile reads (WAV, FLAC, Ogg, MP3, ...), or samples, shape (n,) or (n, channels),
    int16 or floating point from -1 to 1, with their rate (Hz). Channels are mixed. name: what errors and reports call
    it, the path where left out. SoundError where it cannot be used.
    """
    wanted = tuple(codecs)
    unknown = [codec for codec in wanted if codec not in RATES]
    if unknown or not wanted:
        raise SoundError(f"codecs of a sound: {unknown or 'none'}; expected some of {', '.join(RATES)}")
    if not 10 <= ptime <= 60 or ptime % 10:
        raise SoundError(f"ptime of a sound: {ptime} ms; expected 10, 20, 30, 40, 50 or 60")
    if isinstance(source, (str, os.PathLike)):
        name = name or os.fspath(source)
        samples, rate = _read(source, name)
    else:
        name = name or "samples"
        samples = _mono(source, rate, name)
    return Sound(name, ptime, {codec: _encode(samples, rate, codec, ptime) for codec in wanted})


def _read(path: "str | os.PathLike[str]", name: str) -> "tuple[NDArray[np.float32], int]":
    import soundfile

    try:
        with soundfile.SoundFile(path) as file:
            rate: int = file.samplerate
            # What the header says of its length is not believed: one frame too many is looked for.
            samples = file.read(int(LONGEST * rate) + 1, dtype="float32", always_2d=True)
    except soundfile.LibsndfileError as error:
        what = "there is no such file" if not os.path.exists(path) else error.error_string.strip().rstrip(".")
        raise SoundError(f"{name}: {what}; expected a sound file, such as WAV, FLAC, Ogg or MP3") from error
    return _mono(samples, rate, name), rate


def _mono(samples: "NDArray[np.generic]", rate: int, name: str) -> "NDArray[np.float32]":
    import numpy as np

    if not 1000 <= rate <= 768_000:
        raise SoundError(f"{name}: {rate} samples a second; expected 1000 to 768000")
    if samples.dtype == np.int16:
        scaled = samples.astype(np.float32) / 32768
    elif np.issubdtype(samples.dtype, np.floating):
        scaled = samples.astype(np.float32)
    else:
        raise SoundError(f"{name}: samples of type {samples.dtype}; expected int16 or floating point")
    if scaled.ndim not in (1, 2):
        raise SoundError(f"{name}: samples of {scaled.ndim} dimensions; expected one, or two with channels last")
    if scaled.size == 0:
        raise SoundError(f"{name}: it is empty; expected samples")
    mono: NDArray[np.float32] = np.asarray(scaled if scaled.ndim == 1 else scaled.mean(axis=1), np.float32)
    if len(mono) > LONGEST * rate:
        raise SoundError(f"{name}: it is too long; expected at most {LONGEST:.0f} s")
    if not np.isfinite(mono).all():
        raise SoundError(f"{name}: some samples are no numbers; expected values from -1 to 1")
    return mono


def _encode(samples: "NDArray[np.float32]", rate: int, codec: str, ptime: int) -> bytes:
    import numpy as np
    import soxr

    resampled = soxr.resample(samples, rate, RATES[codec]) if rate != RATES[codec] else samples
    per_frame = RATES[codec] * ptime // 1000
    linear = np.zeros(-(-max(len(resampled), 1) // per_frame) * per_frame, np.int16)
    linear[: len(resampled)] = np.clip(np.rint(resampled * 32767), -32768, 32767)
    if codec == "G722":
        import G722

        return bytes(G722.G722(16000, 64000).encode(linear))
    return encoding(codec)[linear.view(np.uint16)].tobytes()
