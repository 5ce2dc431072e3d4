"""The message index: names, folds, lists, limits, framing, and each fault that it raises, with its words."""
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipcore.base.errors import MalformedMessage
from sipcore.wire.fault import fault_codes
from sipcore.wire.message import Message, decode, index

START = b"OPTIONS sip:bob@example.com SIP/2.0\r\n"
LINES = (b"Via: SIP/2.0/UDP pc.example.com;branch=z9hG4bKa\r\nFrom: \"A\" <sip:a@example.com>;tag=f1\r\n"
         b"To: <sip:bob@example.com>;tag=t1\r\nCall-ID: id@host\r\nCSeq: 7 OPTIONS\r\n")


def message(lines=b"", body=b"", start=START):
    return Message(start + LINES + lines + b"\r\n" + body)


def fault_of(data):
    with pytest.raises(MalformedMessage) as caught:
        Message(data)
    text, _, place = str(caught.value).rpartition(" (at byte ")
    return next(code for code, words in fault_codes().items() if words == text), int(place.rstrip(")"))


def test_a_request():
    one = message(b"Content-Length: 4\r\n", b"body")
    assert (one.is_request, one.method, one.uri, one.status, one.reason) == (
        True, "OPTIONS", "sip:bob@example.com", 0, "")
    assert (one.call_id, one.cseq, one.from_tag, one.to_tag, one.branch) == (
        "id@host", (7, "OPTIONS"), "f1", "t1", "z9hG4bKa")
    assert (one.body, one.size) == (b"body", len(one.data))


@pytest.mark.parametrize(("line", "status", "reason"), [
    (b"SIP/2.0 200 OK", 200, "OK"), (b"SIP/2.0 100 ", 100, ""), (b"SIP/2.0 699 a  b ", 699, "a  b "),
    (b"sip/2.0 180 R\xc3\xadng", 180, "R\u00edng")])
def test_a_response(line, status, reason):
    one = message(start=line + b"\r\n")
    assert (one.is_request, one.status, one.reason, one.method, one.uri) == (False, status, reason, "OPTIONS", "")


def test_short_names_and_odd_case_are_the_same_header():
    short = LINES.replace(b"Via", b"v").replace(b"From", b"F").replace(b"To", b"t").replace(b"Call-ID", b"I")
    one = Message(START + short + b"SUBJECT: x\r\nm: <sip:a@h>\r\nCONTACT: <sip:b@h>\r\n\r\n")
    assert one.headers("Contact") == one.headers("M") == ["<sip:a@h>", "<sip:b@h>"]
    assert (one.call_id, one.header("s"), one.header("subject")) == ("id@host", "x", "x")
    assert one.items()[0][0] == "v"


def test_folds_and_spaces_are_no_part_of_values():
    one = message(b"X-A \t:  a\r\n  b\r\n\tc  \r\nX-B:\r\n d\r\nX-C:\r\nX-D: \t \r\n")
    assert [one.header(name) for name in ("x-a", "x-b", "x-c", "x-d", "x-e")] == ["a b c", "d", "", "", None]


def test_lists_split_at_their_commas_only():
    one = message(b"Route: \"a, \\\"b\" <sip:x@h;lr?y=1,2>;p=\",\", <sip:z@h>\r\nRoute: <sip:w@h>\r\nX: a, b\r\n"
                  b"Supported: a,\r\n b , c\r\nAuthorization: Digest a=\"b\", c=d\r\n")
    assert one.headers("Route") == ["\"a, \\\"b\" <sip:x@h;lr?y=1,2>;p=\",\"", "<sip:z@h>", "<sip:w@h>"]
    assert one.headers("Supported") == ["a", "b", "c"]
    assert one.headers("X") == ["a, b"]
    assert one.headers("Authorization") == ["Digest a=\"b\", c=d"]


