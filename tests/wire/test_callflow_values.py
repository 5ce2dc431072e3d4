"""Addresses, Vias, URIs, CSeqs and SDP of the RFCs' own call flows: all of them, and some field by field."""
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from sipcore.wire.cseq import read_cseq
from sipcore.wire.nameaddr import NameAddress, split_values
from sipcore.wire.sdp import Sdp
from sipcore.wire.uri import URI
from sipcore.wire.via import ViaValue, split_via

ADDRESSES = ("from", "to", "contact", "route", "record-route", "refer-to", "referred-by")
# What the RFCs misprint: a Referred-By without scheme (5359 2.4), and values that go on in a line without the
# indent of a fold, so that a comma or an open bracket ends them.
MISPRINT = re.compile(rb"\s*(<alice@atlanta\.example\.com>|<[^>]*|.*,)\s*", re.DOTALL)


def flows(corpora: Path) -> Iterator[tuple[str, bytes, bytes, bytes]]:
    """(file, header name in lower case, value, body) of each header line, and the start line as header ""."""
    for path in sorted((corpora / "callflows").glob("*/*.sip")):
        text = re.sub(rb"\A(.*\r\n)\r\n", rb"\1", path.read_bytes())     # 5359 2.10: a blank line after the start line
        head, _, body = text.partition(b"\r\n\r\n")
        name = f"{path.parent.name}/{path.stem}"
        start, *lines = re.split(rb"\r\n(?![ \t])", head)
        yield name, b"", start, body
        for line in lines:
            header, colon, value = line.partition(b":")
            if colon and re.fullmatch(rb"[A-Za-z-]+[ \t]*", header):
                yield name, header.strip().lower(), value, body


def test_every_value_parses(corpora):
    seen = dict.fromkeys([*ADDRESSES, "via", "cseq", "uri", "sdp"], 0)
    for _, header, value, body in flows(corpora):
        name = header.decode()
        if name == "" and not value.startswith(b"SIP/2.0"):
            assert URI(value.split(b" ")[1]).host
            seen["uri"] += 1
        elif name in ADDRESSES and not MISPRINT.fullmatch(value):
            for one in split_values(value):
                address = NameAddress(one)
                assert address.star or (address.uri and (address.uri.host or address.uri.scheme == "mailto"))
                assert str(NameAddress(address.render()).uri) == str(address.uri)
            seen[name] += 1
        elif name == "via":
            for one in split_via(value):
                via = ViaValue(one)
                assert via.cookie
                assert via.host
                assert ViaValue(via.render()).params == via.params
            seen["via"] += 1
        elif name == "cseq":
            assert read_cseq(value)[0] > 0
            seen["cseq"] += 1
        elif name == "content-type" and value.strip() == b"application/sdp" and body:
            assert Sdp(body).media
            seen["sdp"] += 1
    assert min(seen.values()) > 0
    assert seen["from"] == seen["to"] == seen["cseq"] == 540


SPOTS = [
    ("rfc3665/2.1_F1", b"via", {"transport": "TLS", "host": "client.biloxi.example.com", "port": 5061,
                                "branch": "z9hG4bKnashds7", "rport": None}),
    ("rfc3665/2.1_F1", b"from", {"display": "Bob", "uri": "sips:bob@biloxi.example.com", "tag": "a73kszlfl"}),
    ("rfc3665/2.1_F1", b"contact", {"uri": "sips:bob@client.biloxi.example.com", "tag": "", "params": {}}),
    ("rfc3665/2.1_F1", b"cseq", (1, "REGISTER")),
    ("rfc5359/2.4_F5", b"refer-to", {"uri": "sips:carol@chicago.example.com", "brackets": True}),
    ("rfc5589/6.1_F1", b"contact", {"uri": "sips:3ld812adkjw@biloxi.example.com;gr=3413kj2ha"}),
]


@pytest.mark.parametrize(("file", "header", "fields"), SPOTS, ids=lambda part: part if isinstance(part, str) else "")
def test_fields(corpora, file, header, fields):
    value = next(value for name, found, value, _ in flows(corpora) if name == file and found == header)
    if header == b"cseq":
        assert read_cseq(value) == fields
        return
    view = ViaValue(split_via(value)[0]) if header == b"via" else NameAddress(value)
    for name, expected in fields.items():
        found = getattr(view, name)
        assert (str(found) if name == "uri" else found) == expected
