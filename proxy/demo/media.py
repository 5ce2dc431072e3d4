"""Audio of the stand-ins: offers and answers, and RTP that plays a tone, returns what it hears, and listens.

Sockets never block and nothing queues up: what the kernel does not take is dropped, what comes too fast waits in the
kernel and is dropped there. The address that audio comes from first is the one that it goes to (symmetric RTP).
"""
import asyncio
import os
import socket
import struct
from collections import deque
from dataclasses import dataclass

from sipcore.wire.sdp import Media as Section
from sipcore.wire.sdp import Sdp

from .g711 import RATE, share, tone
from .tape import Tape
from .voice import Voice

FRAME = 0.02
"""Seconds of a packet."""
SAMPLES = int(RATE * FRAME)
PACKETS_AT_ONCE = 32
PATIENCE = 10
"""Seconds that audio is waited for."""
LISTENED = 15
"""Packets that it takes to judge a tone."""
CLEAR = 0.8
"""The share of the power from which on a tone is heard."""
STATIC = {0: "PCMU", 8: "PCMA"}
_PLAIN = frozenset(STATIC.values())
_PROFILES = ("RTP/AVP", "RTP/AVPF")

Address = tuple[str, int]


class NotAcceptable(ValueError):
    """No audio in the offer that this end has: 488."""


@dataclass(frozen=True, slots=True)
class Agreed:
    """What an offer and its answer come to."""

    payload: int
    codec: str
    remote: Address


def _session(host: str, sections: list[str]) -> bytes:
    head = f"v=0\r\no=- 1 1 IN IP4 {host}\r\ns=-\r\nc=IN IP4 {host}\r\nt=0 0\r\n"
    return (head + "".join(sections)).encode()


def offer(host: str, port: int) -> bytes:
    """PCMU and PCMA, with telephone-event."""
    return _session(host, [f"m=audio {port} RTP/AVP 0 8 101\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\n"
                           "a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-16\r\na=ptime:20\r\na=sendrecv\r\n"])


def _audio(sdp: Sdp) -> Section:
    for section in sdp.media:
        if section.kind == "audio" and section.port and section.proto in _PROFILES and section.formats:
            return section
    raise NotAcceptable("no plain RTP audio in the offer")


def _agreed(sdp: Sdp, section: Section, payload: int, codec: str) -> Agreed:
    return Agreed(payload, codec, (section.connection or sdp.connection, section.port))


def answer(body: bytes, host: str, port: int, *, any_codec: bool) -> tuple[bytes, Agreed]:
    """Accept the first codec that both sides have (the offer's first one with any_codec, as an echo needs to know
    none). Raises NotAcceptable."""
    try:
        sdp = Sdp(body)
    except ValueError as error:
        raise NotAcceptable(str(error)) from None
    chosen = _audio(sdp)
    spoken = [codec for codec in chosen.codecs if codec.name.lower() != "telephone-event"]
    codec = next((one for one in spoken if any_codec or one.name.upper() in _PLAIN), None)
    if codec is None:
        raise NotAcceptable("no codec in common")
    events = next((one for one in chosen.codecs if one.name.lower() == "telephone-event"), None)
    kept = [codec.payload] + ([events.payload] if events else [])
    lines = body[chosen.start:chosen.stop].decode("utf-8", "replace").splitlines()
    about = tuple(f"a={kind}:{payload} " for kind in ("rtpmap", "fmtp") for payload in kept)
    sections = []
    for section in sdp.media:
        if section is chosen or section.start == chosen.start:
            sections.append(f"m=audio {port} {chosen.proto} {' '.join(map(str, kept))}\r\n"
                            + "".join(f"{line}\r\n" for line in lines if line.startswith(about)) + "a=sendrecv\r\n")
        else:
            sections.append(f"m={section.kind} 0 {section.proto} {' '.join(section.formats[:1])}\r\n")
    return _session(host, sections), _agreed(sdp, chosen, codec.payload, codec.name.upper())


def accepted(body: bytes) -> Agreed:
    """What the answer to our own offer says. Raises NotAcceptable."""
    try:
        sdp = Sdp(body)
        section = _audio(sdp)
        codec = next(one for one in section.codecs if one.name.upper() in _PLAIN)
    except (ValueError, StopIteration):
        raise NotAcceptable("no PCMU or PCMA in the answer") from None
    return _agreed(sdp, section, codec.payload, codec.name.upper())


