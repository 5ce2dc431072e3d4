"""Prepared sounds through a relay, and calls kept as captures and recordings, judged by what is heard in them.

When packets leave depends on the machine; what they say of time does not. So pace is judged by timestamps, and by
arrival only in that nothing comes before its time.
"""
import itertools
import json
import select
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

from sipcore.media.pcap import Capture
from sipcore.media.recording import APART, Recording
from sipcore.media.relay import PLAYED
from sipcore.media.sound import SoundError, prepare
from sipcore.media.tap import Tap

from .stage import PATIENCE, Phone, Stage, numbers, rtp, until
from .test_pcap import sdp, sip, tshark
from .tones import decode, share, tone

pytestmark = pytest.mark.usefixtures("by_both")

SOUND = prepare(tone(700, 0.5), 8000, name="tone")
SHORT = prepare(tone(700, 0.1), 8000, name="short")


def steps(packets: list[bytes]) -> list[int]:
    """Timestamp steps of one stream: its SSRC stays, and its sequence numbers have no hole."""
    fields = [numbers(packet) for packet in packets]
    assert len({ssrc for _, _, ssrc, _, _ in fields}) == 1
    assert [sequence for sequence, *_ in fields] == [(fields[0][0] + i) & 0xFFFF for i in range(len(fields))]
    return [(b[1] - a[1]) & 0xFFFFFFFF for a, b in itertools.pairwise(fields)]