@pytest.mark.parametrize(("start", "code"), [
    (b"OPTIONS sip:b@h", -40), (b" sip:b@h SIP/2.0", -40), (b"OPTIONS  sip:b@h SIP/2.0", -40), (b"OPTIONS", -40),
    (b"OPTIONS sip:b@h SIP/2.0 ", -40), (b"OPTIONS sip:b@h HTTP/1.1", -40), (b"OPTIONS sip:b@h SIP/2.x", -40),
    (b"OP/TIONS sip:b@h SIP/2.0", -40), (b"", -40), (b"OPTIONS sip:b@h SIP/3.0", -41),
    (b"OPTIONS sip:b@h SIP/2.00", -41), (b"SIP/1.0 200 OK", -41), (b"SIP/2.0 99 OK", -43),
    (b"SIP/2.0 700 OK", -43), (b"SIP/2.0 4294967496 OK", -43),
    (b"SIP/2.0 20", -43), (b"SIP/2.0 2x0 OK", -43), (b"SIP/2.0 200OK", -43), (b"OPTIONS sip:b@h?a=b SIP/2.0", -55),
    (b"OPTIONS sip:" + b"b" * 9000 + b"@h SIP/2.0", -44),
])
def test_faults_of_the_start_line(start, code):
    assert fault_of(start + b"\r\n" + LINES + b"\r\n")[0] == (code if start else fault_of(LINES + b"\r\n")[0])


@pytest.mark.parametrize("second", [b"X: a\nb\r\n", b"X\x01: a\r\n", b"Y", b"CSeq: 8 OPTIONS\r\n"])
def test_of_two_faults_the_first_is_told_with_its_place(second):
    lines = LINES + b"To: <sip:c@example.com>\r\n"
    assert fault_of(START + lines + second + b"\r\n") == (-51, len(START + LINES))


@pytest.mark.parametrize("name", [b"To", b"From", b"CSeq", b"Call-ID", b"t", b"f", b"i"])
def test_only_the_case_of_letters_may_differ_in_a_name(name):
    for i, c in enumerate(name):
        # Repeated where it is the same name; "-" with the bit of small letters taken off is a bare CR.
        other = name[:i] + bytes([c ^ 0x20]) + name[i + 1:]
        assert fault_of(START + LINES + other + b": 1\r\n\r\n")[0] == (-47 if c == ord("-") else -51)


@pytest.mark.parametrize(("lines", "code"), [
    (b"X: " + b"a" * 9000 + b"\r\n", -44), (b"X:" + (b"\r\n " + b"a" * 100) * 90 + b"\r\n", -44),
    (b"X-A: 1\r\n" * 130, -45), (b"X:" + b"\r\n a" * 130 + b"\r\n", -45),
    (b"X\x01: 1\r\n", -47), (b"X\x7f: 1\r\n", -47), (b": 1\r\n", -47), (b"X Y: 1\r\n", -47), (b"X\r\n", -47),
    (b"\xc3\xa4: 1\r\n", -47), (b"X@: 1\r\n", -47), (b"X: \0\r\n", -48), (b"X: \x7f\r\n", -48),
    (b"X: \"\x01\"\r\n", -48), (b"X: \\\x01\r\n", -48), (b"X: a\nY: b\r\n", -49), (b"X: a\rb\r\n", -49),
    (b"X: a\r\n \r\n", -49),
    (b"X: a\r\n\t\r\n b\r\n", -49), (b"X: \"\\\r\"\r\n", -49), (b"To: <sip:x@h>\r\n", -51), (b"i: x\r\n", -51),
    (b"l: 0\r\nContent-Length: 0\r\n", -51), (b"Content-Length: -1\r\n", -53), (b"Content-Length: 1\r\n", -53),
    (b"Content-Length: 4294967296\r\n", -53), (b"Content-Length: 18446744073709551616\r\n", -53),
    (b"Content-Length: 0x0\r\n", -53), (b"Content-Length: 0 0\r\n", -53), (b"Content-Length:\r\n", -53),
])
def test_faults_of_header_lines(lines, code):
    assert fault_of(START + LINES + lines + b"\r\n")[0] == code


