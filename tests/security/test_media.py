"""Media rows of the attack list: whose packets are taken, who gets any, and what all others can do, namely nothing."""
import re
import struct
import time
from collections.abc import Iterator

import pytest

from tests.edge import EdgeProcess, wait_until
from tests.security.audio import (
    EDGE6,
    PBX6,
    STRANGER6,
    AudioCall,
    await_whole_pool,
    configuration,
    place,
)
from tests.security.namespace import Namespace
from tests.security.range import EDGE, PEER, STRANGER, reply

MOVED = "192.0.2.40"
PRIVATE = ("10.1.2.3", 4000)
FLOOD = 4000


@pytest.fixture(scope="module")
def edge(namespace: Namespace, tmp_path_factory: pytest.TempPathFactory) -> Iterator[EdgeProcess]:
    with namespace.entered():
        running = EdgeProcess(tmp_path_factory.mktemp("edge"), configuration())
    with running:
        yield running
        await_whole_pool(namespace, running)


def test_before_the_answer_nobody_is_let_in(studio):
    """An offer opens the ports; until it is answered not even the right party is heard, and nobody is learned."""
    studio.count_anew()
    call = AudioCall(studio)
    attacker = studio.voice(STRANGER[0], ssrc=call.one.ssrc)
    for _ in range(10):
        attacker.say(b"injected", call.for_other)
    call.other.say(b"too early", call.for_other)
    studio.edge.wait_stats(lambda stats: studio.rose("rtp_early") == 11, "all of it was counted")
    assert studio.rose("rtp_in") == 0
    call.answer()
    assert call.one.silent()
    call.talk()
    assert "wrong_source" not in call.end()["callee"]


@pytest.mark.parametrize("right", [True, False], ids=["right-ssrc", "wrong-ssrc"])
@pytest.mark.parametrize("first", [True, False], ids=["attacker-first", "phone-first"])
def test_injection_while_the_source_is_learned(studio, first, right):
    """RTP bleed: neither does what a stranger says reach anybody, nor does the stranger hear anybody."""
    call = AudioCall(studio).answer()
    attackers = [studio.voice(host, ssrc=call.one.ssrc if right else 0) for host in (STRANGER[0], "192.0.2.99")]
    if not first:
        call.talk()
    for _ in range(5):
        for attacker in attackers:
            attacker.say(b"injected", call.for_one)
            attacker.say(b"injected", call.for_other)
        call.talk()
    assert all(attacker.silent() for attacker in attackers)
    media = call.end()
    assert (media["caller"]["wrong_source"], media["callee"]["wrong_source"]) == (10, 10)
    assert media["caller"]["packets"] == media["callee"]["packets"] == 5 + (not first)


def test_a_stranger_who_is_alone_gets_nothing(studio):
    """Only one side speaks: its audio goes where the description says, not to whoever asks for it."""
    call = AudioCall(studio).answer()
    attacker = studio.voice(STRANGER[0])
    for number in range(20):
        attacker.say(b"send it here", call.for_one)
        said = call.other.say(b"%d" % number, call.for_other)
        assert call.one.hear() == (said, call.for_one)
    assert attacker.silent()
    caller = call.end()["caller"]
    assert (caller["packets"], caller["wrong_source"]) == (0, 20)


def test_a_better_source_takes_the_latch_back_and_a_worse_one_never(studio):
    """Three sources of one host: another port of the signalled address first, then the signalled one, then again."""
    call = AudioCall(studio).answer()
    near = studio.voice(PEER[0], ssrc=call.one.ssrc)
    said = near.say(b"from another port", call.for_one)
    assert call.other.hear() == (said, call.for_other)
    said = call.other.say(b"hello", call.for_other)
    assert near.hear() == (said, call.for_one)
    call.talk()
    near.say(b"from another port again", call.for_one)
    call.talk()
    assert call.end()["caller"]["wrong_source"] == 1


def test_a_nat_that_forgot_its_binding(studio):
    """A new port of the same host with the same SSRC after a silence is followed; another SSRC or host never is."""
    call = AudioCall(studio).answer()
    began = time.monotonic()
    call.talk()
    rebound = studio.voice(PEER[0], ssrc=call.one.ssrc)
    liars = studio.voice(PEER[0]), studio.voice(STRANGER[0], ssrc=call.one.ssrc)
    told = []

    def followed() -> bool:
        for liar in liars:
            liar.say(b"I am the phone", call.for_one)
        told.append(rebound.say(b"rebound", call.for_one))
        return not call.other.silent()

    wait_until(followed, "the new port is followed")
    assert time.monotonic() - began >= 0.5
    heard, source = call.other.hear()
    while heard != told[-1]:
        # Some of those before it may still have been on their way.
        assert heard in told
        heard, source = call.other.hear()
    assert source == call.for_other
    call.talk(rebound)
    assert all(liar.silent() for liar in liars)
    assert call.end()["caller"]["wrong_source"] >= 2 * len(told)