@pytest.mark.parametrize(("codec", "payload", "rate"), [("PCMU", 0, 8000), ("PCMA", 8, 8000), ("G722", 9, 16_000)])
def test_a_sound_is_heard_at_its_pace(codec, payload, rate):
    with Stage() as stage:
        phone = stage.phone("127.0.0.1")
        session, _ = stage.session(phone)
        began = time.monotonic()
        assert stage.relay.play(session, 0, **SOUND.order(codec))
        packets, times = [], []
        ended = False
        while not ended:
            select.select([phone.socket.fileno(), stage.relay.fileno()], [], [], PATIENCE)
            stage.events += stage.relay.take_events()
            ended = PLAYED in [event[0] for event in stage.events]
            while not phone.is_quiet():
                packets.append(phone.receive())
                times.append(time.monotonic() - began)
        assert stage.wait_for(PLAYED)[4] == 1
        fields = [numbers(packet) for packet in packets]
        assert all(step and step % 160 == 0 for step in steps(packets))
        assert [marker for *_, marker in fields] == [True] + [False] * (len(fields) - 1)
        assert {kind for _, _, _, kind, _ in fields} == {payload}
        # Nothing is ahead of the clock, and the end of the sound is that of its last frame.
        assert all(at > 0.02 * ((timestamp - fields[0][1]) & 0xFFFFFFFF) / 160 - 0.002
                   for at, (_, timestamp, *_) in zip(times, fields, strict=True))
        assert time.monotonic() - began > 0.49
        if len(packets) == 25:
            samples = decode(codec, b"".join(packet[12:] for packet in packets))
            assert share(samples[len(samples) // 5: -len(samples) // 5], 700, rate) > 0.9
        stage.end(session)


def test_sound_digits_and_speaker_are_one_stream():
    with Stage() as stage:
        a, b = stage.phone("127.0.0.1"), stage.phone("127.0.0.1")
        session, where = stage.session(a, b, payload=8, event_payload=101)
        b.send(rtp(500, 80_000, ssrc=0xB), where[1])
        packets = [a.receive()]
        stage.relay.play(session, 0, **SHORT.order("PCMA"))
        stage.wait_for(PLAYED)
        stage.relay.send_digits(session, 0, "5#", payload=101, duration_ms=80, gap_ms=50)
        stage.wait_for(PLAYED)
        b.send(rtp(501, 80_160, ssrc=0xB), where[1])
        while packets[-1][1] & 0x7F == 8 or packets[-1][12] != 11 or not packets[-1][13] >> 7:
            packets.append(a.receive())
        while packets[-1][1] & 0x7F == 101:
            packets.append(a.receive())
        assert numbers(packets[0])[:3] == (500, 80_000, 0xB)
        events = [packet[12] for packet in packets if packet[1] & 0x7F == 101]
        assert events == sorted(events)
        assert set(events) == {5, 11}
        kinds = [kind for kind, _ in itertools.groupby(packet[1] & 0x7F for packet in packets)]
        assert kinds == [8, 101, 8]
        # Nothing goes back in time, and packets of one event have one timestamp.
        assert all(0 <= step < 80_000 for step in steps(packets))
        assert len({numbers(packet)[1] for packet in packets if packet[1] & 0x7F == 101}) == 2
        # What follows an event stands behind its end.
        last = [packet for packet in packets if packet[1] & 0x7F == 101][-1]
        assert (numbers(packets[-1])[1] - numbers(last)[1]) & 0xFFFFFFFF >= 640
        stage.end(session)


def test_many_sounds_at_once():
    with Stage(sessions=64) as stage:
        phones = [stage.phone("127.0.0.1") for _ in range(40)]
        sessions = [stage.session(phone)[0] for phone in phones]
        for session in sessions:
            assert stage.relay.play(session, 0, **SOUND.order("PCMA"))
        for session in sessions:
            stage.wait_for(PLAYED, session)
        for phone, session in zip(phones, sessions, strict=True):
            packets = stage.sent(session, 0, phone)
            assert sum(steps(packets)) <= 24 * 160
            stage.end(session)


def test_a_codec_that_was_not_prepared():
    with pytest.raises(SoundError, match="tone: not prepared in OPUS; expected one of PCMU, PCMA, G722"):
        SOUND.order("OPUS")
    assert SOUND.order("G722", 109)["payload"] == 109


def talk(stage: Stage, session: int, phones: list[Phone], where: list[tuple[str, int]], codec: str,
         seconds: float) -> float:
    """Two phones with a tone each, 500 and 1100 Hz, in the time that it takes. How late the latest frame was."""
    frames = [prepare(tone(hertz, seconds), 8000, codecs=[codec]).frames[codec] for hertz in (500, 1100)]
    start, late = time.monotonic(), 0.0
    for i in range(len(frames[0]) // 160):
        for side, (phone, to, data) in enumerate(zip(phones, where, frames, strict=True)):
            phone.send(rtp(i, i * 160, ssrc=side + 1, payload_type=8, payload=data[i * 160: i * 160 + 160]), to)
        for phone in phones:
            phone.receive()
        late = max(late, time.monotonic() - start - i * 0.02)
        while time.monotonic() < start + (i + 1) * 0.02:
            time.sleep(0.002)
    return late


def test_a_call_is_kept(tmp_path):
    """The same copies make the capture and the recording."""
    until(lambda: keep(tmp_path) < APART / 2, "a call whose packets come when they should")
    samples, rate = soundfile.read(tmp_path / "a.wav")
    assert rate == 8000
    heard = samples[int(0.2 * rate): int(0.8 * rate)]
    assert share(heard[:, 0], 500) > 0.97
    assert share(heard[:, 1], 1100) > 0.97
    assert np.abs(heard).max() > 0.4
    layers = [p["_source"]["layers"] for p in json.loads(tshark(tmp_path / "call.pcap", "-T", "json"))]
    assert ["sip" in each for each in layers[:2]] == [True, True]
    assert len(layers) == 102
    assert all("rtp" in each for each in layers[2:])
    streams = tshark(tmp_path / "call.pcap", "-q", "-z", "rtp,streams").splitlines()
    assert sum("g711A" in line for line in streams) == 2


def keep(tmp_path: Path) -> float:
    """Keep a call of a second. How late the latest frame was: a recording takes no packet for what it says that comes
    too far from its time."""
    tap = Tap()
    with Stage(tap=tap) as stage, Capture(tmp_path / "call.pcap") as capture, Recording(tmp_path / "a.wav") as wav:
        phones = [stage.phone("127.0.0.1"), stage.phone("127.0.0.1")]
        session, where = stage.session(*phones, payload=8)
        stage.relay.capture(session)
        epoch = time.time_ns() - time.monotonic_ns()
        caller, edge = ("127.0.0.1", 5060), ("127.0.0.2", 5060)
        offer, answer = sdp(*phones[0].address), sdp(*where[0])
        capture.write(time.time_ns(), caller, edge, sip("INVITE sip:b@example.com SIP/2.0", offer))
        capture.write(time.time_ns(), edge, caller, sip("SIP/2.0 200 OK", answer))
        late = talk(stage, session, phones, where, "PCMA", 1.0)
        for copy in tap.drain():
            wav.add(copy)
            if copy.side == 0:
                host, port = where[0]
                capture.write_copy(copy, (host, port + copy.rtcp), epoch)
        assert tap.overflows == 0
        assert late > APART / 2 or (wav.late, wav.unknown, wav.duplicates) == (0, 0, 0)
        stage.end(session)
    return late
