"""What the edge makes of a session description, byte for byte (RFC 8866, RFC 3605, RFC 5761, RFC 8839)."""
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipcore.anchor.rewrite import rewritten
from sipcore.wire.sdp import Sdp

HEAD = "v=0\no=alice 2890844526 2890844527 IN IP4 198.51.100.7\ns=-\n"
EDGE_HEAD = "v=0\no=alice 2890844526 2890844527 IN IP4 203.0.113.9\ns=-\n"
OFFER = HEAD + "c=IN IP4 198.51.100.7\nt=0 0\n"
EDGE = EDGE_HEAD + "c=IN IP4 203.0.113.9\nt=0 0\n"
ICE = ("a=candidate:1 1 UDP 2130706431 198.51.100.7 5004 typ host\n", "a=ice-ufrag:8hhY\n", "a=ice-pwd:asd88fgpd\n",
       "a=ice-options:trickle ice2\n", "a=end-of-candidates\n", "a=remote-candidates:1 192.0.2.3 45664\n")


def lines(text: str) -> bytes:
    return text.replace("\n", "\r\n").encode()


CASES = {
    "connection of the session": (
        OFFER + "m=audio 49170 RTP/AVP 0 8 101\na=rtpmap:101 telephone-event/8000\na=ptime:20\n",
        [("anchor", 20000)],
        EDGE + "m=audio 20000 RTP/AVP 0 8 101\na=rtpmap:101 telephone-event/8000\n"
                    "a=ptime:20\n"),
    "other ways to name an address": (
        OFFER + "a=source-filter: incl IN IP4 * 198.51.100.7\nm=audio 49170 RTP/AVP 0\n"
                "a=altc:1 IP4 198.51.100.7 49170\na=ccap:1 IN IP4 198.51.100.7\n"
                "a=ptime:20\na=source-filter:excl IN IP4 * 198.51.100.7\n",
        [("anchor", 20000)],
        EDGE + "m=audio 20000 RTP/AVP 0\na=ptime:20\n"),
    "connection of the section": (
        HEAD + "t=0 0\nm=audio 49170 RTP/AVP 0\nc=IN IP4 198.51.100.8\na=sendonly\na=x-unknown:1\n",
        [("anchor", 20000)],
        EDGE_HEAD + "t=0 0\nm=audio 20000 RTP/AVP 0\nc=IN IP4 203.0.113.9\na=sendonly\na=x-unknown:1\n"),
    "both, and an older hold": (
        OFFER + "m=audio 49170 RTP/AVP 0\nc=IN IP4 0.0.0.0\n",
        [("anchor", 20000)],
        EDGE + "m=audio 20000 RTP/AVP 0\nc=IN IP4 203.0.113.9\n"),
    "IPv6 becomes IPv4": (
        "v=0\no=- 1 1 IN IP6 2001:db8::1\ns=-\nc=IN IP6 2001:db8::1\nt=0 0\nm=audio 49170 RTP/AVP 0\n",
        [("anchor", 20000)],
        "v=0\no=- 1 1 IN IP4 203.0.113.9\ns=-\nc=IN IP4 203.0.113.9\nt=0 0\nm=audio 20000 RTP/AVP 0\n"),
    "refused video": (
        OFFER + "m=audio 49170 RTP/AVP 0\nm=video 51372 RTP/AVP 31\na=rtcp:51400\n",
        [("anchor", 20000), ("refuse", 0)],
        EDGE + "m=audio 20000 RTP/AVP 0\nm=video 0 RTP/AVP 31\n"),
    "video that passes keeps its address": (
        HEAD + "c=IN IP4 198.51.100.7\nb=AS:64\nt=0 0\nm=audio 49170 RTP/AVP 0\n"
               "m=video 51372 RTP/AVP 31\ni=cam\nb=AS:900\n",
        [("anchor", 20000), ("pass", 0)],
        EDGE_HEAD + "c=IN IP4 203.0.113.9\nb=AS:64\nt=0 0\nm=audio 20000 RTP/AVP 0\n"
                    "m=video 51372 RTP/AVP 31\ni=cam\nc=IN IP4 198.51.100.7\nb=AS:900\n"),
    "video that passes has an address of its own": (
        OFFER + "m=audio 49170 RTP/AVP 0\nm=video 51372 RTP/AVP 31\nc=IN IP4 198.51.100.20\n",
        [("anchor", 20000), ("pass", 0)],
        EDGE + "m=audio 20000 RTP/AVP 0\n"
                    "m=video 51372 RTP/AVP 31\nc=IN IP4 198.51.100.20\n"),
    "two anchored sections": (
        OFFER + "m=audio 49170 RTP/AVP 0\nm=video 51372 RTP/AVP 31\n",
        [("anchor", 20000), ("anchor", 20004)],
        EDGE + "m=audio 20000 RTP/AVP 0\nm=video 20004 RTP/AVP 31\n"),
    "a section without a place is refused": (
        OFFER + "m=audio 49170 RTP/AVP 0\nm=audio 49172 RTP/AVP 0\n",
        [("anchor", 20000)],
        EDGE + "m=audio 20000 RTP/AVP 0\nm=audio 0 RTP/AVP 0\n"),
    "rtcp": (
        OFFER + "m=audio 49170 RTP/AVP 0\na=rtcp:53020\n",
        [("anchor", 20000)],
        EDGE + "m=audio 20000 RTP/AVP 0\na=rtcp:20001\n"),
    "rtcp with an address": (
        OFFER + "m=audio 49170 RTP/AVP 0\na=rtcp:53020  IN IP6 2001:db8::5\na=x\n",
        [("anchor", 20000)],
        EDGE + "m=audio 20000 RTP/AVP 0\na=rtcp:20001  IN IP4 203.0.113.9\na=x\n"),
    "rtcp on the port of RTP": (
        OFFER + "m=audio 49170 RTP/AVP 0\na=rtcp:49170\na=rtcp-mux\n",
        [("anchor", 20000)],
        EDGE + "m=audio 20000 RTP/AVP 0\na=rtcp:20000\na=rtcp-mux\n"),
    "port count": (
        OFFER + "m=audio 49170/2 RTP/AVP 0\n",
        [("anchor", 20000)],
        EDGE + "m=audio 20000 RTP/AVP 0\n"),
    "SRTP keys pass": (
        OFFER + "m=audio 49170 RTP/SAVP 0\na=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:d0RmdmcmVC\n",
        [("anchor", 20000)],
        EDGE + "m=audio 20000 RTP/SAVP 0\n"
                    "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:d0RmdmcmVC\n"),
    "no section at all": (OFFER, [], EDGE),
    "a closed section stays closed": (
        OFFER + "m=audio 0 RTP/AVP 0\na=rtcp:5\n", [("anchor", 0)],
        EDGE + "m=audio 0 RTP/AVP 0\n"),
}


