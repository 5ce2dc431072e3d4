"""The address that a URI leads to (hop.pyx)."""
import pytest

from sipcore.stack.hop import hop_of


@pytest.mark.parametrize(("uri", "hop"), [
    ("sip:192.0.2.1", ("192.0.2.1", 5060)), ("sip:a@192.0.2.1:5070;lr", ("192.0.2.1", 5070)),
    ("sip:a@[2001:db8::1]:5071", ("2001:db8::1", 5071)), ("sip:a@pbx.example.com;maddr=192.0.2.9", ("192.0.2.9", 5060)),
    ("sip:a@192.0.2.1;maddr=name.example.com", None), ("sip:pbx.example.com", None),
    ("sips:192.0.2.1", ("192.0.2.1", 5061, "tls", 0)), ("sip:192.0.2.1;transport=TCP", ("192.0.2.1", 5060, "tcp", 0)),
    ("sip:192.0.2.1;transport=tls", ("192.0.2.1", 5061, "tls", 0)), ("sip:192.0.2.1;transport=sctp", None),
    ("sips:192.0.2.1:5071;transport=tcp", ("192.0.2.1", 5071, "tls", 0)), ("sips:192.0.2.1;transport=udp", None),
    ("sip:192.0.2.1;transport=ws", ("192.0.2.1", 80, "ws", 0)),
    ("sips:192.0.2.1;transport=ws", ("192.0.2.1", 443, "wss", 0)),
    ("tel:+1234", None), ("", None), ("sip:", None), ("sip:192.0.2.1:99999", None),
])
def test_hop(uri, hop):
    assert hop_of(uri) == hop
