"""Captures and recordings under way in a worker: what the relay's thread copies is written to their files.

Copies wait in the relay's tap and are fetched every TICK_SECONDS, only while anything is kept. A file that cannot be
written to any more ends, and says so; the call goes on.
"""
import math
import os
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

from proxy.audio import SIDES, Audio
from sipcore.anchor.sessions import place, sessions_of
from sipcore.media.packet import OPENED, SEALED, Packet
from sipcore.media.pcap import Capture
from sipcore.media.recording import STATIC, Recording
from sipcore.wire.keys import hide_keys

TICK_SECONDS = 0.05
AT_ONCE = 5000
"""Most packets fetched in one tick: the loop has other things to do."""
LINGER_SECONDS = 0.5
"""How long a capture goes on after its call, for the last responses."""
MOST = 100
"""Captures and recordings at a time; more are refused."""
G722 = 9
_UNSAFE = re.compile(r"[^A-Za-z0-9._@-]")

Where = tuple[str, int]
Done = Callable[[str, dict[str, object]], None]
"""Told how a file ended: an error or nothing, and figures."""


class _Kept:
    """One call that something is kept of. until: of the monotonic clock."""

    def __init__(self, record: int, generation: int, done: Done, until: float = math.inf,
                 controlled: "Controlled | None" = None):
        self.record = record
        self.generation = generation
        self.done = done
        self.until = until
        self.controlled = controlled
        self.streams: set[tuple[int, int]] = set()
        """Relay sessions with their generations."""
        self.ended_at = 0.0

    def take(self, packet: Packet) -> None:
        raise NotImplementedError

    def close(self) -> dict[str, object]:
        raise NotImplementedError


class Controlled(Protocol):
    """A controlled call, whose legs have Call-IDs of their own, and its audio up to four sides."""

    def call_ids(self) -> set[str]: ...

    def streams(self) -> list[tuple[int, dict[int, Where]]]: ...


class _Captured(_Kept):
    """To a pcap file, with the call's SIP messages. decrypted: SRTP as plain RTP, and the keys in the messages."""

    def __init__(self, record: int, generation: int, done: Done, file: Capture, call_id: bytes,
                 until: float, controlled: Controlled | None, decrypted: bool):
        super().__init__(record, generation, done, until, controlled)
        self.file = file
        self.call_ids = {call_id}
        self.decrypted = decrypted
        self._epoch = time.time_ns() - time.monotonic_ns()
        self.places: dict[tuple[int, int], Where] = {}
        """By session and side: after its end a call has none any more."""
        self._rtp: dict[tuple[int, int], Where] = {}

    def take(self, packet: Packet) -> None:
        key = packet.session, packet.side
        local = self.places.get(key)
        if local is None or packet.form == (SEALED if self.decrypted else OPENED):
            return
        if not packet.rtcp:
            self._rtp[key] = packet.far
        elif self._rtp.get(key) != packet.far:
            # RTCP has the port above, unless it shares the one of RTP (RFC 5761).
            local = local[0], local[1] + 1
        self.file.write_copy(packet, local, self._epoch)

    def follow(self) -> None:
        """Take up the legs that a controlled call has now."""
        if self.controlled is not None:
            self.call_ids |= {one.encode("utf-8", "surrogateescape") for one in self.controlled.call_ids()}

    def message(self, source: Where, destination: Where, data: bytes) -> None:
        if data.startswith(b"INVITE "):
            # A target's first INVITE is the first that is heard of it.
            self.follow()
        if any(call_id in data for call_id in self.call_ids):
            # Base64 of zeros: of a key that is none, Wireshark makes a malformed packet.
            self.file.write(time.time_ns(), source, destination, data if self.decrypted else hide_keys(data, b"A"))

    def close(self) -> dict[str, object]:
        self.file.close()
        return {"packets": self.file.written, "dropped": self.file.dropped}


class _Recorded(_Kept):
    """To a stereo WAV file, wideband where the first packet is G.722. path: or a descriptor."""

    def __init__(self, record: int, generation: int, done: Done, path: Path | int, until: float = math.inf,
                 controlled: Controlled | None = None):
        super().__init__(record, generation, done, until, controlled)
        self.path = path
        self._file: Recording | None = None

    def take(self, packet: Packet) -> None:
        if packet.form == SEALED:
            return
        if self._file is None:
            if packet.rtcp or packet.sent or len(packet.data) < 12 or packet.data[1] & 0x7F not in STATIC:
                return
            self._file = Recording(self.path, wideband=packet.data[1] & 0x7F == G722)
        self._file.add(packet)

    def close(self) -> dict[str, object]:
        seconds = 0.0
        if self._file is not None:
            self._file.close()
            seconds = self._file.seconds
        elif isinstance(self.path, int):
            os.close(self.path)
        named = {"file": str(self.path)} if isinstance(self.path, Path) else {}
        return {**named, "seconds": round(seconds, 1)}


