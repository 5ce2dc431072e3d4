"""SDP: the index, codecs by name, fewer codecs, hostile descriptions."""
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipcore.wire.fault import WireFault
from sipcore.wire.sdp import Sdp, keep_codecs

from .values import hosts, mutated, parsed, ports

OFFER = b"""\
v=0
o=alice 2890844526 2890844527 IN IP4 192.0.2.10
s=-
c=IN IP4 192.0.2.10
b=AS:128
t=0 0
a=recvonly
m=audio 49170 RTP/AVP 0 8 9 18 97 101
a=rtpmap:97 opus/48000/2
a=fmtp:97 useinbandfec=1
a=rtcp-fb:97 nack
a=rtpmap:18 G729/8000
a=fmtp:18 annexb=no
a=rtpmap:101 telephone-event/8000
a=fmtp:101 0-16
a=rtcp:53020 IN IP4 126.16.64.4
a=ptime:20
a=sendonly
m=video 51372/2 RTP/SAVPF 31 96
c=IN IP6 2001:db8::5
a=rtpmap:96 H264/90000
m=image 0 udptl t38
""".replace(b"\n", b"\r\n")
HEAD = b"v=0\r\no=- 1 1 IN IP4 h.example\r\ns=-\r\nt=0 0\r\n"


def test_sections():
    sdp = Sdp(OFFER)
    audio, video, image = sdp.media
    assert (sdp.version, sdp.origin_address, sdp.connection) == (2890844527, "192.0.2.10", "192.0.2.10")
    assert (audio.kind, audio.port, audio.port_count, audio.proto) == ("audio", 49170, 1, "RTP/AVP")
    assert (audio.connection, audio.direction, audio.rtcp_port, audio.ptime) == ("192.0.2.10", "sendonly", 53020, 20)
    assert audio.formats == ("0", "8", "9", "18", "97", "101")
    assert [(codec.payload, codec.name, codec.clock, codec.channels) for codec in audio.codecs] == [
        (0, "PCMU", 8000, 1), (8, "PCMA", 8000, 1), (9, "G722", 8000, 1), (18, "G729", 8000, 1),
        (97, "opus", 48000, 2), (101, "telephone-event", 8000, 1)]
    assert (video.port, video.port_count, video.connection, video.direction) == (51372, 2, "2001:db8::5", "recvonly")
    assert [codec.name for codec in video.codecs] == ["H261", "H264"]
    assert (image.kind, image.port, image.formats, image.codecs) == ("image", 0, ("t38",), ())


def test_sections_have_their_extents():
    media = Sdp(OFFER).media
    assert [OFFER[one.start:one.stop].split(b" ")[0] for one in media] == [b"m=audio", b"m=video", b"m=image"]
    assert OFFER.startswith(b"v=0")
    assert [one.stop for one in media] == [*[one.start for one in media[1:]], len(OFFER)]


def test_only_listed_codecs_stay():
    kept = keep_codecs(OFFER, ["PCMA", "g722"])
    assert b"m=audio 49170 RTP/AVP 8 9 101\r\n" in kept
    gone = (b"a=rtpmap:97", b"a=fmtp:97", b"a=rtcp-fb:97", b"a=rtpmap:18", b"a=fmtp:18")
    assert kept.replace(b" 8 9 101", b" 0 8 9 18 97 101").splitlines() == [
        line for line in OFFER.splitlines() if not line.startswith(gone)]
    assert [codec.name for codec in Sdp(kept).media[0].codecs] == ["PCMA", "G722", "telephone-event"]
    assert keep_codecs(kept, ["pcma", "G722"]) == kept


@pytest.mark.parametrize("names", [[], ["telephone-event"], ["AMR"]])
def test_a_section_is_never_emptied(names):
    assert keep_codecs(OFFER, names) == OFFER


@pytest.mark.parametrize("beside", ["CN", "red", "rtx", "ulpfec", "telephone-event"])
def test_what_goes_beside_a_codec_is_none(beside):
    body = HEAD + b"m=audio 1 RTP/AVP 0 18 96\r\na=rtpmap:96 %b/8000\r\n" % beside.encode()
    assert keep_codecs(body, ["PCMA", beside]) == body
    assert keep_codecs(body, ["PCMU", beside]) == body.replace(b"0 18 96", b"0 96")
    assert keep_codecs(HEAD + b"m=audio 1 RTP/AVP 0 13\r\n", ["CN"]).endswith(b"AVP 0 13\r\n")


REDUNDANT = HEAD + (
    b"m=audio 1 RTP/AVP 111 63 96 97 0 8\r\na=rtpmap:111 opus/48000/2\r\na=rtpmap:63 red/48000/2\r\n"
    b"a=fmtp:63 111/111\r\na=rtpmap:96 rtx/48000\r\na=fmtp:96 rtx-time=3000; APT=111\r\na=rtpmap:97 rtx/48000\r\n"
    b"a=fmtp:97 apt=63\r\na=rtpmap:0 PCMU/8000\r\n")


