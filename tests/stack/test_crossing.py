"""Which headers cross between legs (crossing.py): the table on wire bytes, in every spelling."""
import pytest

from sipcore.stack.crossing import ALWAYS, NEVER, REFUSAL, TRUSTED, crossing
from sipcore.wire.message import Message
from sipcore.wire.tables import HEADERS

FIXED = {"Via": "SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKa", "From": "<sip:a@b>;tag=1", "To": "<sip:c@d>", "Call-ID": "x",
         "CSeq": "1 INVITE"}


def message(headers, start="INVITE sip:bob@192.0.2.2 SIP/2.0", fixed=True):
    lines = [start]
    if fixed:
        lines += [f"{name}: {value}" for name, value in FIXED.items()]
    lines += [f"{name}: {value}" for name, value in headers]
    return Message("\r\n".join([*lines, "Content-Length: 0", "", ""]).encode())


def test_a_plain_invite_brings_what_is_about_the_call():
    headers = [("X-Intent", "billing"), ("Max-Forwards", "69"), ("Contact", "<sip:a@192.0.2.1>"), ("Subject", "hello"),
               ("Allow", "INVITE"), ("Supported", "timer"), ("Session-Expires", "90"), ("User-Agent", "phone"),
               ("User-to-User", "00;encoding=hex"), ("Record-Route", "<sip:p;lr>"), ("Route", "<sip:192.0.2.2;lr>")]
    assert crossing(message(headers), trusted=False) == (
        ("X-Intent", "billing"), ("Subject", "hello"), ("User-to-User", "00;encoding=hex"))


@pytest.mark.parametrize("name", sorted(TRUSTED | {"P-Charging-Vector", "p-early-media"}))
def test_who_somebody_is_crosses_between_trusted_groups_only(name):
    one = message([(name, "<sip:a@b>")])
    assert crossing(one, trusted=False) == ()
    assert crossing(one, trusted=True) == ((name, "<sip:a@b>"),)


@pytest.mark.parametrize(("written", "trusted"), [
    ("P-ASSERTED-IDENTITY", True), ("p-asserted-identity", True), ("y", True), ("DIVERSION", True), ("k", False),
    ("x", False), ("K", False), ("b", True), ("s", True)])
def test_compact_and_odd_spellings_are_the_same_header(written, trusted):
    one = message([(written, "1")])
    assert crossing(one, trusted=True) == (((written, "1"),) if trusted else ())


@pytest.mark.parametrize("name", sorted(NEVER - set(FIXED) - {"Content-Length", "MIME-Version"}))
def test_hop_and_dialog_headers_never_cross(name):
    assert crossing(message([(name.upper(), "1")]), trusted=True) == ()


@pytest.mark.parametrize(("status", "crosses"), [(503, True), (486, True), (302, True), (200, False), (180, False)])
def test_retry_after_crosses_with_a_refusal(status, crosses):
    one = message([("Retry-After", "30"), ("Warning", '399 h "x"')], f"SIP/2.0 {status} Whatever")
    assert ("Retry-After", "30") in crossing(one, trusted=False) or not crosses
    assert (("Retry-After", "30") in crossing(one, trusted=False)) is crosses
    assert ("Warning", '399 h "x"') in crossing(one, trusted=False)


def test_a_challenge_stays_on_its_leg():
    one = message([("WWW-Authenticate", 'Digest realm="a"'), ("Proxy-Authenticate", 'Digest realm="b"')],
                  "SIP/2.0 401 Unauthorized")
    assert crossing(one, trusted=True) == ()


def test_no_header_stands_in_two_rows_and_every_known_one_in_one():
    rows = (NEVER, TRUSTED, REFUSAL, ALWAYS)
    assert sum(map(len, rows)) == len(frozenset().union(*rows))
    known = {name for name, _, _ in HEADERS if name and not name.startswith("P-")}
    assert known <= frozenset().union(*rows), known - frozenset().union(*rows)



def test_folds_become_spaces_and_odd_bytes_stay():
    one = Message(message([("X-A", "b\r\n \t c"), ("x-b", "J\u00fcrgen")]).data.replace(b"\xc3\xbc", b"\xfc"))
    assert crossing(one, trusted=False) == (("X-A", "b c"), ("x-b", "J\udcfcrgen"))


@pytest.mark.parametrize("name", ["Odd-Name", "Flow-Timer", "authentication-info", "P-Odd", "x-"])
def test_headers_that_no_table_knows(name):
    expected = ((name, "1"),) if name in ("Odd-Name", "x-") else ()
    assert crossing(message([(name, "1")]), trusted=False) == expected
