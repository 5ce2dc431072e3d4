"""What the target of a warm transfer hears before the bridge: a text, a summary or a file, as frames for the relay."""
import asyncio
import os
from collections.abc import Awaitable, Callable, Hashable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import msgspec

from proxy.config import Config, read_secret
from proxy.events import Answer, AskSpeech, Extracted
from proxy.policy.answers import cut, one_line
from sipcore.media.sound import LONGEST

from .client import Client, NoAnswer, ahead, bearer
from .model import Questions
from .program import run
from .sounds import FRAME_BYTES, Codec, Shelf, encode, encode_file, load_libraries

Made = TypeVar("Made")

SHELF_BYTES = 32 * 1024 * 1024

# Nobody speaks faster, in any script (bytes of UTF-8 a second); a summary is held to what is spoken at ease.
_FASTEST = 40
_AT_EASE = 16
_SOUND_BYTES_A_SECOND = 48_000 * 2 * 2
_ENTRIES = 64 * 1024
"""Room for what a file has beside its samples."""
_SUMMARY_SHARE = 0.7
"""Of the time there is, what the summary may take; the rest is for speaking it."""


@dataclass(frozen=True, slots=True)
class _Form:
    """How a sound is wanted."""

    codec: Codec
    longest: float


class Voice:
    """Speaks by a local program or an OpenAI-compatible speech API, whichever is configured.

    folder: what files are relative to. ValueError where the key cannot be read.
    """

    def __init__(self, config: Config, questions: Questions, folder: Path):
        speech = self._speech = config.speech
        self._questions = questions
        self._folder = folder
        self._headers = {"Content-Type": "application/json"} | bearer(
            read_secret(folder, speech.key_file, speech.key_env), "speech")
        places = max(2, os.cpu_count() or 1)
        self._client = Client(places * 4)
        self._places = asyncio.Semaphore(places * 4 if speech.url else places)
        self._threads = ThreadPoolExecutor(places, "sound")
        self._threads.submit(load_libraries)
        self._shelf = Shelf(SHELF_BYTES)
        self._closed = False

    async def ask(self, ask: AskSpeech) -> tuple[Answer, bytes]:
        """The answer and the encoded frames, FRAME_BYTES (20 ms) each; no frames where `error` says why.

        extracted: the summary, where one was wanted. The fallback is prepared while the summary is, so that it is
        there when its time comes.
        """
        loop = asyncio.get_running_loop()
        until = loop.time() + ahead(ask.deadline)
        form = _Form(ask.codec, min(ask.longest, LONGEST))
        if ask.summary:
            return await self._summarised(ask, form, until)
        making = self._read(ask.file, form) if ask.file else self._speak(ask.text, form)
        frames, why = await _attempt(making, until)
        return _answer(ask, frames, why, "" if ask.file else ask.text)

    async def close(self) -> None:
        """Close the connections and end the threads; sounds that are not in work yet will not be made."""
        self._closed = True
        await self._client.close()
        self._threads.shutdown(wait=False)

    async def _summarised(self, ask: AskSpeech, form: _Form, until: float) -> tuple[Answer, bytes]:
        loop = asyncio.get_running_loop()
        spare = loop.create_task(_attempt(self._speak(ask.fallback, form), until)) if ask.fallback else None
        try:
            summary = await self._questions.summary(
                ask.call, ask.summary, int(_AT_EASE * form.longest), _SUMMARY_SHARE * (until - loop.time()))
            frames, why = b"", summary.why
            if summary.value:
                frames, why = await _attempt(self._speak(summary.value, form), until)
            if frames or spare is None:
                return _answer(ask, frames, why, summary.value, summary)
            frames, fault = await spare
            taken = Extracted(
                name=summary.name, value=one_line(ask.fallback), source="fallback", ms=summary.ms, why=why)
            return _answer(ask, frames, fault and f"{why}; {fault}", ask.fallback, taken)
        finally:
            if spare is not None:
                spare.cancel()
                await asyncio.wait([spare])

    async def _speak(self, text: str, form: _Form) -> bytes:
        line = cut(one_line(text), int(_FASTEST * form.longest))
        if not line:
            raise NoAnswer("there is nothing to say")
        return await self._shelved(("text", line, form), lambda: self._voiced(line, form))

    async def _voiced(self, line: str, form: _Form) -> bytes:
        limit = _ENTRIES + int(_SOUND_BYTES_A_SECOND * form.longest)
        if self._speech.url:
            request = {"model": self._speech.model, "voice": self._speech.voice, "input": line,
                       "response_format": "wav"}
            sound = await self._client.post(
                f"{self._speech.url.rstrip('/')}/audio/speech", msgspec.json.encode(request), self._headers,
                limit=limit, cut=True)
        else:
            sound = await run(self._speech.program, f"{line}\n".encode(), limit)
        return await self._in_thread(lambda: encode(sound, form.codec, form.longest, "the speech"))

    async def _read(self, file: str, form: _Form) -> bytes:
        path = self._folder / file
        try:
            found = await self._in_thread(path.stat)
        except OSError as error:
            raise NoAnswer(f"{path.name}: {error.strerror}") from None
        return await self._shelved(
            ("file", path, found.st_mtime_ns, found.st_size, form),
            lambda: self._in_thread(lambda: encode_file(path, form.codec, form.longest)))

    async def _shelved(self, key: Hashable, make: Callable[[], Awaitable[bytes]]) -> bytes:
        """What is on the shelf; else one of the places is waited for, and then it may be there."""
        if (frames := self._shelf.get(key)) is not None:
            return frames
        async with self._places:
            if (frames := self._shelf.get(key)) is None:
                frames = await make()
                self._shelf.put(key, frames)
            return frames

    async def _in_thread(self, work: Callable[[], Made]) -> Made:
        if self._closed:
            raise NoAnswer("the edge stops or has a new configuration")
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)


async def _attempt(making: Awaitable[bytes], until: float) -> tuple[bytes, str]:
    """The frames, or none and why."""
    try:
        async with asyncio.timeout_at(until):
            return await making, ""
    except TimeoutError:
        return b"", "no sound in time"
    except NoAnswer as error:
        return b"", str(error)


def _answer(ask: AskSpeech, frames: bytes, why: str, spoken: str,
            summary: Extracted | None = None) -> tuple[Answer, bytes]:
    return Answer(
        ask=ask.ask, error="" if frames else why, frames=len(frames) // FRAME_BYTES,
        spoken=one_line(spoken) if frames else "", extracted=[summary] if summary is not None else []), frames
