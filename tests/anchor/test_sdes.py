"""a=crypto lines (RFC 4568): which of them can be used, and what is made in their place."""
import base64
import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipcore.anchor.sdes import identifiers, usable, with_profile
from sipcore.media.srtpkey import NAMES, key_size
from sipcore.wire.sdp import Sdp

CM = "AES_CM_128_HMAC_SHA1_80"
KEY = "WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz"
HEAD = "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n"


def body(*lines: str, media: str = "4000 RTP/SAVP 0", end: str = "\r\n") -> bytes:
    return (HEAD + "\r\n".join([f"m=audio {media}", *lines]) + end).encode()


@pytest.mark.parametrize(("line", "found"), [
    (f"1 {CM} inline:{KEY}", True),
    (f"1   {CM.lower()}  INLINE:{KEY} ", True),
    (f"999999999 {CM} inline:{KEY}|2^20", True),
    (f"0 {CM} inline:{KEY}|1048576 WSH=64 -X-unknown=1", True),
    (f"1 {CM} inline:{KEY}|2^20|1:4", True),
    (f"1 {CM} inline:{KEY}|1:4", True),
    (f"1 {CM} inline:{KEY}|1:4|2^20", False),
    (f"1 {CM} inline:{KEY}|2^20|2^20", False),
    (f"1 {CM} inline:{KEY}|2^20|1:4|1:4", False),
    (f"1 {CM} inline:{KEY}|1:17", False),
    (f"1 {CM} inline:{KEY}|1:0", False),
    (f"1 {CM} inline:{KEY}|256:1", False),
    (f"1 {CM} inline:{KEY}|1:1000", False),
    (f"1 {CM} inline:{KEY}|1:0004", False),
    (f"1 {CM} inline:{KEY}|:4", False),
    (f"1 {CM} inline:{KEY}|x:4", False),
    (f"1 {CM} inline:{KEY}|1:", False),
    (f"1 {CM} inline:{KEY}|2^20|", False),
    (f"1 {CM} inline:{KEY}|", False),
    (f"1 {CM} inline:{KEY}|1:4;inline:{KEY}|2:4", False),
    (f"1 {CM} inline:{KEY};inline:{KEY}", False),
    (f"1 {CM} inline:{KEY}|2^20;inline:{KEY}|2^20", False),
    (f"1 {CM} inline:{KEY} KDR=1", False),
    (f"1 {CM} inline:{KEY} UNENCRYPTED_SRTP", False),
    (f"1 {CM} inline:{KEY} UNENCRYPTED_SRTCP", False),
    (f"1 {CM} inline:{KEY} X-unknown", False),
    (f"1 {CM} inline:{KEY} WSH=", False),
    (f"1 {CM} inline:{KEY[:-1]}", False),
    (f"1 {CM} inline:{KEY}AAAA", False),
    (f"1 {CM} inline:{KEY[:-1]}!", False),
    (f"1 {CM} inline:", False),
    (f"1 {CM} {KEY}", False),
    (f"1 {CM}", False),
    ("1", False),
    ("", False),
    (f"1234567890 {CM} inline:{KEY}", False),
    (f"x {CM} inline:{KEY}", False),
    (f"1 {CM}_X inline:{KEY}", False),
    (f"1 F8_128_HMAC_SHA1_80 inline:{KEY}", False),
    (f"1 AEAD_AES_128_GCM inline:{KEY}", False),
])
def test_lines_that_can_be_used(line: str, found: bool) -> None:
    cryptos = usable(body(f"a=crypto:{line}"))
    assert [(suite, key) for _, suite, key in cryptos] == [(CM, base64.b64decode(KEY))] * found


@pytest.mark.parametrize(("text", "mki"), [
    ("", b""), ("|2^31", b""), ("|1:1", b"\x01"), ("|255:1", b"\xff"), ("|256:2", b"\x01\x00"),
    ("|2^20|66051:4", b"\x00\x01\x02\x03"), (f"|{2**128 - 1}:16", b"\xff" * 16), ("|0:2", b"\x00\x00")])
