"""Sine tones in G.711, the two codecs that every SIP phone has."""
from bisect import bisect_left
from collections.abc import Iterable
from functools import lru_cache
from math import cos, pi, sin

from sipcore.media.g711 import DECODED

RATE = 8000
"""Samples a second, and bytes."""


def encode(codec: str, samples: Iterable[float]) -> bytes:
    """The nearest byte for each sample."""
    levels = sorted((level, byte) for byte, level in enumerate(DECODED[codec]))
    values = [level for level, _ in levels]
    out = bytearray()
    for sample in samples:
        place = bisect_left(values, sample)
        if place == len(values) or (place and sample - values[place - 1] < values[place] - sample):
            place -= 1
        out.append(levels[place][1])
    return bytes(out)


@lru_cache(16)
def tone(codec: str, frequency: int, level: float = 8000.0) -> bytes:
    """One second of a sine; whole periods, so that it can be repeated without a click."""
    return encode(codec, (level * sin(2 * pi * frequency * i / RATE) for i in range(RATE)))


def share(codec: str, data: bytes, frequency: int) -> float:
    """The part (0..1) of the power in the data that stands at a frequency."""
    samples = [DECODED[codec][byte] for byte in data]
    total = sum(sample * sample for sample in samples)
    if not total:
        return 0.0
    step = 2 * pi * frequency / RATE
    real = sum(sample * cos(step * i) for i, sample in enumerate(samples))
    imaginary = sum(sample * sin(step * i) for i, sample in enumerate(samples))
    return 2 * (real * real + imaginary * imaginary) / (len(samples) * total)
