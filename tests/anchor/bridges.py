"""Controlled calls on a real relay: legs with their sockets, and what the edge tells each of them."""
import select
import time
from itertools import pairwise
from types import TracebackType
from typing import Any, Self

import numpy as np

from sipcore.anchor.anchor import Anchor
from sipcore.anchor.bridgemedia import BridgeMedia
from sipcore.anchor.bridges import Bridges
from sipcore.media.g711 import encoding
from sipcore.media.ports import PortPool
from sipcore.media.relay import MediaRelay
from sipcore.wire.sdp import Sdp
from tests.anchor.bench import AUDIO, REFUSE, SIGNALLED_FIRST
from tests.media.stage import HOST, PATIENCE, Phone, numbers, opened, rtp, until
from tests.media.tones import decode, share, tone

CALLER, AGENT, TARGET, SPARE = range(4)
HOSTS = ("127.0.0.2", "127.0.0.3", "127.0.0.4", "127.0.0.5")
TONES = (440.0, 700.0, 1100.0, 1700.0)
"""What each side says, and by which it is known."""
WHISPER = 2300.0
FRAME = 160


def pcm(frequency: float, frames: int, codec: str = "PCMA") -> bytes:
    """A tone as G.711, whole frames of 20 ms."""
    samples = np.round(tone(frequency, frames * 0.02) * 32767).astype(np.int16)
    return encoding(codec)[samples.view(np.uint16)].tobytes()


class Far:
    """A far end of one leg: its description, its voice, and what it heard."""

    def __init__(self, side: int, host: str = "") -> None:
        self.side = side
        self.phone = Phone(host or HOSTS[side])
        self.source = (self.phone.address[0], 5060)
        self.edge = ("", 0)
        self.payload = 8
        self.ssrc = 0x1000 + side
        self.sequence = 500 * (side + 1)
        self.timestamp = 40_000 * (side + 1)
        self.voice = pcm(TONES[side], 50)
        self.said = 0
        self.heard: list[bytes] = []

    def sdp(self, media: str = "RTP/AVP 8 0 101", *more: str, version: int = 1, kind: str = "audio") -> bytes:
        host, port = self.phone.address
        lines = ["v=0", f"o=far {7 + self.side} {version} IN IP4 {host}", "s=phone", f"c=IN IP4 {host}", "t=0 0",
                 f"m={kind} {port} {media}", *more]
        if " 101" in media:
            lines.append("a=rtpmap:101 telephone-event/8000")
        return "".join(f"{line}\r\n" for line in lines).encode()

    def told(self, description: bytes, section: int = 0) -> None:
        """Where the edge wants to be sent to."""
        media = Sdp(description).media[section]
        self.edge = media.connection, media.port

    def say(self, frames: int = 1) -> None:
        """So many frames of this side's tone."""
        for _ in range(frames):
            at = self.said % 50 * FRAME
            self.phone.send(self.wire(rtp(self.sequence, self.timestamp, ssrc=self.ssrc, payload_type=self.payload,
                                          payload=self.voice[at:at + FRAME])), self.edge)
            self.said += 1
            self.sequence += 1
            self.timestamp += FRAME

    def wire(self, packet: bytes) -> bytes:
        """A packet as it is sent."""
        return packet

    def listen(self, packets: int) -> list[bytes]:
        """So many more packets."""
        fresh = [self.phone.receive() for _ in range(packets)]
        self.heard += fresh
        return fresh

    def drain(self) -> list[bytes]:
        """What waits to be read."""
        fresh = []
        while select.select([self.phone.socket], [], [], 0)[0]:
            fresh.append(self.phone.receive())
        self.heard += fresh
        return fresh


def hears(packets: list[bytes], frequency: float, codec: str = "PCMA") -> bool:
    """Whether what came is that tone and nothing else to speak of."""
    samples = decode(codec, b"".join(packet[12:] for packet in packets))
    others = [share(samples, other) for other in (*TONES, WHISPER) if other != frequency]
    return bool(len(samples) and share(samples, frequency) > 0.8 and max(others) < 0.05)


def goes_on(packets: list[bytes], missing: int = 1) -> None:
    """One stream: one SSRC, numbers one after the other but for so many, timestamps that rise."""
    seen = [numbers(packet) for packet in packets]
    assert len({ssrc for _, _, ssrc, _, _ in seen}) == 1
    for before, after in pairwise(seen):
        assert 1 <= (after[0] - before[0]) & 0xFFFF <= 1 + missing
        assert 0 < (after[1] - before[1]) & 0xFFFFFFFF < 1 << 31


