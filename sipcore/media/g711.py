"""G.711 as tables (ITU-T G.711 Tables 1a to 2b): plain ones, and numpy's for whole sounds at once."""
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


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

SILENCE = {"PCMU": 0xFF, "PCMA": 0xD5}
"""The byte of no sound, by codec."""


@cache
def decoding(codec: str) -> "NDArray[np.int16]":
    """The sample of each byte."""
    import numpy as np

    return np.array(DECODED[codec], np.int16)


@cache
def encoding(codec: str) -> "NDArray[np.uint8]":
    """The nearest byte of each sample, -32768 to 32767 as an unsigned index (the sample's own 16 bits)."""
    import numpy as np

    # Of the two zeros of mu-law the positive one, which silence is made of, stands last.
    levels = sorted((level, byte) for byte, level in enumerate(DECODED[codec]))
    values = np.array([level for level, _ in levels])
    codes = np.array([byte for _, byte in levels], np.uint8)
    # Half way between two levels belongs to the upper one, as the tables of the recommendation have it.
    nearest = codes[np.searchsorted((values[1:] + values[:-1]) / 2, np.arange(-32768, 32768), side="right")]
    return np.roll(nearest, 32768)