class Rtp:
    """One RTP port. frequency: of the tone that it plays, 0 for none; voice: what it says instead, and then it is
    recorded; echo: returns each packet to its sender."""

    def __init__(self, host: str, *, frequency: int = 0, voice: Voice | None = None, echo: bool = False):
        self.frequency = frequency
        self.voice = voice
        self.tape = Tape(voice.name) if voice is not None else None
        self.echo = echo
        self.agreed: Agreed | None = None
        self.received = 0
        self.sent = 0
        self._loop = asyncio.get_running_loop()
        self._heard: deque[bytes] = deque(maxlen=LISTENED)
        self._waiters: list[tuple[int, asyncio.Future[None]]] = []
        self._latched: Address | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._socket.bind((host, 0))
        self._loop.add_reader(self._socket.fileno(), self._on_readable)

    @property
    def port(self) -> int:
        return int(self._socket.getsockname()[1])

    @property
    def source(self) -> Address | None:
        """Where its audio comes from; None before any has come."""
        return self._latched

    def start(self, agreed: Agreed) -> None:
        """Begin to play, and to take what comes."""
        self.agreed = agreed
        if (self.frequency or self.voice) and agreed.codec in _PLAIN and self._timer is None:
            self._sound = self.voice.frames[agreed.codec] if self.voice else tone(agreed.codec, self.frequency)
            self._random = struct.unpack("!HII", os.urandom(10))
            self._frame = 0
            self._began = self._loop.time()
            self._play()

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._socket.fileno() >= 0:
            self._loop.remove_reader(self._socket.fileno())
            self._socket.close()
        for _, waiter in self._waiters:
            waiter.cancel()
        self._waiters.clear()

    async def hears(self, frequency: int) -> bool:
        """Whether the next packets carry this tone; False also where too few come within PATIENCE."""
        self._heard.clear()
        waiter = self._loop.create_future()
        self._waiters.append((self.received + LISTENED, waiter))
        try:
            async with asyncio.timeout(PATIENCE):
                await waiter
        except TimeoutError:
            return False
        codec = self.agreed.codec if self.agreed is not None else ""
        if codec not in _PLAIN or not self._heard:
            return False
        # Packet by packet, as a sender that was late skips some, and the sine's phase with them.
        return sum(share(codec, packet, frequency) for packet in self._heard) / len(self._heard) > CLEAR

    def _play(self) -> None:
        if self.agreed is None:
            return
        # A frame whose time has passed is skipped: its place in sequence and timestamp stays empty, as after a loss.
        self._frame = max(self._frame, int((self._loop.time() - self._began) / FRAME))
        sequence, timestamp, source = self._random
        at = self._frame * SAMPLES % len(self._sound)
        timestamp = timestamp + self._frame * SAMPLES & 0xFFFFFFFF
        frame = self._sound[at:at + SAMPLES]
        header = struct.pack("!BBHII", 0x80, self.agreed.payload, sequence + self._frame & 0xFFFF, timestamp, source)
        self._send(header + frame, self._latched or self.agreed.remote)
        if self.tape is not None:
            self.tape.say(timestamp, self.agreed.codec, frame)
        self._frame += 1
        self._timer = self._loop.call_at(self._began + self._frame * FRAME, self._play)

    def _send(self, packet: bytes, to: Address) -> None:
        try:
            self._socket.sendto(packet, to)
            self.sent += 1
        except OSError:
            # Full, or the far end's port is closed: audio is never sent later.
            return

    def _on_readable(self) -> None:
        for _ in range(PACKETS_AT_ONCE):
            try:
                packet, source = self._socket.recvfrom(2048)
            except OSError:
                # Nothing more, or what ICMP said about an earlier packet.
                return
            if self.agreed is not None and len(packet) >= 12 and packet[0] >> 6 == 2:
                self._take(packet, source)

    def _take(self, packet: bytes, source: Address) -> None:
        if self._latched is None:
            self._latched = source
        if source != self._latched:
            return
        self.received += 1
        if self.echo:
            self._send(packet, source)
        if self.agreed is not None and packet[1] & 0x7F == self.agreed.payload:
            self._heard.append(packet[12:])
            if self.tape is not None:
                self.tape.hear(int.from_bytes(packet[4:8], "big"), self.agreed.codec, packet[12:])
        while self._waiters and self.received >= self._waiters[0][0]:
            waiter = self._waiters.pop(0)[1]
            if not waiter.done():
                waiter.set_result(None)
