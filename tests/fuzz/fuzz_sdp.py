"""SDP: the sections and their extents, and the same description with fewer codecs."""
from sipcore.wire.fault import WireFault
from sipcore.wire.sdp import Sdp, keep_codecs
from tests.fuzz import harness

WANTED = ["PCMA", "opus"]


def target(data: bytes) -> None:
    try:
        sdp = Sdp(data)
    except WireFault as fault:
        assert fault.code < 0
        return
    assert sdp.version >= 0
    assert isinstance(sdp.origin_address + sdp.connection, str)
    end = 0
    for media in sdp.media:
        assert end <= media.start < media.stop <= len(data)
        assert data[media.start:media.start + 2] == b"m="
        assert 0 <= media.port <= 65535
        end = media.stop
    kept = keep_codecs(data, WANTED)
    assert len(kept) <= len(data)
    assert keep_codecs(kept, WANTED) == kept
    wanted = {"pcma", "opus", "telephone-event"}
    for before, after in zip(sdp.media, Sdp(kept).media, strict=True):
        assert (after.kind, after.port, after.proto, after.direction) == (
            before.kind, before.port, before.proto, before.direction)
        assert after.codecs == before.codecs or {codec.name.lower() for codec in after.codecs} <= wanted
        assert bool(after.codecs) == bool(before.codecs)


SEEDS = [
    *(message.partition(b"\r\n\r\n")[2] for message in harness.messages() if b"application/sdp" in message),
    b"v=0\r\no=- 1 2 IN IP4 h.example\r\ns=-\r\nc=IN IP4 192.0.2.10\r\nb=AS:128\r\nt=0 0\r\na=recvonly\r\n"
    b"m=audio 49170 RTP/AVP 0 8 97 101\r\na=rtpmap:97 opus/48000/2\r\na=fmtp:97 useinbandfec=1\r\n"
    b"a=rtcp-fb:97 nack\r\na=rtpmap:101 telephone-event/8000\r\na=rtcp:53020 IN IP4 126.16.64.4\r\na=ptime:20\r\n"
    b"m=video 51372/2 RTP/SAVPF 31 96\r\nc=IN IP6 2001:db8::5\r\na=rtpmap:96 H264/90000\r\nm=image 0 udptl t38\r\n",
]

if __name__ == "__main__":
    harness.run(target, SEEDS)
