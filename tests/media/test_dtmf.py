"""Telephone events heard and sent; what is sent is also what is heard."""
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipcore.media.probe import Hearing, Sending


def update(event, duration, end=False):
    return struct.pack("!BBH", event, 0x8A if end else 0x0A, duration)


def test_an_event_is_reported_once_at_its_end():
    hearing = Hearing()
    heard = [hearing.packet(update(5, 160 * i), 1000) for i in range(1, 5)]
    heard += [hearing.packet(update(5, 800, end=True), 1000) for _ in range(3)]
    assert heard == [[], [], [], [], [("5", 100)], [], []]
    assert hearing.packet(update(5, 160), 1000) == []  # a late update
    assert hearing.quiet(10**9) == []


def test_digits_have_their_names():
    hearing = Hearing()
    heard = [hearing.packet(update(i, 800, end=True), i * 2000) for i in range(20)]
    assert "".join(digit for report in heard for digit, _ in report) == "0123456789*#ABCD!"


def test_a_lost_end_is_reported_when_the_next_begins():
    hearing = Hearing()
    hearing.packet(update(1, 160), 1000)
    hearing.packet(update(1, 640), 1000)
    assert hearing.packet(update(2, 160), 3000) == [("1", 80)]
    assert hearing.packet(update(2, 800, end=True), 3000) == [("2", 100)]


def test_only_the_end_of_the_next_comes():
    hearing = Hearing()
    hearing.packet(update(1, 640), 1000)
    assert hearing.packet(update(1, 800, end=True), 3000) == [("1", 80), ("1", 100)]


def test_a_lost_end_is_reported_after_silence():
    hearing = Hearing()
    hearing.packet(update(9, 480), 1000, now_us=5_000_000)
    assert hearing.quiet(5_199_999) == []
    assert hearing.quiet(5_200_000) == [("9", 60)]
    assert hearing.quiet(6_000_000) == []
    assert hearing.packet(update(9, 640, end=True), 1000, now_us=6_000_000) == []


def test_late_packets_of_the_event_before_are_ignored():
    hearing = Hearing()
    hearing.packet(update(1, 800, end=True), 1000)
    hearing.packet(update(2, 160), 3000)
    assert hearing.packet(update(1, 800, end=True), 1000) == []
    assert hearing.packet(update(2, 800, end=True), 3000) == [("2", 100)]


def test_another_source_and_another_clock_are_other_events():
    hearing = Hearing()
    assert hearing.packet(update(1, 800, end=True), 500_000) == [("1", 100)]
    assert hearing.packet(update(1, 800, end=True), 1000, ssrc=2) == [("1", 100)]
    assert hearing.packet(update(1, 4800, end=True), 90_000, ssrc=2, clock=48000) == [("1", 100)]
    # Its timestamps began anew, far back.
    assert hearing.packet(update(1, 800, end=True), 2**31 + 200_000, ssrc=2) == [("1", 100)]


def test_a_long_event_goes_on_in_segments():
    hearing = Hearing()
    assert hearing.packet(update(3, 0xFFFF), 1000) == []
    assert hearing.packet(update(3, 160), 1000 + 0xFFFF) == []
    assert hearing.packet(update(3, 8001, end=True), 1000 + 0xFFFF) == [("3", (0xFFFF + 8001) // 8)]


@given(st.lists(st.tuples(st.binary(max_size=8), st.integers(0, 5), st.integers(0, 2)), max_size=60))
def test_no_payload_breaks_it_and_none_is_reported_twice(packets):
    hearing = Hearing()
    reports = []
    for payload, timestamp, ssrc in packets:
        new = hearing.packet(payload, timestamp * 160, ssrc=ssrc)
        assert len(new) <= 2
        reports += new
    assert len(reports) <= len(packets)


def fields(packet):
    first, second, sequence, timestamp, _ = struct.unpack("!BBHII", packet[:12])
    event, flags, duration = struct.unpack("!BBH", packet[12:])
    assert (first, len(packet)) == (0x80, 16)
    return second >> 7, second & 0x7F, sequence, timestamp, event, flags >> 7, duration


def test_the_packets_of_one_event():
    sending = Sending("7", sequence=65534, timestamp=4000, now_us=1000)
    assert sending.next(999) == b""
    packets = []
    for i in range(7):
        packets.append(fields(sending.next(1000 + i * 20000)))
        assert sending.next(1000 + i * 20000) == b""
    assert packets == [
        (i == 0, 101, (65534 + i) & 0xFFFF, 4000, 7, i >= 4, min(160 * (i + 1), 800)) for i in range(7)
    ]
    # 100 ms and a gap of 60: the stream goes on there.
    assert sending.state == (5, 4000 + 160 * 8, 161_000)
    assert sending.next(160_999) == b""
    assert sending.next(161_000) is None


def run(sending, wake_ups):
    """Everything that is sent at these times: (time, fields)."""
    out = []
    for now in wake_ups:
        packet = sending.next(now)
        if packet is None:
            break
        if packet:
            out.append((now, fields(packet)))
    return out


@given(st.text("0123456789*#ABCD!", min_size=1, max_size=32), st.integers(40, 2000), st.integers(0, 300),
       st.sampled_from([(20, 8000), (30, 8000), (20, 16000)]), st.integers(1, 47))
def test_what_is_sent_is_heard(digits, duration, gap, form, step):
    ptime, clock = form
    sending = Sending(digits, duration_ms=duration, gap_ms=gap, ptime_ms=ptime, clock=clock)
    hearing, heard = Hearing(), ""
    packets = run(sending, range(0, 200_000_000, step * 1000))
    for now, (_, _, _, timestamp, event, end, length) in packets:
        for digit, ms in hearing.packet(update(event, length, end), timestamp, now, clock=clock):
            heard += digit
            assert ms == duration
    assert heard == digits
    assert [p[2] for _, p in packets] == list(range(len(packets)))
    # Marks stand on first packets only, and each event begins where the clock is.
    begins = [(now, p[3]) for now, p in packets if p[0]]
    assert len(begins) == len(digits)
    for now, timestamp in begins:
        assert abs(now * clock // 1_000_000 - timestamp) <= clock * (ptime + step) // 1000


def test_a_late_update_says_what_has_passed():
    packets = run(Sending("1", duration_ms=200), [0, 95_000, 100_000, 500_000, 500_001, 520_000, 540_000])
    assert [p[6] for _, p in packets] == [160, 800, 960, 1600, 1600, 1600]


@pytest.mark.parametrize(("duration", "clock", "ptime"), [
    (0, 8000, 20), (8192, 8000, 20), (1400, 48000, 20), (100, 8000, 0),
])
def test_impossible_durations_are_refused(duration, clock, ptime):
    with pytest.raises(ValueError, match=str(duration)):
        Sending("1", duration_ms=duration, clock=clock, ptime_ms=ptime)
