"""What scanners look like, and what does not look like one."""
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipcore.wire.fingerprints import Fingerprints


def request(*lines: str, uri: str = "sip:2001@edge.example") -> bytes:
    return "\r\n".join([f"INVITE {uri} SIP/2.0", "Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1", *lines,
                        "Content-Length: 0", "", ""]).encode()


@pytest.mark.parametrize(("pattern", "line", "expected"), [
    ("User-Agent: friendly-scanner", "User-Agent: friendly-scanner", True),
    ("User-Agent: friendly-scanner", "user-agent:  Friendly-SCANNER ", True),
    ("User-Agent: friendly-scanner", "User-Agent: friendly-scanner 2", False),
    ("User-Agent: friendly-scanner*", "User-Agent: friendly-scanner 2", True),
    ("User-Agent: friendly-scanner*", "User-Agent: a friendly-scanner", False),
    ("User-Agent: *scanner", "User-Agent: friendly-scanner", True),
    ("User-Agent: *scanner", "User-Agent: friendly-scanners", False),
    ("User-Agent: *vicious*", "User-Agent: sipvicious/1.0", True),
    ("User-Agent: *vicious*", "User-Agent: vicious", True),
    ("User-Agent: *vicious*", "User-Agent: viciou", False),
    ("User-Agent: *vicious*", "Server: vicious", False),
    ("User-Agent: *vicious*", "User-Agent:", False),
    ("From: *sipvicious*", 'f: "sipvicious"<sip:100@192.0.2.1>;tag=1', True),
    ("Call-ID: *", "i: x", None),
    ("Subject: probe", "s: probe", True),
])
def test_a_pattern(pattern, line, expected):
    if expected is None:
        with pytest.raises(ValueError, match="expected a known header"):
            Fingerprints((pattern,))
    else:
        assert Fingerprints((pattern,)).fits(request(line)) is expected


def test_a_request_uri():
    looks = Fingerprints(("Request-URI: sip:100@*", "Request-URI: *;probe"))
    assert looks.fits(request(uri="sip:100@192.0.2.7"))
    assert looks.fits(request(uri="sip:2@h;probe"))
    assert not looks.fits(request(uri="sip:1001@192.0.2.7"))


def test_any_of_them_and_any_line_of_a_header():
    looks = Fingerprints(("User-Agent: a*", "User-Agent: b*"))
    assert looks.fits(request("User-Agent: bad"))
    assert looks.fits(request("User-Agent: good", "User-Agent: bad"))
    assert not looks.fits(request("User-Agent: good"))
    assert not Fingerprints(()).fits(request("User-Agent: bad"))


def test_a_long_value_costs_no_more_than_a_short_one():
    assert not Fingerprints(("User-Agent: *end*",)).fits(request(f"User-Agent: {'x' * 4000}end"))
    assert Fingerprints(("User-Agent: *end",)).fits(request(f"User-Agent: {'x' * 4000}end"))


@pytest.mark.parametrize("pattern", [
    "", "User-Agent", "X-Unknown: a", "User-Agent: ", "User-Agent: **", "User-Agent: a*b", "User-Agent: a\nb", ": a"])
def test_what_is_no_pattern(pattern):
    with pytest.raises(ValueError, match="expected a known header"):
        Fingerprints((pattern,))


def test_there_is_an_end_to_them():
    with pytest.raises(ValueError, match="at most 64"):
        Fingerprints(["User-Agent: a"] * 65)


WORDS = st.text("abC", min_size=1, max_size=5)


@given(st.lists(st.tuples(WORDS, st.sampled_from(("{}", "{}*", "*{}", "*{}*"))), min_size=1, max_size=6),
       st.text("abcAB3", min_size=1, max_size=20))
def test_many_patterns_are_as_good_as_each_alone(patterns, value):
    fits: dict[str, Callable[[str, str], bool]] = {
        "{}": str.__eq__, "{}*": str.startswith, "*{}": str.endswith, "*{}*": str.__contains__}
    expected = any(fits[form](value.lower(), word.lower()) for word, form in patterns)
    looks = Fingerprints([f"Subject: {form.format(word)}" for word, form in patterns])
    assert looks.fits(request(f"Subject: {value}")) is expected
