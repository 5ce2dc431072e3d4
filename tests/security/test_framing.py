"""Framing and parsing rows of the attack list, as raw packets in a network namespace."""
import pytest

from sipcore.wire.message import Message
from tests.security.range import PBX, PEER, SDP, fresh, reply, request


def damaged(old: bytes, new: bytes, **options) -> bytes:
    whole = request(**options)
    assert old in whole
    return whole.replace(old, new, 1)


LENGTH = b"Content-Length: %d" % len(SDP)
SECOND = request(user="smuggled", unique="smuggled")


@pytest.mark.parametrize("length", [b"-1", b"4294967300", b"18446744073709551620", b"99999", b"1 2", b"0x10", b""],
                         ids=["negative", "2^32+4", "2^64+4", "larger", "two", "hexadecimal", "empty"])
def test_content_length_that_lies_is_refused(ground, length):
    ground.peer.send(damaged(LENGTH, b"Content-Length: " + length))
    ground.peer.expect(b"SIP/2.0 400")
    ground.nothing_forwarded()
    assert ground.rose("malformed_requests") == 1


def test_what_follows_the_content_length_never_becomes_a_message(ground):
    unique = fresh()
    ground.peer.send(request(unique=unique) + SECOND)
    invite = ground.pbx.expect(b"INVITE", unique.encode())
    assert b"smuggled" not in invite
    assert len(Message(invite).body) == len(SDP)
    ground.mark()
    assert ground.pbx.take() == []
    ground.pbx.send(reply(invite, "486 Busy Here"))
    ground.peer.expect(b"SIP/2.0 486", unique.encode())


@pytest.mark.parametrize("line", [
    b"Contact\x01: <sip:evil@198.18.0.9>", b"X-\x00Zero: 1", b"X-Delete\x7f: 1", b"X-Nul: a\x00b", b": nameless",
    b"no colon here", b"X Space: 1", b"Content-Length: 3", b"X-Cr: a\rContact: <sip:evil@198.18.0.9>",
], ids=["control-in-name", "nul-in-name", "delete-in-name", "nul-in-value", "no-name", "no-colon", "space-in-name",
        "second-content-length", "bare-cr"])
def test_what_two_readers_could_read_differently_is_refused(ground, line):
    ground.peer.send(damaged(b"Max-Forwards: 70\r\n", b"Max-Forwards: 70\r\n" + line + b"\r\n"))
    ground.peer.expect(b"SIP/2.0 400")
    ground.nothing_forwarded()
    assert ground.rose("malformed_requests") == 1


@pytest.mark.parametrize("line", [
    b"X-Internal-Secret: s", b"x-iNTERNAL-sECRET: s", b"X-Internal-Secret : s", b"X-Internal-Secret\t: s",
    b"X-Internal-Secret:\r\n s", b"X-Internal-Secret\t :\r\n\ts",
], ids=["plain", "case", "space", "tab", "folded", "all"])
def test_a_removed_header_is_removed_in_every_spelling(ground, line):
    unique = fresh()
    ground.peer.send(damaged(b"Max-Forwards: 70\r\n", b"Max-Forwards: 70\r\n" + line + b"\r\nX-Unknown: kept\r\n",
                             unique=unique))
    invite = ground.pbx.expect(b"INVITE", unique.encode())
    assert b"internal-secret" not in invite.lower()
    assert b"\r\nX-Unknown: kept\r\n" in invite
    ground.pbx.send(reply(invite, "486 Busy Here"))
    ground.peer.expect(b"SIP/2.0 486", unique.encode())


def test_an_injected_header_cannot_be_smuggled_in(ground):
    unique = fresh()
    ground.peer.send(damaged(b"Max-Forwards: 70\r\n", b"Max-Forwards: 70\r\nx-edge : evil\r\nX-EDGE:\r\n evil\r\n",
                             unique=unique))
    invite = ground.pbx.expect(b"INVITE", unique.encode())
    assert Message(invite).headers("X-Edge") == ["edge"]
    assert b"evil" not in invite
    ground.pbx.send(reply(invite, "486 Busy Here"))
    ground.peer.expect(b"SIP/2.0 486", unique.encode())


