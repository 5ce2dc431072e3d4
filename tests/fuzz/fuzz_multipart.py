"""Multipart bodies: a session description that is found stands in the body as it is, and only where one was named.

The input is a Content-Type value, a line end, and a body.
"""
import re

from sipcore.base.errors import MalformedMessage
from sipcore.wire.message import Message
from sipcore.wire.multipart import description, sdp_of
from tests.fuzz import harness


def target(data: bytes) -> None:
    value, _, body = data.partition(b"\n")
    value = re.sub(rb"[\x00-\x1f\x7f]", b" ", value)
    message = (b"INVITE sip:b@192.0.2.2 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKa\r\n"
               b"From: <sip:a@x>;tag=1\r\nTo: <sip:b@x>\r\nCall-ID: c\r\nCSeq: 1 INVITE\r\n"
               b"Content-Type: %b\r\nContent-Length: %d\r\n\r\n" % (value, len(body))) + body
    try:
        found = sdp_of(message)
    except MalformedMessage as error:
        assert error.status in (400, 415)
        return
    if found is not None:
        assert found in body
        assert b"application/sdp" in (value + body).lower()
        assert found == body or value.strip()[:10].lower() == b"multipart/"
    assert description(Message(message)) in (body, found or b"")


_PART = b"--b1\r\nContent-Type: application/sdp\r\n\r\nv=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nt=0 0\r\n"
SEEDS = [
    b"application/sdp\nv=0\r\n", b"multipart/mixed;boundary=b1\npreamble\r\n" + _PART + b"--b1--\r\nepilogue",
    b'multipart/mixed; x="a;\\";b" ; boundary="b1"\n--b1\r\nc:text/plain\r\n\r\n\r\n' + _PART + b"--b1--",
    b"multipart/mixed;boundary=b2\n--b2\r\nContent-Type: multipart/alternative; boundary=b1\r\n\r\n" + _PART
    + b"--b1\ne: gzip\nc: application/isup\n\n\x01\x02\n--b1-- \n--b2--\r\n",
    b"multipart/mixed;boundary=b1\n" + _PART * 2 + b"--b1--", b"multipart/mixed\n--\r\n\r\n----",
]

if __name__ == "__main__":
    harness.run(target, SEEDS)
