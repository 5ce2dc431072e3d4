"""A call with SRTP under attack: what is not authentic is dropped and counted, and nothing else happens."""
from collections.abc import Iterator

import pytest

from sipcore.anchor.sdes import usable
from sipcore.media.srtpprobe import SrtpProbe
from sipcore.wire.message import Message
from tests.anchor.bench import sdp
from tests.anchor.secure import CM, GCM, crypto
from tests.edge import EdgeProcess
from tests.security.audio import PEER, AudioCall, Studio, Voice, configuration
from tests.security.namespace import Namespace
from tests.security.range import STRANGER


@pytest.fixture(scope="module")
def edge(namespace: Namespace, tmp_path_factory: pytest.TempPathFactory) -> Iterator[EdgeProcess]:
    with namespace.entered():
        running = EdgeProcess(tmp_path_factory.mktemp("edge"), configuration())
    with running:
        yield running


KEYS = {CM: bytes(range(30)), GCM: bytes(range(44))}


class SecureCall(AudioCall):
    """The peer has SRTP with the edge, the PBX has none."""

    def __init__(self, studio: Studio, suite: str):
        self.suite = suite
        super().__init__(studio, user="7000")
        self.seal = SrtpProbe(suite, KEYS[suite], True)

    def description(self, voice: Voice, address=None) -> bytes:
        if voice is self.one:
            return sdp(*voice.address, crypto(4, self.suite, KEYS[self.suite]), media="RTP/SAVP 0 101")
        return sdp(*voice.address, media="RTP/AVP 0 101")

    def answer(self) -> "SecureCall":
        super().answer()
        (tag, suite, key), = usable(Message(self.answered).body)
        assert (tag, suite) == (4, self.suite)
        self.open = SrtpProbe(suite, key, False)
        return self

    def protected(self, text: bytes) -> tuple[bytes, bytes]:
        """A packet of the peer's, plain and as it is sent."""
        plain = self.one.packet(text)
        return plain, self.seal.protect(plain)

    def talk(self, one: Voice | None = None) -> None:
        plain, wire = self.protected(b"words")
        (one or self.one).send(wire, self.for_one)
        assert self.other.hear() == (plain, self.for_other)
        said = self.other.say(b"words back", self.for_other)
        packet, source = (one or self.one).hear()
        assert (self.open.unprotect(packet), source) == (said, self.for_one)


@pytest.mark.parametrize("suite", [CM, GCM])
def test_bad_tags_replays_and_plain_packets_never_end_a_call(studio, suite):
    """From the party's own address, where nothing but the tag tells: FreeSWITCH's CVE-2021-41105."""
    call = SecureCall(studio, suite).answer()
    call.talk()
    plain, wire = call.protected(b"heard once")
    bad = 0
    for bit in range(0, 8 * len(wire), 5):
        changed = bytearray(wire)
        changed[bit // 8] ^= 1 << bit % 8
        # Another version, or another kind of packet, is junk before any tag is looked at.
        if changed[:2] == wire[:2]:
            call.one.send(bytes(changed), call.for_one)
            bad += 1
    for length in range(12, len(wire)):
        call.one.send(wire[:length], call.for_one)
        bad += 1
    call.one.send(plain, call.for_one)
    call.talk()
    call.one.send(wire, call.for_one)
    assert call.other.hear() == (plain, call.for_other)
    for _ in range(100):
        call.one.send(wire, call.for_one)
    # Reports: plain ones, and RTP where they belong.
    call.one.report((call.for_one[0], call.for_one[1] + 1))
    call.one.rtcp.sendto(wire, (call.for_one[0], call.for_one[1] + 1))
    call.talk()
    figures = call.end()["caller"]
    assert (figures["packets"], figures["replayed"]) == (4, 100)
    assert figures["unauthentic"] == bad + 2


def test_no_stranger_is_learned_by_a_packet_that_was_overheard(studio):
    """Before the party has said anything, and afterwards: with a changed packet, a plain one, a replayed one."""
    call = SecureCall(studio, CM).answer()
    attacker = studio.voice(STRANGER[0], ssrc=call.one.ssrc)
    nearby = studio.voice(PEER[0], ssrc=call.one.ssrc)
    plain, wire = call.protected(b"overheard")
    for thief in (attacker, nearby):
        for packet in (plain, wire[:-1] + bytes([wire[-1] ^ 1])):
            thief.send(packet, call.for_one)
    # What the PBX says still goes to where the party signalled.
    said = call.other.say(b"secret", call.for_other)
    assert call.open.unprotect(call.one.hear()[0]) == said
    assert attacker.silent()
    assert nearby.silent()
    call.one.send(wire, call.for_one)
    assert call.other.hear() == (plain, call.for_other)
    for thief in (attacker, nearby):
        thief.send(wire, call.for_one)
    call.talk()
    figures = call.end()["caller"]
    assert figures["unauthentic"] == 2
    assert figures["wrong_source"] == 4
