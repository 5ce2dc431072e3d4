"""IP literals and their canonical text."""
import pytest

from sipcore.base.address import canonical_ip


@pytest.mark.parametrize(("text", "canonical"), [
    ("192.0.2.10", "192.0.2.10"), ("::ffff:192.0.2.10", "192.0.2.10"), ("[2001:DB8:0::1]", "2001:db8::1"),
])
def test_canonical_text(text, canonical):
    assert canonical_ip(text) == canonical


@pytest.mark.parametrize("text", [
    "", "192.0.2", "192.0.2.256", "192.0.2.010", "192.0.2.1 ", "::1\0", "::1\0garbage", "2001:db8::\0ffff:1", "1:2",
    "[::1", "fe80::1%eth0", "::" + "0" * 60,
])
def test_what_is_no_literal_is_refused(text):
    with pytest.raises(ValueError, match="not an IP address"):
        canonical_ip(text)