def test_identifiers_are_numbers_of_so_many_bytes(text: str, mki: bytes) -> None:
    assert identifiers(body(f"a=crypto:1 {CM} inline:{KEY}{text}")) == [mki]


def test_the_first_of_two_with_one_tag_counts() -> None:
    lines = [f"a=crypto:1 {CM} inline:{KEY}", f"a=crypto:1 {CM} inline:{'A' * 40}", f"a=crypto:2 {CM} inline:{KEY}"]
    assert [(tag, key[:3]) for tag, _, key in usable(body(*lines))] == [(1, b"YS_"), (2, b"YS_")]


def test_many_lines_are_bounded() -> None:
    assert len(usable(body(*(f"a=crypto:{tag} {CM} inline:{KEY}" for tag in range(200))))) == 7


@given(st.text(max_size=120), st.binary(max_size=60))
def test_nothing_that_stands_there_harms(line: str, rest: bytes) -> None:
    clean = " ".join(line.replace("\0", "").splitlines())
    with contextlib.suppress(ValueError):
        usable(body(f"a=crypto:{clean}") + b"a=crypto:1 " + rest.replace(b"\n", b"").replace(b"\r", b"") + b"\r\n")


@pytest.mark.parametrize("padding", [True, False])
@pytest.mark.parametrize("suite", sorted(NAMES))
def test_padding_may_be_left_out(suite: str, padding: bool) -> None:
    key = bytes(range(200, 200 + key_size(suite)))
    text = base64.b64encode(key).decode()
    assert usable(body(f"a=crypto:3 {suite} inline:{text if padding else text.rstrip('=')}")) == [(3, suite, key)]


@pytest.mark.parametrize("end", ["\r\n", "\n", "", "\r"])
@pytest.mark.parametrize("lines", [(), ("a=x:1",), ("i=title", "b=AS:64", "a=x:1", f"a=crypto:1 {CM} inline:{KEY}")])
@pytest.mark.parametrize(("profile", "proto"), [("plain", "RTP/AVP"), ("beside", "RTP/AVP"), ("secure", "RTP/SAVP")])
@pytest.mark.parametrize("came", ["RTP/AVP", "RTP/SAVP", "RTP/SAVPF"])
def test_a_section_gets_another_profile(came: str, profile: str, proto: str, lines: tuple[str, ...], end: str) -> None:
    made = with_profile(body(*lines, media=f"4000 {came} 0", end=end), 0, profile, sorted(NAMES))  # type: ignore
    section, = Sdp(made).media
    assert section.proto == proto + came.partition("AVP")[2]
    assert [(tag, suite) for tag, suite, _ in usable(made)] == (
        [] if profile == "plain" else list(enumerate(sorted(NAMES), 1)))
    assert KEY.encode() not in made
    assert made.count(b"a=x:1") == ("a=x:1" in lines)
    # Attributes come last (RFC 8866 5).
    kinds = [line[:1] for line in made.decode().split("\n")[5:] if line.strip()]
    assert kinds == sorted(kinds, key="miba".index)


def test_a_closed_section_and_one_over_dtls_get_none() -> None:
    assert with_profile(body(media="0 RTP/AVP 0"), 0, "secure", [CM]) == body(media="0 RTP/SAVP 0")
    dtls = body("a=setup:active", media="0 UDP/TLS/RTP/SAVPF 0")
    assert with_profile(dtls, 0, "plain") == dtls.replace(b"a=setup:active\r\n", b"")
    assert with_profile(dtls, 0, "kept") == dtls


def test_keys_are_fresh() -> None:
    made = {with_profile(body(), 0, "secure", [CM]) for _ in range(50)}
    assert len({key for each in made for _, _, key in usable(each)}) == 50
