"""G.711: the two codecs that every SIP phone has, as tables, and sine tones in them."""
from bisect import bisect_left
from collections.abc import Iterable
from functools import lru_cache
from math import cos, pi, sin

RATE = 8000
"""Samples a second, and bytes."""


def _mu_law(byte: int) -> int:
    code = ~byte & 0xFF
    size = (((code & 0xF) << 3) + 0x84 << (code >> 4 & 7)) - 0x84
    return -size if code & 0x80 else size


def _a_law(byte: int) -> int:
    code = byte ^ 0x55
    exponent, mantissa = code >> 4 & 7, code & 0xF
    size = (mantissa << 4) + 8 if exponent == 0 else (mantissa << 4) + 0x108 << exponent - 1
    return size if code & 0x80 else -size


DECODED = {"PCMU": tuple(_mu_law(byte) for byte in range(256)), "PCMA": tuple(_a_law(byte) for byte in range(256))}
"""Samples (16 bit) by codec and byte."""


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