@pytest.mark.parametrize(("old", "new"), [
    (b"CSeq: 1 INVITE", b"CSeq: 4294967296 INVITE"), (b"CSeq: 1 INVITE", b"CSeq: 1 BYE"),
    (b"CSeq: 1 INVITE", b"CSeq: -1 INVITE"), (b"CSeq: 1 INVITE", b"CSeq: INVITE"),
    (b"\r\nCall-ID: ", b"\r\nX-Call-ID: "), (b"\r\nFrom: ", b"\r\nX-From: "), (b"\r\nTo: ", b"\r\nX-To: "),
    (b"\r\nCSeq: ", b"\r\nX-CSeq: "), (b"Max-Forwards: 70", b"Max-Forwards: seventy"),
    (b"INVITE sip:2000@", b"INVITE sip:[2000@"), (b"From: <sip:peer@", b'From: "open <sip:peer@'),
], ids=["cseq-too-big", "cseq-of-another-method", "cseq-negative", "cseq-without-number", "no-call-id", "no-from",
        "no-to", "no-cseq", "max-forwards", "uri", "unbalanced-quote"])
def test_a_value_out_of_range_is_refused(ground, old, new):
    ground.peer.send(damaged(old, new))
    ground.peer.expect(b"SIP/2.0 400")
    ground.nothing_forwarded()
    assert ground.rose("malformed_requests") == 1


def test_a_bad_via_brings_nothing_to_the_pbx(ground):
    ground.peer.send(damaged(b"Via: SIP/2.0/UDP 192.0.2.10:5060;branch", b"Via: SIP/2.0/UDP [192.0.2.10:99999;;branch"))
    ground.peer.send(damaged(b"Via: ", b"X-Via: "))
    ground.nothing_forwarded()
    assert ground.rose("malformed_requests") == 2


@pytest.mark.parametrize("message", [
    request(extra=(("X-Long", "a" * 9000),)), request(extra=(("X" * 9000, "a"),)),
    request(uri="sip:" + "a" * 9000 + "@192.0.2.1"),
    request(extra=tuple(("X-Many", str(i)) for i in range(500))),
    request(extra=tuple(("Accept", "text/plain") for _ in range(500))),
    request(to_tag="t" * 9000),
], ids=["header-line", "header-name", "request-uri", "headers", "accept", "tag"])
def test_too_long_or_too_many_is_refused(ground, message):
    ground.peer.send(message)
    ground.peer.expect(b"SIP/2.0 4")
    ground.nothing_forwarded()
    assert ground.rose("malformed_requests") == 1


@pytest.mark.parametrize("body", [
    b"v=0\r\n\r\n\r\nb=\r\nb=noColon\r\n", b"v=0\r\no=- 1 1 IN IP4 999.999.1.1\r\nc=IN IP4 \x00\r\n",
    SDP + b"a=fmtp:0 a\x00b\r\n", SDP + b"a=rtpmap:0 PCMU/8000\r\n" * 200, SDP + b"m=audio 4 RTP/AVP 0\r\n" * 400,
], ids=["empty-records", "bad-address", "nul", "duplicate-codecs", "hundreds-of-m-lines"])
def test_a_body_that_the_edge_does_not_change_passes_as_it_is(ground, body):
    """The proxied call leaves the body to the far ends: what comes out is what went in, to the byte."""
    unique = fresh()
    ground.peer.send(request(unique=unique, body=body))
    invite = ground.pbx.expect(b"INVITE", unique.encode())
    assert Message(invite).body == body
    ground.pbx.send(reply(invite, "486 Busy Here"))
    ground.peer.expect(b"SIP/2.0 486", unique.encode())