class Keeping:
    """audio: None where no audio goes through the edge; then captures have SIP alone. call_id_of: the Call-ID of a
    record, None where the call is over."""

    def __init__(self, audio: Audio | None, call_id_of: Callable[[int, int], str | None]):
        self._audio = audio
        self._call_id_of = call_id_of
        self._kept: list[_Kept] = []

    @property
    def busy(self) -> bool:
        """Whether anything is kept: then `tick` wants to be called."""
        return bool(self._kept)

    @property
    def captures(self) -> bool:
        """Whether messages are wanted."""
        return any(isinstance(kept, _Captured) for kept in self._kept)

    def capture(self, record: int, generation: int, call_id: str, descriptor: int, seconds: float, done: Done,
                controlled: Controlled | None = None, decrypted: bool = False) -> Callable[[], None]:
        """Keep a call's messages and packets in the file behind a descriptor, which is closed at the end; returns what
        ends it early. ValueError where too much is kept already, OSError where the file cannot be written."""
        kept = _Captured(record, generation, done, Capture(descriptor), call_id.encode("utf-8", "surrogateescape"),
                         time.monotonic() + seconds, controlled, decrypted)
        return self._begin_until_told(kept)

    def record_to(self, record: int, generation: int, descriptor: int, seconds: float, done: Done,
                  controlled: Controlled | None = None) -> Callable[[], None]:
        """Record what all sides of a call say into the file behind a descriptor, as `capture` keeps its packets.
        ValueError where too much is kept already, or no audio goes through the edge."""
        if self._audio is None:
            raise ValueError("no audio goes through this edge: its configuration has no [[media]]")
        return self._begin_until_told(
            _Recorded(record, generation, done, descriptor, time.monotonic() + seconds, controlled))

    def _begin_until_told(self, kept: _Kept) -> Callable[[], None]:
        self._begin(kept)

        def end() -> None:
            self._drain()
            self._end(kept)

        return end

    def record(self, record: int, generation: int, call_id: str, folder: Path, done: Done) -> None:
        """Record a call into a new file of that folder; nothing where it is recorded already. ValueError where too
        much is kept already."""
        if not any(isinstance(kept, _Recorded) and isinstance(kept.path, Path)
                   and (kept.record, kept.generation) == (record, generation) for kept in self._kept):
            name = f"{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}-{_UNSAFE.sub('_', call_id)}.wav"
            self._begin(_Recorded(record, generation, done, folder / name))

    def message(self, source: Where, destination: Where, data: bytes) -> None:
        """A SIP message passed."""
        for kept in list(self._kept):
            if isinstance(kept, _Captured):
                self._safely(kept, kept.message, source, destination, data)

    def tick(self) -> None:
        """Write what has been copied, and end what is over."""
        self._drain()
        now = time.monotonic()
        for kept in list(self._kept):
            if self._call_id_of(kept.record, kept.generation) is not None:
                self._follow(kept)
            elif not kept.ended_at:
                kept.ended_at = now
            if isinstance(kept, _Captured):
                # Whoever looks on meanwhile sees what there is.
                self._safely(kept, kept.file.flush)
            over = kept.ended_at and now - kept.ended_at >= LINGER_SECONDS
            if over or now >= kept.until:
                self._end(kept)

    def stop(self) -> None:
        """End everything."""
        self._drain()
        for kept in list(self._kept):
            self._end(kept)

    def _begin(self, kept: _Kept) -> None:
        if len(self._kept) >= MOST:
            kept.close()
            raise ValueError(f"{MOST} calls are captured or recorded already")
        self._kept.append(kept)
        self._follow(kept)

    def _follow(self, kept: _Kept) -> None:
        """Have the call's streams copied, new ones too; and messages of new legs."""
        controlled = kept.controlled
        if isinstance(kept, _Captured):
            kept.follow()
        if self._audio is None:
            return
        for session, places in controlled.streams() if controlled is not None else self._streams(kept):
            stream = session, self._audio.relay.generation(session)
            if stream not in kept.streams:
                kept.streams.add(stream)
                self._audio.relay.capture(session)
            if isinstance(kept, _Captured):
                kept.places.update({(session, side): where for side, where in places.items()})

    def _streams(self, kept: _Kept) -> Iterator[tuple[int, dict[int, Where]]]:
        """Of a proxied call."""
        assert self._audio is not None
        anchor = self._audio.anchor
        for session in sessions_of(anchor, kept.record, kept.generation):
            found = ((side, place(anchor, session, side)) for side in range(len(SIDES)))
            yield session, {side: where for side, where in found if where is not None}

    def _drain(self) -> None:
        tap = self._audio.relay.tap if self._audio is not None else None
        left = AT_ONCE
        while tap is not None and left > 0:
            packets = tap.drain(1000)
            for packet in packets:
                for kept in list(self._kept):
                    if (packet.session, packet.generation) in kept.streams:
                        self._safely(kept, kept.take, packet)
            left = left - len(packets) if packets else 0

    def _safely(self, kept: _Kept, step: Callable[..., None], *arguments: object) -> None:
        try:
            step(*arguments)
        except (OSError, ValueError) as error:
            self._end(kept, str(error))

    def _end(self, kept: _Kept, error: str = "") -> None:
        if kept not in self._kept:
            return
        self._kept.remove(kept)
        for session, generation in kept.streams:
            wanted = any((session, generation) in other.streams for other in self._kept)
            if self._audio is not None and not wanted and self._audio.relay.generation(session) == generation:
                self._audio.relay.capture(session, False)
        try:
            figures = kept.close()
        except OSError as failure:
            error, figures = error or str(failure), {}
        kept.done(error, figures)
