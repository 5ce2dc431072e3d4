"""STUN on a SIP port: the vectors of RFC 5769, and whatever a stranger may write into a Binding request."""
import ipaddress
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipcore.wire.stun import stun_answer

COOKIE = 0x2112A442
REQUEST, INDICATION, SUCCESS, FAILURE = 0x0001, 0x0011, 0x0101, 0x0111
XOR_MAPPED_ADDRESS, ERROR_CODE, UNKNOWN_ATTRIBUTES = 0x0020, 0x0009, 0x000A
TRANSACTION = bytes.fromhex("b7e7a701bc34d686fa87dfae")     # RFC 5769 2.1


def stun(kind: int = REQUEST, attributes: bytes = b"", *, cookie: int = COOKIE, transaction: bytes = TRANSACTION,
         length: int | None = None) -> bytes:
    return struct.pack("!HHI", kind, len(attributes) if length is None else length, cookie) + transaction + attributes


def attribute(kind: int, value: bytes = b"") -> bytes:
    return struct.pack("!HH", kind, len(value)) + value + bytes(-len(value) % 4)


def read(message: bytes | None) -> tuple[int, bytes, dict[int, bytes]]:
    """(type, transaction id, attributes) of a message that is whole."""
    assert message is not None
    kind, length, cookie = struct.unpack("!HHI", message[:8])
    assert (cookie, length) == (COOKIE, len(message) - 20)
    found, at = {}, 20
    while at < len(message):
        number, n = struct.unpack("!HH", message[at:at + 4])
        found[number] = message[at + 4:at + 4 + n]
        at += 4 + n + -n % 4
    return kind, message[8:20], found


@pytest.mark.parametrize(("host", "value"), [
    ("192.0.2.1", "0001a147e112a643"),                                                          # RFC 5769 2.2
    ("2001:db8:1234:5678:11:2233:4455:6677", "0002a1470113a9faa5d3f179bc25f4b5bed2b9d9"),       # 2.3
], ids=["ipv4", "ipv6"])
def test_the_source_as_the_rfc_writes_it(host, value):
    answer = stun_answer(stun(), host, 32853)
    assert read(answer) == (SUCCESS, TRANSACTION, {XOR_MAPPED_ADDRESS: bytes.fromhex(value)})


def test_attributes_that_change_nothing():
    # Credentials nobody asked for, and what may be left unread: SOFTWARE, FINGERPRINT.
    extra = attribute(0x0006, b"user1") + attribute(0x0008, bytes(20)) + attribute(0x8022, b"phone") \
        + attribute(0x8028, bytes(4))
    assert stun_answer(stun(attributes=extra), "192.0.2.1", 5) == stun_answer(stun(), "192.0.2.1", 5)


def test_attributes_that_have_to_be_understood_are_named():
    # RFC 3489's RESPONSE-ADDRESS would send the answer to somebody else.
    answer = stun_answer(stun(attributes=attribute(0x0002, bytes(8)) + attribute(0x8022, b"x") + attribute(0x0024)),
                         "192.0.2.1", 5)
    assert read(answer) == (FAILURE, TRANSACTION, {ERROR_CODE: b"\0\0\4\x14", UNKNOWN_ATTRIBUTES: b"\0\2\0\x24"})
    kind, _, found = read(stun_answer(stun(attributes=attribute(0x7FFF) * 300), "192.0.2.1", 5))
    assert (kind, found[UNKNOWN_ATTRIBUTES]) == (FAILURE, b"\x7f\xff" * 8)


@pytest.mark.parametrize("data", [
    b"", stun()[:19], stun() + b"\0", stun(length=4), stun(length=0xFFFC), stun(cookie=COOKIE + 1),
    stun(attributes=attribute(0x8022, bytes(8))[:-4], length=8), stun(attributes=b"\x80\x22\x00\x05" + bytes(4)),
    stun(attributes=b"\x80\x22\xff\xff" + bytes(4)), stun(SUCCESS), stun(FAILURE), stun(0x0002), stun(0x0003),
    stun(0x3FFF), b"\x41" + stun()[1:], b"\r\n\r\n", b"OPTIONS sip:x SIP/2.0",
], ids=["empty", "short", "odd", "longer-than-it-says", "shorter-than-it-says", "cookie", "cut-attribute",
        "attribute-beyond-the-end", "attribute-far-beyond", "success", "failure", "shared-secret", "allocate",
        "unknown-method", "no-stun", "line-ends", "sip"])
def test_what_is_malformed(data):
    assert stun_answer(data, "192.0.2.1", 5060) is None


def test_an_indication_wants_no_answer():
    assert stun_answer(stun(INDICATION), "192.0.2.1", 5060) == b""


@given(st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6)), st.integers(1, 65535),
       st.binary(min_size=12, max_size=12))
def test_any_source_comes_back(ip, port, transaction):
    ip = getattr(ip, "ipv4_mapped", None) or ip
    kind, echoed, found = read(stun_answer(stun(transaction=transaction), str(ip), port))
    value = found.pop(XOR_MAPPED_ADDRESS)
    mask = struct.pack("!I", COOKIE) + transaction
    assert (kind, echoed, found) == (SUCCESS, transaction, {})
    assert struct.unpack("!BBH", value[:4]) == (0, 1 if ip.version == 4 else 2, port ^ COOKIE >> 16)
    assert ipaddress.ip_address(bytes(a ^ b for a, b in zip(value[4:], mask, strict=False))) == ip


@given(st.lists(st.tuples(st.integers(0, 0xFFFF), st.binary(max_size=9)), max_size=12), st.binary(max_size=3),
       st.sampled_from([REQUEST, INDICATION, SUCCESS, 0x0003]))
def test_no_answer_is_much_longer_than_its_request(attributes, rest, kind):
    data = stun(kind, b"".join(attribute(*one) for one in attributes) + rest)
    answer = stun_answer(data, "2001:db8::1", 5060)
    if len(rest) or kind not in (REQUEST, INDICATION):
        assert answer is None
    else:
        assert answer is not None
        assert len(answer) <= (max(44, min(len(data) + 12, 48)) if kind == REQUEST else 0)
