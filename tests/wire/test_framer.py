"""Where messages end in a stream: every split point, and every way to make the rest look like a second message."""
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipcore.base.errors import MalformedMessage
from sipcore.wire.framer import Framing
from sipcore.wire.message import index

HEAD = (b"INVITE sip:b@example.com SIP/2.0\r\nVia: SIP/2.0/TCP a.example.com;branch=z9hG4bK1\r\n"
        b"From: <sip:a@example.com>;tag=1\r\nTo: <sip:b@example.com>\r\nCall-ID: 1\r\nCSeq: 1 INVITE\r\n")
SMUGGLED = (b"BYE sip:b@example.com SIP/2.0\r\nVia: SIP/2.0/TCP a.example.com;branch=z9hG4bK2\r\n"
            b"Content-Length: 0\r\n\r\n")
LIMIT = 4096


def message(length, body=b"", head=HEAD):
    return head + length + b"\r\n" + body


WITH_BODY = message(b"Content-Length: 10\r\n", b"v=0\r\n\r\nabc")
EMPTY = message(b"l : 0\r\n")
FOLDED = message(b"Content-Length:\r\n\t 4  \r\nSubject: a\r\n Content-Length: 9\r\n", b"\r\n\r\n")
RESPONSE = b"SIP/2.0 200 OK\r\nl: 2\r\n\r\nhi"
STREAM = b"\r\n\r\n" + WITH_BODY + EMPTY + b"\r\n" + FOLDED + RESPONSE + b"\r\n\r\n"
FRAMES = [("crlf", b"\r\n"), ("ping", b"\r\n"), ("message", WITH_BODY), ("message", EMPTY), ("crlf", b"\r\n"),
          ("message", FOLDED), ("message", RESPONSE), ("crlf", b"\r\n"), ("ping", b"\r\n")]


def fed(*parts, limit=LIMIT):
    framing = Framing(limit)
    return [frame for part in parts for frame in framing.feed(part)]


def test_frames_of_one_read():
    assert fed(STREAM) == FRAMES


def test_every_split_point():
    for at in range(len(STREAM) + 1):
        assert fed(STREAM[:at], STREAM[at:]) == FRAMES, at


def test_one_byte_at_a_time():
    assert fed(*(STREAM[at:at + 1] for at in range(len(STREAM)))) == FRAMES


@given(st.lists(st.integers(0, len(STREAM)), max_size=12))
def test_any_split_points(cuts):
    places = [0, *sorted(cuts), len(STREAM)]
    assert fed(*(STREAM[a:b] for a, b in pairwise(places))) == FRAMES


@pytest.mark.parametrize("length", [
    b"", b"Content-Length: -1\r\n", b"Content-Length: +4\r\n", b"Content-Length:\r\n", b"Content-Length: \t\r\n",
    b"Content-Length: 4x\r\n", b"Content-Length: 0x4\r\n", b"Content-Length: 4 4\r\n", b"Content-Length: 4,4\r\n",
    b"Content-Length: 4\r\nContent-Length: 4\r\n", b"Content-Length: 4\r\nl: 0\r\n", b"l: 0\r\nL: 0\r\nl: 0\r\n",
    b"Content-Length: 4294967300\r\n", b"Content-Length: 18446744073709551620\r\n", b"Content-Length: 99999999\r\n",
    b"Content-Length: " + b"9" * 200 + b"\r\n", b"Content-Length: 4096\r\n", b"Content-Length\x01: 4\r\n",
    b"Content-Lengt: 4\r\n", b"X-Content-Length: 4\r\n", b"Content-Length: 4\r\n 0\r\n",
], ids=repr)
def test_a_length_that_cannot_be_trusted_ends_the_stream(length):
    begun = message(length)
    kinds = fed(begun, b"abcd", SMUGGLED)
    assert kinds == [("bad length", begun)]
    # Whoever is told sees a refused message: its header section does not say what a stream needs.
    if refused(begun):
        return
    assert index(begun).header("Content-Length") is None


def refused(data):
    try:
        index(data)
    except MalformedMessage:
        return True
    return False


def test_nothing_waits_for_more_than_the_limit():
    begun = message(b"Content-Length: %d\r\n" % (LIMIT - len(message(b"Content-Length: 1234\r\n")) + 1))
    assert fed(begun, b"a" * LIMIT) == [("bad length", begun)]
    whole = message(b"Content-Length: %d\r\n" % (LIMIT - len(message(b"Content-Length: 1234\r\n"))))
    body = b"a" * (LIMIT - len(whole))
    assert fed(whole, body, EMPTY) == [("message", whole + body), ("message", EMPTY)]


@pytest.mark.parametrize("data", [
    b"\x16\x03\x01\x02\x00", b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", b"\n", b" INVITE sip:a SIP/2.0\r\n", b"\rINVITE",
    b"INVITE sip:a SIP/2.0\n", HEAD + b"Content-Length: 0\n\r\n" + SMUGGLED, HEAD + b"\n\r\n" + SMUGGLED, b"\x80",
    b"SIP 200 OK\r\n", b"INVITE sip:aSIP/2.0\r\n", b"\0",
], ids=repr)
def test_what_is_no_sip_ends_the_stream(data):
    assert [kind for kind, _ in fed(data, SMUGGLED)] == ["broken"]


@pytest.mark.parametrize("begin", [b"INVITE", b"INVITE sip:a SIP/2.0\r\nX: ", b"INVITE sip:a SIP/2.0\r\nX: a\r\n"])
def test_a_header_section_without_end_ends_the_stream_at_the_limit(begin):
    framing = Framing(LIMIT)
    frames = framing.feed(begin)
    sent = len(begin)
    while not frames:
        assert sent <= LIMIT
        assert framing.waiting == sent
        frames = framing.feed(b"a" * 100)
        sent += 100
    assert frames == [("broken", b"")]
    assert framing.feed(EMPTY) == []
    assert framing.waiting == 0


def test_another_version_is_a_message_that_can_be_answered():
    odd = b"OPTIONS sip:a SIP/7.0\r\nl: 0\r\n\r\n"
    assert fed(odd, EMPTY) == [("message", odd), ("message", EMPTY)]


def test_what_is_framed_the_index_reads_alike():
    for kind, data in FRAMES:
        if kind == "message":
            assert index(data).size == len(data)
