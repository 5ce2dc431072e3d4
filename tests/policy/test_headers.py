"""transfers.md section 3: names, values, templates, missing variables, and the places where headers go."""
import json
from urllib.parse import unquote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from proxy.config import Header, HeaderSet, UserToUser
from proxy.policy import headers
from proxy.policy.headers import Filled, Patterns
from sipcore.stack.verdict import Request, Verdict

from .sample import CALLERS, INSIDE, PBX, header_set, policy, request

ROUTE = '[[route]]\nto = "pbx"\nheaders = ["set"]\n'
NOBODY = Patterns(())


def setter(value: str) -> headers.Setter:
    (one,) = headers.compile_sets([HeaderSet(name="s", add=(Header(name="X-A", value=value),))], "INVITE")
    return one


def decided(value: str, message, missing: str = "omit") -> Verdict:
    text = header_set(f'name = "X-A", value = {json.dumps(value)}, missing = "{missing}"')
    return policy(PBX + text + ROUTE).decide(message)


@pytest.mark.parametrize("name", ["X-A", "X-Customer-Intent", "X-a_b-9", "X--"])
def test_names_that_match_the_pattern(name):
    assert headers.valid_name(name)


@pytest.mark.parametrize("name", [
    "Via", "x-a", "X-", "X-A ", "X-A:", "X-A\n", "X-A\r\nVia", " X-A", "X-Ä", "X-A.B", "X-\u0661", "From", "f", "",
])
def test_names_that_do_not(name):
    assert not headers.valid_name(name)


@pytest.mark.parametrize("value", ["", "a b", "größe", "a:b;c=\"d\"", "\U0001f600", "a\\b"])
def test_values_that_may_be_sent(value):
    assert headers.valid_value(value)


@pytest.mark.parametrize("value", ["a\rb", "a\nb", "a\0b", "a\tb", "\x1b[2J", "\x7f", "\x85", "a\u2028b", "\udcff"])
def test_values_that_may_not(value):
    assert not headers.valid_value(value)
    with pytest.raises(ValueError, match="control character"):
        headers.parse_template(value)


def test_a_constant_goes_as_it_stands():
    assert decided("50% of {{all}}", request()).insert == b"X-A: 50% of {all}\r\n"


@pytest.mark.parametrize(("template", "expected"), [
    ("{call_id}", b"a84b4c76e66710@192.0.2.1"),
    ("{from_phone_number}", b"+4930123456"),
    ("{to_phone_number}", b"2001"),
    ("{X-Customer}", b"Ann Example"),
    ("<{to_phone_number}/{from_phone_number}>", b"<2001/+4930123456>"),
    ("100%{to_phone_number}%s", b"100%2001%s"),
])
def test_variables_of_the_call(template, expected):
    verdict = decided(template, request("INVITE", "sip:2001@127.0.0.1", "x-customer: Ann Example"))
    assert verdict.insert == b"X-A: " + expected + b"\r\n"
    assert verdict.note == ""


def test_a_number_is_unescaped_and_without_parameters():
    call = request(caller="sip:%2B4930123;phone-context=x@192.0.2.1", called="tel:+1-202;ext=5")
    assert decided("{from_phone_number} {to_phone_number}", call).insert == b"X-A: +4930123 +1-202\r\n"


def test_an_inbound_header_is_read_unfolded():
    assert decided("{X-B}", request("INVITE", "sip:1@a", "X-B: one\n  two")).insert == b"X-A: one two\r\n"


def test_missing_omit_leaves_the_header_out_and_says_so():
    verdict = decided("id {X-B}", request())
    assert (verdict.action, verdict.insert, verdict.note) == (Verdict.FORWARD, b"", "X-A left out: no {X-B}")


def test_missing_empty_sends_empty_text_in_its_place():
    assert decided("{X-B}", request(), "empty").insert == b"X-A: \r\n"
    assert decided("id={X-B};", request(), "empty").insert == b"X-A: id=;\r\n"


def test_missing_fail_refuses_the_request():
    verdict = decided("{X-B}", request(), "fail")
    assert (verdict.action, verdict.status, verdict.reason) == (Verdict.REJECT, 400, "No Value for X-A")


def test_a_caller_without_a_number_has_none():
    assert decided("{from_phone_number}", request(caller="sip:192.0.2.1")).insert == b""


@pytest.mark.parametrize("escaped", ["%0D%0AVia: x", "%00", "%0a", "%7f", "%1b[2J", "%c2%85", "%ff", "%e2%80%a8"])
def test_an_escaped_control_character_never_gets_out(escaped):
    verdict = decided("{from_phone_number}", request(caller=f"sip:a{escaped.replace(' ', '%20')}@192.0.2.1"))
    assert verdict.insert == b""
    assert verdict.note == "X-A left out: {from_phone_number} has a control character"


