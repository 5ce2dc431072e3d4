"""The shared messages are what they claim to be: CRLF lines, an exact Content-Length, all mandatory headers."""
import re

import pytest

from benchmarks import corpus

MANDATORY = (b"Via", b"From", b"To", b"Call-ID", b"CSeq", b"Content-Length")  # RFC 3261 8.1.1, 20


def test_names() -> None:
    assert corpus.NAMES == ("180", "200", "ack", "bye", "invite", "notify", "refer", "register")


@pytest.mark.parametrize("name", corpus.NAMES)
def test_message_is_well_formed(name: str) -> None:
    message = corpus.load(name)
    assert not re.search(rb"(?<!\r)\n|\r(?!\n)", message), "every line ends in CRLF"
    head, separator, body = message.partition(b"\r\n\r\n")
    assert separator
    first, *lines = head.split(b"\r\n")
    names = [line.partition(b":")[0] for line in lines]
    assert set(MANDATORY) <= set(names)
    headers = dict(line.split(b": ", 1) for line in lines)
    assert int(headers[b"Content-Length"]) == len(body)
    if first.startswith(b"SIP/2.0 "):
        assert b"Contact" in headers
    else:
        assert headers[b"CSeq"].split()[1] == first.split()[0]
        assert headers[b"Max-Forwards"] == b"70"


def test_one_dialog() -> None:
    ids = {re.search(rb"Call-ID: (.+)\r\n", corpus.load(name)).group(1)  # type: ignore[union-attr]
           for name in corpus.NAMES if name != "register"}
    assert len(ids) == 1
