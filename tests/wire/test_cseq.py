"""CSeq and bare numbers: limits, zeros, folds."""
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipcore.wire.cseq import read_cseq, read_uint
from sipcore.wire.fault import WireFault

from .values import lws, mutated, parsed, tokens


@pytest.mark.parametrize(("value", "expected"), [
    (b"1 INVITE", (1, "INVITE")),
    (b"0009\r\n  INVITE", (9, "INVITE")),
    (b" 2147483647\tACK ", (2**31 - 1, "ACK")),
    (b"29344 RE%47IST%45R", (29344, "RE%47IST%45R")),
    (b"139122385 !interesting-Method0_*+`.%indeed'~", (139122385, "!interesting-Method0_*+`.%indeed'~")),
    (b"0" * 300 + b"7 BYE", (7, "BYE")),
])
def test_cseq(value, expected):
    assert read_cseq(value) == expected


@pytest.mark.parametrize("value", [
    b"", b"INVITE", b"1", b"1 ", b"1INVITE", b"-1 INVITE", b"1 IN VITE", b"1 INVITE;x", b"2147483648 INVITE",
    b"4294967297 INVITE", b"36893488147419103232 REGISTER", b"18446744073709551617 INVITE", b"1\r\nINVITE",
    b"1 INVI\0TE",
])
def test_malformed_cseq(value):
    with pytest.raises(WireFault, match="CSeq"):
        read_cseq(value)


@given(st.integers(0, 2**31 - 1), tokens, lws, lws)
def test_cseq_comes_back(number, method, before, after):
    assert read_cseq(f"{before}{number} {after}{method}{after}".encode()) == (number, method)


@given(st.integers(0, 2**70), st.integers(0, 2**32 - 1), st.integers(0, 30), lws)
def test_numbers_stop_at_their_limit(number, limit, zeros, gap):
    value = f"{gap}{'0' * zeros}{number}{gap}".encode()
    if number <= limit:
        assert read_uint(value, limit) == number
    else:
        with pytest.raises(WireFault, match="limit"):
            read_uint(value, limit)


@pytest.mark.parametrize("value", [b"", b" ", b"-1", b"+1", b"1 2", b"0x10", b"1.0", b"\xb2", b"4294967296",
                                   b"18446744073709551616", b"18446744073709551617"])
def test_malformed_numbers(value):
    with pytest.raises(WireFault):
        read_uint(value)


@given(mutated([b"0009\r\n  INVITE", b"70"]))
def test_hostile_bytes_are_parsed_or_refused(value):
    number, method = parsed(read_cseq, value) or (0, "X")
    assert 0 <= number < 2**31
    assert method
    assert 0 <= (parsed(read_uint, value) or 0) < 2**32
