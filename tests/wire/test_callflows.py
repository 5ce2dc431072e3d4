"""The 540 messages of RFC 3665, 5359 and 5589: each parses, renders back byte for byte, and its fields are right.

The RFCs print for people: a Content-Length of "...", or one that the printed body contradicts, values that go on in
the next line without the indent of a fold, a blank line after the status line instead of before the body. Each of
these is put right in one place here, and counted, so that nothing is passed over in silence.
"""
import re
from collections import Counter

import pytest

from sipcore.wire.edit import Editor
from sipcore.wire.message import Message
from sipcore.wire.tables import METHODS
from tests.endpoints import Bench

HEADER = re.compile(rb"[A-Za-z][A-Za-z0-9-]*[ \t]*:")
# Which preparation how many messages need.
PREPARED = {
    "blank line": 2, "length": 2, "markup": 7, "method in CSeq": 4, "no empty line": 18, "no indent": 9,
    "no number": 154,
}


def prepared(data):
    """(the message as a peer would send it, names of what had to be done for that)."""
    done = []
    text = data
    if re.match(rb"[^\r]*\r\n\r\n", text):
        text = text.replace(b"\r\n\r\n", b"\r\n", 1)
        done.append("blank line")
    if b"<allOneLine>" in text:
        text = re.sub(rb"\r\n</?allOneLine>", b"", text)
        head, end, body = text.partition(b"\r\n\r\n")
        text = re.sub(rb"\r\n(?![A-Za-z-]+[ \t]*:)", b"", head) + end + body
        done.append("markup")
    opened = re.sub(rb"(\r\nContent-Length:[^\r]*\r\n)(v=0|SIP/2\.0 |<\?xml)", rb"\1\r\n\2", text, count=1)
    if opened != text:
        done.append("no empty line")
    head, end, body = opened.partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    indented = lines[:1] + [line if HEADER.match(line) or line[:1] in b" \t" else b" " + line for line in lines[1:]]
    if indented != lines:
        done.append("no indent")
    fixed = [re.sub(rb"(?i)\A(Content-Length:[ \t]*).*", rb"\g<1>%d" % len(body), line) for line in indented]
    if fixed != indented:
        done.append("no number" if b"..." in head else "length")
    method = lines[0].split(b" ")[0]
    named = [re.sub(rb"\A(CSeq: \d+ ).*", rb"\1" + method, line) for line in fixed] if method != b"SIP/2.0" else fixed
    if named != fixed:
        done.append("method in CSeq")
    return b"\r\n".join(named) + (end or b"\r\n\r\n") + body, done


@pytest.fixture(scope="module")
def flows(corpora):
    return {f"{path.parent.name}/{path.stem}": path.read_bytes()
            for path in sorted((corpora / "callflows").glob("*/*.sip"))}


def test_what_had_to_be_put_right(flows):
    assert len(flows) == 540
    done = Counter(name for data in flows.values() for name in prepared(data)[1])
    assert done == PREPARED


def test_each_renders_back_byte_for_byte(flows):
    for data in flows.values():
        text = prepared(data)[0]
        message = Message(text)
        editor = Editor(text)
        assert editor.size == message.size == len(text)
        assert editor.render() == text


def test_fields_are_those_of_the_text(flows):
    seen: Counter[str] = Counter()
    for data in flows.values():
        text = prepared(data)[0]
        head = re.sub(rb"\r\n[ \t]+", b" ", text.partition(b"\r\n\r\n")[0]).decode()
        start, *lines = head.split("\r\n")
        fields = [(name.strip(), value.strip()) for name, _, value in (line.partition(":") for line in lines)]
        message = Message(text)
        assert message.items() == fields
        values = dict(reversed(fields))
        if message.is_request:
            assert start == f"{message.method} {message.uri} SIP/2.0"
        else:
            assert start.split(" ", 2) == ["SIP/2.0", str(message.status), message.reason]
        number, method = values["CSeq"].split()
        assert message.cseq == (int(number), method)
        assert message.method == method
        assert message.call_id == values["Call-ID"]
        for name, tag in (("From", message.from_tag), ("To", message.to_tag)):
            found = re.search(r";tag=([^;\s]+)", values[name])
            assert tag == (found[1] if found else "")
        vias = [value for name, value in fields if name == "Via"]
        assert len(message.headers("v")) == sum(value.count("SIP/2.0/") for value in vias)
        assert message.branch == re.findall(r";\s*branch=([^;\s]+)", vias[0])[0]
        assert message.body == text.partition(b"\r\n\r\n")[2]
        seen["request" if message.is_request else "response"] += 1
    assert seen.total() == 540
    assert min(seen.values()) > 200


def test_a_proxy_brings_folds_into_one_line(flows):
    folded = 0
    for name, data in flows.items():
        text, _ = prepared(data)
        message = Message(text)
        head = text.partition(b"\r\n\r\n")[0]
        if not message.is_request or message.method in ("ACK", "CANCEL") or b"\r\n " not in head:
            continue
        bench = Bench(methods=METHODS)
        reachable = re.sub(rb" sips?:[^ ]+ ", b" sip:x@127.0.0.3 ", text, count=1)
        bench.link.send(("127.0.0.2", 5060), ("127.0.0.1", 5060), reachable)
        bench.run()
        sent = [packet.data for packet in bench.link.sent if packet.to[0] == "127.0.0.3"]
        if sent:
            folded += 1
            assert b"\r\n " not in sent[0].partition(b"\r\n\r\n")[0], name
            forwarded = Message(sent[0])
            assert forwarded.headers("Via")[2:] == message.headers("Via")[1:]
            for header in ("From", "To", "Contact", "Call-ID", "CSeq", "Refer-To", "Allow"):
                assert forwarded.headers(header) == message.headers(header)
    assert folded > 50
