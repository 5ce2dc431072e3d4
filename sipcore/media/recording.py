"""A call as a stereo WAV: what side 0 says on the left, what all others say on the right, on one time line.

Of a controlled call the others are the agent, and whoever a transfer brings in beside it or in its place.

A stream stands where its first packet arrived, and from there its RTP timestamps say where each packet stands, so
that jitter is not heard. Where timestamps and arrival come apart by most of a second (a clock that drifts, a stream
that began anew), arrival is right again. Packets wait for one second, so that those that overtook each other are
decoded in order; gaps are silent. Every second of sound is written with a header that is right for the file so far: a
recording that is cut off opens like a whole one.
"""
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from heapq import heappop, heappush
from io import BufferedWriter, FileIO
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, BinaryIO

from .g711 import DECODED, decoding
from .packet import Packet
from .sound import PAYLOADS

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

STATIC = {payload: codec for codec, payload in PAYLOADS.items()}
CLOCK = 8000
"""Hz of the RTP clock of all three (RFC 3551 4.5.2)."""
CHANNELS = 2
SIDES = 4
"""Of a session of the relay."""
PACKETS_WAITING = 2000
"""At most, for each side: a flood does not fill the memory."""
APART = 0.9
"""Seconds between timestamp and arrival that are not believed; less than the second that packets wait."""


@dataclass
class _Side:
    """Where one side's packets stand, and those that wait."""

    ssrc: int = -1
    anchor: int = 0
    anchor_timestamp: int = 0
    waiting: dict[int, tuple[str, bytes]] = field(default_factory=dict)
    order: list[int] = field(default_factory=list)
    rest: "NDArray[np.int16] | None" = None
    """Decoded samples that reach into the next second."""
    g722: Any = None
    past: "NDArray[np.float64] | None" = None
    """Last samples of the interpolation from 8 to 16 kHz."""


