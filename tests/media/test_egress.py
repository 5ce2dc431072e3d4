"""What leaves towards one side: untouched, or one stream out of several."""
from hypothesis import given
from hypothesis import strategies as st

from sipcore.media.egress import EgressProbe
from tests.media.stage import numbers, rtp

FRAME_US = 20_000


@given(st.lists(st.tuples(st.integers(0, 65535), st.integers(0, 1 << 32), st.integers(0, 1 << 32), st.booleans())))
def test_one_source_leaves_as_it_came(packets: list[tuple[int, int, int, bool]]) -> None:
    egress = EgressProbe()
    for at, (sequence, timestamp, ssrc, marker) in enumerate(packets):
        packet = rtp(sequence, timestamp, ssrc=ssrc & 0xFFFFFFFF, marker=marker)
        assert egress.send(0, packet, at * FRAME_US) == packet
    assert not egress.rewrites


@given(st.integers(0, 65535), st.integers(0, (1 << 32) - 1), st.integers(0, 65535), st.integers(0, (1 << 32) - 1),
       st.integers(3, 3000))
def test_another_source_goes_on(sequence: int, timestamp: int, other: int, other_timestamp: int, pause: int) -> None:
    egress = EgressProbe()
    egress.send(0, rtp(sequence, timestamp, ssrc=11), 0)
    now = pause * FRAME_US
    first = numbers(egress.send(1, rtp(other, other_timestamp, ssrc=22), now) or b"")
    assert first == ((sequence + 1) & 0xFFFF, (timestamp + pause * 160 + 1) & 0xFFFFFFFF, 11, 8, True)
    second = numbers(egress.send(1, rtp(other + 1, other_timestamp + 160, ssrc=22), now + FRAME_US) or b"")
    assert second == ((first[0] + 1) & 0xFFFF, (first[1] + 160) & 0xFFFFFFFF, 11, 8, False)
    # Back to the first one, that went on meanwhile.
    third = numbers(egress.send(0, rtp(sequence + 500, timestamp + 80_000, ssrc=11), now + 5 * FRAME_US) or b"")
    assert (third[0], third[2], third[4]) == ((first[0] + 2) & 0xFFFF, 11, True)
    assert 0 < (third[1] - second[1]) & 0xFFFFFFFF <= 5 * 160 + 1


def test_the_speaker_keeps_it_while_it_speaks() -> None:
    egress = EgressProbe()
    for frame in range(20):
        assert egress.send(0, rtp(frame), frame * FRAME_US) is not None
        assert egress.send(1, rtp(frame, ssrc=2), frame * FRAME_US + 1) is None
    silent_since = 19 * FRAME_US
    assert egress.send(1, rtp(20, ssrc=2), silent_since + 59_999) is None
    assert egress.send(1, rtp(21, ssrc=2), silent_since + 60_000) is not None
    assert egress.send(0, rtp(22), silent_since + 60_001) is None


def test_a_speaker_that_is_no_longer_heard_needs_not_be_waited_for() -> None:
    egress = EgressProbe()
    egress.send(0, rtp(7, 700), 0)
    sent = egress.send(1, rtp(100, 9000, ssrc=2), 1000, held=False)
    assert sent is not None
    assert numbers(sent)[0] == 8


def test_late_packet_does_not_turn_the_numbers_back() -> None:
    egress = EgressProbe()
    for sequence in (10, 12, 11):
        egress.send(0, rtp(sequence, sequence * 160), sequence)
    sent = egress.send(1, rtp(1, 1, ssrc=2), 1_000_000)
    assert sent is not None
    assert numbers(sent)[0] == 13


def test_source_that_began_anew_is_where_the_next_one_goes_on() -> None:
    egress = EgressProbe()
    egress.send(0, rtp(60_000, 1), 0)
    egress.send(0, rtp(5, 99_000), 1)
    sent = egress.send(1, rtp(1, 1, ssrc=2), 1_000_000)
    assert sent is not None
    assert numbers(sent)[0] == 6


def test_changed_ssrc_is_hidden_once_headers_are_rewritten() -> None:
    egress = EgressProbe()
    egress.send(0, rtp(1, 160, ssrc=1), 0)
    egress.send(1, rtp(50, 0, ssrc=2), 100_000)
    sent = egress.send(1, rtp(900, 7, ssrc=3), 120_000)
    assert sent is not None
    assert numbers(sent)[::2] == (3, 1, False)


def test_payload_types_are_replaced() -> None:
    egress = EgressProbe()
    egress.map(bytes([96, 101, 8, 0]))
    for payload_type, expected in ((96, 101), (8, 0), (18, 18)):
        packet = rtp(5, 6, payload_type=payload_type, marker=True)
        assert egress.send(0, packet, 0) == rtp(5, 6, payload_type=expected, marker=True)


def test_what_the_edge_says_itself_has_the_right_payload_type_already() -> None:
    egress = EgressProbe()
    egress.map(bytes([101, 96]))
    sent = egress.send(4, rtp(5, 6, payload_type=101), 0)
    assert sent is not None
    assert numbers(sent)[3] == 101
    sent = egress.send(1, rtp(5, 6, payload_type=101), 100_000, held=False)
    assert sent is not None
    assert numbers(sent)[3] == 96
