"""Rewriting of session descriptions: what parses does so again, with the edge in every section that it anchors.

The input is three bytes and a description: the family of the edge's address in the first, and in the others what
becomes of the first eight sections, two bits each.
"""
import re

from sipcore.anchor.rewrite import rewritten
from sipcore.wire.fault import WireFault
from sipcore.wire.sdp import Media, Sdp
from tests.fuzz import harness

HOSTS = ("203.0.113.77", "2001:db8::77")
TREATMENTS = ("anchor", "refuse", "pass", "anchor")
ICE = re.compile(rb"^a=(?:candidate|ice-(?:ufrag|pwd|options|lite|mismatch|pacing)|remote-candidates|end-of-candidates|"
                 rb"bundle-only)(?=[:\r\n]|$)|^a=group:BUNDLE", re.MULTILINE)


def target(data: bytes) -> None:
    head, body = data[:3].ljust(3, b"\0"), data[3:]
    host = HOSTS[head[0] & 1]
    bits = int.from_bytes(head[1:], "big")
    places = [(TREATMENTS[bits >> 2 * at & 3], 20000 + 2 * at) for at in range(8)]
    try:
        before = Sdp(body)
    except WireFault as fault:
        assert fault.code < 0
        return
    try:
        out, ice = rewritten(body, host, places)
    except ValueError as error:
        assert "too much to change" in str(error)
        return
    after = Sdp(out)
    assert (after.version, after.origin_address) == (before.version, host)
    passes = False
    for at, (old, new) in enumerate(zip(before.media, after.media, strict=True)):
        treatment, port = places[at] if at < len(places) else ("refuse", 0)
        passes |= treatment == "pass"
        same(old, new)
        if treatment == "pass":
            assert (new.port, new.port_count) == (old.port, old.port_count)
            assert (new.connection, new.rtcp_port) == (old.connection, old.rtcp_port)
            # Its own c= is all that it may have got.
            added = (new.stop - new.start) - (old.stop - old.start)
            assert added == 0 or b"\nc=" in out[new.start:new.stop]
            assert ICE.findall(out[new.start:new.stop]) == ICE.findall(body[old.start:old.stop])
            continue
        assert (new.port, new.port_count) == (port if treatment == "anchor" else 0, 1)
        assert new.connection == (host if old.connection else "")
        assert not ICE.search(out[new.start:new.stop])
        if treatment == "anchor" and old.rtcp_port:
            assert new.rtcp_port in (port, port + 1)
    if not passes:
        assert not ICE.search(out)
        assert after.connection == (host if before.connection else "")
        assert len(ICE.findall(body)) <= ice
        # Once more changes nothing more.
        assert rewritten(out, host, places) == (out, 0)


def same(old: Media, new: Media) -> None:
    """What the edge has no business with is as it was."""
    for field in ("kind", "proto", "formats", "codecs", "direction", "ptime"):
        assert getattr(old, field) == getattr(new, field)


_WHOLE = (
    b"v=0\r\no=- 1 2 IN IP4 h.example\r\ns=-\r\nc=IN IP4 192.0.2.10\r\nb=AS:128\r\nt=0 0\r\na=group:BUNDLE 0 1\r\n"
    b"a=ice-lite\r\nm=audio 49170 RTP/AVP 0 8 97 101\r\na=rtpmap:97 opus/48000/2\r\na=rtcp:53020 IN IP4 126.16.64.4\r\n"
    b"a=candidate:1 1 UDP 1 192.0.2.10 5 typ host\r\na=sendonly\r\nm=video 51372/2 RTP/SAVPF 31 96\r\ni=x\r\n"
    b"c=IN IP6 2001:db8::5\r\na=rtcp:9\r\na=rtcp-mux\r\na=ice-ufrag:x\r\nm=image 0 udptl t38\r\nm=audio 8 RTP/AVP 0")
SEEDS = [
    *(b"\0" * 3 + message.partition(b"\r\n\r\n")[2] for message in harness.messages() if b"application/sdp" in message),
    b"\0\0\0" + _WHOLE, b"\1\0\0" + _WHOLE, b"\0\0\x18" + _WHOLE, b"\1\xaa\xaa" + _WHOLE, b"\0\x55\x55" + _WHOLE,
    b"\1\x12\x34" + _WHOLE.replace(b"\r\n", b"\n"),
    b"\0\0\2v=0\no=-  1 1  IN   IP6 ::1\ns=-\nc=IN IP6 ff02::1/3\nm=audio 9 RTP/AVP 0\na=rtcp: 10  IN IP4 h\n",
]

if __name__ == "__main__":
    harness.run(target, SEEDS)
