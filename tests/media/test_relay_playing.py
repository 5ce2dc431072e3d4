"""What the relay sends itself, what it reads of what passes, and the copies of it."""
import struct

import pytest

from sipcore.media.relay import CLOSED, DTMF, PLAYED
from sipcore.media.tap import Tap
from tests.media.stage import Phone, Stage, numbers, rtp, until

pytestmark = pytest.mark.usefixtures("by_both")

FRAMES = b"".join(bytes([n]) * 160 for n in range(5))
VOICE = b"v" * 160


def two_phones(stage: Stage) -> tuple[int, Phone, Phone, list[tuple[str, int]]]:
    one, two = stage.phone("127.1.0.1"), stage.phone("127.2.0.1")
    session, where = stage.session(one, two, event_payload=101)
    return session, one, two, where


def test_a_sound_towards_one_side_while_the_other_goes_on() -> None:
    with Stage() as stage:
        session, one, two, where = two_phones(stage)
        two.send(rtp(10, 1600, ssrc=7), where[1])
        assert one.receive() == rtp(10, 1600, ssrc=7)
        assert stage.relay.play(session, 0, FRAMES, payload=0, loop=True)
        packets = [one.receive() for _ in range(5)]
        two.send(rtp(11, 1760, ssrc=7), where[1])
        stage.counted(session, 1, packets=2, unheard=1)
        one.send(rtp(1), where[0])
        assert two.receive() == rtp(1)
        stage.relay.stop_playing(session, 0)
        assert stage.wait_for(PLAYED) == (PLAYED, session, 1, 0, 0, None)
        # The other side is heard again, in the same stream.
        two.send(rtp(20, 4000, ssrc=7, payload=VOICE), where[1])
        while (back := one.receive())[12:] != VOICE:
            packets.append(back)
        assert numbers(back)[0::2] == (11 + len(packets), 7, True)
        seen = [numbers(packet) for packet in packets]
        assert [n[0] for n in seen] == list(range(11, 11 + len(packets)))
        assert seen[0][1] > 1600
        assert [n[2:] for n in seen] == [(7, 0, True)] + [(7, 0, False)] * (len(seen) - 1)
        # Each frame has its own time; one that was late has left out those before it.
        frames = [(n[1] - seen[0][1]) / 160 for n in seen]
        assert [packet[12:] for packet in packets] == [bytes([int(at) % 5]) * 160 for at in frames]
        assert frames == sorted({int(at) for at in frames})
        stage.counted(session, 0, played=len(packets), sent=len(packets) + 2)


def test_a_sound_comes_at_its_own_pace() -> None:
    with Stage() as stage:
        session, _, _, _ = two_phones(stage)
        before = stage.relay.totals()["wakeups"]
        stage.relay.play(session, 0, FRAMES, payload=8, ptime=30)
        assert stage.wait_for(PLAYED) == (PLAYED, session, 1, 0, 1, None)
        # Late frames are left out.
        assert 1 <= stage.relay.side_counters(session, 0)["sent"] <= 5
        # One wake-up a packet and a few of the watch, no spinning.
        assert stage.relay.totals()["wakeups"] - before < 40


def test_loop_until_stopped() -> None:
    with Stage() as stage:
        session, one, _, _ = two_phones(stage)
        stage.relay.play(session, 0, FRAMES[:320], payload=8, ptime=2, loop=True)
        payloads = [one.receive()[12] for _ in range(30)]
        assert set(payloads) == {0, 1}
        stage.relay.stop_playing(session, 0)
        assert stage.wait_for(PLAYED) == (PLAYED, session, 1, 0, 0, None)
        stage.relay.stop_playing(session, 0)
        assert not [event for event in stage.relay.take_events() if event[0] == PLAYED]


def test_a_new_sound_ends_the_one_before_in_the_same_stream() -> None:
    with Stage() as stage:
        session, one, _, _ = two_phones(stage)
        stage.relay.play(session, 0, FRAMES, payload=8, ptime=200, loop=True)
        first = numbers(one.receive())
        stage.relay.play(session, 0, FRAMES[160:], payload=8, ptime=200, loop=True)
        second = numbers(one.receive())
        assert (second[0], second[2]) == ((first[0] + 1) & 0xFFFF, first[2])
        assert stage.wait_for(PLAYED)[4] == 0
        stage.end(session)


def test_places_come_back() -> None:
    with Stage(places=2) as stage:
        session, one, two, _ = two_phones(stage)
        other, _ = stage.session(one, two)
        assert stage.relay.play(session, 0, FRAMES, payload=8, loop=True)
        assert stage.relay.play(session, 1, FRAMES, payload=8, loop=True)
        assert not stage.relay.play(other, 0, FRAMES, payload=8)
        stage.relay.close(session)
        stage.wait_for(CLOSED, session)
        assert stage.relay.play(other, 0, FRAMES, payload=8, ptime=1)
        assert stage.wait_for(PLAYED)[1:5] == (other, 1, 0, 1)
        assert not stage.relay.play(session, 0, FRAMES, payload=8)


