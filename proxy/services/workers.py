"""The workers as the services process sees them: commands that get a reply or none, and what they say by themselves."""
import asyncio
import os
import socket
from collections.abc import Callable
from typing import NamedTuple

from proxy.events import Answer, Asking, Command, Context, Event, FromWorker, Kept, Record, Reply, Wanted
from proxy.link import Link

MOST_COMMANDS = 1000
"""Most commands to one worker that wait for their reply."""


class Unanswered(Exception):
    """The worker is not there, has too much to do, or did not reply in time."""


class Sender(NamedTuple):
    """A worker from its start to its end: its number, and the how manyth with that number."""

    worker: int
    generation: int


class Workers:
    """Each of the four is called with what was said, and by whom where that matters. seconds: how long a reply is
    awaited."""

    def __init__(self, seconds: float, *, on_question: Callable[[int, Asking], None], on_event: Callable[[Event], None],
                 on_record: Callable[[Sender, Record], None], on_context: Callable[[Context], None]):
        self.seconds = seconds
        self._on_question = on_question
        self._on_event = on_event
        self._on_record = on_record
        self._on_context = on_context
        self._links: dict[int, Link] = {}
        self._generations: dict[int, int] = {}
        self._waiting: dict[int, dict[int, asyncio.Future[Reply]]] = {}
        self._attached: list[Callable[[int], None]] = []
        self._patterns: list[str] = []
        self._asked = 0
        self._closing: asyncio.Future[None] | None = None

    def on_attached(self, call: Callable[[int], None]) -> None:
        """Call that with the number of each worker that is there, and that comes later."""
        self._attached.append(call)
        for number in self.up:
            call(number)

    @property
    def up(self) -> list[int]:
        """The workers that there is a link to, in order."""
        return sorted(number for number, link in self._links.items() if link.up)

    def attach(self, number: int, sock: socket.socket) -> None:
        """Speak with that worker over this socket from now on."""
        link = self._links.get(number)
        if link is None:
            link = self._links[number] = Link(FromWorker, lambda message, descriptors: self._on_message(
                number, message, descriptors), lambda: self._on_down(number))
        # Of a worker that has died just now.
        link.take_rest()
        self._fail(number)
        self._generations[number] = self._generations.get(number, 0) + 1
        link.attach(sock)
        self._send(number, Wanted(self._patterns))
        for call in self._attached:
            call(number)

    async def drained(self, seconds: float) -> None:
        """Wait until every worker has closed its end, having said all; so long at most."""
        if self.up:
            self._closing = asyncio.get_running_loop().create_future()
            await asyncio.wait([self._closing], timeout=seconds)

    def close(self) -> None:
        for number, link in self._links.items():
            link.detach()
            self._fail(number)

    async def ask(self, number: int, command: Command) -> Reply:
        """The reply to a command, which gets its number here. Raises Unanswered."""
        waiting = self._waiting.setdefault(number, {})
        link = self._links.get(number)
        if link is None or not link.up:
            raise Unanswered(f"worker {number} is not there")
        if len(waiting) >= MOST_COMMANDS:
            raise Unanswered(f"worker {number} has {MOST_COMMANDS} commands to reply to")
        self._asked += 1
        command.ask = self._asked
        reply: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        waiting[command.ask] = reply
        self._send(number, command)
        try:
            return await asyncio.wait_for(reply, self.seconds)
        except TimeoutError:
            raise Unanswered(f"worker {number} did not reply within {self.seconds:g} s") from None
        finally:
            waiting.pop(command.ask, None)

    def answer(self, number: int, answer: Answer, file: int = -1) -> None:
        """Answer a question; file: a descriptor that goes along, and is closed here."""
        self._send(number, answer, () if file < 0 else (file,))

    def kept(self, sender: Sender, record: int) -> None:
        """That worker's records up to this one are on disk; its successor counts from the start."""
        if self._generations.get(sender.worker) == sender.generation:
            self._send(sender.worker, Kept(record))

    def want(self, patterns: list[str]) -> None:
        """Have the workers send the events whose names match."""
        if patterns != self._patterns:
            self._patterns = patterns
            for number in self.up:
                self._send(number, Wanted(patterns))

    def _send(self, number: int, message: Command | Answer | Kept | Wanted, descriptors: tuple[int, ...] = ()) -> None:
        link = self._links[number]
        link.send(link.encode(message), descriptors)

    def _on_message(self, number: int, message: FromWorker, descriptors: list[int]) -> None:
        # A worker sends none.
        for descriptor in descriptors:
            os.close(descriptor)
        if isinstance(message, Reply):
            waiting = self._waiting.get(number, {}).get(message.ask)
            if waiting is not None and not waiting.done():
                waiting.set_result(message)
        elif isinstance(message, Event):
            self._on_event(message)
        elif isinstance(message, Record):
            self._on_record(Sender(number, self._generations[number]), message)
        elif isinstance(message, Context):
            self._on_context(message)
        else:
            self._on_question(number, message)

    def _on_down(self, number: int) -> None:
        self._fail(number)
        if self._closing is not None and not self._closing.done() and not self.up:
            self._closing.set_result(None)

    def _fail(self, number: int) -> None:
        for waiting in self._waiting.get(number, {}).values():
            if not waiting.done():
                waiting.set_exception(Unanswered(f"worker {number} ended"))
