"""Texts, files and summaries into frames, judged by decoding them again; programs and servers that misbehave."""
import asyncio
import io
import os
import select
import shutil
import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile

from proxy.config import Config, Model, Speech
from proxy.events import Answer, AskSpeech
from proxy.services.conversation import Conversations, Turn
from proxy.services.model import Questions
from proxy.services.sounds import Shelf
from proxy.services.speech import Voice
from sipcore.media.sound import RATES
from tests.media.tones import decode, share, tone

from .server import answers, dribbling, endless, raw, response, serving, silent

pytestmark = pytest.mark.usefixtures("uvloop_only")

SLACK = 20.0
"""Seconds that a loaded machine may add to a deadline."""

espeak = pytest.mark.skipif(shutil.which("espeak-ng") is None, reason="espeak-ng is not installed")


def wav(samples: np.ndarray, rate: int = 8000) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format="WAV", subtype="PCM_16")
    return file.getvalue()


def speaks(folder: Path, script: str) -> tuple[str, ...]:
    """A speech program: a shell script that finds the folder in $1."""
    path = folder / "speak"
    path.write_text(script)
    return ("sh", str(path), str(folder))


async def asked(folder: Path, ask: AskSpeech, speech: Speech, model: str = "") -> tuple[Answer, bytes, float]:
    """The answer with its frames, and the seconds that it took."""
    conversations = Conversations(10_000)
    conversations.add("c1", [Turn("caller", "My name is Jo and I had an accident.")])
    questions = Questions(Config(model=Model(url=model)), conversations, folder)
    voice = Voice(Config(speech=speech), questions, folder)
    loop = asyncio.get_running_loop()
    began = loop.time()
    try:
        answer, frames = await voice.ask(ask)
        took = loop.time() - began
    finally:
        await voice.close()
        await questions.close()
    assert answer.ask == ask.ask
    assert len(frames) == answer.frames * 160
    return answer, frames, took


def order(codec="PCMA", deadline: float = 120.0, **options) -> AskSpeech:
    return AskSpeech(ask=5, call="c1", codec=codec, deadline=deadline, **options)


def spoken(folder: Path, ask: AskSpeech, speech: Speech | None = None) -> tuple[Answer, bytes, float]:
    return asyncio.run(asked(folder, ask, speech or Speech()))


def by_server(folder: Path, behaviour, ask: AskSpeech, **options):
    async def run():
        async with serving(behaviour) as server:
            return *await asked(folder, ask, Speech(url=server.url + "/v1", **options)), server

    return asyncio.run(run())


def by_model(folder: Path, behaviour, ask: AskSpeech, speech: Speech):
    async def run():
        async with serving(behaviour) as server:
            return await asked(folder, ask, speech, server.url)

    return asyncio.run(run())


def says(text: str):
    return answers({"choices": [{"message": {"role": "assistant", "content": text}}]})


def is_tone(codec: str, frames: bytes, frequency: float) -> bool:
    return share(decode(codec, frames)[800:-800], frequency, RATES[codec]) > 0.95


