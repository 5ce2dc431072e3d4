"""Finding the session description in a body (RFC 2046 5.1, RFC 5621)."""
import pytest

from sipcore.base.errors import MalformedMessage
from sipcore.wire.multipart import sdp_of, sdp_place

SDP = b"v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nt=0 0\r\n"


def message(content_type: bytes, body: bytes, more: bytes = b"") -> bytes:
    return (b"INVITE sip:b@192.0.2.2 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKa\r\nFrom: <sip:a@x>;tag=1\r\n"
            b"To: <sip:b@x>\r\nCall-ID: c\r\nCSeq: 1 INVITE\r\n" + more
            + (b"Content-Type: " + content_type + b"\r\n" if content_type else b"")
            + b"Content-Length: %d\r\n\r\n" % len(body) + body)


def part(content_type: bytes, body: bytes, more: bytes = b"") -> bytes:
    return b"--b1\r\nContent-Type: " + content_type + b"\r\n" + more + b"\r\n" + body + b"\r\n"


@pytest.mark.parametrize("content_type", [b"application/sdp", b"Application/SDP", b"application/sdp ; charset=utf-8"])
def test_whole_body(content_type: bytes) -> None:
    assert sdp_of(message(content_type, SDP)) == SDP


@pytest.mark.parametrize(("content_type", "body"), [
    (b"", SDP), (b"application/sdp", b""), (b"application/sdp2", SDP), (b"text/plain", SDP), (b"application/isup", SDP),
])
def test_none(content_type: bytes, body: bytes) -> None:
    assert sdp_of(message(content_type, body)) is None


@pytest.mark.parametrize("boundary", [b"b1", b'"b1"', b"b1;x=y", b' "b1" '])
def test_one_part_of_several(boundary: bytes) -> None:
    body = (b"preamble\r\n" + part(b"application/isup;version=x", b"\x01\x02--b1") + part(b"application/sdp", SDP)
            + b"--b1--\r\nepilogue")
    assert sdp_of(message(b"multipart/mixed; boundary=" + boundary, body)) == SDP


def nested(body: bytes, boundary: bytes = b"b2", more: bytes = b"") -> bytes:
    """A part that is a multipart itself, of these parts."""
    return part(b"multipart/alternative;boundary=" + boundary,
                body.replace(b"--b1", b"--" + boundary) + b"--" + boundary + b"--", more)


def test_a_part_of_a_part() -> None:
    body = part(b"text/plain", b"") + nested(part(b"text/plain", SDP) + part(b"application/sdp", SDP)) + b"--b1--"
    assert sdp_of(message(b"multipart/mixed;boundary=b1", body)) == SDP
    alone = part(b"text/plain", b"") + nested(part(b"text/plain", SDP)) + b"--b1--"
    assert sdp_of(message(b"multipart/mixed;boundary=b1", alone)) is None


@pytest.mark.parametrize(("body", "status"), [
    (part(b"application/sdp", SDP) + nested(part(b"application/sdp", SDP)), 400),
    (nested(part(b"text/plain", b"")) + nested(part(b"text/plain", b"") * 15, b"b3"), 400),
    (nested(nested(nested(nested(part(b"application/sdp", SDP), b"b5"), b"b4"), b"b3")), 400),
    (part(b"multipart/mixed", part(b"application/sdp", SDP)), 400),
    (nested(part(b"application/sdp", SDP), more=b"Content-Encoding: gzip\r\n"), 415),
    (nested(part(b"application/sdp", SDP, b"Content-Transfer-Encoding: base64\r\n")), 415),
], ids=["two", "too many", "too deep", "no boundary", "encoded", "encoded inside"])
def test_parts_of_parts_that_cannot_be_told_apart(body: bytes, status: int) -> None:
    with pytest.raises(MalformedMessage) as caught:
        sdp_of(message(b"multipart/mixed;boundary=b1", body + b"--b1--"))
    assert caught.value.status == status


def test_bare_line_feeds() -> None:
    body = part(b"application/sdp", SDP).replace(b"\r\n", b"\n") + b"--b1--\n"
    assert sdp_of(message(b"multipart/mixed;boundary=b1", body)) == SDP.replace(b"\r\n", b"\n")


def test_a_longer_boundary_is_another_one() -> None:
    body = b"--b12\r\nContent-Type: application/sdp\r\n\r\nx\r\n" + part(b"application/sdp", SDP) + b"--b1--"
    assert sdp_of(message(b"multipart/mixed;boundary=b1", body)) == SDP


def test_no_session_description_in_it() -> None:
    assert sdp_of(message(b"multipart/mixed;boundary=b1", part(b"text/plain", SDP) + b"--b1--\r\n")) is None


@pytest.mark.parametrize(("content_type", "body"), [
    (b"multipart/mixed", part(b"application/sdp", SDP) + b"--b1--"),
    (b"multipart/mixed;boundary=", part(b"application/sdp", SDP) + b"--b1--"),
    (b"multipart/mixed;boundary=" + b"x" * 71, part(b"application/sdp", SDP) + b"--b1--"),
    (b"multipart/mixed;boundary=b1", part(b"application/sdp", SDP)),
    (b"multipart/mixed;boundary=b1", part(b"application/sdp", SDP) * 2 + b"--b1--"),
    (b"multipart/mixed;boundary=b1", part(b"text/plain", b"") * 17 + b"--b1--"),
])
def test_parts_that_cannot_be_told_apart(content_type: bytes, body: bytes) -> None:
    with pytest.raises(MalformedMessage, match="cannot be told apart"):
        sdp_of(message(content_type, body))


@pytest.mark.parametrize(("more", "body"), [
    (b"Content-Encoding: gzip\r\n", None), (b"e: gzip\r\n", None),
    (b"", part(b"application/sdp", SDP, b"Content-Transfer-Encoding: base64\r\n") + b"--b1--"),
    (b"", part(b"application/sdp", SDP, b"content-encoding: gzip\r\n") + b"--b1--"),
])
def test_encoded(more: bytes, body: bytes | None) -> None:
    wanted = message(b"application/sdp", SDP, more) if body is None else message(
        b"multipart/mixed;boundary=b1", body, more)
    with pytest.raises(MalformedMessage, match="encoded"):
        sdp_of(wanted)


@pytest.mark.parametrize(("content_type", "body", "place"), [
    ("application/sdp", SDP, (0, len(SDP))),
    ("multipart/mixed;boundary=b1", part(b"text/plain", SDP) + part(b"application/sdp", SDP) + b"--b1--\r\n",
     (len(part(b"text/plain", SDP)) + 39, len(part(b"text/plain", SDP)) + 39 + len(SDP))),
    ("multipart/mixed;boundary=b1", part(b"text/plain", SDP) + b"--b1--\r\n", None),
    ("multipart/mixed;boundary=b2", part(b"application/sdp", SDP) + b"--b1--\r\n", None),
    ("multipart/mixed", part(b"application/sdp", SDP) + b"--b1--\r\n", None),
    ("multipart/mixed;boundary=b1", part(b"application/sdp", SDP, b"Content-Encoding: gzip\r\n") + b"--b1--\r\n", None),
    ("text/plain", SDP, None), ("", b"", None),
])
def test_where_it_stands(content_type: str, body: bytes, place: tuple[int, int] | None) -> None:
    assert sdp_place(body, content_type) == place
    if place is not None:
        assert body[slice(*place)] == SDP