@pytest.mark.parametrize(("names", "formats"), [
    (["PCMU", "red", "rtx"], b"0"), (["opus", "red", "rtx"], b"111 63 96 97"), (["opus", "rtx"], b"111 96"),
    (["opus", "red"], b"111 63"), (["PCMU", "PCMA", "opus"], b"111 0 8"), (["red", "rtx"], b"111 63 96 97 0 8"),
])
def test_redundancy_goes_with_the_codec_that_it_is_for(names, formats):
    """RFC 2198 5, RFC 4588 8.6."""
    kept = keep_codecs(REDUNDANT, names)
    assert b"m=audio 1 RTP/AVP %b\r\n" % formats in kept
    assert {line.partition(b":")[2].split()[0] for line in kept.splitlines() if line[:6] in (b"a=rtpm", b"a=fmtp")} \
        <= set(formats.split())
    assert keep_codecs(kept, names) == kept


@pytest.mark.parametrize("fmtp", [b"", b"a=fmtp:63\r\n", b"a=fmtp:63 x/y\r\n", b"a=fmtp:63 77/78\r\n",
                                  b"a=fmtp:63 0/0\r\n", b"a=fmtp:63 " + b"9" * 5000])
def test_redundancy_that_names_nothing_that_goes_stays(fmtp):
    body = HEAD + b"m=audio 1 RTP/AVP 0 63 8\r\na=rtpmap:63 red/8000\r\n" + fmtp
    assert keep_codecs(body, ["PCMU", "red"]) == body.replace(b"0 63 8", b"0 63")


def test_each_audio_section_is_judged_by_itself():
    body = HEAD + (b"m=audio 1 RTP/AVP 0 8\r\nm=audio 2 RTP/AVP 3\r\nm=audio 3 UDP/TLS/RTP/SAVPF 8 0\r\n"
                   b"m=audio 4 udp 0 8\r\n")
    assert keep_codecs(body, ["pcma"]) == body.replace(b"AVP 0 8", b"AVP 8").replace(b"SAVPF 8 0", b"SAVPF 8")


@pytest.mark.parametrize(("rtpmap", "codec"), [
    (b"a=rtpmap:96 opus/48000/2", ("opus", 48000, 2)),
    (b"a=rtpmap:96 opus", ("opus", 0, 1)),
    (b"a=rtpmap:96 ", ("", 0, 1)),
    (b"a=rtpmap:96 x/y/z", ("x", 0, 1)),
    (b"a=rtpmap:96 x/99999999999/300", ("x", 0, 1)),
    (b"a=rtpmap:96", ("", 0, 1)),
    (b"a=rtpmap:196 x/8000", ("", 0, 0)),
    (b"a=rtpmap:-96 x/8000", ("", 0, 0)),
    (b"a=rtpmap", ("", 0, 0)),
    (b"a=rtpmap:96 first/8000\r\na=rtpmap:96 second/16000", ("first", 8000, 1)),
])
def test_odd_rtpmaps(rtpmap, codec):
    (media,) = Sdp(HEAD + b"m=audio 1 RTP/AVP 96\r\n" + rtpmap + b"\r\n").media
    assert media.codecs[0][1:] == codec


BAD = {
    b"": "version",
    b"\r\n": "version",
    b"v=1\r\n": "version",
    b"o=- 1 1 IN IP4 h\r\nv=0\r\n": "version",
    b"v=0\r\nv=0\r\n": "version",
    b"v=0\r\ns=-\r\n": "origin",
    b"v=0\r\no=\r\n": "origin",
    b"v=0\r\no=- 1 x IN IP4 h\r\n": "origin",
    b"v=0\r\no=- 1 1 IN IP4\r\n": "origin",
    b"v=0\r\no=- 1 1 IN IP4 h i\r\n": "origin",
    b"v=0\r\no=- 1 1 IN IP4 h\r\n\r\ns=-\r\n": "line",
    HEAD + b"o=- 1 1 IN IP4 h\r\n": "origin",
    HEAD + b"x\r\n": "line",
    HEAD + b"=\r\n": "line",
    HEAD + b"X=1\r\n": "line",
    HEAD + b" a=1\r\n": "line",
    HEAD + b"a=x\rb\r\n": "line",
    HEAD + b"m=audio 1 RTP/AVP 96\r\na=fmtp:96 a\0b\r\n": "line",          # NUL in fmtp
    HEAD + b"a=\r\n": "attribute",                                          # empty records
    HEAD + b"a=:x\r\n": "attribute",
    HEAD + b"a=a b\r\n": "attribute",
    HEAD + b"b=\r\n": "bandwidth",
    HEAD + b"b=AS128\r\n": "bandwidth",                                     # b= without a colon
    HEAD + b"b=:128\r\n": "bandwidth",
    HEAD + b"b=AS:\r\n": "bandwidth",
    HEAD + b"b=AS:4294967296\r\n": "bandwidth",
    HEAD + b"c=\r\n": "connection",
    HEAD + b"c=IN IP4\r\n": "connection",
    HEAD + b"c=IN IP4 1.2.3.256\r\n": "connection",
    HEAD + b"c=IN IP4 1.2.3\r\n": "connection",
    HEAD + b"c=IN IP4 ::1\r\n": "connection",
    HEAD + b"c=IN IP6 1.2.3.4\r\n": "connection",
    HEAD + b"c=IN IP6 [::1]\r\n": "connection",
    HEAD + b"c=IN IP5 1.2.3.4\r\n": "connection",
    HEAD + b"c=XX IP4 1.2.3.4\r\n": "connection",
    HEAD + b"c=IN IP4 /127\r\n": "connection",
    HEAD + b"c=IN IP4 1.2.3.4\r\nc=IN IP4 1.2.3.5\r\n": "connection",
    HEAD + b"c=IN IP4 <script>\r\n": "connection",
    HEAD + b"m=\r\n": "media",
    HEAD + b"m=audio 1\r\n": "media",
    HEAD + b"m=audio 1 RTP/ 0\r\n": "media",
    HEAD + b"m=audio x RTP/AVP 0\r\n": "port",
    HEAD + b"m=audio 65536 RTP/AVP 0\r\n": "port",
    HEAD + b"m=audio 1/0 RTP/AVP 0\r\n": "port",
    HEAD + b"m=audio 1 RTP/AVP\r\n": "format",
    HEAD + b"m=audio 1 RTP/AVP 128\r\n": "format",
    HEAD + b"m=audio 1 RTP/AVP x\r\n": "format",
    HEAD + b"m=audio 1 RTP/AVP" + b" 0" * 65 + b"\r\n": "format",
    HEAD + b"m=audio 1 RTP/AVP 0\r\na=rtcp:x\r\n": "attribute",
    HEAD + b"m=audio 1 RTP/AVP 0\r\n" * 33: "too long",
    HEAD + b"m=audio 1 RTP/AVP 0\r\n" * 400: "too long",
    HEAD + b"a=x\r\n" * 600: "too long",
}


