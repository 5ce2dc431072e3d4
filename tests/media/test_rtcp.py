"""RTCP compounds, byte for byte: what is read, what is refused, and the round trip."""
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipcore.media.probe import Passages, read_rtcp, rewrite_rtcp

A, B, OTHER = 0x11111111, 0x22222222, 0x33333333


def packet(kind, count, body, padding=0):
    assert len(body) % 4 == 0
    return struct.pack("!BBH", 0x80 | (0x20 if padding else 0) | count, kind, len(body) // 4) + body


def block(about=B, fraction=25, cumulative=7, highest=0x1FFFF, jitter=80, lsr=0x12345678, dlsr=65536):
    return struct.pack("!IIIIII", about, fraction << 24 | cumulative & 0xFFFFFF, highest, jitter, lsr, dlsr)


def sender_report(*blocks, ssrc=A, ntp=0xAAAA_BBBB_CCCC_DDDD, timestamp=1000):
    return packet(200, len(blocks), struct.pack("!IQIII", ssrc, ntp, timestamp, 10, 1600) + b"".join(blocks))


def receiver_report(*blocks, ssrc=A):
    return packet(201, len(blocks), struct.pack("!I", ssrc) + b"".join(blocks))


def sdes(*ssrcs, name=b"a@example.com"):
    chunks = b""
    for ssrc in ssrcs:
        items = bytes([1, len(name)]) + name
        chunks += struct.pack("!I", ssrc) + items + bytes(4 - len(items) % 4)
    return packet(202, len(ssrcs), chunks)


BYE = packet(203, 1, struct.pack("!I", A))
XR = packet(207, 0, struct.pack("!IBBHII", A, 5, 0, 2, B, 0))
APP = packet(204, 0, struct.pack("!I4sI", A, b"name", A))
FEEDBACK = packet(205, 1, struct.pack("!III", A, B, 0xBEEF0000))


def test_a_sender_report_with_a_block():
    whole, found = read_rtcp(sender_report(block()) + sdes(A))
    assert whole
    assert found == {
        "ssrc": A, "sr": 1, "ntp_middle": 0xBBBBCCCC, "block": 1, "about": B, "fraction": 25, "cumulative": 7,
        "highest": 0x1FFFF, "jitter": 80, "lsr": 0x12345678, "dlsr": 65536, "bye": 0,
    }


def test_a_negative_cumulative_loss():
    assert read_rtcp(receiver_report(block(cumulative=-3)))[1]["cumulative"] == -3
    assert read_rtcp(receiver_report(block(cumulative=0x7FFFFF)))[1]["cumulative"] == 0x7FFFFF


def test_the_block_about_the_wanted_source_is_taken():
    compound = receiver_report(block(OTHER, fraction=1), block(B, fraction=2), block(A, fraction=3))
    assert read_rtcp(compound, B)[1]["fraction"] == 2
    assert read_rtcp(compound, A)[1]["fraction"] == 3
    assert read_rtcp(compound, 99)[1]["fraction"] == 1
    assert read_rtcp(receiver_report(block(OTHER)) + receiver_report(block(B, fraction=9)), B)[1]["fraction"] == 9


def test_everything_else_is_stepped_over():
    whole, found = read_rtcp(receiver_report() + sdes(A, B) + XR + APP + FEEDBACK + BYE)
    assert whole
    assert (found["ssrc"], found["block"], found["sr"], found["bye"]) == (A, 0, 0, 1)
    assert read_rtcp(packet(203, 0, b""))[0]


@pytest.mark.parametrize("data", [
    b"", b"\x80", b"\x80\xc8\x00", b"\x80\xc9\x00\x01",  # nothing, and no SSRC
    packet(200, 1, bytes(24)),  # a block is said, and there is none
    packet(201, 31, bytes(4)), packet(203, 2, bytes(4)), packet(204, 0, bytes(4)), packet(205, 1, bytes(4)),
    b"\x40\xc9\x00\x01" + bytes(4),  # version 1
    b"\x80\x40\x00\x01" + bytes(4),  # no RTCP type
    b"\x80\xc9\xff\xff" + bytes(4),  # longer than the datagram
    receiver_report() + b"\x80\xc9", receiver_report() + bytes(14),  # what follows is no packet (SRTCP's index and tag)
])
def test_what_does_not_add_up(data):
    assert not read_rtcp(data)[0]
    assert rewrite_rtcp(data, (A, 1), (B, 2)) is None


def test_what_stood_before_the_fault_is_known():
    whole, found = read_rtcp(receiver_report(block(fraction=5)) + bytes(14))
    assert (whole, found["fraction"]) == (False, 5)


ANY = sender_report(block()) + sdes(A) + FEEDBACK + BYE


@given(st.one_of(
    st.binary(max_size=200),
    st.builds(lambda n: ANY[:n], st.integers(0, len(ANY))),
    st.builds(lambda i, byte: ANY[:i] + bytes([byte]) + ANY[i + 1:], st.integers(0, len(ANY) - 1), st.integers(0, 255)),
))
def test_no_bytes_break_it(data):
    whole, found = read_rtcp(data)
    rewritten = rewrite_rtcp(data, (A, OTHER), (B, 5), 1, 1)
    assert rewritten is None or (whole and len(rewritten) == len(data))
    assert 0 <= found["fraction"] <= 255


def test_rewriting_changes_what_the_egress_changes():
    compound = sender_report(block(B, highest=0x2_0005), block(OTHER)) + sdes(A, OTHER) + XR + FEEDBACK + BYE
    expected = (
        sender_report(block(0xB0, highest=0x1_FFFB), block(OTHER), ssrc=0xA0, timestamp=999)
        + sdes(0xA0, OTHER)
        + packet(207, 0, struct.pack("!IBBHII", 0xA0, 5, 0, 2, B, 0))
        + packet(205, 1, struct.pack("!III", 0xA0, 0xB0, 0xBEEF0000))
        + packet(203, 1, struct.pack("!I", 0xA0))
    )
    assert rewrite_rtcp(compound, (A, 0xA0), (B, 0xB0), 2**32 - 1, 10) == expected


def extended(*blocks: bytes, ssrc: int = A, padding: int = 0) -> bytes:
    """An extended report (RFC 3611 2)."""
    end = bytes(padding - 1) + bytes([padding]) if padding else b""
    found = bytearray(packet(207, 0, struct.pack("!I", ssrc) + b"".join(blocks) + end))
    found[0] |= 0x20 if padding else 0
    return bytes(found)


def xr_block(kind: int, *words: int) -> bytes:
    return struct.pack(f"!BBH{len(words)}I", kind, 0, len(words), *words)


@pytest.mark.parametrize("padding", [0, 4])
def test_extended_reports_name_the_sources_as_their_reader_knows_them(padding):
    def report(ssrc: int, source: int, first: int, last: int) -> bytes:
        numbers = (first & 0xFFFF) << 16 | last & 0xFFFF
        return extended(
            xr_block(1, source, numbers, 0xC0DE0000), xr_block(2, OTHER, 0x00050009), xr_block(3, source, numbers, 7),
            xr_block(4, source, 1), xr_block(5, source, 1, 2, OTHER, 3, 4, source, 5, 6),
            xr_block(6, source, numbers, *range(7)), xr_block(7, source, *range(7)), xr_block(15, source, 1, 2),
            xr_block(99), ssrc=ssrc, padding=padding)

    found = rewrite_rtcp(report(A, B, 5, 20), (A, 0xA0), (B, 0xB0), 0, 10)
    # A receiver's own time (4) is about no source, whatever it looks like.
    assert found == report(0xA0, 0xB0, -5, 10).replace(xr_block(4, 0xB0, 1), xr_block(4, B, 1))


@pytest.mark.parametrize("broken", [
    packet(207, 0, struct.pack("!IBBHI", A, 1, 0, 2, B)),  # a block longer than the report
    bytes([0xA0]) + packet(207, 0, struct.pack("!IBBHI", A, 1, 0, 1, 200))[1:],  # padding longer than the report
])
def test_extended_reports_that_do_not_add_up_are_refused(broken):
    assert rewrite_rtcp(broken, (A, 1), (B, 2)) is None


def test_rewriting_there_and_back_changes_nothing():
    compound = sender_report(block(B)) + sdes(A) + APP + BYE
    there = rewrite_rtcp(compound, (A, 7), (B, 8), 12345)
    assert there is not None
    assert there != compound
    assert rewrite_rtcp(there, (7, A), (8, B), -12345 % 2**32) == compound
    assert rewrite_rtcp(compound, (A, A), (B, B)) == compound


def test_a_highest_number_below_what_was_added_loses_its_cycles():
    rewritten = rewrite_rtcp(receiver_report(block(highest=5)), (0, 0), (B, B), 0, 10)
    assert rewritten == receiver_report(block(highest=0xFFFB))


@pytest.mark.parametrize("broken", [
    packet(202, 1, struct.pack("!IBB", A, 1, 200) + bytes(2)),  # an item longer than the packet
    packet(202, 1, struct.pack("!I", A) + b"\x01\x02ab"),  # no end of the items
    packet(202, 2, struct.pack("!II", A, 0)),  # the second chunk is missing
])
def test_items_that_do_not_fit_are_refused(broken):
    assert rewrite_rtcp(broken, (A, 1), (B, 2)) is None


def test_round_trip():
    passages = Passages()
    assert passages.round_trip(1, 0, 1000) == -1
    passages.passes(0xBBBBCCCC, 1_000_000)
    # It lay with the reporter for half a second.
    assert passages.round_trip(0xBBBBCCCC, 32768, 1_580_000) == 80_000
    assert passages.round_trip(0xBBBBCCCC, 0, 1_580_000) == 580_000
    assert passages.round_trip(0xBBBBCCCD, 0, 1_580_000) == -1
    assert passages.round_trip(0, 0, 1_580_000) == -1
    assert passages.round_trip(0xBBBBCCCC, 32768, 1_499_500) == 0  # rounding
    assert passages.round_trip(0xBBBBCCCC, 65536, 1_499_500) == -1  # a lie


def test_the_last_four_passages_are_known():
    passages = Passages()
    for i in range(1, 7):
        passages.passes(i, i * 1000)
    assert [passages.round_trip(i, 0, 10_000) for i in range(1, 7)] == [-1, -1, 7000, 6000, 5000, 4000]
