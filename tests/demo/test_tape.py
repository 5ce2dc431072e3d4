"""What is told of a recording: who was heard, when, the gaps; and the file that is made of it."""
import asyncio

import pytest
import soundfile

from proxy.demo.call import Unexpected
from proxy.demo.ears import Ears
from proxy.demo.tape import STRANGER, Tape
from proxy.demo.voice import FRAME, can_speak, spoken, toned
from sipcore.media.g711 import SILENCE

CALLER, AGENT = toned("caller", 1000), toned("agent", 600)
SILENT = bytes([SILENCE["PCMU"]]) * FRAME


class Clock:
    """A loop's time, as a test sets it."""

    def __init__(self):
        self.now = 100.0

    def time(self):
        return self.now


class TimedTape(Tape):
    """One that knows its clock."""

    def __init__(self, clock):
        super().__init__("human")
        self.clock = clock


@pytest.fixture
def tape(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(asyncio, "get_running_loop", lambda: clock)
    return TimedTape(clock)


def hear(tape, voice, packets, timestamp):
    """So many packets of a voice, 20 ms apart."""
    sound = voice.frames["PCMU"] if voice is not None else SILENT * packets
    for number in range(packets):
        tape.hear(timestamp + FRAME * number, "PCMU", sound[FRAME * number:FRAME * number + FRAME])
        tape.clock.now += 0.02


def test_voices_are_told_apart(tape):
    hear(tape, CALLER, 20, 0)
    between = tape.clock.now
    hear(tape, None, 10, 20 * FRAME)
    hear(tape, AGENT, 15, 30 * FRAME)
    hear(tape, toned("other", 850), 5, 45 * FRAME)
    assert tape.who([CALLER, AGENT]) == {"caller": 20, "agent": 15, STRANGER: 5}
    assert tape.who([CALLER, AGENT], until=between) == {"caller": 20}
    assert tape.who([CALLER, AGENT], since=between) == {"agent": 15, STRANGER: 5}
    assert [name for _, name in tape.speakers([CALLER])[-2:]] == [STRANGER, STRANGER]


def test_a_voice_alone_is_what_is_wanted(tape):
    ears = Ears(None)
    ears.voices = (CALLER, AGENT)
    hear(tape, CALLER, 20, 0)
    assert ears.heard(tape, "caller") == "the human hears caller alone (0.4 s)"
    with pytest.raises(Unexpected, match=r"was to hear agent alone, and heard caller 0\.4 s"):
        ears.heard(tape, "agent")
    with pytest.raises(Unexpected, match="heard nobody"):
        ears.heard(tape, "caller", since=tape.clock.now)
    with pytest.raises(Unexpected, match="heard caller"):
        ears.heard(tape, "caller", least=21)
    hear(tape, AGENT, 1, 20 * FRAME)
    with pytest.raises(Unexpected, match=r"heard caller 0\.4 s, agent 0\.0 s"):
        ears.heard(tape, "caller")


def test_the_longest_gap(tape):
    hear(tape, CALLER, 5, 0)
    tape.clock.now += 0.1
    hear(tape, CALLER, 5, 5 * FRAME)
    assert tape.longest_gap(100, 101) == pytest.approx(0.12)
    assert tape.longest_gap(100, 100.05) == pytest.approx(0.02)
    assert tape.longest_gap(200, 201) == 1


def test_the_file_has_what_was_said_left_and_what_was_heard_right(tape, tmp_path):
    for number in range(50):
        tape.say(FRAME * number, "PCMU", AGENT.frames["PCMU"][:FRAME])
        tape.clock.now += 0.02
    hear(tape, CALLER, 25, 4_294_967_000)
    hear(tape, CALLER, 25, 77)
    assert tape.write(tmp_path / "end.wav") == pytest.approx(2, abs=0.03)
    samples, rate = soundfile.read(tmp_path / "end.wav", dtype="int16")
    assert (rate, samples.shape[1]) == (8000, 2)
    said, heard = samples[:, 0].astype(int), samples[:, 1].astype(int)
    assert abs(said[:8000]).mean() > 3000
    assert abs(heard[8000:16000]).mean() > 3000
    assert not said[8000:].any()
    assert not heard[:7900].any()


@pytest.mark.skipif(not can_speak(), reason="espeak-ng is not installed")
def test_speech_has_frames_of_its_own(tmp_path):
    one = spoken("one", "Hello, who is there?", "en-gb+f3", tmp_path)
    other = spoken("other", "Hello, who is there?", "en-us+m3", tmp_path)
    assert len(one.frames["PCMU"]) % FRAME == 0
    assert len(one.owns("PCMU")) > 30
    assert not one.owns("PCMU") & other.owns("PCMU")


def test_a_program_that_fails_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr("proxy.demo.voice.PROGRAM", "false")
    with pytest.raises(OSError, match=r"^false: .*exit status 1"):
        spoken("one", "Hello", "en", tmp_path)
