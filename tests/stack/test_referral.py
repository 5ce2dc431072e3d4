"""What a NOTIFY of a REFER says, in the forms that peers write it in (RFC 3420, RFC 3515 2.4.4)."""
import pytest

from sipcore.stack.referral import read_notify
from sipcore.wire.message import Message


def notify(body: bytes, event: str = "refer", state: str = "terminated;reason=noresource") -> Message:
    return Message((
        "NOTIFY sip:a@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.2;branch=z9hG4bK1\r\n"
        "From: <sip:b@192.0.2.2>;tag=1\r\nTo: <sip:a@192.0.2.1>;tag=2\r\nCall-ID: x\r\nCSeq: 1 NOTIFY\r\n"
        f"Max-Forwards: 70\r\nEvent: {event}\r\nSubscription-State: {state}\r\nContent-Type: message/sipfrag\r\n"
        f"Content-Length: {len(body)}\r\n\r\n").encode() + body)


@pytest.mark.parametrize("body", [
    b"SIP/2.0 486 Busy Here\r\n", b"SIP/2.0 486 Busy Here", b"SIP/2.0 486 Busy Here\n",
    b"SIP/2.0 486 Busy Here\r\nVia: SIP/2.0/UDP 192.0.2.3\r\nRetry-After: 5\r\n\r\n",
    b"\r\nSIP/2.0 486 Busy Here\r\n", b"sip/2.0 486 Busy Here\r\n", b"SIP/2.0  486   Busy Here\r\n"])
def test_a_status_line_however_it_is_written(body):
    progress = read_notify(notify(body))
    assert progress is not None
    assert (progress.status, progress.reason, progress.final) == (486, "Busy Here", True)


@pytest.mark.parametrize("body", [b"", b"SIP/2.0 700 No", b"SIP/2.0 2000", b"SIP/2.0 20", b"HTTP/1.1 200 OK", b"200 OK",
                                  b"SIP/3.0 200 OK", b"INVITE sip:a@192.0.2.1 SIP/2.0\r\n", b"\xff" * 100])
def test_what_is_none_is_no_success(body):
    progress = read_notify(notify(body))
    assert progress is not None
    assert (progress.status, progress.final, progress.ended) == (0, False, True)


@pytest.mark.parametrize(("event", "number"), [("refer", None), ("REFER;id=93", 93), ("refer ; ID=7;x=y", 7)])
def test_the_package_and_its_refer(event, number):
    progress = read_notify(notify(b"SIP/2.0 100 Trying", event, "Active ; Expires = 30"))
    assert progress is not None
    assert (progress.refer, progress.status, progress.ended, progress.expires) == (number, 100, False, 30)


def test_another_package():
    assert read_notify(notify(b"SIP/2.0 200 OK", "dialog")) is None