def loudness(codec: str, frames: bytes) -> np.ndarray:
    """The level of each frame."""
    samples = decode(codec, frames).reshape(len(frames) // 160, -1)
    return np.asarray(np.sqrt((samples**2).mean(axis=1)))


@espeak
@pytest.mark.parametrize("codec", list(RATES))
def test_a_text_is_spoken(tmp_path, codec):
    answer, frames, _ = spoken(tmp_path, order(codec, text="A claim after an accident.\nPlease take over."))
    assert (answer.error, answer.spoken) == ("", "A claim after an accident. Please take over.")
    assert 1.5 < len(frames) / 8000 < 6
    levels = loudness(codec, frames)
    assert 0.3 < (levels > 0.02).mean() < 1.0
    # What is said lies where voices lie, and is no tone.
    power = np.abs(np.fft.rfft(decode(codec, frames))) ** 2
    hertz = np.fft.rfftfreq(2 * len(power) - 1, 1 / RATES[codec])[: len(power)]
    assert power[(hertz > 80) & (hertz < 3400)].sum() > 0.8 * power.sum()
    assert power.max() < 0.3 * power.sum()


@espeak
def test_more_words_take_longer_and_another_alphabet_is_spoken_too(tmp_path):
    short = spoken(tmp_path, order(text="One."))[0].frames
    long = spoken(tmp_path, order(text="One two three four five six seven eight nine ten."))[0].frames
    assert long > 2 * short > 0
    assert spoken(tmp_path, order(text="Größe, Łódź"))[0].frames > 20


@espeak
def test_a_long_text_is_cut_at_its_longest(tmp_path):
    answer, frames, _ = spoken(tmp_path, order(text="This goes on and on. " * 1000, longest=3.0))
    assert answer.frames == 150
    assert (loudness("PCMA", frames)[-50:] > 0.02).any()


@espeak
def test_a_text_is_no_command(tmp_path):
    text = f"-w {tmp_path}/made --help `touch {tmp_path}/made`; $(touch {tmp_path}/made)"
    answer, *_ = spoken(tmp_path, order(text=text))
    assert answer.frames > 50
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("codec", list(RATES))
@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg"])
def test_a_file_is_played(tmp_path, codec, suffix):
    stereo = np.stack([tone(700, 1.5, 44100)] * 2, axis=1)
    soundfile.write(tmp_path / f"beep.{suffix}", stereo, 44100)
    answer, frames, _ = spoken(tmp_path, order(codec, file=f"beep.{suffix}"))
    assert (answer.error, answer.spoken, answer.frames) == ("", "", 75)
    assert is_tone(codec, frames, 700)


def test_a_file_is_cut_at_its_longest(tmp_path):
    soundfile.write(tmp_path / "beep.wav", np.concatenate([tone(700, 2, 8000), tone(1500, 30, 8000)]), 8000)
    answer, frames, _ = spoken(tmp_path, order(file="beep.wav", longest=2.0))
    assert answer.frames == 100
    assert is_tone("PCMA", frames, 700)


def test_a_file_that_has_changed_is_read_again(tmp_path):
    async def run():
        questions = Questions(Config(), Conversations(0), tmp_path)
        voice = Voice(Config(), questions, tmp_path)
        heard = []
        for frequency in (700, 1500):
            soundfile.write(tmp_path / "new.wav", tone(frequency, 1 + frequency / 1000), 8000)
            os.replace(tmp_path / "new.wav", tmp_path / "beep.wav")
            heard.append((await voice.ask(order(file="beep.wav")))[1])
        await voice.close()
        return heard

    first, second = asyncio.run(run())
    assert is_tone("PCMA", first, 700)
    assert is_tone("PCMA", second, 1500)


@pytest.mark.parametrize(("make", "why"), [
    (lambda path: None, "thing: No such file or directory"),
    (lambda path: path.mkdir(), "thing is not a file"),
    (os.mkfifo, "thing is not a file"),
    (lambda path: path.symlink_to("/dev/zero"), "thing is not a file"),
    (lambda path: path.write_bytes(b""), "thing is not a sound that can be read"),
    (lambda path: path.write_bytes(b"RIFF" + bytes(1000)), "thing is not a sound that can be read"),
    (lambda path: path.write_bytes(wav(tone(700, 0.1), 400_000)), "thing has 1 channels at 400000 Hz"),
    (lambda path: path.write_bytes(wav(np.zeros((100, 20), np.float32), 8000)), "thing has 20 channels at 8000 Hz"),
    (lambda path: path.write_bytes(wav(tone(700, 0), 8000)), "thing: it is empty; expected samples"),
])
def test_what_is_no_sound_is_said_at_once(tmp_path, make, why):
    make(tmp_path / "thing")
    answer, _, took = spoken(tmp_path, order(file="thing"))
    assert (answer.error, answer.frames) == (why, 0)
    assert took < 18


def test_a_program_gets_the_text_and_no_keys(tmp_path, monkeypatch):
    (tmp_path / "beep.wav").write_bytes(wav(tone(700, 1)))
    monkeypatch.setenv("SECRET_KEY", "sk-secret")
    program = speaks(tmp_path, 'cat >"$1/text"; env >"$1/env"; cat "$1/beep.wav"')
    answer, frames, _ = spoken(tmp_path, order(text=" Zoë\r\n is\0 calling "), Speech(program=program))
    assert is_tone("PCMA", frames, 700)
    assert answer.spoken == "Zoë is calling"
    assert (tmp_path / "text").read_text() == "Zoë is calling\n"
    assert "secret" not in (tmp_path / "env").read_text().lower()


def ends(folder: Path, name: str) -> bool:
    """Whether a process ends, or has ended, whose number a script has left."""
    try:
        process = os.pidfd_open(int((folder / name).read_text()))
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([process], [], [], 60)[0])
    finally:
        os.close(process)