@pytest.mark.parametrize("name", CASES)
def test_case(name: str) -> None:
    before, places, after = CASES[name]
    assert rewritten(lines(before), "203.0.113.9", places) == (lines(after), 0)


def test_ipv4_becomes_ipv6() -> None:
    body = lines(HEAD + "c=IN IP4 198.51.100.7/127\nt=0 0\nm=audio 49170 RTP/AVP 0\na=rtcp:5 IN IP4 198.51.100.7\n")
    assert rewritten(body, "2001:db8::9", [("anchor", 20000)])[0] == lines(
        "v=0\no=alice 2890844526 2890844527 IN IP6 2001:db8::9\ns=-\nc=IN IP6 2001:db8::9\nt=0 0\n"
        "m=audio 20000 RTP/AVP 0\na=rtcp:20001 IN IP6 2001:db8::9\n")


def test_bare_line_feeds_and_no_last_line_end_stay() -> None:
    body = b"v=0\no=-  1 1  IN  IP4  10.0.0.1\ns=-\nc=IN IP4 10.0.0.1\nt=0 0\nm=audio 4000 RTP/AVP 0"
    assert rewritten(body, "203.0.113.9", [("anchor", 20000)])[0] == (
        b"v=0\no=-  1 1  IN  IP4 203.0.113.9\ns=-\nc=IN IP4 203.0.113.9\nt=0 0\nm=audio 20000 RTP/AVP 0")


