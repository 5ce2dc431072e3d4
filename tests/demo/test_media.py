"""Offers, answers and RTP of the stand-ins."""
import asyncio
import socket
import struct

import pytest

from proxy.demo.g711 import tone
from proxy.demo.media import SAMPLES, Agreed, NotAcceptable, Rtp, accepted, answer, offer
from sipcore.wire.sdp import Sdp

OPUS = (b"v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n"
        b"m=audio 4000 RTP/AVP 96 8 101\r\na=rtpmap:96 opus/48000/2\r\na=fmtp:96 useinbandfec=1\r\n"
        b"a=rtpmap:101 telephone-event/8000\r\na=sendrecv\r\nm=video 5000 RTP/AVP 97\r\na=rtpmap:97 VP8/90000\r\n")


def test_our_own_offer_and_answer_agree():
    body, ours = answer(offer("127.0.0.2", 4000), "127.0.0.3", 5000, any_codec=False)
    assert ours == Agreed(0, "PCMU", ("127.0.0.2", 4000))
    assert accepted(body) == Agreed(0, "PCMU", ("127.0.0.3", 5000))


def test_a_tone_takes_what_it_can_encode_and_an_echo_what_comes_first():
    _, played = answer(OPUS, "127.0.0.4", 5000, any_codec=False)
    body, echoed = answer(OPUS, "127.0.0.4", 5000, any_codec=True)
    assert (played.payload, played.codec) == (8, "PCMA")
    assert (echoed.payload, echoed.codec) == (96, "OPUS")
    audio, video = Sdp(body).media
    assert audio.formats == ("96", "101")
    assert b"a=rtpmap:96 opus/48000/2\r\na=fmtp:96 useinbandfec=1\r\n" in body
    assert (video.kind, video.port) == ("video", 0)


@pytest.mark.parametrize("body", [
    b"", b"nonsense", OPUS.replace(b"RTP/AVP 96", b"RTP/SAVP 96"), OPUS.replace(b"audio 4000", b"audio 0"),
    OPUS.replace(b" 8 101", b" 101"),
])
def test_offers_without_audio_for_us(body):
    with pytest.raises(NotAcceptable):
        answer(body, "127.0.0.4", 5000, any_codec=False)


def test_answers_without_audio_for_us():
    with pytest.raises(NotAcceptable):
        accepted(OPUS.replace(b" 8 101", b" 101"))


def packet(payload=0, sequence=1, sound=b"\xff" * SAMPLES):
    return struct.pack("!BBHII", 0x80, payload, sequence, sequence * SAMPLES, 7) + sound


class Line:
    """An end of ours without any cleverness."""

    def __init__(self, host="127.0.0.1"):
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.setblocking(False)
        self.socket.bind((host, 0))

    async def take(self, seconds=60.0):
        async with asyncio.timeout(seconds):
            return await asyncio.get_running_loop().sock_recv(self.socket, 2048)


def test_the_echo_returns_rtp_of_whoever_came_first_and_nothing_else():
    async def play():
        rtp, friend, stranger = Rtp("127.0.0.1", echo=True), Line(), Line()
        to = ("127.0.0.1", rtp.port)
        try:
            friend.socket.sendto(packet(), to)      # before anything was agreed
            rtp.start(Agreed(0, "PCMU", friend.socket.getsockname()))
            await asyncio.get_running_loop().run_in_executor(None, int)
            friend.socket.sendto(b"\x80\x00short", to)
            friend.socket.sendto(b"\x00\x01" + bytes(30), to)      # STUN
            friend.socket.sendto(packet(sequence=2), to)
            assert (await friend.take())[2:4] in (b"\x00\x01", b"\x00\x02")
            stranger.socket.sendto(packet(sequence=3), to)
            friend.socket.sendto(packet(sequence=4), to)
            while (await friend.take())[2:4] != b"\x00\x04":
                pass
            with pytest.raises(BlockingIOError):
                stranger.socket.recv(2048)
        finally:
            rtp.close()
            friend.socket.close()
            stranger.socket.close()

    asyncio.run(play())


def test_a_tone_is_played_in_step_and_without_a_gap():
    async def play():
        line = Line()
        rtp = Rtp("127.0.0.1", frequency=440)
        try:
            rtp.start(Agreed(8, "PCMA", line.socket.getsockname()))
            began = asyncio.get_running_loop().time()
            packets = [await line.take() for _ in range(11)]
            elapsed = asyncio.get_running_loop().time() - began
        finally:
            rtp.close()
            line.socket.close()
        return packets, elapsed

    packets, elapsed = asyncio.run(play())
    sound = tone("PCMA", 440)
    first = struct.unpack("!BBHII", packets[0][:12])
    for one in packets:
        version, payload, sequence, timestamp, source = struct.unpack("!BBHII", one[:12])
        frame = sequence - first[2] & 0xFFFF
        assert (version, payload, source) == (0x80, 8, first[4])
        assert timestamp - first[3] & 0xFFFFFFFF == frame * SAMPLES
        assert one[12:] == sound[frame * SAMPLES:(frame + 1) * SAMPLES]
    assert elapsed > 0.15


def test_hears_tells_its_tone_from_another():
    async def play():
        one, other = Rtp("127.0.0.1", frequency=440), Rtp("127.0.0.1", frequency=600)
        try:
            one.start(Agreed(0, "PCMU", ("127.0.0.1", other.port)))
            other.start(Agreed(0, "PCMU", ("127.0.0.1", one.port)))
            return await asyncio.gather(one.hears(600), other.hears(440), other.hears(600))
        finally:
            one.close()
            other.close()

    assert asyncio.run(play()) == [True, True, False]
