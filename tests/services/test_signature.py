"""What signs the bodies that leave the edge."""
import hashlib
import hmac
import re
from pathlib import Path

from proxy.services.signature import signed


def test_time_and_body_are_signed_together():
    headers = signed(b"key", b'{"a":1}', 1700000000)
    expected = hmac.new(b"key", b'1700000000.{"a":1}', hashlib.sha256).hexdigest()
    assert headers == {"X-Sipedge-Timestamp": "1700000000", "X-Sipedge-Signature": f"v1={expected}"}
    assert signed(b"key", b'{"a":1}', 1700000001)["X-Sipedge-Signature"] != f"v1={expected}"
    assert signed(b"other", b'{"a":1}', 1700000000)["X-Sipedge-Signature"] != f"v1={expected}"


def test_nothing_is_signed_without_a_key():
    assert signed(b"", b"{}", 1700000000) == {}


def test_a_receiver_that_does_as_the_page_says_takes_what_is_genuine_and_nothing_else():
    page = (Path(__file__).parents[2] / "docs" / "context.md").read_text()
    (code,) = re.findall(r"^```python\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    names: dict = {"hmac": hmac, "hashlib": hashlib}
    exec(code, names)
    genuine = names["genuine"]
    headers = signed(b"key", b"body", 1000)
    assert genuine(b"key", headers, b"body", 1200)
    assert not genuine(b"key", headers, b"Body", 1200)
    assert not genuine(b"other", headers, b"body", 1200)
    assert not genuine(b"key", headers, b"body", 1400)
    assert not genuine(b"key", headers | {"X-Sipedge-Timestamp": "1100"}, b"body", 1200)
