"""Loss, order and jitter of received streams, against what RFC 3550 A.1, A.3 and A.8 say and against a plain model."""
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipcore.media.probe import RECEPTION_BYTES, Receiver


def receive(sequences, first=0):
    receiver = Receiver()
    for sequence in sequences:
        receiver.packet((first + sequence) & 0xFFFF)
    return receiver.figures()


def test_it_is_small():
    assert RECEPTION_BYTES <= 100


def test_nothing_yet():
    figures = Receiver().figures()
    assert (figures["expected"], figures["lost"], figures["burst_ratio"]) == (0, 0, 1)


@pytest.mark.parametrize("first", [0, 1, 65000, 65535])
@pytest.mark.parametrize(("sequences", "expected", "lost", "late", "duplicates"), [
    (range(1000), 1000, 0, 0, 0),
    ([0], 1, 0, 0, 0),
    ([0, 0], 1, 0, 0, 1),
    ([0, 1, 3, 2, 4], 5, 0, 1, 0),
    ([0, 1, 3, 2, 2, 3, 4], 5, 0, 1, 2),
    ([0, 5], 6, 4, 0, 0),
    ([1, 0, 2], 3, 0, 1, 0),  # the first one to come was not the first one sent
    ([2, 0, 3], 4, 1, 1, 0),
    ([0, 2999], 3000, 2998, 0, 0),
    ([*range(100), *range(100, 170, 2)], 169, 34, 0, 0),
    ([0, *range(10, 73), 9], 73, 8, 1, 0),  # 63 below the highest, 64 would be a stray
    (range(200_000), 200_000, 0, 0, 0),
])
def test_counts(first, sequences, expected, lost, late, duplicates):
    figures = receive(sequences, first)
    assert (figures["expected"], figures["lost"]) == (expected, lost)
    assert (figures["out_of_order"], figures["duplicates"], figures["restarts"]) == (late, duplicates, 0)
    assert figures["packets"] == len(sequences)


def test_a_stray_packet_changes_nothing_and_two_in_a_row_are_a_restart():
    figures = receive([0, 1, 30000, 2, 3])
    assert (figures["expected"], figures["lost"], figures["strays"], figures["restarts"]) == (4, 0, 1, 0)
    figures = receive([0, 1, 2, 30000, 30001, 30002])
    assert (figures["expected"], figures["lost"], figures["strays"], figures["restarts"]) == (6, 0, 0, 1)
    # Far back is no different: 64 and more below the highest number.
    assert receive([100, 101, 5, 6, 7])["restarts"] == 1


def test_another_source_begins_anew_and_keeps_the_totals():
    receiver = Receiver()
    for i in [0, 1, 2, 4]:
        receiver.packet(i, ssrc=1)
    for i in [9000, 9001, 9003]:
        receiver.packet(i, ssrc=2)
    figures = receiver.figures()
    assert (figures["expected"], figures["lost"], figures["restarts"], figures["packets"]) == (9, 2, 1, 7)


@given(st.lists(st.integers(0, 40), max_size=120), st.integers(0, 65535))
def test_any_order_within_the_window_counts_as_a_set(order, first):
    """Every number within 40 of the start is kept apart exactly, however they come."""
    figures = receive(order, first)
    unique = set(order)
    expected = max(unique) - min(unique) + 1 if unique else 0
    assert figures["expected"] == expected
    assert figures["lost"] == expected - len(unique)
    assert figures["duplicates"] == len(order) - len(unique)
    highest = [max(order[:i]) for i in range(1, len(order))]
    late = {s for i, s in enumerate(order[1:]) if s < highest[i] and s not in order[:i + 1]}
    assert figures["out_of_order"] == len(late)


@given(st.lists(st.tuples(st.integers(0, 65535), st.integers(0, 3))))
def test_no_order_breaks_the_sums(packets):
    receiver = Receiver()
    for sequence, ssrc in packets:
        receiver.packet(sequence, ssrc=ssrc, timestamp=sequence * 160, arrival_ns=sequence + 1)
    figures = receiver.figures()
    assert figures["packets"] == len(packets)
    assert 0 <= figures["lost"] <= figures["expected"]
    received = figures["expected"] - figures["lost"]
    assert received + figures["duplicates"] + figures["strays"] == len(packets)


def jitter(arrivals_us, timestamps, clock):
    """RFC 3550 A.8 in floating point, in microseconds."""
    j = 0.0
    for i in range(1, len(arrivals_us)):
        d = (arrivals_us[i] - arrivals_us[i - 1]) - (timestamps[i] - timestamps[i - 1]) * 1e6 / clock
        j += (abs(d) - j) / 16
    return j


@pytest.mark.parametrize(("clock", "step"), [(8000, 160), (16000, 320), (48000, 960), (8000, 240)])
def test_jitter_is_that_of_the_rfc(clock, step):
    rng = random.Random(clock + step)
    arrivals = [1000 + i * step * 1_000_000 // clock + rng.randrange(8000) for i in range(500)]
    timestamps = [(2**32 - 20 * step + i * step) for i in range(500)]
    receiver = Receiver()
    for i, (arrival, timestamp) in enumerate(zip(arrivals, timestamps, strict=True)):
        receiver.packet(i, timestamp & 0xFFFFFFFF, arrival * 1000, clock)
    figures = receiver.figures()
    assert figures["jitter_us"] == pytest.approx(jitter(arrivals, timestamps, clock), abs=10)
    assert figures["jitter_us_max"] >= figures["jitter_us"]


def test_even_packets_have_no_jitter():
    receiver = Receiver()
    for i in range(100):
        receiver.packet(i, i * 160, 5 + i * 20_000_000)
    assert receiver.figures()["jitter_us_max"] == 0


def test_a_jumping_timestamp_a_telephone_event_and_an_unknown_clock_are_no_jitter():
    receiver = Receiver()
    for i in range(10):
        receiver.packet(i, i * 160, 5 + i * 20_000_000)
    for i in range(10, 20):  # one event: the timestamp stays (RFC 4733 2.5.1.2)
        receiver.packet(i, 1600, 5 + i * 20_000_000)
    for i in range(20, 30):
        receiver.packet(i, i * 160, 5 + i * 20_000_000)
    for i in range(30, 40):  # resumed from hold with another clock
        receiver.packet(i, 0x70000000 + i * 160, 5 + i * 20_000_000)
    for i in range(40, 50):
        receiver.packet(i, i * 7, 5 + i * 20_000_000, clock=0)
    assert receiver.figures()["jitter_us_max"] == 0


def test_a_single_late_packet_counts_a_sixteenth():
    receiver = Receiver()
    receiver.packet(0, 0, 1)
    receiver.packet(1, 160, 36_000_001)
    assert receiver.figures()["jitter_us"] == 1000


def test_bursts():
    assert receive([i for i in range(1000) if i % 10])["burst_ratio"] == 1
    figures = receive([i for i in range(1000) if i % 50 > 4 or i < 50])
    assert (figures["lost"], figures["bursts"]) == (95, 19)
    assert figures["burst_ratio"] == pytest.approx(5 * (1 - 0.095), rel=0.01)
