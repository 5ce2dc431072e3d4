"""Recordings judged by what is on each channel, and when."""
import wave

import numpy as np
import pytest
import soundfile

from sipcore.media.packet import Packet
from sipcore.media.recording import Recording
from sipcore.media.sound import prepare

from .stage import rtp
from .tones import share, tone

PAYLOAD = {"PCMU": 0, "PCMA": 8, "G722": 9}


def packets(side, frequency, seconds, *, codec="PCMA", start_ms=0, first=0, ssrc=None, timestamp=2**32 - 1600):
    """The packets of a tone, 20 ms each, in order."""
    frames = prepare(tone(frequency, seconds, 16_000), 16_000, codecs=[codec]).frames[codec]
    return [
        Packet((start_ms + i * 20) * 1_000_000, 7, 1, side, False, False, ("192.0.2.1", 4000),
               rtp(first + i, timestamp + i * 160, ssrc=side + 1 if ssrc is None else ssrc,
                   payload_type=PAYLOAD[codec], payload=frames[i * 160: i * 160 + 160]))
        for i in range(len(frames) // 160)
    ]


def record(path, *streams, **options):
    with Recording(path, **options) as recording:
        for packet in sorted((packet for stream in streams for packet in stream), key=lambda each: each.time_ns):
            recording.add(packet)
    samples, rate = soundfile.read(path)
    assert samples.shape[1] == 2
    return recording, samples[:, 0], samples[:, 1], rate


@pytest.mark.parametrize(("codec", "wideband", "rate"), [
    ("PCMA", False, 8000), ("PCMU", False, 8000), ("G722", True, 16_000), ("G722", False, 8000), ("PCMU", True, 16_000),
])
def test_each_side_has_its_channel(tmp_path, codec, wideband, rate):
    recording, left, right, found = record(
        tmp_path / "a.wav", packets(0, 500, 3, codec=codec), packets(1, 1100, 3, codec=codec), wideband=wideband,
    )
    assert found == rate
    assert recording.seconds == len(left) / rate == pytest.approx(3, abs=0.02)
    assert share(left, 500, rate) > 0.97
    assert share(right, 1100, rate) > 0.97
    for channel in (left, right):
        assert np.sqrt((channel**2).mean()) == pytest.approx(0.5 / np.sqrt(2), rel=0.1)
    assert (recording.late, recording.duplicates, recording.unknown, recording.beyond) == (0, 0, 0, 0)


def test_gaps_are_silent_and_everything_stands_at_its_time(tmp_path):
    stream = packets(0, 500, 6)
    _, left, right, _ = record(
        tmp_path / "a.wav", stream[:100] + stream[200:], packets(1, 1100, 1, start_ms=2500),
    )
    assert len(left) == 48_000
    assert np.abs(left[16_000:32_000]).max() == 0
    assert share(left[:16_000], 500) > 0.97
    assert share(left[32_000:], 500) > 0.97
    assert np.abs(right[:20_000]).max() == np.abs(right[28_000:]).max() == 0
    assert share(right[20_000:28_000], 1100) > 0.97


def test_jitter_order_and_second_copies_are_not_heard(tmp_path):
    rng = np.random.default_rng(1)
    stream = packets(0, 500, 4)
    even = record(tmp_path / "even.wav", stream)[1]
    shaken = [stream[0]] + [p._replace(time_ns=p.time_ns + int(rng.integers(300_000_000))) for p in stream[1:]]
    recording, left, _, _ = record(tmp_path / "shaken.wav", shaken + shaken[50:60])
    assert recording.duplicates == 10
    assert recording.late == 0
    assert (left == even).all()


@pytest.mark.parametrize("codec", ["PCMA", "G722"])
def test_a_packet_that_is_too_late_is_left_out(tmp_path, codec):
    stream = packets(0, 500, 6, codec=codec)
    late = stream[50]._replace(time_ns=stream[50].time_ns + 3_000_000_000)
    copy = stream[60]._replace(time_ns=stream[60].time_ns + 850_000_000)
    recording, left, _, _ = record(tmp_path / "a.wav", [*stream[:50], late, copy, *stream[51:]],
                                   wideband=codec == "G722")
    assert len(left) == 6 * recording.rate
    # It is far from where its timestamp says, which then is not believed: the stream stands there, for this packet.
    assert recording.late + recording.duplicates >= 1


def test_a_stream_that_begins_anew_stands_where_it_arrives(tmp_path):
    _, left, _, _ = record(
        tmp_path / "a.wav", packets(0, 500, 1), packets(0, 900, 1, start_ms=2000, ssrc=99, timestamp=5),
        packets(0, 700, 1, start_ms=4000, ssrc=99, timestamp=0x70000000),
    )
    assert len(left) == 40_000
    for at, frequency in [(0, 500), (16_000, 900), (32_000, 700)]:
        assert share(left[at: at + 8000], frequency) > 0.97
    assert np.abs(left[8000:16_000]).max() == np.abs(left[24_000:32_000]).max() == 0


def test_a_long_silence_and_the_limit(tmp_path):
    recording, left, _, _ = record(
        tmp_path / "a.wav", packets(0, 500, 0.2), packets(0, 500, 0.2, start_ms=300_000),
        packets(0, 500, 0.2, start_ms=500_000), limit_seconds=400,
    )
    assert len(left) == 300_200 * 8
    assert recording.beyond == 10
    assert share(left[-1600:], 500) > 0.9


def test_whoever_a_transfer_brings_in_is_on_the_right(tmp_path):
    """Side 1 until 2 s, side 2 from 1 s on: both in between."""
    recording, left, right, _ = record(
        tmp_path / "a.wav", packets(0, 500, 3), packets(1, 1100, 2), packets(2, 1700, 2, start_ms=1000))
    assert share(left, 500) > 0.97
    assert share(right[:7000], 1100) > 0.97
    assert share(right[9000:15_000], 1100) > 0.45 < share(right[9000:15_000], 1700)
    assert share(right[17_000:], 1700) > 0.97
    assert (recording.late, recording.duplicates, recording.unknown, recording.beyond) == (0, 0, 0, 0)


def test_what_is_no_audio_is_left_out(tmp_path):
    good = packets(0, 500, 0.2)
    bad = [
        good[0]._replace(data=data) for data in (
            b"", b"\x80", bytes(20), rtp(1, 5, payload_type=101), rtp(1, 5, payload=b""),
            b"\x90" + rtp(1, 5)[1:12], b"\xa0" + rtp(1, 5)[1:-1] + b"\xff", b"\x9f" + rtp(1, 5)[1:40],
        )
    ]
    other = [good[0]._replace(sent=True), good[0]._replace(rtcp=True)]
    recording, left, right, _ = record(tmp_path / "a.wav", good, bad, other)
    assert recording.unknown == len(bad)
    assert len(left) == 1600
    assert np.abs(right).max() == 0


def test_a_flood_does_not_fill_the_memory(tmp_path):
    with Recording(tmp_path / "a.wav") as recording:
        for i in range(5000):
            data = rtp(i, i % 7000, payload=b"x")
            recording.add(Packet(1, 0, 1, 0, False, False, ("192.0.2.1", 1), data))
        assert recording.beyond == 3000
    assert recording.seconds < 2


def test_a_recording_that_is_cut_off_opens(tmp_path):
    path = tmp_path / "a.wav"
    recording = Recording(path)
    for packet in packets(0, 500, 5):
        recording.add(packet)
    cut = tmp_path / "cut.wav"
    cut.write_bytes(path.read_bytes())  # as it is on disk when the process dies now
    recording.close()
    samples, rate = soundfile.read(cut)
    assert rate == 8000
    assert len(samples) >= 3 * rate
    assert share(samples[:, 0], 500) > 0.97
    with wave.open(str(cut)) as file:
        assert file.getnframes() == len(samples)
    with wave.open(str(path)) as file:
        assert file.getnframes() == 40_000


def test_an_empty_recording_opens(tmp_path):
    with Recording(tmp_path / "a.wav"):
        pass
    assert soundfile.info(tmp_path / "a.wav").frames == 0


def test_a_file_that_cannot_be_made(tmp_path):
    with pytest.raises(OSError, match="nowhere"):
        Recording(tmp_path / "nowhere" / "a.wav")