@pytest.mark.parametrize(("old", "new", "code"), [
    (b"CSeq: 7 OPTIONS", b"CSeq: 7 INVITE", -54), (b"id@host", b"a b", -57), (b"id@host", b"\xc3\xa4", -57),
    (b"id@host", b"", -52), (b"CSeq: 7 OPTIONS\r\n", b"", -52), (b"7 OPTIONS", b"2147483648 OPTIONS", -27),
    (b"7 OPTIONS", b"7", -28), (b"SIP/2.0/UDP", b"SIP/2.0", -20), (b";tag=f1", b";tag=f1;tag=f2", -18),
])
def test_faults_of_mandatory_headers(old, new, code):
    assert fault_of((START + LINES + b"\r\n").replace(old, new))[0] == code


def test_the_end_of_the_headers():
    whole = START + LINES + b"X: y\r\n\r\n"
    for end in range(len(whole)):
        code, at = fault_of(whole[:end])
        assert code in (-40, -50)
        assert at <= end
    assert Message(whole).header("X") == "y"


def test_a_message_longer_than_a_datagram():
    assert fault_of(START + LINES + b"\r\n" + b"b" * 65_536)[0] == -46


def test_controls_may_stand_in_quoted_pairs_alone():
    one = message(b"X: \"\\\x01\\\x7f \\\" \\\\\" \t\r\n")
    assert one.header("X") == "\"\\\x01\\\x7f \\\" \\\\\""


def test_bytes_behind_the_body_are_no_part_of_the_message():
    one = message(b"Content-Length: 0002\r\n", b"body")
    assert (one.body, one.size) == (b"bo", len(one.data) - 2)
    assert message(b"", b"all of it").body == b"all of it"


def test_what_a_keepalive_is():
    for data in (b"", b"\r\n", b"\r\n\r\n"):
        assert fault_of(data)[0] == -40
    assert Message(b"\r\n\r\n" + START + LINES + b"\r\n").method == "OPTIONS"


def test_index_looks_at_no_value_and_decode_at_all():
    broken = START + b"Via: ?\r\nFrom: <\r\n\r\n"
    assert index(broken).header("Via") == "?"
    with pytest.raises(MalformedMessage):
        decode(broken)
    assert decode(START + LINES + b"\r\n").branch == "z9hG4bKa"


def test_every_fault_has_words():
    codes = fault_codes()
    assert {code for code in codes if -57 <= code <= -40} == set(range(-57, -39)) - {-42}
    assert all("expected" in words or "limit" in words or "once" in words for words in codes.values())


@given(st.binary(max_size=300))
def test_any_bytes_are_a_message_or_a_malformed_one(data):
    for text in (data, START + data, START + LINES + data, START + LINES + data + b"\r\n\r\n"):
        try:
            one = Message(text)
        except MalformedMessage:
            continue
        assert one.size <= len(text)
        assert not any("\r" in value or "\n" in value for _, value in one.items())


def test_what_is_not_there_shows_nothing_of_an_earlier_message():
    before = Message(b"OPTIONS sip:a@b SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bKbefore\r\n"
                     b"From: <sip:a@b>;tag=before\r\nTo: <sip:b@b>;tag=before\r\nCall-ID: before\r\n"
                     b"CSeq: 4711 OPTIONS\r\nContent-Length: 0\r\n\r\n")
    assert before.cseq == (4711, "OPTIONS")
    del before
    for rest in (b"", b"CSeq: x\r\nVia: nothing\r\nFrom: <\r\nTo: <\r\n"):
        message = index(b"BYE sip:a@b SIP/2.0\r\n" + rest + b"Content-Length: 0\r\n\r\n")
        assert (message.cseq, message.branch, message.from_tag, message.to_tag) == ((0, ""), "", "", "")