@pytest.mark.parametrize("value", ["a\udcff", "a\u2028b", "a\x85"])
def test_a_value_that_may_not_be_sent_counts_as_missing(value):
    """So that no sender can suppress a header that has to be there."""
    message = request("INVITE", "sip:1@a", f"X-B: {value}")
    verdict = decided("<{X-B}>", message, "fail")
    assert (verdict.status, verdict.reason) == (400, "No Value for X-A")
    assert verdict.note == "X-A: {X-B} has a control character"
    assert decided("<{X-B}>", message, "empty").insert == b"X-A: <>\r\n"
    assert decided("<{X-B}>", message, "omit").note == "X-A left out: {X-B} has a control character"


def test_an_inbound_header_of_the_same_name_is_replaced_in_every_spelling():
    """Removal by name covers every spelling; it is asked for even where the own value is left out."""
    assert "X-A" in decided("1", request()).remove
    assert "X-A" in decided("{X-B}", request("INVITE", "sip:1@a", "x-a: forged")).remove


def test_unknown_variables_and_single_braces_are_refused_when_configured():
    for text, message in (("{customer}", "unknown variable {customer}"), ("{", "single {"), ("a}", "single }"),
                          ("{a{b}}", "single {"), ("{}", "unknown variable {}"), ("{Via}", "unknown variable {Via}")):
        with pytest.raises(ValueError, match=message):
            headers.parse_template(text)


class Sender(Request):
    """Anything a request might hold, also what its parser would refuse."""

    call_id = "c"
    from_uri = to_uri = ""

    def __init__(self, text: str):
        self.from_uri = self.to_uri = f"sip:{text}@h"
        self.text = text

    def header(self, name: str) -> str | None:
        return self.text


@given(st.text() | st.text("\r\n\0: %0123ABCDabcdefX-\t\udc80\x85", max_size=30))
@example("a\r\nX-Evil: 1")
@example("%0d%0aX-Evil:%201")
def test_what_a_variable_holds_never_adds_a_header(text):
    for template in ("{X-B}", "<{X-B}>", "{from_phone_number}{X-C}"):
        filled, note = setter(template).fill(Sender(text), NOBODY)
        if filled is None:
            assert note.startswith("X-A left out: ")
            continue
        line = f"{filled.name}: {filled.value}\r\n".encode()
        assert line.startswith(b"X-A: ")
        assert line.endswith(b"\r\n")
        assert not set(line[:-2]) & {0, 10, 13}
        assert len(line.decode().splitlines()) == 1


@given(st.text() | st.text("\r\n\0: %0123ABCDabcdefX-\t\udc80\x85\u2028", max_size=30))
def test_the_quick_way_says_the_same_as_the_careful_one(text):
    edge = policy(PBX + header_set('name = "X-A", value = "1{X-B}%2"', 'name = "X-C", value = "{from_phone_number}"')
                  + ROUTE)
    way = edge._groups[CALLERS]._routes["INVITE"]._only
    assert way is not None
    injection = way.injection
    quick = injection.quick_lines(Sender(text))
    if quick is not None:
        assert quick == injection.lines(injection.fill(Sender(text))[0])[0]


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=40))
def test_uri_headers_are_escaped_exactly_once(text):
    escaped = headers.uri_headers([Filled("X-A", text, 0)])
    assert unquote(escaped.removeprefix("X-A="), errors="strict") == text
    assert set(escaped) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.!~*'()%=")


def test_a_value_that_looks_escaped_is_escaped_again():
    assert headers.escape("100%41+x@y") == "100%2541%2Bx%40y"


def test_highest_priority_first_and_the_order_of_the_file_among_equals():
    text = header_set('name = "X-A", value = "1"', 'name = "X-B", value = "2", priority = 7',
                      'name = "X-C", value = "3"')
    assert policy(PBX + text + ROUTE).decide(request()).insert == b"X-B: 2\r\nX-A: 1\r\nX-C: 3\r\n"


def test_a_set_is_only_for_its_methods():
    assert policy(PBX + header_set('name = "X-A", value = "1"', on='["REFER"]') + ROUTE).decide(request()).insert == b""