def test_a_slow_program_is_killed_before_the_deadline_with_its_children(tmp_path):
    program = speaks(tmp_path, 'sleep 300 & echo $! >"$1/child"; echo $$ >"$1/pid"; wait')
    answer, _, took = spoken(tmp_path, order(text="hello", deadline=5.0), Speech(program=program))
    assert answer.error == "no sound in time"
    assert 4.0 < took < 5.0 + SLACK
    assert ends(tmp_path, "pid")
    assert ends(tmp_path, "child")


def test_a_child_that_keeps_the_output_open_is_not_waited_for_longer(tmp_path):
    program = speaks(tmp_path, 'sleep 300 & echo $! >"$1/child"')
    answer, _, took = spoken(tmp_path, order(text="hello", deadline=5.0), Speech(program=program))
    assert answer.error == "no sound in time"
    assert took < 5.0 + SLACK
    assert ends(tmp_path, "child")


def test_an_endless_program_is_cut_and_killed(tmp_path):
    sound = wav(tone(700, 1, 8000), 8000)
    # The length in the header is none: it says as much as it can.
    head = sound[:40] + struct.pack("<I", 0x7FFFF000)
    (tmp_path / "head").write_bytes(head)
    (tmp_path / "beep").write_bytes(sound[44:])
    program = speaks(tmp_path, 'echo $$ >"$1/pid"; cat "$1/head"; while cat "$1/beep"; do :; done')
    answer, frames, _ = spoken(tmp_path, order(text="hello", longest=2.0), Speech(program=program))
    assert answer.frames == 100
    assert is_tone("PCMA", frames, 700)
    assert ends(tmp_path, "pid")


@pytest.mark.parametrize(("script", "why"), [
    ("exit 3", "the program sh failed with status 3"),
    ("kill -9 $$", "the program sh failed with status -9"),
    ("echo hello", "the speech is not a sound that can be read"),
    ("exit 0", "the speech is not a sound that can be read"),
    ("yes", "the speech is not a sound that can be read"),
])
def test_a_wrong_program(tmp_path, script, why):
    answer, *_ = spoken(tmp_path, order(text="hello", longest=1.0), Speech(program=speaks(tmp_path, script)))
    assert (answer.error, answer.frames) == (why, 0)


def test_a_program_that_is_not_there(tmp_path):
    answer, *_ = spoken(tmp_path, order(text="hello"), Speech(program=("no-such-program",)))
    assert answer.error == "the program no-such-program does not start: No such file or directory"


@pytest.mark.parametrize("text", ["", " \r\n\0", "\u200b"])
def test_nothing_to_say(tmp_path, text):
    answer, *_ = spoken(tmp_path, order(text=text))
    assert answer.error == "there is nothing to say"


def test_few_programs_run_at_a_time_and_a_text_that_was_spoken_is_not_spoken_again(tmp_path):
    (tmp_path / "beep.wav").write_bytes(wav(tone(700, 0.2)))
    program = speaks(tmp_path, 'cat >/dev/null; echo + >>"$1/log"; sleep 0.1; cat "$1/beep.wav"; echo - >>"$1/log"')

    async def run():
        voice = Voice(Config(speech=Speech(program=program)), Questions(Config(), Conversations(0), tmp_path), tmp_path)
        texts = ["same"] * 10 + [f"text {number}" for number in range(8)]
        made = await asyncio.gather(*(voice.ask(order(text=text)) for text in texts))
        await voice.close()
        return made

    made = asyncio.run(run())
    assert {(answer.error, answer.frames) for answer, _ in made} == {("", 10)}
    log = (tmp_path / "log").read_text().split()
    places = max(2, os.cpu_count() or 1)
    assert 9 <= log.count("+") <= 8 + places  # who began together has no other's sound yet
    running = np.cumsum([1 if line == "+" else -1 for line in log])
    assert running.max() <= places


