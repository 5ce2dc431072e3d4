"""The message index against a naive reading of the same bytes, and every accessor of what it accepts."""
import re

from sipcore.base.errors import MalformedMessage
from sipcore.wire.message import Message, decode, index
from tests.fuzz import harness

TOKEN = re.compile(r"[A-Za-z0-9\-.!%*_+`'~]+", re.ASCII)


def lines(data: bytes) -> list[tuple[str, str]]:
    """Name and unfolded value of each header line, read without the index."""
    head = data.lstrip(b"\r\n").partition(b"\r\n\r\n")[0]
    found = []
    for line in re.split(rb"\r\n(?![ \t])", head)[1:]:
        name, _, value = line.partition(b":")
        parts = [part.strip(b" \t") for part in value.split(b"\r\n")]
        unfolded = b" ".join(parts).strip(b" \t")
        found.append((name.rstrip(b" \t").decode(), unfolded.decode("utf-8", "surrogateescape")))
    return found


def read(message: Message) -> None:
    """Ask for everything; only text comes back, and nothing fails."""
    assert message.is_request == (message.status == 0)
    assert message.is_request or 100 <= message.status <= 699
    texts = (message.method, message.uri, message.reason, message.call_id, message.from_tag, message.to_tag,
             message.branch, message.cseq[1])
    assert all("\r" not in text and "\n" not in text for text in texts[:3])
    for name, value in message.items():
        assert TOKEN.fullmatch(name)
        assert "\n" not in value
        assert message.header(name) is not None
        assert message.headers(name.swapcase()) == message.headers(name)


def target(data: bytes) -> None:
    try:
        message = index(data)
    except MalformedMessage as fault:
        assert fault.status in (400, 505)
        return
    assert message.items() == lines(data)
    assert message.size <= len(data)
    assert message.body == data.lstrip(b"\r\n").partition(b"\r\n\r\n")[2][:len(message.body)]
    read(message)
    # What follows the declared length is no part of it, and what is forwarded is read the same way again.
    whole = data.lstrip(b"\r\n")[:message.size]
    assert index(whole).items() == message.items()
    try:
        checked = decode(data)
    except MalformedMessage:
        return
    read(checked)
    assert checked.branch == Message(whole).branch
    assert checked.call_id
    assert 0 <= checked.cseq[0] < 2**31
    assert not checked.is_request or checked.cseq[1] == checked.method


SEEDS = [
    *harness.messages(),
    b"\r\n\r\nOPTIONS sip:a SIP/2.0\r\nv : SIP/2.0/UDP h;branch=z9hG4bK1\r\n ;rport\r\nf: <sip:a>;tag=1\r\nt: sip:b\r\n"
    b"i: 1\r\nCSeq: 1\r\n\tOPTIONS\r\nm: *\r\nSubject: \"\\\x01\"\r\nl: 0\r\n\r\nrest",
]

if __name__ == "__main__":
    harness.run(target, SEEDS)
