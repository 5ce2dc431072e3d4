"""A worker's end of the link to the services process: asks questions, tells what happens, answers commands.

Nothing here waits. Where the services process is slow, hung or gone, events are dropped, the oldest first, and counted;
records are kept until it says that they are on disk, and sent again to the next one; they are dropped only where
`[services] queue` records wait and no event is left to drop. A question always gets exactly one Answer.
"""
import asyncio
import os
import socket
from collections import deque
from collections.abc import Callable
from fnmatch import fnmatchcase
from typing import NamedTuple

from proxy.events import Answer, AskExtractors, Asking, Command, Context, Event, Kept, Record, Reply, ToWorker, Wanted
from proxy.link import Link
from proxy.messages import read_memory_file

Answered = Callable[[Answer, bytes], None]
"""Takes the answer, and the sound that came along, if any."""

SLACK = 0.5
"""Seconds beyond a question's own deadline after which no answer is awaited any more."""
QUEUE_BYTES = 64 * 1024 * 1024
"""Most bytes of events and records that wait: variables may make each of them long."""
MOST_UNDER_WAY = 1000
"""Records that the services process is told before it has said that earlier ones are on disk."""
CLOSED, OVERDUE, UNUSED, BUSY = ("the services process ended", "the services process did not answer in time",
                                 "no services process is configured", "the services process takes no more questions")


class _Question(NamedTuple):
    data: bytes
    answered: Answered
    timer: asyncio.TimerHandle


