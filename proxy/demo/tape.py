"""A recording of one end of a call: what was said there and what was heard, when, and whose voice it was."""
import asyncio
import wave
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from math import inf
from pathlib import Path

from sipcore.media.g711 import DECODED

from .voice import FRAME, FRAME_SECONDS, Voice, is_loud

RATE = 8000
MOST_FRAMES = 15_000
"""Five minutes; nothing is recorded after that."""
DRIFT = 10
"""Frames by which RTP time and arrival may differ before the arrival counts."""
STRANGER = "the edge"
"""Whoever is heard and is none of the voices: what the edge itself plays."""


@dataclass(frozen=True, slots=True)
class Heard:
    """A packet. at: seconds of the loop's clock; timestamp: of RTP."""

    at: float
    timestamp: int
    codec: str
    frame: bytes


class Tape:
    """Runs from the moment that it is made. owner: who is at this end."""

    def __init__(self, owner: str):
        self.owner = owner
        self.heard: list[Heard] = []
        self.said: list[Heard] = []
        self._loop = asyncio.get_running_loop()
        self._began = self._loop.time()
        self._waiters: list[tuple[int, asyncio.Future[None]]] = []

    def hear(self, timestamp: int, codec: str, frame: bytes) -> None:
        if len(self.heard) < MOST_FRAMES:
            self.heard.append(Heard(self._loop.time(), timestamp, codec, frame))
        while self._waiters and len(self.heard) >= self._waiters[0][0]:
            waiter = self._waiters.pop(0)[1]
            if not waiter.done():
                waiter.set_result(None)

    def say(self, timestamp: int, codec: str, frame: bytes) -> None:
        if len(self.said) < MOST_FRAMES:
            self.said.append(Heard(self._loop.time(), timestamp, codec, frame))

    async def more(self, frames: int, patience: float) -> bool:
        """Wait until so many more packets have been heard; False where they do not come within patience (s)."""
        waiter = self._loop.create_future()
        self._waiters.append((len(self.heard) + frames, waiter))
        try:
            async with asyncio.timeout(patience):
                await waiter
        except TimeoutError:
            return False
        return True

    def speakers(self, voices: Iterable[Voice], since: float = 0.0,
                 until: float = inf) -> list[tuple[float, str]]:
        """Who was heard, loud packet by loud packet: (when, name of the voice or STRANGER)."""
        own = {(codec, frame): voice.name for voice in voices for codec in voice.frames for frame in voice.owns(codec)}
        found = []
        for one in self.heard:
            if since <= one.at < until and one.codec in DECODED:
                name = own.get((one.codec, one.frame), "")
                if name or is_loud(one.codec, one.frame):
                    found.append((one.at, name or STRANGER))
        return found

    def who(self, voices: Iterable[Voice], since: float = 0.0, until: float = inf) -> Counter[str]:
        """The same, counted by name."""
        return Counter(name for _, name in self.speakers(voices, since, until))

    def longest_gap(self, since: float, until: float) -> float:
        """Seconds between two packets that came one after the other, at most."""
        times = [one.at for one in self.heard if since <= one.at <= until]
        return max((after - before for before, after in pairwise(times)), default=until - since)

    def write(self, file: Path) -> float:
        """Write it as a WAV file, left what was said, right what was heard; returns its seconds."""
        left, right = self._laid_out(self.said), self._laid_out(self.heard)
        length = max(len(left), len(right))
        both = bytearray(4 * length)
        for side, samples in enumerate((left, right)):
            for position, sample in enumerate(samples):
                both[4 * position + 2 * side:4 * position + 2 * side + 2] = sample.to_bytes(2, "little", signed=True)
        with wave.open(str(file), "wb") as out:
            out.setnchannels(2)
            out.setsampwidth(2)
            out.setframerate(RATE)
            out.writeframes(bytes(both))
        return length / RATE

    def _laid_out(self, packets: list[Heard]) -> list[int]:
        """Samples in their places: by RTP time, and by arrival where a new sender has begun to count anew."""
        samples: list[int] = []
        base = first = 0
        for number, one in enumerate(packets):
            arrived = round((one.at - self._began) / FRAME_SECONDS)
            place = base + (one.timestamp - first & 0xFFFFFFFF) // FRAME
            if number == 0 or abs(place - arrived) > DRIFT:
                base, first, place = arrived, one.timestamp, arrived
            start = place * FRAME
            if start > len(samples):
                samples += [0] * (start - len(samples))
            decoded = DECODED.get(one.codec)
            if decoded is not None:
                samples[start:start + len(one.frame)] = [decoded[byte] for byte in one.frame]
        return samples