def test_a_shelf_keeps_what_was_wanted_last():
    shelf = Shelf(100)
    shelf.put("a", b"x" * 40)
    shelf.put("b", b"y" * 40)
    assert shelf.get("a") == b"x" * 40
    shelf.put("c", b"z" * 40)
    assert (shelf.get("a"), shelf.get("b"), shelf.get("c")) == (b"x" * 40, None, b"z" * 40)
    shelf.put("a", b"w" * 60)
    assert (shelf.get("a"), shelf.get("c")) == (b"w" * 60, b"z" * 40)
    shelf.put("d", b"v" * 101)
    assert [shelf.get(key) for key in "abcd"] == [None] * 4


def test_a_speech_server_is_asked_as_it_wants(tmp_path):
    (tmp_path / "key").write_text("sk-secret")
    sound = wav(tone(700, 1, 24000), 24000)

    async def behave(request, writer):
        writer.write(response(sound))

    answer, frames, _, server = by_server(
        tmp_path, behave, order(text="Hello\r\nyou"), model="tts", voice="ann", key_file="key")
    assert answer.error == ""
    assert is_tone("PCMA", frames, 700)
    (received,) = server.received
    assert received.path == "/v1/audio/speech"
    assert received.headers["authorization"] == "Bearer sk-secret"
    assert received.json == {"model": "tts", "voice": "ann", "input": "Hello you", "response_format": "wav"}


def test_an_endless_speech_server_is_cut(tmp_path):
    sound = wav(tone(700, 1, 24000), 24000)
    parts = [sound[:40] + b"\xff\xff\xff\xff", sound[44:]]

    async def behave(request, writer):
        writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + parts[0])
        while True:
            writer.write(parts[1])
            await writer.drain()

    answer, frames, *_ = by_server(tmp_path, behave, order(text="hello", longest=2.0))
    assert answer.frames == 100
    assert is_tone("PCMA", frames, 700)


@pytest.mark.parametrize("behaviour", [silent, dribbling])
def test_a_slow_speech_server_is_given_up_before_the_deadline(tmp_path, behaviour):
    answer, _, took, _ = by_server(tmp_path, behaviour, order(text="hello", deadline=1.0))
    assert answer.error == "no sound in time"
    assert 0.8 < took < 1.0 + SLACK


@pytest.mark.parametrize(("behaviour", "why"), [
    (endless, "the speech is not a sound that can be read"),
    (answers({"error": "x"}), "the speech is not a sound that can be read"),
    (answers({}, "500 Internal Server Error"), "status 500"),
    (answers({}, "307 Temporary Redirect", "Location: http://127.0.0.1:9/"), "status 307"),
    (raw(b""), "the answer is not HTTP, or ends too early"),
])
def test_a_wrong_speech_server(tmp_path, behaviour, why):
    answer, _, took, _ = by_server(tmp_path, behaviour, order(text="hello", longest=2.0))
    assert (answer.error, answer.frames) == (why, 0)
    assert took < 18


@pytest.fixture
def tones(tmp_path) -> Speech:
    """A program that whistles 700 Hz, and for the fallback ("sorry") 1500 Hz."""
    (tmp_path / "text.wav").write_bytes(wav(tone(700, 1)))
    (tmp_path / "sorry.wav").write_bytes(wav(tone(1500, 1)))
    return Speech(program=speaks(tmp_path, 'read line; case $line in sorry) cat "$1/sorry.wav";; broken) exit 1;; '
                                           '*) cat "$1/text.wav";; esac'))


