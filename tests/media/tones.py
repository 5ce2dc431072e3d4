"""Tones to play and to find again."""
import numpy as np
from numpy.typing import NDArray

from sipcore.media.g711 import decoding


def tone(frequency: float, seconds: float, rate: int = 8000, level: float = 0.5) -> NDArray[np.float32]:
    return (level * np.sin(2 * np.pi * frequency * np.arange(int(seconds * rate)) / rate)).astype(np.float32)


def decode(codec: str, data: bytes) -> NDArray[np.float64]:
    """Samples from -1 to 1, at 8000 a second (G722: 16000)."""
    if codec == "G722":
        import G722

        return np.array(G722.G722(16000, 64000).decode(data), np.float64) / 32768
    return decoding(codec)[np.frombuffer(data, np.uint8)].astype(np.float64) / 32768


def share(samples: NDArray[np.float64], frequency: float, rate: int = 8000) -> float:
    """The part of the power, 0 to 1, that stands within 2 bins of a frequency."""
    power = np.abs(np.fft.rfft(samples * np.hanning(len(samples)))) ** 2
    bin = round(frequency * len(samples) / rate)
    return float(power[max(0, bin - 2): bin + 3].sum() / max(power.sum(), 1e-12))