@pytest.mark.parametrize(
    "wrong",
    [{"frames": b""}, {"frames": bytes(161)}, {"frame_bytes": 0}, {"frames": bytes(2048), "frame_bytes": 2048},
     {"ptime": 0}, {"payload": 128}],
)
def test_no_sound(wrong: dict) -> None:
    with Stage(places=1) as stage:
        session, _, _, _ = two_phones(stage)
        with pytest.raises(ValueError, match=r"no whole frames|not a payload"):
            stage.relay.play(session, 0, **{"frames": FRAMES, "payload": 8} | wrong)
        assert stage.relay.play(session, 0, FRAMES, payload=8, ptime=1)


def test_digits_are_sent_and_recognised() -> None:
    """Digits sent to one side come in on another relay's side as they were."""
    with Stage() as stage:
        session, one, two, where = two_phones(stage)
        assert stage.relay.send_digits(session, 0, "5#", payload=101, duration_ms=60, gap_ms=40)
        assert stage.wait_for(PLAYED)[4] == 1
        # Updates that are late are one.
        packets = stage.sent(session, 0, one)
        assert 2 * 4 <= len(packets) <= 2 * 5
        for packet in packets:
            two.send(packet, where[1])
        for event in (5, 11):
            assert stage.wait_for(DTMF) == (DTMF, session, 1, 1, event << 32 | 60, None)
        for _ in packets:
            one.receive()
        for wrong in ("", "x", "1" * 33):
            with pytest.raises(ValueError, match="digits"):
                stage.relay.send_digits(session, 0, wrong, payload=101)
        with pytest.raises(ValueError, match="duration"):
            stage.relay.send_digits(session, 0, "1", payload=101, duration_ms=0)


def test_digit_whose_end_was_lost_is_said_by_the_watch() -> None:
    with Stage(watch_ms=20) as stage:
        session, _, two, where = two_phones(stage)
        two.send(rtp(1, 800, payload_type=101, payload=struct.pack(">BBH", 3, 10, 160)), where[1])
        assert stage.wait_for(DTMF)[:4] == (DTMF, session, 1, 1)


def sender_report(ssrc: int, ntp_middle: int, timestamp: int) -> bytes:
    return struct.pack(">BBHIIIIII", 0x80, 200, 6, ssrc, ntp_middle >> 16, (ntp_middle & 0xFFFF) << 16, timestamp, 1, 1)


def report_about(ssrc: int, about: int, lsr: int, *, fraction: int = 0, lost: int = 0, highest: int = 0) -> bytes:
    return struct.pack(">BBHIIIIIII", 0x81, 201, 7, ssrc, about, fraction << 24 | lost, highest, 33, lsr, 0)


def test_reports_are_read() -> None:
    with Stage() as stage:
        session, one, two, where = two_phones(stage)
        one.send(rtp(1, ssrc=7), where[0])
        two.receive()
        control = [(host, port + 1) for host, port in where]
        one.control.sendto(sender_report(7, 0x12345678, 0), control[0])
        two.control.recvfrom(99)
        report = report_about(9, 7, 0x12345678, fraction=64, lost=12)
        two.control.sendto(report, control[1])
        assert one.control.recvfrom(99)[0] == report
        stage.counted(session, 1, reports=1, far_fraction=64, far_lost=12, far_jitter=33)
        assert 0 < stage.relay.side_counters(session, 1)["round_trip_us"] < 10_000_000


def test_reports_are_told_in_the_terms_of_the_stream() -> None:
    with Stage() as stage:
        session, one, two, where = two_phones(stage)
        control = [(host, port + 1) for host, port in where]
        one.send(rtp(100, 1000, ssrc=7), where[0])
        two.receive()
        stage.relay.play(session, 1, FRAMES[:160], payload=0, ptime=2)
        stage.wait_for(PLAYED)
        two.receive()
        one.send(rtp(101, 1160, ssrc=8), where[0])
        sequence, timestamp, ssrc, _, _ = numbers(two.receive())
        assert (sequence, ssrc) == (102, 7)
        one.control.sendto(sender_report(8, 1, 1160), control[0])
        assert two.control.recvfrom(99)[0] == sender_report(7, 1, timestamp)
        two.control.sendto(report_about(9, 7, 0, highest=102), control[1])
        assert one.control.recvfrom(99)[0] == report_about(9, 8, 0, highest=101)


def test_capture() -> None:
    with Stage(tap=Tap(1 << 16)) as stage:
        session, one, two, where = two_phones(stage)
        tap = stage.relay.tap
        assert tap is not None
        one.send(rtp(1), where[0])
        two.receive()
        stage.relay.capture(session)
        one.send(rtp(2), where[0])
        two.receive()
        until(lambda: stage.relay.side_counters(session, 1)["sent"] == 2, "sent")
        taken = tap.drain()
        assert [(p.session, p.generation, p.side, p.sent, p.rtcp, p.far, p.data) for p in taken] == [
            (session, 1, 0, False, False, one.address, rtp(2)), (session, 1, 1, True, False, two.address, rtp(2))
        ]
        stage.relay.capture(session, False)
        one.send(rtp(3), where[0])
        two.receive()
        assert tap.drain() == []


def test_no_capture_without_a_tap() -> None:
    with Stage() as stage:
        session, _, _, _ = two_phones(stage)
        with pytest.raises(ValueError, match="no tap"):
            stage.relay.capture(session)
