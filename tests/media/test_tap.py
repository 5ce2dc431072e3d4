"""The ring of copied packets, with one thread at both ends and with two."""
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipcore.media.packet import Packet
from sipcore.media.probe import tap_put, tap_put_often
from sipcore.media.tap import Tap


def test_a_packet_comes_out_as_it_went_in():
    tap = Tap()
    assert tap.drain() == []
    assert tap_put(tap, b"abc", time_ns=2**60, session=7, side=3, sent=True, rtcp=True, far=("2001:db8::1", 65535))
    assert tap_put(tap, b"", far=("192.0.2.9", 1))
    assert tap.drain() == [
        Packet(2**60, 7, 0, 3, True, True, ("2001:db8::1", 65535), b"abc"),
        Packet(0, 0, 0, 0, False, False, ("192.0.2.9", 1), b""),
    ]
    assert tap.drain() == []


def test_what_finds_no_room_is_counted():
    tap = Tap(4096)
    assert tap_put_often(tap, bytes(172), 100) == (taken := 100 - tap.overflows)
    assert 10 < taken < 24
    assert [packet.time_ns for packet in tap.drain()] == list(range(taken))
    assert tap_put(tap, bytes(172))


def test_drain_takes_no_more_than_it_is_asked_for():
    tap = Tap()
    tap_put_often(tap, b"x", 10)
    assert [len(tap.drain(4)) for _ in range(4)] == [4, 4, 2, 0]


@given(st.lists(st.one_of(st.binary(max_size=1500), st.none()), max_size=200))
def test_as_a_bounded_queue(steps):
    """bytes: put them; None: drain."""
    tap, refused = Tap(4096), 0
    waiting: list[bytes] = []
    for step in steps:
        if step is None:
            assert [packet.data for packet in tap.drain()] == waiting
            waiting = []
        elif tap_put(tap, step):
            waiting.append(step)
        else:
            refused += 1
            assert waiting
    assert [packet.data for packet in tap.drain()] == waiting
    assert tap.overflows == refused


def test_two_threads():
    tap, total, taken = Tap(1 << 16), 200_000, []
    thread = threading.Thread(target=lambda: taken.append(tap_put_often(tap, bytes(range(200)), total)))
    thread.start()
    seen: list[int] = []
    while thread.is_alive() or len(seen) < taken[0]:
        for packet in tap.drain(100):
            assert packet.data == bytes(range(200))
            seen.append(packet.time_ns)
    thread.join()
    assert len(seen) == taken[0] == total - tap.overflows
    assert seen == sorted(set(seen))


@pytest.mark.parametrize("size", [0, 100, -1, 1 << 40])
def test_impossible_sizes_are_refused(size):
    with pytest.raises(ValueError, match="4096"):
        Tap(size)