def test_passing_section_on_a_last_line_without_line_end() -> None:
    body = b"v=0\r\no=- 1 1 IN IP4 10.0.0.1\r\ns=-\r\nc=IN IP4 10.0.0.1\r\nt=0 0\r\nm=video 4000 RTP/AVP 31"
    assert rewritten(body, "203.0.113.9", [("pass", 0)])[0] == (
        b"v=0\r\no=- 1 1 IN IP4 203.0.113.9\r\ns=-\r\nc=IN IP4 203.0.113.9\r\nt=0 0\r\nm=video 4000 RTP/AVP 31\r\n"
        b"c=IN IP4 10.0.0.1")


@pytest.mark.parametrize("attribute", ICE)
def test_ice_of_an_anchored_section_goes(attribute: str) -> None:
    body = OFFER + "{}m=audio 49170 RTP/AVP 0\n{}a=sendrecv\n"
    wanted = EDGE + "m=audio 20000 RTP/AVP 0\na=sendrecv\n"
    assert rewritten(lines(body.format(attribute, attribute)), "203.0.113.9", [("anchor", 20000)]) == (lines(wanted), 2)


def test_bundling_goes_and_other_groups_stay() -> None:
    body = OFFER + "a=group:BUNDLE 0 1\na=group:LS 0 1\na=ice-lite\nm=audio 49170 RTP/AVP 0\na=mid:0\n"
    assert rewritten(lines(body), "203.0.113.9", [("anchor", 20000)]) == (lines(
        EDGE + "a=group:LS 0 1\nm=audio 20000 RTP/AVP 0\na=mid:0\n"), 2)


def test_sections_that_go_apart_are_in_no_bundle() -> None:
    body = (OFFER + "a=group:BUNDLE 0 1\nm=audio 49170 RTP/AVP 0\na=mid:0\n"
            "m=video 49170 RTP/AVP 31\na=mid:1\n")
    assert rewritten(lines(body), "203.0.113.9", [("anchor", 20000), ("pass", 0)]) == (lines(
        EDGE + "m=audio 20000 RTP/AVP 0\na=mid:0\n"
        "m=video 49170 RTP/AVP 31\nc=IN IP4 198.51.100.7\na=mid:1\n"), 1)


def test_ice_of_a_passing_section_stays() -> None:
    body = (OFFER + "a=ice-ufrag:x\nm=audio 49170 RTP/AVP 0\na=ice-pwd:y\n"
            "m=video 5 RTP/AVP 31\na=ice-pwd:z\n")
    found, ice = rewritten(lines(body), "203.0.113.9", [("anchor", 20000), ("pass", 0)])
    assert ice == 1
    assert b"a=ice-ufrag:x" in found
    assert b"a=ice-pwd:z" in found
    assert b"a=ice-pwd:y" not in found


section = st.tuples(
    st.sampled_from(["audio", "video", "text", "image"]), st.integers(1, 65535),
    st.sampled_from(["", "c=IN IP4 198.51.100.8\n", "c=IN IP6 2001:db8::7\n"]),
    st.lists(st.sampled_from(["a=rtcp:5\n", "a=sendonly\n", "a=rtcp-mux\n", "a=x:y\n", "b=AS:5\n", *ICE]),
             max_size=4, unique=True),
    st.sampled_from(["anchor", "refuse", "pass"]), st.integers(1, 30000).map(lambda n: 2 * n))


@given(st.lists(section, max_size=6), st.sampled_from(["203.0.113.9", "2001:db8::9"]))
def test_rewritten_descriptions_parse_and_say_what_was_meant(sections: list, host: str) -> None:
    body = OFFER + "".join(
        f"m={kind} {port} RTP/AVP 31\n{connection}{''.join(attributes)}"
        for kind, port, connection, attributes, _, _ in sections)
    before = Sdp(lines(body))
    found, _ = rewritten(lines(body), host, [(treatment, new) for *_, treatment, new in sections])
    after = Sdp(found)
    assert after.origin_address == host
    assert after.version == before.version
    assert len(after.media) == len(sections)
    for old, new, (*_, treatment, port) in zip(before.media, after.media, sections, strict=True):
        assert (new.kind, new.proto, new.formats, new.direction) == (old.kind, old.proto, old.formats, old.direction)
        if treatment == "pass":
            assert (new.port, new.connection) == (old.port, old.connection)
        else:
            assert new.port == (port if treatment == "anchor" else 0)
            assert new.connection == host