def test_a_summary_is_spoken(tmp_path, tones):
    ask = order(summary="Sum up.", fallback="sorry")
    answer, frames, _ = by_model(tmp_path, says("Jo had\nan accident."), ask, tones)
    (summary,) = answer.extracted
    assert (summary.name, summary.value, summary.source) == ("summary", "Jo had an accident.", "model")
    assert (answer.error, answer.spoken) == ("", "Jo had an accident.")
    assert is_tone("PCMA", frames, 700)


@pytest.mark.parametrize(("behaviour", "why"), [
    (silent, "no answer in time"), (answers({}, "500 Internal Server Error"), "status 500"),
    (says("NONE"), "the conversation does not say"), (says("broken"), "the program sh failed with status 1"),
])
def test_without_a_summary_the_fallback_is_spoken_in_time(tmp_path, tones, behaviour, why):
    ask = order(summary="Sum up.", fallback="sorry", deadline=10.0)
    answer, frames, took = by_model(tmp_path, behaviour, ask, tones)
    assert took < 10.0 + SLACK
    (summary,) = answer.extracted
    assert (summary.value, summary.source, summary.why) == ("sorry", "fallback", why)
    assert (answer.error, answer.spoken) == ("", "sorry")
    assert is_tone("PCMA", frames, 1500)


def test_without_a_summary_and_a_fallback_nothing_is_spoken(tmp_path, tones):
    answer, frames, _ = by_model(tmp_path, says("NONE"), order(summary="Sum up."), tones)
    assert (answer.error, answer.spoken, frames) == ("the conversation does not say", "", b"")
    assert [one.source for one in answer.extracted] == ["none"]
    answer, *_ = by_model(tmp_path, says("NONE"), order(summary="Sum up.", fallback="broken"), tones)
    assert answer.error == "the conversation does not say; the program sh failed with status 1"


def test_a_summary_is_held_to_what_can_be_spoken(tmp_path, tones):
    answer, *_ = by_model(tmp_path, says("word " * 1000), order(summary="Sum up.", longest=5.0), tones)
    assert len(answer.spoken) <= 80


def test_the_loop_goes_on_while_a_sound_is_made(tmp_path):
    soundfile.write(tmp_path / "long.flac", np.stack([tone(700, 120, 48000)] * 2, axis=1), 48000)

    async def run():
        voice = Voice(Config(), Questions(Config(), Conversations(0), tmp_path), tmp_path)
        # The libraries are there when the first sound is.
        soundfile.write(tmp_path / "short.wav", tone(700, 1), 8000)
        await voice.ask(order(file="short.wav"))
        making = asyncio.create_task(voice.ask(order("G722", file="long.flac", longest=120.0)))
        ticks = 0
        while not making.done():
            await asyncio.wait([making], timeout=0.005)
            ticks += 1
        await voice.close()
        return ticks, making.result()

    ticks, (answer, _) = asyncio.run(run())
    assert answer.frames == 6000
    assert ticks > 5


@espeak
def test_after_closing_nothing_is_spoken_and_nothing_raised(tmp_path):
    (tmp_path / "beep.wav").write_bytes(wav(tone(700, 1)))

    async def run():
        voice = Voice(Config(), Questions(Config(), Conversations(0), tmp_path), tmp_path)
        await voice.close()
        return [await voice.ask(order(text="hello")), await voice.ask(order(file="beep.wav"))]

    assert {answer.error for answer, _ in asyncio.run(run())} == {"the edge stops or has a new configuration"}


def test_a_question_given_up_leaves_nothing_behind(tmp_path):
    program = speaks(tmp_path, 'echo $$ >"$1/pid"; echo >"$1/fifo"; exec sleep 300')
    os.mkfifo(tmp_path / "fifo")

    async def run():
        voice = Voice(Config(speech=Speech(program=program)), Questions(Config(), Conversations(0), tmp_path), tmp_path)
        asking = asyncio.create_task(voice.ask(order(text="hello")))
        await asyncio.to_thread((tmp_path / "fifo").read_text)  # the program runs
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        await voice.close()

    asyncio.run(run())
    assert ends(tmp_path, "pid")
