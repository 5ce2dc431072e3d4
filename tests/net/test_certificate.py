"""Whom a certificate proves (RFC 5922 7)."""
import pytest

from sipcore.net.certificate import Certificate


@pytest.mark.parametrize(("certificate", "name", "proven"), [
    (Certificate(names=("pbx.example.com",)), "pbx.example.com", True),
    (Certificate(names=("PBX.example.com",)), "pbx.Example.com.", True),
    (Certificate(names=("*.example.com",)), "pbx.example.com", False),
    (Certificate(names=("example.com",)), "pbx.example.com", False),
    (Certificate(names=("pbx.example.com",)), "example.com", False),
    (Certificate(uris=("sip:example.com",)), "example.com", True),
    (Certificate(uris=("SIP:Example.com",)), "example.com", True),
    # Of a certificate with a SIP domain only that counts.
    (Certificate(uris=("sip:example.com",), names=("pbx.example.com",)), "pbx.example.com", False),
    (Certificate(uris=("sips:example.com",)), "example.com", False),
    (Certificate(uris=("sip:user@example.com",)), "example.com", False),
    (Certificate(uris=("sip:user@example.com",), names=("example.com",)), "example.com", True),
    (Certificate(uris=("sip:example.com:5061",)), "example.com", False),
    (Certificate(uris=("https://example.com",), names=("example.com",)), "example.com", True),
    (Certificate(), "example.com", False),
    (Certificate(addresses=("192.0.2.1",)), "192.0.2.1", False),
])
def test_names(certificate, name, proven):
    assert certificate.proves(name, "192.0.2.1") is proven


@pytest.mark.parametrize(("addresses", "address", "proven"), [
    (("192.0.2.1",), "192.0.2.1", True), (("192.0.2.2", "192.0.2.1"), "192.0.2.1", True),
    (("2001:db8::1",), "2001:DB8:0::1", True), (("192.0.2.1",), "192.0.2.2", False), ((), "192.0.2.2", False),
    (("192.0.2.1",), "", False),
])
def test_addresses_where_no_name_is_known(addresses, address, proven):
    assert Certificate(names=("192.0.2.1",), addresses=addresses).proves("", address) is proven
