"""Single values: URI, name-addr, Via, CSeq, SDP.

The `parse` rows do 1000 operations in C, so the table's microseconds are nanoseconds a value; the `view` rows
make the Python object that policy code gets, one a call.
"""
from collections.abc import Callable
from typing import Any

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from sipcore.wire import probe
from sipcore.wire.nameaddr import NameAddress, split_values
from sipcore.wire.sdp import Sdp, keep_codecs
from sipcore.wire.uri import URI
from sipcore.wire.via import ViaValue

from .corpus import load

OPERATIONS = 1000
URIS = {
    "plain": b"sip:+493055512345@edge.example.net:5060;user=phone",
    "ipv6": b"sip:alice@[2001:db8::9:1]:5061;transport=tls;lr",
    "escaped": b"sips:al%69ce@example.com?Replaces=12345%40host%3Bto-tag%3D1%3Bfrom-tag%3D2&X-Name=a%20b",
    "tel": b"tel:+1-201-555-0123;phone-context=example.com",
}
FROM = b'"Alice Example" <sip:+498912345678@example.net>;tag=f0000002a'
VIAS = {
    "plain": b"SIP/2.0/UDP 192.0.2.10:5060;rport;branch=z9hG4bK1f4cc8f8I0000002a",
    "folded": b"SIP / 2.0 / TCP     spindle.example.com   ;\r\n  branch  =   z9hG4bK9ikj8",
}
SDP = load("invite").partition(b"\r\n\r\n")[2]
ROUTES = b"<sip:ss2.biloxi.example.com;lr>, <sip:ss1.atlanta.example.com;lr>, <sip:alg1.atlanta.example.com;lr>"


@pytest.mark.parametrize("kind", URIS)
def test_parse_uri(benchmark: BenchmarkFixture, kind: str) -> None:
    assert benchmark(probe.uri_often, URIS[kind], OPERATIONS) == OPERATIONS * len(URI(URIS[kind]).host)


def test_compare_uris(benchmark: BenchmarkFixture) -> None:
    one, other = URI("sip:alice@example.com;a=1;lr"), URI("sip:%61lice@EXAMPLE.com;lr;a=1")
    assert benchmark(probe.uri_equal_often, one, other, OPERATIONS) == OPERATIONS


@pytest.mark.parametrize("with_uri", [False, True], ids=["delimited", "with_uri"])
def test_parse_name_addr(benchmark: BenchmarkFixture, with_uri: bool) -> None:
    assert benchmark(probe.name_addr_often, FROM, OPERATIONS, with_uri) > 0


@pytest.mark.parametrize("kind", VIAS)
def test_parse_via(benchmark: BenchmarkFixture, kind: str) -> None:
    assert benchmark(probe.via_often, VIAS[kind], OPERATIONS) == OPERATIONS * len(ViaValue(VIAS[kind]).branch)


def test_parse_cseq(benchmark: BenchmarkFixture) -> None:
    assert benchmark(probe.cseq_often, b"1 INVITE", OPERATIONS) == OPERATIONS


def test_index_sdp(benchmark: BenchmarkFixture) -> None:
    assert benchmark(probe.sdp_often, SDP, OPERATIONS) == OPERATIONS * SDP.count(b"\n")


@pytest.mark.parametrize(("view", "value"), [
    (URI, URIS["plain"]), (NameAddress, FROM), (ViaValue, VIAS["plain"]), (split_values, ROUTES), (Sdp, SDP),
], ids=lambda part: getattr(part, "__name__", ""))
def test_view(benchmark: BenchmarkFixture, view: Callable[[bytes], Any], value: bytes) -> None:
    assert benchmark(view, value)


def test_keep_codecs(benchmark: BenchmarkFixture) -> None:
    assert len(benchmark(keep_codecs, SDP, ["PCMA"])) < len(SDP)