def test_a_reinvite_moves_the_audio(studio):
    """Who is at the new address is heard, who is at the old one no more, and nobody takes the chance to come in."""
    call = AudioCall(studio).answer()
    call.talk()
    moved = studio.voice(MOVED, ssrc=call.one.ssrc)
    attacker = studio.voice(STRANGER[0], ssrc=call.one.ssrc)
    moved.say(b"too early", call.for_one)
    call.talk()
    answer = call.reinvite(call.description(moved))
    assert place(answer) == call.for_one
    attacker.say(b"injected", call.for_one)
    call.talk(moved)
    call.one.say(b"from where the phone was", call.for_one)
    call.talk(moved)
    assert attacker.silent()
    assert call.end()["caller"]["wrong_source"] == 3


def test_a_reinvite_that_is_refused_moves_nothing(studio):
    call = AudioCall(studio).answer()
    call.talk()
    moved = studio.voice(MOVED, ssrc=call.one.ssrc)
    call.reinvite(call.description(moved), "488 Not Acceptable Here")
    moved.say(b"refused", call.for_one)
    call.talk()
    assert call.end()["caller"]["wrong_source"] == 1


def test_a_reinvite_of_a_stranger_moves_nothing(studio):
    """All of a dialog is known to the attacker but the token that the edge made for it."""
    call = AudioCall(studio).answer()
    attacker = studio.voice(STRANGER[0], ssrc=call.one.ssrc)
    party = studio.party(STRANGER)
    forged = studio.inside("INVITE", call.answered, source=STRANGER, body=call.description(attacker))
    party.send(re.sub(rb";t=[0-9a-z]+", lambda found: b";t=" + b"2" * (len(found[0]) - 3), forged))
    party.expect(b"SIP/2.0 403")
    attacker.say(b"injected", call.for_one)
    call.talk()
    assert attacker.silent()
    assert call.end()["caller"]["wrong_source"] == 1


def test_a_phone_behind_a_wrong_signalled_address_has_audio(studio):
    """A private address in the description: audio from where the signalling comes from is taken, and goes back there.

    Whoever else claims to be that phone is nobody, before it speaks and after.
    """
    call = AudioCall(studio, offered=PRIVATE).answer()
    attacker = studio.voice(STRANGER[0], ssrc=call.one.ssrc)
    attacker.say(b"injected", call.for_one)
    said = call.one.say(b"from behind NAT", call.for_one)
    assert call.other.hear() == (said, call.for_other)
    attacker.say(b"injected", call.for_one)
    call.talk()
    assert attacker.silent()
    assert call.end()["caller"]["wrong_source"] == 2


def test_ipv6_to_ipv4(studio):
    """Each side has the edge's address of its own family; on the IPv6 side, too, a stranger is nobody."""
    pbx6 = studio.party(PBX6)
    call = AudioCall(studio, user="6000", callee=pbx6).answer()
    assert (call.for_one[0], call.for_other[0]) == (EDGE[0], EDGE6)
    attacker = studio.voice(STRANGER6, ssrc=call.other.ssrc)
    attacker.say(b"injected", call.for_other)
    call.talk()
    attacker.say(b"injected", call.for_other)
    for rtcp_of, to, listener in ((call.one, call.for_one, call.other), (call.other, call.for_other, call.one)):
        report = rtcp_of.report((to[0], to[1] + 1))
        assert listener.hear(rtcp=True)[0] == report
    call.talk()
    media = call.end()
    assert (media["callee"]["wrong_source"], media["callee"]["packets"]) == (2, 2)


def test_reports_of_the_parties_alone(studio):
    """RTCP on the port above: each side's reports reach the other's RTCP port, a stranger's reach nobody."""
    call = AudioCall(studio).answer()
    attacker = studio.voice(STRANGER[0], ssrc=call.one.ssrc)
    for talker, to, listener, source in ((call.one, call.for_one, call.other, call.for_other),
                                         (call.other, call.for_other, call.one, call.for_one)):
        above = to[0], to[1] + 1
        attacker.report(above)
        report = talker.report(above)
        assert listener.hear(rtcp=True) == (report, (source[0], source[1] + 1))
        attacker.report(above)
        # RTP has no business on the RTCP port.
        talker.rtcp.sendto(talker.packet(b"not a report"), above)
        report = talker.report(above)
        assert listener.hear(rtcp=True)[0] == report
    assert attacker.silent()
    media = call.end()
    assert [(media[side]["wrong_source"], media[side]["other"]) for side in ("caller", "callee")] == [(2, 1)] * 2


