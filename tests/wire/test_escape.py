"""Escapes: once there, once back."""
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipcore.wire.escape import escape_uri_header, escape_uri_param, escape_user, unescape

ESCAPES = [escape_user, escape_uri_param, escape_uri_header]


@pytest.mark.parametrize("escape", ESCAPES)
@given(text=st.text())
def test_there_and_back(escape, text):
    escaped = escape(text)
    assert escaped.isascii()
    assert not set(escaped) & set('\r\n\0 <>"\\@#`')
    assert unescape(escaped.encode()).decode() == text
    assert unescape(escape(escaped).encode()).decode() == escaped


@given(st.binary())
def test_unescape_takes_anything(data):
    assert len(unescape(data)) <= len(data)


@pytest.mark.parametrize(("text", "user", "header"), [
    ("+49 30", "+49%2030", "+49%2030"),
    ("a@b", "a%40b", "a%40b"),
    ("a%3Ab", "a%253Ab", "a%253Ab"),
    ("a;b=c", "a;b=c", "a%3Bb%3Dc"),
    ("a&b", "a&b", "a%26b"),
    ("Müller", "M%C3%BCller", "M%C3%BCller"),
    ("a\r\nVia: x", "a%0D%0AVia%3A%20x", "a%0D%0AVia:%20x"),
    ("\0", "%00", "%00"),
])
def test_what_is_escaped(text, user, header):
    assert (escape_user(text), escape_uri_header(text)) == (user, header)


def test_a_percent_without_digits_stays():
    assert unescape(b"%4%zz%41%") == b"%4%zzA%"