class ServicesLink:
    """queue: most events and records that wait. obey: carries out a command at once. used: whether the configuration
    needs a services process at all; where it does not, everything here is as good as free."""

    def __init__(self, obey: Callable[[Command], Reply], *, queue: int, used: bool = True):
        self.queue = queue
        self.used = used
        self.events_dropped = 0
        self.records_lost = 0
        self._obey = obey
        self._link = Link(ToWorker, self._on_message, self._on_down)
        self._questions: dict[int, _Question] = {}
        self._unkept: deque[tuple[int, bytes]] = deque()
        self._unkept_bytes = 0
        self._unsent: deque[tuple[int, bytes]] = deque()
        """Those of them that no services process was told yet."""
        self._under_way: deque[int] = deque()
        """Numbers of those that the present one was told, and has not said that they are on disk."""
        self._asked = 0
        self._numbered = 0
        self._kept: asyncio.Future[None] | None = None
        self._patterns: list[str] | None = None
        self._wanted: dict[str, bool] = {}

    @property
    def waiting(self) -> int:
        """What the services process has not taken yet."""
        return self._link.waiting + len(self._unkept)

    @property
    def records(self) -> int:
        """Records that are not known to be on disk."""
        return len(self._unkept)

    def attach(self, sock: socket.socket) -> None:
        """Speak over this socket from now on, to a services process that has just been started."""
        self.used = True
        if self._link.up:
            self._on_down()
        self._link.attach(sock)
        for question in self._questions.values():
            self._link.send(question.data)
        self._unsent = deque(self._unkept)
        self._under_way.clear()
        self._send_records()

    async def finish(self, seconds: float) -> None:
        """Wait until all records are on disk, so long at most, and close."""
        # What was told in this turn of the loop leaves in the next one.
        await asyncio.sleep(0)
        if self._unkept and self._link.up:
            self._kept = asyncio.get_running_loop().create_future()
            await asyncio.wait([self._kept], timeout=seconds)
        self._link.detach()
        self._fail_questions()

    def statistics(self) -> dict[str, int]:
        """What was lost since the worker began."""
        return {"events_dropped": self.events_dropped, "records_lost": self.records_lost}

    # --- what calls say

    def ask(self, question: Asking, answered: Answered) -> None:
        """Ask; the question gets its number here. An answer that is late, or never comes, is one with `error`."""
        loop = asyncio.get_running_loop()
        if not self.used:
            loop.call_soon(answered, Answer(ask=0, error=UNUSED), b"")
            return
        if self._link.urgent >= self.queue:
            # It takes nothing: this one could only wait for its deadline.
            loop.call_soon(answered, Answer(ask=0, error=BUSY), b"")
            return
        self._asked += 1
        question.ask = self._asked
        data = self._link.encode(question)
        late = Answer(ask=question.ask, error=OVERDUE)
        timer = loop.call_later(_deadline(question) + SLACK, self._on_answer, late, [])
        self._questions[question.ask] = _Question(data, answered, timer)
        self._link.send(data)

    def emit(self, said: Event | Record) -> None:
        """Tell what happened, or hand over a record."""
        if not self.used:
            return
        if isinstance(said, Record):
            self._numbered += 1
            said.number = self._numbered
            data = self._link.encode(said)
            while self._full() and (self._drop_event() or self._lose_record()):
                continue
            record = said.number, data
            self._unkept.append(record)
            self._unkept_bytes += len(data)
            self._unsent.append(record)
            self._send_records()
        elif self.wants(said.name):
            while self._full():
                if not self._drop_event():
                    self.events_dropped += 1
                    return
            self._link.send_event(self._link.encode(said))

    def keep(self, context: Context) -> bool:
        """Hand over headers that go by reference. Where this is True the services process has them before anybody can
        ask it for them; else it is not there, or takes nothing now."""
        # One that has only just been started, and has said nothing yet, may never come up.
        return self._patterns is not None and self._link.send_now(self._link.encode(context))

    def _lose_record(self) -> bool:
        """Forget the oldest one; False where there is none."""
        if not self._unkept:
            return False
        oldest = self._unkept.popleft()
        self._unkept_bytes -= len(oldest[1])
        if self._unsent and self._unsent[0] is oldest:
            self._unsent.popleft()
        self.records_lost += 1
        return True

    def _send_records(self) -> None:
        """Only so many at a time: where the disk takes nothing they wait here, where their number is bounded."""
        while self._unsent and len(self._under_way) < MOST_UNDER_WAY:
            number, data = self._unsent.popleft()
            self._under_way.append(number)
            self._link.send(data)

    def wants(self, name: str) -> bool:
        """Whether anybody listens to events of that name: they need not be made otherwise."""
        if self._patterns is None:
            return self.used
        found = self._wanted.get(name)
        if found is None:
            found = self._wanted[name] = any(fnmatchcase(name, pattern) for pattern in self._patterns)
        return found

    def _full(self) -> bool:
        return (self._link.events + len(self._unkept) >= self.queue
                or self._link.event_bytes + self._unkept_bytes >= QUEUE_BYTES)

    def _drop_event(self) -> bool:
        dropped = self._link.drop_event()
        self.events_dropped += dropped
        return dropped

    # --- what the services process says

    def _on_message(self, message: ToWorker, descriptors: list[int]) -> None:
        if isinstance(message, Answer):
            self._on_answer(message, descriptors)
            return
        for descriptor in descriptors:
            os.close(descriptor)
        if isinstance(message, Kept):
            while self._under_way and self._under_way[0] <= message.number:
                self._under_way.popleft()
            while self._unkept and self._unkept[0][0] <= message.number:
                self._unkept_bytes -= len(self._unkept.popleft()[1])
            self._send_records()
            if not self._unkept:
                self._finished()
        elif isinstance(message, Wanted):
            self._patterns, self._wanted = message.patterns, {}
        else:
            try:
                reply = self._obey(message)
            except Exception as error:  # noqa: BLE001 a mistake in one command ends neither the worker nor its calls
                reply = Reply(ask=message.ask, status=500, error=f"{type(error).__name__}: {error}")
            reply.ask = message.ask
            self._link.send(self._link.encode(reply))

    def _on_answer(self, answer: Answer, descriptors: list[int]) -> None:
        question = self._questions.pop(answer.ask, None)
        sound = read_memory_file(descriptors.pop(0)) if descriptors and question is not None else b""
        for descriptor in descriptors:
            os.close(descriptor)
        if question is not None:
            question.timer.cancel()
            question.answered(answer, sound)

    def _on_down(self) -> None:
        # Somebody may listen to the next services process; until it says, everything is kept for it.
        self._patterns = None
        self._fail_questions()
        self._finished()

    def _finished(self) -> None:
        if self._kept is not None and not self._kept.done():
            self._kept.set_result(None)

    def _fail_questions(self) -> None:
        for number in list(self._questions):
            self._on_answer(Answer(ask=number, error=CLOSED), [])


def _deadline(question: Asking) -> float:
    if isinstance(question, AskExtractors):
        return max((one.deadline for one in question.questions), default=0.0)
    return question.deadline