class Told:
    """A MediaOwner that keeps what it is told."""

    def __init__(self) -> None:
        self.events: list[tuple[Any, ...]] = []

    def on_source(self, media: BridgeMedia, side: int, address: tuple[str, int], rank: int) -> None:
        self.events.append(("source", side, address, rank))

    def on_silent(self, media: BridgeMedia, side: int, ms: int) -> None:
        self.events.append(("silent", side, ms))

    def on_heard(self, media: BridgeMedia, side: int, ms: int) -> None:
        self.events.append(("heard", side, ms))

    def on_timeout(self, media: BridgeMedia, ms: int) -> None:
        self.events.append(("timeout", ms))

    def on_digit(self, media: BridgeMedia, side: int, digit: str, ms: int) -> None:
        self.events.append(("digit", side, digit, ms))

    def on_played(self, media: BridgeMedia, side: int, token: int, whole: bool) -> None:
        self.events.append(("played", side, token, whole))


class Table:
    """A relay with controlled calls. At the end every port is back, and nothing else is left."""

    def __init__(self, *pools: PortPool, kinds: tuple[int, ...] = (AUDIO,), other: int = REFUSE,
                 pools_of: tuple[tuple[int, ...], ...] = (), learning: int = SIGNALLED_FIRST,
                 srtp: tuple[int, int] = (0, 0), suites: tuple[str, ...] = (), plain_listeners: tuple[int, ...] = (),
                 **settings: Any) -> None:
        self._before = opened()
        self.pools = pools or (PortPool(HOST, 20000, 20399, quarantine=0),)
        self.relay = MediaRelay(self.pools, **{"sessions": 16, "nice": 0, "realtime": False} | settings)
        self.anchor = Anchor(self.relay, calls=4)
        self.anchor.configure(pools_of or [range(len(self.pools))],
                              [(learning, sum(1 << kind for kind in kinds), other, False, srtp)], suites,
                              plain_listeners)
        self.bridges = Bridges(self.anchor)
        self.told = Told()
        self.fars: list[Far] = []

    def far(self, side: int, host: str = "") -> Far:
        self.fars.append(Far(side, host))
        return self.fars[-1]

    def open(self) -> BridgeMedia:
        return self.bridges.open(owner=self.told)

    def call(self) -> tuple[BridgeMedia, Far, Far]:
        """Caller and agent, up and connected."""
        caller, agent = self.far(CALLER), self.far(AGENT)
        media = self.open()
        media.offer_from(CALLER, caller.sdp(), caller.source, 0)
        agent.told(media.offer_to(AGENT, 0, CALLER))
        media.connect(CALLER, AGENT)
        assert media.answer_from(AGENT, agent.sdp(), agent.source)
        caller.told(media.answer_to(CALLER, AGENT))
        return media, caller, agent

    def target(self, media: BridgeMedia, answer: str = "RTP/AVP 8 0 101", side: int = TARGET) -> Far:
        """A target that has answered."""
        target = self.far(side)
        target.told(media.offer_to(side, 0, CALLER))
        assert media.answer_from(side, target.sdp(answer), target.source)
        return target

    @property
    def ports(self) -> int:
        return sum(pool.used for pool in self.pools)

    def turn(self) -> None:
        """Take what the relay has said."""
        for kind, session, _, side, value, address in self.relay.take_events():
            self.bridges.take(kind, session, side, value, address)

    def await_ports(self, pairs: int) -> None:
        """Also that no session is left, where no pair shall be: one without ports is reported by itself."""
        deadline = time.monotonic() + PATIENCE
        while self.ports != pairs or (not pairs and self.relay.open_sessions):
            assert time.monotonic() < deadline, (f"{self.ports} pairs of ports, not {pairs}; "
                                                 f"{self.relay.open_sessions} sessions")
            select.select([self.relay.fileno()], [], [], 0.1)
            self.turn()

    def await_event(self, *wanted: Any) -> tuple[Any, ...]:
        """The next event that begins so; it is taken out."""
        deadline = time.monotonic() + PATIENCE
        while True:
            for at, event in enumerate(self.told.events):
                if event[:len(wanted)] == wanted:
                    return self.told.events.pop(at)
            assert time.monotonic() < deadline, f"no {wanted} in {self.told.events}"
            select.select([self.relay.fileno()], [], [], 0.1)
            self.turn()

    def counted(self, session: int, side: int, **expected: int) -> None:
        until(lambda: expected.items() <= self.relay.side_counters(session, side).items(),
              f"{expected} in {self.relay.side_counters(session, side)}")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for far in self.fars:
            far.phone.close()
        if error is None:
            self.await_ports(0)
            assert self.bridges.statistics()["bridge_calls_up"] == 0
        self.relay.stop()
        if error is None:
            assert opened() <= self._before
