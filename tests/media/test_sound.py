"""Sounds from files and samples into frames, judged by decoding them again."""
import subprocess
import sys

import numpy as np
import pytest
import soundfile

from sipcore.media.g711 import DECODED, SILENCE, encoding
from sipcore.media.sound import RATES, SoundError, prepare

from .tones import decode, share, tone


@pytest.mark.parametrize("codec", ["PCMU", "PCMA"])
def test_the_encoding_table_gives_the_nearest_level(codec):
    table = encoding(codec)
    levels = np.array(DECODED[codec])
    samples = np.arange(-32768, 32768)
    chosen = levels[table[samples.astype(np.int16).view(np.uint16)]]
    unique = np.unique(levels)
    best = np.abs(samples[:, None] - unique[None, :]).min(axis=1)
    assert (np.abs(samples - chosen) == best).all()
    assert table[0] == SILENCE[codec]
    # Every level comes back as its own byte (mu-law has two bytes for zero).
    assert all(table[level & 0xFFFF] == byte or level == 0 for byte, level in enumerate(DECODED[codec]))


@pytest.mark.parametrize("codec", list(RATES))
@pytest.mark.parametrize("rate", [8000, 16000, 44100, 48000])
def test_a_tone_is_the_same_tone(codec, rate):
    sound = prepare(tone(1000, 1, rate), rate, codecs=[codec])
    assert sound.frame_bytes == 160
    assert (sound.seconds, len(sound.frames[codec])) == (1.0, 8000)
    samples = decode(codec, sound.frames[codec])
    middle = samples[len(samples) // 4: len(samples) * 3 // 4]
    assert share(middle, 1000, RATES[codec]) > 0.99
    assert np.sqrt((middle**2).mean()) == pytest.approx(0.5 / np.sqrt(2), rel=0.05)


def test_what_the_codec_cannot_carry_is_filtered_out():
    both = tone(1000, 1, 48000, 0.4) + tone(5000, 1, 48000, 0.4)  # 5000 Hz would fold to 3000
    narrow = decode("PCMU", prepare(both, 48000, codecs=["PCMU"]).frames["PCMU"])[2000:6000]
    assert share(narrow, 1000) > 0.99
    assert share(narrow, 3000) < 0.001
    wide = decode("G722", prepare(both, 48000, codecs=["G722"]).frames["G722"])[4000:12000]
    assert share(wide, 5000, 16000) > 0.3


@pytest.mark.parametrize(("suffix", "subtype"), [("wav", "PCM_16"), ("wav", "ULAW"), ("wav", "FLOAT"), ("flac", None),
                                                 ("ogg", None), ("mp3", None)])
def test_files(tmp_path, suffix, subtype):
    path = tmp_path / f"sound.{suffix}"
    stereo = np.stack([tone(440, 0.5, 16000), tone(440, 0.5, 16000)], axis=1)
    soundfile.write(path, stereo, 16000, subtype=subtype)
    sound = prepare(path)
    assert set(sound.frames) == {"PCMU", "PCMA", "G722"}
    assert sound.name == str(path)
    assert sound.seconds == pytest.approx(0.5, abs=0.1)  # MP3 has a lead-in
    assert share(decode("PCMA", sound.frames["PCMA"])[800:3200], 440) > 0.98


def test_channels_are_mixed():
    left, right = tone(500, 0.5), tone(1500, 0.5)
    mixed = decode("PCMU", prepare(np.stack([left, right], axis=1), 8000).frames["PCMU"])
    assert 0.4 < share(mixed, 500) < 0.6
    assert 0.4 < share(mixed, 1500) < 0.6


def test_the_last_frame_is_filled_with_silence():
    sound = prepare(np.full(161, 0.5, np.float32), 8000, codecs=["PCMA"], ptime=20)
    assert len(sound.frames["PCMA"]) == 320
    assert sound.frames["PCMA"][161:] == bytes([SILENCE["PCMA"]]) * 159
    assert len(prepare(np.zeros(100, np.int16), 8000, codecs=["PCMU"], ptime=30).frames["PCMU"]) == 240


def test_loud_samples_are_clipped_and_never_wrap():
    loud = decode("PCMU", prepare(np.array([1.5, -1.5, 1.0, -1.0] * 100, np.float32), 8000).frames["PCMU"])
    assert (np.sign(loud[:400]) == [1, -1, 1, -1] * 100).all()
    assert np.abs(loud[:400]).min() > 0.95


@pytest.mark.parametrize(("samples", "rate", "message"), [
    (np.zeros(0, np.float32), 8000, "hello: it is empty"),
    (np.zeros((5, 0), np.float32), 8000, "hello: it is empty"),
    (np.zeros(8000 * 600 + 1, np.int16), 8000, "hello: it is too long; expected at most 600 s"),
    (np.array([0, np.nan], np.float32), 8000, "hello: some samples are no numbers"),
    (np.zeros(10, np.int32), 8000, "hello: samples of type int32; expected int16 or floating point"),
    (np.zeros((2, 2, 2), np.float32), 8000, "hello: samples of 3 dimensions"),
    (np.zeros(10, np.float32), 0, "hello: 0 samples a second"),
])
def test_samples_that_cannot_be_used(samples, rate, message):
    with pytest.raises(SoundError, match=message):
        prepare(samples, rate, name="hello")


def test_files_that_cannot_be_used(tmp_path):
    missing, junk, empty, long = (tmp_path / name for name in ("missing.wav", "junk.wav", "empty.wav", "long.wav"))
    junk.write_bytes(b"this is no sound" * 100)
    soundfile.write(empty, np.zeros(0, np.float32), 8000)
    soundfile.write(long, np.zeros(1000 * 601, np.int16), 1000)
    for path, message in [
        (missing, "missing.wav: there is no such file; expected a sound file"),
        (junk, "junk.wav: .*; expected a sound file, such as WAV"),
        (empty, "empty.wav: it is empty"),
        (long, "long.wav: it is too long"),
        (tmp_path, "expected a sound file"),
    ]:
        with pytest.raises(SoundError, match=message):
            prepare(path)
    (tmp_path / "nothing.wav").touch()
    with pytest.raises(SoundError, match="nothing"):
        prepare(str(tmp_path / "nothing.wav"))


@pytest.mark.parametrize(("options", "message"), [
    ({"codecs": ["GSM"]}, "GSM"), ({"codecs": []}, "none"), ({"ptime": 0}, "ptime"), ({"ptime": 25}, "ptime"),
])
def test_options_that_cannot_be(options, message):
    with pytest.raises(SoundError, match=message):
        prepare(np.zeros(10, np.int16), 8000, **options)


def test_the_libraries_are_loaded_only_by_the_first_sound():
    code = "import sys, sipcore.media.sound; print(sorted({'numpy', 'soundfile', 'soxr', 'G722'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout == "[]\n"