class Recording:
    """A WAV file that is being written from a relay's copied packets. path: or a descriptor, closed at the end.

    wideband: 16,000 samples a second (a call in G.722), else 8,000; what comes in another rate is converted. payloads:
    codec by payload type, where not the static ones. limit_seconds: nothing is written after so much time.
    late, duplicates, unknown, beyond: packets that were not written, because they came too late, twice, in an unknown
    codec, or after the limit. OSError where the file cannot be written.
    """

    def __init__(self, path: str | Path | int, *, wideband: bool = False, payloads: Mapping[int, str] = STATIC,
                 limit_seconds: float = 6 * 3600):
        self.rate = 16_000 if wideband else 8_000
        self.late = self.duplicates = self.unknown = self.beyond = 0
        self._payloads = dict(payloads)
        self._limit = int(limit_seconds * self.rate)
        self._start_ns = -1
        self._newest = 0
        self._written = 0
        self._sides = tuple(_Side() for _ in range(SIDES))
        self._file: BinaryIO = BufferedWriter(FileIO(path, "w"))
        self._file.write(self._header())

    @property
    def seconds(self) -> float:
        """How long the file is so far."""
        return self._written / self.rate

    def add(self, packet: Packet) -> None:
        """Take one packet in, in the order of arrival. What was sent by the edge, and RTCP, is left out."""
        if packet.sent or packet.rtcp:
            return
        parsed = _parse(packet.data)
        if parsed is None or self._payloads.get(parsed[0]) not in (*DECODED, "G722"):
            self.unknown += 1
            return
        payload_type, timestamp, ssrc, payload = parsed
        if self._start_ns < 0:
            self._start_ns = packet.time_ns
        arrival = (packet.time_ns - self._start_ns) * self.rate // 1_000_000_000
        if arrival >= self._limit:
            self.beyond += 1
            return
        side = self._sides[packet.side]
        at = self._place(side, ssrc, timestamp, arrival)
        if at < self._written:
            self.late += 1
        elif at in side.waiting:
            self.duplicates += 1
        elif len(side.waiting) >= PACKETS_WAITING:
            self.beyond += 1
        else:
            side.waiting[at] = (self._payloads[payload_type], payload)
            heappush(side.order, at)
        self._newest = max(self._newest, arrival)
        while self._newest - self._written >= 2 * self.rate:
            self._write_second(self.rate)

    def close(self) -> None:
        """Write what waits, and end the file."""
        if self._file.closed:
            return
        while any(side.waiting or side.rest is not None for side in self._sides):
            ends = [max((at + self._length(*packet) for at, packet in side.waiting.items()), default=self._written)
                    for side in self._sides]
            rests = [self._written + len(side.rest) for side in self._sides if side.rest is not None]
            self._write_second(min(self.rate, max(*ends, *rests, self._written + 1) - self._written))
        self._file.close()

    def __enter__(self) -> "Recording":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _place(self, side: _Side, ssrc: int, timestamp: int, arrival: int) -> int:
        """The sample that a packet begins at."""
        elapsed = (timestamp - side.anchor_timestamp + 0x80000000) % 0x100000000 - 0x80000000
        at = side.anchor + elapsed * (self.rate // CLOCK)
        if ssrc != side.ssrc or abs(at - arrival) > APART * self.rate:
            side.ssrc, side.anchor, side.anchor_timestamp = ssrc, arrival, timestamp
            return arrival
        return at

    def _length(self, codec: str, payload: bytes) -> int:
        return len(payload) * (self.rate // CLOCK)

    def _write_second(self, samples: int) -> None:
        """Write the next samples of all sides, and the header for what is there now."""
        import numpy as np

        block = np.zeros((samples, CHANNELS), "<i2")
        end = self._written + samples
        for number, side in enumerate(self._sides):
            if side.rest is None and not (side.order and side.order[0] < end):
                continue
            own = np.zeros(samples, np.int16)
            filled = self._put(own, side, side.rest, 0) if side.rest is not None else 0
            while side.order and side.order[0] < end:
                at = heappop(side.order)
                decoded = self._decode(side, *side.waiting.pop(at), contiguous=at - self._written <= filled + 1)
                # Where two packets overlap, the second one stands.
                filled = self._put(own, side, decoded, at - self._written)
            channel = block[:, min(number, CHANNELS - 1)]
            channel[:] = np.clip(channel.astype(np.int32) + own, -32768, 32767)
        self._file.write(block.tobytes())
        self._written = end
        self._file.seek(0)
        self._file.write(self._header())
        self._file.seek(0, 2)
        self._file.flush()

    def _put(self, own: "NDArray[np.int16]", side: _Side, samples: "NDArray[np.int16]", at: int) -> int:
        """Put samples into a side's second from `at` on, and what does not fit into its rest; returns the end."""
        fits = samples[: len(own) - at]
        own[at: at + len(fits)] = fits
        side.rest = samples[len(fits):] if len(samples) > len(fits) else None
        return at + len(fits)

    def _decode(self, side: _Side, codec: str, payload: bytes, contiguous: bool) -> "NDArray[np.int16]":
        import numpy as np

        if codec == "G722":
            if side.g722 is None:
                import G722

                side.g722 = G722.G722(self.rate, 64_000)
            return np.array(side.g722.decode(payload), np.int16)
        samples = decoding(codec)[np.frombuffer(payload, np.uint8)]
        if self.rate == CLOCK:
            return samples
        doubled, side.past = _double(samples, side.past if contiguous else None)
        return doubled

    def _header(self) -> bytes:
        """RIFF, fmt and data chunk for what is written."""
        n = min(self._written * 2 * CHANNELS, 0xFFFFFFFF - 36)
        return struct.pack(
            "<4sI4s4sIHHIIHH4sI", b"RIFF", 36 + n, b"WAVE", b"fmt ", 16, 1, CHANNELS, self.rate,
            self.rate * 2 * CHANNELS, 2 * CHANNELS, 16, b"data", n,
        )


def _parse(data: bytes) -> tuple[int, int, int, bytes] | None:
    """Payload type, timestamp, SSRC and payload of an RTP packet; None where it is none (RFC 3550 5.1)."""
    if len(data) < 12 or data[0] >> 6 != 2:
        return None
    first, second, _, timestamp, ssrc = struct.unpack_from("!BBHII", data)
    at, end = 12 + 4 * (first & 0x0F), len(data)
    if first & 0x10:
        if at + 4 > end:
            return None
        at += 4 + 4 * int.from_bytes(data[at + 2: at + 4], "big")
    if first & 0x20:
        end -= data[-1]
    return (second & 0x7F, timestamp, ssrc, data[at:end]) if at < end else None


def _double(
    samples: "NDArray[np.int16]", past: "NDArray[np.float64] | None"
) -> "tuple[NDArray[np.int16], NDArray[np.float64]]":
    """Twice as many samples, band-limited; also the samples that the next call needs. Later by 0.5 ms."""
    import numpy as np

    taps = np.sinc(np.arange(-15, 16) / 2) * np.hamming(31)
    stuffed = np.zeros(2 * len(samples))
    stuffed[::2] = samples
    joined = np.concatenate([np.zeros(len(taps) - 1) if past is None else past, stuffed])
    doubled = np.convolve(joined, taps, "valid")
    return np.clip(np.rint(doubled), -32768, 32767).astype(np.int16), joined[-(len(taps) - 1):]