def test_reports_on_the_port_of_the_audio(studio):
    """Where both sides say rtcp-mux (RFC 5761), reports come and go on the RTP port, under the same rules."""
    call = AudioCall(studio, "a=rtcp-mux").answer()
    attacker = studio.voice(STRANGER[0], ssrc=call.one.ssrc)
    call.talk()
    for talker, to, listener, source in ((call.one, call.for_one, call.other, call.for_other),
                                         (call.other, call.for_other, call.one, call.for_one)):
        report = struct.pack("!BBHI", 0x80, 201, 1, talker.ssrc)
        attacker.send(report, to)
        talker.send(report, to)
        assert listener.hear() == (report, source)
    assert attacker.silent()
    assert call.end()["caller"]["wrong_source"] == 1


def test_srtp_with_a_bad_tag_never_ends_a_call(studio):
    """The keys are the phones': whatever stands in a packet of theirs passes, to the byte, and ends nothing."""
    key = "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:d0RmdmcmVCspeEc3QGZiNWpVLFJhQX1cfHAwJSoj"
    call = AudioCall(studio, key, media="RTP/SAVP 0").answer()
    for number in range(50):
        said = call.one.say(bytes((number * 7 + at) & 255 for at in range(170)), call.for_one)
        assert call.other.hear() == (said, call.for_other)
    call.talk()
    assert call.end()["caller"]["packets"] == 51


STUN = struct.pack("!HHI", 1, 0, 0x2112A442) + bytes(range(12))
DTLS = bytes.fromhex("16feff0000000000000000003c010000300000000000000030fefd") + bytes(40)
ZRTP = b"\x10\x00\x00\x01ZRTP" + bytes(40)


@pytest.mark.parametrize("stranger", [False, True], ids=["party", "stranger"])
def test_what_is_no_rtp(studio, stranger):
    """Junk of every kind, from a party of the call and from a stranger: counted by kind, and neither sent on nor
    answered; the audio goes on.
    """
    studio.count_anew()
    call = AudioCall(studio).answer()
    call.talk()
    sender = studio.voice(STRANGER[0]) if stranger else call.one
    # Kinds as RFC 7983 tells them by their first byte.
    others = [bytes((first,)) + bytes(30) for first in (4, 15, 64, 79, 192, 255)]
    short = [b"", b"\x80", b"\x80\x00\x00", bytes(11), b"\x80" + bytes(10), b"\x80\xc9\x00\x01\x00\x00\x00"]
    giants = [b"\x80" + bytes(2048), b"\x80" + bytes(60_000)]
    for junk in (*others, *short, *giants, STUN, DTLS, ZRTP):
        sender.send(junk, call.for_one)
        sender.rtp.sendto(junk, (call.for_one[0], call.for_one[1] + 1))
    report = call.one.report((call.for_one[0], call.for_one[1] + 1))
    call.talk()
    assert call.other.hear(rtcp=True)[0] == report
    names = ("rtp_stun", "rtp_dtls", "rtp_zrtp", "rtp_giant", "rtp_other", "rtp_truncated")
    studio.edge.wait_stats(lambda stats: sum(map(studio.rose, names)) == 34, "all of it was counted")
    assert [studio.rose(name) for name in names] == [4, 2, 2, 4, 14, 8]
    assert call.end()["caller"]["other"] == 34


def test_broken_headers_of_rtp(studio):
    """Lengths and counts in a packet that lie: nothing is read from them, and it passes or not, but harms nobody."""
    call = AudioCall(studio).answer()
    call.talk()
    report = bytes((0x80, 0xC8)) + b"\xff" * 30
    lies = [b"\xbf\x65" + bytes(10), b"\x90\x65" + bytes(10) + b"\xbe\xde\xff\xff", b"\xa0\x65" + bytes(12) + b"\xff",
            b"\x8f\xe5" + b"\xff" * 10, b"\x80\x65" + bytes(10) + b"\x05\x80"]
    for lie in (*lies, report):
        call.one.send(lie, call.for_one)
    last = call.one.say(b"through", call.for_one)
    heard = []
    while last not in heard:
        heard.append(call.other.hear()[0])
    assert [packet for packet in heard if packet not in lies] == [last]
    assert call.other.hear(rtcp=True)[0] == report
    call.talk()
    call.end()


