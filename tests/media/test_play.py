"""The packets of a sound and their times, with a clock of the test's own."""
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipcore.media.probe import Playing


def fields(packet):
    first, second, sequence, timestamp, ssrc = struct.unpack("!BBHII", packet[:12])
    assert first == 0x80
    return second >> 7, second & 0x7F, sequence, timestamp, ssrc, packet[12:]


FRAMES = [bytes([i]) * 160 for i in range(5)]


def test_a_sound_from_start_to_end():
    player = Playing(b"".join(FRAMES), 160, now_us=5000, payload=8, ssrc=77, sequence=65534, timestamp=2**32 - 160)
    assert player.next(4999) == b""
    for i, frame in enumerate(FRAMES):
        due = 5000 + i * 20000
        assert player.next(due - 1) == b""
        expected = (i == 0, 8, (65534 + i) & 0xFFFF, (2**32 - 160 + i * 160) & 0xFFFFFFFF, 77, frame)
        assert fields(player.next(due + 300)) == expected
        assert player.next(due + 400) == b""
    # The last frame has its time too; then whoever goes on has the right numbers.
    assert player.next(104_999) == b""
    assert player.next(105_000) is None
    assert player.state[:2] == (3, 4 * 160)


def test_a_loop_goes_on_without_a_seam():
    player = Playing(b"".join(FRAMES), 160, loop=True)
    packets = [fields(player.next(i * 20000)) for i in range(17)]
    assert [p[5] for p in packets] == [FRAMES[i % 5] for i in range(17)]
    assert [p[3] for p in packets] == [i * 160 for i in range(17)]
    assert [p[0] for p in packets] == [1] + [0] * 16


def test_late_frames_are_skipped_and_the_timestamp_goes_on():
    player = Playing(b"".join(FRAMES), 160)
    assert fields(player.next(0))[2:4] == (0, 0)
    assert fields(player.next(70_000)) == (0, 0, 1, 480, 1, FRAMES[3])  # due at 60 ms; those of 20 and 40 are gone
    assert player.next(70_001) == b""
    assert player.state == (2, 640, 80_000, 2)
    assert fields(player.next(99_999))[3] == 640
    assert player.next(100_000) is None


def test_one_that_is_very_late_is_over():
    player = Playing(b"".join(FRAMES), 160)
    assert player.next(3_600_000_000) is None
    assert player.state[3] == 5
    loop = Playing(b"".join(FRAMES), 160, loop=True)
    assert fields(loop.next(3_600_000_000))[2:4] == (0, 180_000 * 160)


def test_no_frames_are_over_at_once():
    assert Playing(b"", 160).next(0) is None
    assert Playing(b"", 160, loop=True).next(0) is None


@given(st.lists(st.integers(0, 90_000), max_size=60), st.booleans(), st.integers(0, 65535))
def test_whatever_the_wake_ups(delays, loop, sequence):
    """Numbers never miss one, timestamps follow the clock, and a frame's time never sees two packets."""
    player = Playing(b"".join(FRAMES), 160, loop=loop, sequence=sequence)
    now, sent = 0, []
    for delay in delays:
        now += delay
        packet = player.next(now)
        if packet is None:
            break
        if packet:
            sent.append((now, *fields(packet)))
            assert player.next(now) == b""
    for i, (at, _, _, number, timestamp, _, payload) in enumerate(sent):
        assert number == (sequence + i) & 0xFFFF
        assert timestamp == at // 20000 * 160
        assert payload == FRAMES[timestamp // 160 % 5]


@pytest.mark.parametrize(("ptime", "step", "size"), [(30, 240, 240), (20, 160, 160), (10, 480, 60)])
def test_other_frames(ptime, step, size):
    player = Playing(bytes(size * 3), size, ptime_us=ptime * 1000, step=step)
    stamps = [fields(player.next(i * ptime * 1000))[3] for i in range(3)]
    assert stamps == [0, step, 2 * step]