@pytest.mark.parametrize(("name", "value"), [
    ("Authorization", 'Digest username="open, realm=, nc=ffffffffffffffffffffffff'),
    ("Proxy-Authorization", "Digest " + "a=b," * 1000), ("Authorization", "\"\\"),
    ("Content-Type", 'multipart/mixed; boundary=""'), ("Content-Type", "multipart/mixed; boundary=" + "-" * 5000),
], ids=["unbalanced", "thousands", "escape-at-the-end", "empty-boundary", "long-boundary"])
def test_a_header_that_is_not_the_edge_s_business(ground, name, value):
    """It is refused, or it passes to the byte; nothing in between."""
    unique = fresh()
    ground.peer.send(request(unique=unique, extra=((name, value),), body=b""))
    ground.mark()
    for invite in ground.pbx.take():
        assert Message(invite).headers(name) == [value]
        ground.pbx.send(reply(invite, "486 Busy Here"))
    ground.mark()
    assert [data for data in ground.peer.received if unique.encode() in data]


def test_an_invite_in_ip_fragments_is_one_invite(ground):
    unique = fresh()
    ground.raw(request(unique=unique, extra=(("X-Fill", "f" * 3000),)), fragment_at=800, order=-1)
    invite = ground.pbx.expect(b"INVITE", unique.encode())
    assert Message(invite).headers("X-Fill") == ["f" * 3000]
    ground.pbx.send(reply(invite, "486 Busy Here"))
    ground.peer.expect(b"SIP/2.0 486", unique.encode())


def test_a_fragment_that_never_comes_leaves_nothing(ground):
    for _ in range(50):
        ground.raw(request(extra=(("X-Fill", "f" * 3000),)), fragment_at=800, last=False)
    ground.nothing_forwarded()
    assert ground.rose("requests_in") == 1      # the marker


@pytest.mark.parametrize("damage", [{"checksum": 0xBEEF}, {"declared": 20}, {"declared": 6000}],
                         ids=["checksum", "length-too-small", "length-too-large"])
def test_a_broken_udp_header_never_reaches_the_parser(ground, damage):
    ground.raw(request(), **damage)
    ground.nothing_forwarded()
    assert ground.rose("forwarded") == 0


@pytest.mark.parametrize("size", [16385, 40000, 65000])
def test_more_than_the_message_limit_is_refused(ground, size):
    extra = (("X-Fill", "f" * 4000),) * 3
    message = request(extra=extra, body=SDP + b"a=" + b"x" * (size - len(request(extra=extra))) + b"\r\n")
    assert len(message) >= size
    ground.peer.send(message)
    ground.nothing_forwarded()
    assert ground.rose("malformed_requests") == 1


def test_every_truncation_of_an_invite_is_harmless(ground):
    """Cut after any byte, it is refused or dropped: only the whole one is a call."""
    unique = fresh()
    whole = request(unique=unique)
    for end in range(1, len(whole)):
        ground.raw(whole[:end])
        if end % 50 == 0:
            ground.mark()
    ground.nothing_forwarded()
    assert ground.rose("forwarded") == 0
    assert ground.rose("malformed_requests") > len(whole) - 30


def test_garbage_is_harmless(ground):
    for number in range(256):
        ground.raw(bytes((number + i * 7) & 255 for i in range(number + 1)))
    for text in (b"\r\n\r\n", b"\x00" * 100, b"SIP/2.0 200 OK\r\n\r\n", b"INVITE\r\n\r\n", b"\xff" * 1400,
                 b"\r\n" * 700):
        ground.raw(text)
    ground.nothing_forwarded()


def test_addresses_of_the_parties_are_what_the_tests_think(ground):
    """The peer is listed, and what it sends arrives from its own address: without that the others show nothing."""
    invite, answer = ground.call()
    assert f";received={PEER[0]}".encode() not in invite
    assert f"sip:pbx@{PBX[0]}".encode() in answer
    ground.hang_up(answer)