def test_broken_udp_at_a_media_port(studio):
    """A wrong checksum, a wrong length, and an IP fragment that is never completed: as if they had not been sent."""
    call = AudioCall(studio).answer()
    call.talk()
    packet = call.one.packet(b"x" * 1400)
    for damage in ({"checksum": 0xBEEF}, {"declared": 20000}, {"fragment_at": 800, "last": False}):
        studio.raw(packet, source=call.one.address, to=call.for_one, **damage)
    studio.raw(packet, source=call.one.address, to=call.for_one, fragment_at=800, order=-1)
    assert call.other.hear()[0] == packet
    call.talk()
    assert call.end()["caller"]["packets"] == 3


def test_a_flood_on_one_port_and_the_audio_of_another_call(studio):
    """Everything of the other call arrives, in its order and nothing else, while strangers flood the first."""
    flooded = AudioCall(studio).answer()
    calm = AudioCall(studio).answer()
    flooded.talk()
    attackers = [studio.voice(f"198.18.0.{host}", ssrc=flooded.one.ssrc) for host in (1, 2, 3, 4)]
    for number in range(FLOOD // 20):
        for attacker in attackers:
            for _ in range(5):
                attacker.say(bytes(160), flooded.for_one)
        for talker, to, listener, source in ((calm.one, calm.for_one, calm.other, calm.for_other),
                                             (calm.other, calm.for_other, calm.one, calm.for_one)):
            said = talker.say(b"%d" % number, to)
            assert listener.hear() == (said, source)
    flooded.talk()
    assert all(attacker.silent() for attacker in attackers)
    caller = flooded.end()["caller"]
    assert caller["packets"] == 2
    assert caller["wrong_source"] + caller.get("kernel_drops", 0) == FLOOD
    media = calm.end()
    assert [(media[side]["packets"], media[side]["lost"]) for side in ("caller", "callee")] == [(FLOOD // 20, 0)] * 2


def test_a_burst(studio):
    """A second of audio at once, as a network gives it back after a hang: all of it, in its order."""
    call = AudioCall(studio).answer()
    call.talk()
    said = [call.one.say(bytes(160), call.for_one) for _ in range(50)]
    assert [call.other.hear()[0] for _ in said] == said
    assert call.end()["caller"]["packets"] == 51


@pytest.mark.parametrize("size", [12, 1472, 2048])
def test_sizes(studio, size):
    """From a header alone over what fills an Ethernet packet to the largest that the relay takes."""
    call = AudioCall(studio).answer()
    said = call.one.say(bytes(size - 12), call.for_one)
    assert len(said) == size
    assert call.other.hear() == (said, call.for_other)
    assert "other" not in call.end()["caller"]


def test_a_port_that_is_unreachable_in_the_middle_of_a_call(studio):
    """The PBX's port closes, and each packet to it comes back as an ICMP error; the other way goes on, and so does
    this one as soon as the port is there again.
    """
    call = AudioCall(studio).answer()
    call.talk()
    call.other.rtp.close()
    for number in range(20):
        call.one.say(b"%d" % number, call.for_one)
        report = call.one.report((call.for_one[0], call.for_one[1] + 1))
        assert call.other.hear(rtcp=True)[0] == report
    call.other.rtp = studio.namespace.socket(bind=call.other.address)
    call.talk()
    media = call.end()
    assert (media["caller"]["packets"], media["callee"]["packets"]) == (22, 2)
    assert "send_failed" not in media["callee"]


def test_hold_keeps_the_audio_back(studio):
    """On hold nothing of what the other side says goes out; afterwards it does again, and no stranger came between."""
    studio.count_anew()
    call = AudioCall(studio).answer()
    call.talk()
    call.more = ("a=inactive",)
    call.reinvite(call.description(call.one))
    attacker = studio.voice(STRANGER[0], ssrc=call.one.ssrc)
    attacker.say(b"injected", call.for_one)
    call.other.say(b"to nobody", call.for_other)
    call.one.say(b"to nobody", call.for_one)
    studio.edge.wait_stats(lambda stats: studio.rose("rtp_wrong_source") == 1, "the stranger was refused")
    call.more = ()
    call.reinvite(call.description(call.one))
    call.talk()
    assert attacker.silent()
    call.end()


def test_an_answer_that_comes_from_elsewhere(studio):
    """A stranger who knows the branch of nothing answers an offer: no audio goes where his description says."""
    call = AudioCall(studio)
    attacker = studio.voice(STRANGER[0])
    branch = re.search(rb"branch=([^;\r]+)", call.invite)
    assert branch is not None
    forged = reply(call.invite, "200 OK", contact=STRANGER, body=call.description(attacker))
    studio.party(STRANGER).send(forged.replace(branch[1], b"z9hG4bK" + b"7" * 30))
    studio.mark()
    assert studio.rose("stray_responses") + studio.rose("malformed_responses") == 1
    call.answer()
    call.talk()
    assert attacker.silent()
    call.end()
