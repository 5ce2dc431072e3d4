"""Which credentials are those for a realm of ours, however they are written."""
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipcore.stack.realmfilter import RealmFilter

OURS = RealmFilter(["example.com", "a b"])


@pytest.mark.parametrize(("value", "ours"), [
    ('Digest username="u", realm="example.com", nonce="n"', True),
    ('Digest realm = "example.com"', True),
    ('Digest nonce=n,REALM="a b"', True),
    ("Digest realm=example.com", True),
    ('Digest realm="example\\.com"', True),
    ('Digest username="a\\"b", realm="example.com"', True),
    ('Digest realm="example.com', True),
    ('Digest\r\n realm="example.com"', True),
    ('Digest realm="pbx", realm="example.com"', True),
    ('Digest realm="example.org"', False),
    ('Digest realm="example.com.evil"', False),
    ('Digest username="realm=example.com", realm="pbx"', False),
    ('Digest username="\\", realm=\\"example.com\\"", realm="pbx"', False),
    ('Digest xrealm="example.com"', False),
    ("Digest", False), ("", False), ("=", False), ('"', False), ("realm", False), ("realm=", False),
])
def test_realms(value, ours):
    assert OURS.names(value.encode()) == ours


@given(st.binary(max_size=60) | st.text('Digest realm="\\,=', max_size=40).map(str.encode))
def test_any_value_is_looked_at_to_its_end(value):
    assert OURS.names(value) in (True, False)
    assert OURS.names(value + b'=x, realm="example.com"') or value.count(b'"')