@pytest.mark.parametrize("body", BAD)
def test_malformed_descriptions_are_refused_with_a_reason(body):
    with pytest.raises(WireFault, match=BAD[body]):
        Sdp(body)
    with pytest.raises(WireFault):
        keep_codecs(body, ["PCMA"])


@pytest.mark.parametrize("body", [
    HEAD[:-2],                                                              # no line end at the end
    HEAD[:-1],                                                              # half of one
    HEAD.replace(b"\r\n", b"\n"),                                           # RFC 8866 5: bare LF too
    HEAD + b"\r\n\r\n",
    HEAD + b"i=\r\n",
    HEAD + b"c=IN IP4 224.2.1.1/127/3\r\n",
    HEAD + b"c=IN IP6 ::ffff:192.0.2.2\r\n",                                # RFC 5118 4.9
    HEAD + b"m=audio 9 RTP/AVP 0  8 \r\n",                                  # spare spaces
    HEAD + b"m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\n",
    HEAD + b"m=audio 1 RTP/AVP 0 0 0\r\n",                                  # duplicate codecs
])
def test_tolerated_descriptions(body):
    assert Sdp(body).version == 1
    assert keep_codecs(body, ["PCMU", "PCMA"]) == body


PAYLOADS = st.lists(st.integers(0, 127), min_size=1, max_size=10)
SECTION = st.tuples(st.sampled_from([b"audio", b"video"]), ports, PAYLOADS, hosts)


@given(st.lists(SECTION, min_size=1, max_size=5), st.lists(st.sampled_from(["PCMU", "pcma", "G722", "c96", "c120"])))
def test_rendered_descriptions_come_back(sections, names):
    body = HEAD
    for kind, port, payloads, host in sections:
        family = b"IP6" if ":" in host else b"IP4"
        body += b"m=%b %d RTP/AVP %b\r\n" % (kind, port, b" ".join(b"%d" % one for one in payloads))
        body += b"c=IN %b %b\r\n" % (family, host.encode())
        body += b"".join(b"a=rtpmap:%d c%d/8000\r\n" % (one, one) for one in dict.fromkeys(payloads) if one > 34)
    media = Sdp(body).media
    assert [(one.kind.encode(), one.port, [codec.payload for codec in one.codecs], one.connection)
            for one in media] == sections
    kept = keep_codecs(body, names)
    assert keep_codecs(kept, names) == kept
    wanted = {name.lower() for name in names}
    for before, after in zip(media, Sdp(kept).media, strict=True):
        left = [codec for codec in before.codecs if codec.name.lower() in wanted and before.kind == "audio"]
        assert list(after.codecs) == (left or list(before.codecs))


@given(mutated([OFFER, HEAD + b"m=audio 1 RTP/AVP 96\r\na=fmtp:96 x\r\n"]))
def test_hostile_bytes_are_parsed_or_refused(body):
    sdp = parsed(Sdp, body)
    if sdp is None:
        return
    for one in sdp.media:
        assert body[one.start:one.start + 2] == b"m="
        assert len(one.codecs) <= 64
    kept = keep_codecs(body, ["PCMA"])
    assert len(kept) <= len(body)
    assert len(Sdp(kept).media) == len(sdp.media)