class TestInternal:
    """Internal headers leave only from a trusted group to a trusted one."""

    def test_removed_towards_everybody_else(self):
        assert policy(PBX + '[[route]]\nto = "pbx"\n').decide(request()).remove == ("X-Internal-*",)

    def test_kept_between_trusted_ones(self):
        assert policy(PBX + '[[route]]\nto = "pbx"\n').decide(request(group=INSIDE)).remove == ()

    def test_removed_from_a_trusted_one_to_an_untrusted_one(self):
        other = PBX.replace("127.0.0.4", "127.0.0.9")
        assert policy(other + '[[route]]\nto = "pbx"\n').decide(request(group=INSIDE)).remove == ("X-Internal-*",)

    def test_along_the_request_uri_its_host_decides(self):
        edge = policy('[[route]]\nto = "request-uri"\n')
        assert edge.decide(request(uri="sip:1@127.0.0.4", group=INSIDE)).remove == ()
        assert edge.decide(request(uri="sip:1@127.0.0.9", group=INSIDE)).remove == ("X-Internal-*",)
        assert edge.decide(request(uri="sip:1@127.0.0.4", group=CALLERS)).remove == ("X-Internal-*",)

    def test_a_template_reads_no_internal_header_of_an_untrusted_sender(self):
        text = PBX + header_set('name = "X-A", value = "{X-Internal-Role}"') + ROUTE
        line = "X-Internal-Role: admin"
        assert policy(text).decide(request("INVITE", "sip:1@a", line)).insert == b""
        assert policy(text).decide(request("INVITE", "sip:1@a", line, group=INSIDE)).insert == b"X-A: admin\r\n"

    def test_a_trusted_sender_s_may_be_passed_on_under_another_name(self):
        text = PBX.replace("127.0.0.4", "127.0.0.9") + header_set('name = "X-A", value = "{X-Internal-Role}"') + ROUTE
        verdict = policy(text).decide(request("INVITE", "sip:1@a", "X-Internal-Role: admin", group=INSIDE))
        assert (verdict.insert, verdict.remove) == (b"X-A: admin\r\n", ("X-Internal-*", "X-A"))

    def test_patterns_match_in_any_case(self):
        patterns = Patterns(["X-Internal-*", "X-Secret"])
        assert all(patterns.match(name) for name in ("x-internal-a", "X-INTERNAL-", "x-SECRET"))
        assert not any(patterns.match(name) for name in ("X-Internal", "X-Secret-2", "Internal-A"))


class TestUserToUser:
    """RFC 7433, as transfers.md section 3 wants it: encoding=hex, packing and length limit per upstream."""

    FILLED = (Filled("X-A", "one two", 2), Filled("X-B", "ü", 1))

    def test_pairs(self):
        value, left_out = headers.pack_user_to_user(list(self.FILLED), UserToUser())
        data, parameter = value.split(";")
        assert parameter == "encoding=hex"
        assert bytes.fromhex(data) == b"X-A=one%20two&X-B=%C3%BC"
        assert left_out == []

    def test_json(self):
        value, _ = headers.pack_user_to_user(list(self.FILLED), UserToUser(packing="json"))
        assert json.loads(bytes.fromhex(value.split(";")[0])) == {"X-A": "one two", "X-B": "ü"}

    def test_the_bare_value_of_the_first(self):
        value, left_out = headers.pack_user_to_user(list(self.FILLED), UserToUser(packing="value"))
        assert bytes.fromhex(value.split(";")[0]) == b"one two"
        assert left_out == ["X-B"]

    def test_only_the_named_ones(self):
        value, _ = headers.pack_user_to_user(list(self.FILLED), UserToUser(names=("x-b",)))
        assert bytes.fromhex(value.split(";")[0]) == b"X-B=%C3%BC"

    def test_purpose_and_content(self):
        value, _ = headers.pack_user_to_user(list(self.FILLED), UserToUser(purpose="isdn-uui", content="isdn-uui"))
        assert value.endswith(";encoding=hex;purpose=isdn-uui;content=isdn-uui")

    def test_over_the_limit_the_lowest_priority_goes(self):
        assert headers.pack_user_to_user(list(self.FILLED), UserToUser(limit=15))[1] == ["X-B"]
        assert headers.pack_user_to_user(list(self.FILLED), UserToUser(limit=4)) == ("", ["X-B", "X-A"])

    def test_on_invite_it_is_a_header_and_what_is_left_out_is_noted(self):
        upstream = PBX + 'invite_headers = ["user-to-user"]\nuser_to_user = {limit = 5}\n'
        text = header_set('name = "X-A", value = "1"', 'name = "X-B", value = "long value"')
        verdict = policy(upstream + text + ROUTE).decide(request())
        assert verdict.insert == b"User-to-User: 582d413d31;encoding=hex\r\n"
        assert verdict.note == "User-to-User is full: left out X-B"
        assert "User-to-User" in verdict.remove
