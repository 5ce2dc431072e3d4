"""The link between worker and services process: in order, bounded, and never waiting for the other end."""
import asyncio
import os
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from proxy import services_link
from proxy.events import (
    Answer,
    AskExtractors,
    AskRequests,
    AskSpeech,
    Call,
    Context,
    Event,
    FromWorker,
    HangUp,
    Kept,
    ListCalls,
    Question,
    Record,
    Reply,
    ToWorker,
    Wanted,
    new_id,
    worker_of,
)
from proxy.link import INLINE_BYTES, READS, Link
from proxy.messages import memory_file
from proxy.services_link import CLOSED, OVERDUE, SLACK, UNUSED, ServicesLink

PROMPT = 0.05
"""Seconds of a turn of the loop; of most of them, as the machine may have other things to do."""
"""Seconds; far more than a step takes that does not wait, far less than one that does."""


OPEN: list[Link] = []
"""Ends that a test has opened."""


def play(scene: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run a test on a loop, and close what it opened."""
    async def whole() -> None:
        try:
            await scene()
        finally:
            for end in OPEN:
                end.detach()
            OPEN.clear()

    asyncio.run(whole())


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 what changes is what the other end sends
            await asyncio.sleep(0)


def call(number: int = 0, **more) -> Call:
    return Call(id=f"call-{number}", state="up", began=1, **more)


def event(number: int, name: str = "call.started") -> Event:
    return Event(name=name, at=number, call=call(number))


def record(number: int) -> Record:
    return Record(at=number, call=call(number))


class Far:
    """The services process' end of a ServicesLink, as plain as can be."""

    def __init__(self):
        self.got: list = []
        self.files: list[int] = []
        self.changed = asyncio.Event()
        self.link = Link(FromWorker, self._on_message)
        OPEN.append(self.link)

    def _on_message(self, message, descriptors):
        self.got.append(message)
        self.files += descriptors
        self.changed.set()

    def say(self, message, descriptors=()):
        self.link.send(self.link.encode(message), descriptors)

    async def until(self, count: int) -> list:
        async with asyncio.timeout(60):
            while len(self.got) < count:
                self.changed.clear()
                await self.changed.wait()
        return self.got


def connect(near: ServicesLink, far: Far | None = None) -> Far:
    far = far or Far()
    one, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    near.attach(one)
    far.link.attach(other)
    OPEN.append(near._link)
    return far


def refuse(command):
    return Reply(ask=0, status=404)


def test_identifiers_name_their_worker():
    assert worker_of(new_id(0)) == 0
    assert worker_of(new_id(255)) == 255
    assert len({new_id(3) for _ in range(100)}) == 100
    for bad in ("", "00", "zz" + "0" * 24, "+1" + "0" * 24, "00" + "é" * 24, new_id(1) + "0"):
        assert worker_of(bad) == -1


def test_everything_arrives_in_order_however_long_it_is():
    async def run():
        near = ServicesLink(refuse, queue=1000)
        far = connect(near)
        long = {"text": "x" * (2 * INLINE_BYTES)}
        for number in range(200):
            near.emit(Event(name="call.started", at=number, call=call(number), detail=long if number % 50 == 7 else {}))
        got = await far.until(200)
        assert [one.at for one in got] == list(range(200))
        assert got[7].detail == long
        assert (near.events_dropped, near.waiting, far.link.unreadable) == (0, 0, 0)
        await near.finish(1)

    play(run)


def test_a_context_that_is_taken_is_there_before_anything_else_happens():
    async def run():
        near = ServicesLink(refuse, queue=1000)
        context = Context(name="1", expires=5, headers={"X-A": "a"})
        assert not near.keep(context)
        far = connect(near)
        assert not near.keep(context)
        far.say(Wanted(["call.started"]))
        await until(lambda: not near.wants("other"))
        near.emit(event(1))
        assert near.keep(context)
        assert near.keep(Context(name="2", expires=5, headers={"X-A": INLINE_BYTES * "a"}))
        # Before the loop runs, the other end's kernel has both; what waits for the loop comes later.
        assert near.waiting == 1
        got = await far.until(3)
        assert [type(one) for one in got] == [Context, Context, Event]
        assert (got[0], len(got[1].headers["X-A"])) == (context, INLINE_BYTES)
        await near.finish(1)

    play(run)


def test_a_context_that_the_socket_does_not_take_at_once_is_refused_and_costs_nothing():
    async def run():
        near = ServicesLink(refuse, queue=1000)
        one, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        near.attach(one)
        OPEN.append(near._link)
        other.send(b"\1" + near._link.encode(Wanted([])))
        await until(lambda: not near.wants("other"))
        taken = 0
        while near.keep(Context(name=str(taken), expires=5, headers={"X-A": 8000 * "a"})):
            taken += 1
            assert taken < 10_000
        assert (near.waiting, near.events_dropped) == (0, 0)
        far = Far()
        far.link.attach(other)
        assert [context.name for context in await far.until(taken)] == [str(number) for number in range(taken)]
        assert near.keep(Context(name="more", expires=5, headers={}))
        # An end that has gone takes nothing, and who asks is not in the middle of what its loss brings about.
        answers: list[Answer] = []
        near.ask(AskSpeech(ask=0, call="1", codec="PCMU", deadline=5), lambda answer, sound: answers.append(answer))
        far.link.detach()
        assert not near.keep(Context(name="lost", expires=5, headers={}))
        assert answers == []
        await until(lambda: bool(answers))
        assert answers[0].error == CLOSED

    play(run)


def test_what_is_no_message_is_counted_and_what_follows_is_read():
    async def run():
        far = Far()
        one, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        far.link.attach(other)
        body = far.link.encode(event(1))
        for bad in (b"\0\xff\xff\xff\xff", b"\0\1\0\0\0\xc1", b"\1\xc1", b"\2", b"\0abc"):
            one.send(bad)
        one.send(b"\1" + body)
        assert (await far.until(1))[0].at == 1
        assert far.link.unreadable == 5
        far.link.detach()
        one.close()

    play(run)


def test_an_end_that_does_not_read_costs_events_and_neither_time_nor_records():
    async def run():
        near = ServicesLink(refuse, queue=500)
        one, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        near.attach(one)
        turns = []
        for number in range(20_000):
            near.emit(event(number))
            if number % 100 == 0:
                near.emit(record(number))
                before = time.monotonic()
                await asyncio.sleep(0)
                turns.append(time.monotonic() - before)
        assert statistics.median(turns) < PROMPT
        assert near.events_dropped > 10_000
        assert (near.records, near.records_lost) == (200, 0)
        assert near.waiting <= 2 * 500
        far = Far()
        far.link.attach(other)
        await until(lambda: sum(isinstance(one, Record) for one in far.got) >= 200)
        assert [one.at for one in far.got if isinstance(one, Record)] == list(range(0, 20_000, 100))
        events = [one.at for one in far.got if isinstance(one, Event)]
        assert events == sorted(events)
        far.say(Kept(200))
        await near.finish(5)
        assert near.records == 0

    play(run)


def test_an_end_that_takes_nothing_for_long_costs_no_more_than_the_queue():
    async def run():
        near = ServicesLink(refuse, queue=5000)
        one, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        near.attach(one)
        answers: list[Answer] = []

        def answered(answer: Answer, sound: bytes) -> None:
            answers.append(answer)

        for number in range(12_000):
            near.emit(record(number))
            if number % 2:
                near.ask(AskSpeech(ask=0, call="1", codec="PCMU", deadline=0.1), answered)
        await asyncio.sleep(0)
        assert (near.records, near.records_lost) == (5000, 7000)
        # What lies between the two processes is bounded as well.
        assert near._link.waiting <= 5000
        await until(lambda: len(answers) == 6000)
        assert {answer.error for answer in answers} == {
            "the services process takes no more questions", "the services process did not answer in time"}
        # When it goes on it gets those that are left, in their order, and the first ones once more.
        far = Far()
        far.link.attach(other)
        told = [0]
        while near.records:
            await until(lambda: told[0] < len(far.got) or not near.records)
            told[0] = len(far.got)
            far.say(Kept(max(one.number for one in far.got if isinstance(one, Record))))
        numbers = [one.number for one in far.got if isinstance(one, Record)]
        assert numbers == sorted(set(numbers))
        assert numbers[-5000:][-1] == 12_000
        assert set(range(7001, 12_001)) <= set(numbers)
        await near.finish(5)

    play(run)


def test_long_events_and_records_are_bounded_by_their_bytes(monkeypatch):
    monkeypatch.setattr(services_link, "QUEUE_BYTES", 100_000)

    async def run():
        near = ServicesLink(refuse, queue=5000)
        long = call(variables={"x": "y" * 1000})
        for number in range(500):
            near.emit(Event(name="call.started", at=number, call=long))
        assert 80 <= near._link.events <= 100
        for number in range(500):
            near.emit(Record(at=number, call=long))
        assert near._link.events == 0
        assert 80 <= near.records <= 100
        assert near.records_lost == 500 - near.records

    play(run)


def test_records_are_dropped_only_when_no_event_is_left_to_drop():
    async def run():
        near = ServicesLink(refuse, queue=16)
        for number in range(16):
            near.emit(event(number))
        for number in range(16):
            near.emit(record(number))
        assert (near.events_dropped, near.records_lost, near.records) == (16, 0, 16)
        near.emit(record(16))
        near.emit(event(99))
        assert (near.events_dropped, near.records_lost, near.records) == (17, 1, 16)
        far = connect(near)
        assert [one.at for one in await far.until(16)] == list(range(1, 17))

    play(run)


def test_records_that_were_not_kept_go_to_the_next_process():
    async def run():
        near = ServicesLink(refuse, queue=100)
        far = connect(near)
        for number in range(10):
            near.emit(record(number))
        got = await far.until(10)
        far.say(Kept(got[3].number))
        await until(lambda: near.records <= 6)
        far.link.detach()
        near.emit(record(10))
        far = connect(near)
        assert [one.at for one in await far.until(7)] == [4, 5, 6, 7, 8, 9, 10]

    play(run)


def test_only_events_that_somebody_wants_are_sent():
    async def run():
        near = ServicesLink(refuse, queue=100)
        far = connect(near)
        assert near.wants("call.started")
        far.say(Wanted(["transfer.*", "call.ended"]))
        await until(lambda: not near.wants("call.started"))
        near.emit(event(1))
        near.emit(event(2, "call.ended"))
        near.emit(event(3, "transfer.completed"))
        near.emit(record(4))
        assert sorted(one.at for one in await far.until(3)) == [2, 3, 4]
        # The next process has not said what it wants yet.
        connect(near)
        assert near.wants("call.started")

    play(run)


def test_each_question_gets_exactly_one_answer():
    async def run():
        near = ServicesLink(refuse, queue=100)
        answers: list[tuple[Answer, bytes]] = []

        def ask(deadline: float) -> AskRequests:
            question = AskRequests(ask=0, call=call(), names=["a"], deadline=deadline)
            near.ask(question, lambda answer, sound: answers.append((answer, sound)))
            return question

        async def answered(count: int) -> Answer:
            await until(lambda: len(answers) >= count)
            return answers[-1][0]

        first = ask(5)                                  # waits for a services process
        far = connect(near)
        assert [one.ask for one in await far.until(1)] == [first.ask]
        file = memory_file("sound", b"frames")
        far.say(Answer(ask=first.ask, values={"results": 1}), (file,))
        far.say(Answer(ask=first.ask, values={"results": 2}))
        assert (await answered(1)).values == {"results": 1}
        assert answers[0][1] == b"frames"
        ask(-SLACK)
        assert (await answered(2)).error == OVERDUE
        ask(5)
        await far.until(3)
        far.link.detach()
        assert (await answered(3)).error == CLOSED
        near.ask(AskExtractors(ask=0, call="a", questions=[Question("X-A", "?", (), -SLACK, "", 9)]),
                 lambda answer, sound: answers.append((answer, sound)))
        assert (await answered(4)).error == OVERDUE
        ask(5)
        await near.finish(0)
        assert (await answered(5)).error == CLOSED
        near.used = False
        ask(5)
        assert (await answered(6)).error == UNUSED

    play(run)


def test_a_late_answer_leaves_no_open_file():
    async def run():
        near = ServicesLink(refuse, queue=100)
        far = connect(near)
        before = len(os.listdir("/proc/self/fd"))
        for _ in range(10):
            far.say(Answer(ask=99), (memory_file("sound", b"x"),))
        far.say(HangUp(ask=7, call="none"))
        assert (await far.until(1))[0] == Reply(ask=7, status=404)
        assert len(os.listdir("/proc/self/fd")) == before
        await near.finish(0)

    play(run)


def test_a_mistake_in_a_command_is_a_reply():
    def fail(command):
        raise ZeroDivisionError("why")

    async def run():
        near = ServicesLink(fail, queue=100)
        far = connect(near)
        far.say(ListCalls(ask=5))
        assert await far.until(1) == [Reply(ask=5, status=500, error="ZeroDivisionError: why")]
        await near.finish(0)

    play(run)


def test_a_flood_of_one_link_leaves_the_loop_its_turn():
    async def run():
        near = ServicesLink(refuse, queue=100_000)
        far = connect(near)
        turns: list[int] = []
        for number in range(50_000):
            near.emit(event(number))
        while len(far.got) < 50_000:
            turns.append(len(far.got))
            await asyncio.sleep(0)
        assert len(turns) > 50_000 * 80 // (READS * (INLINE_BYTES + 4096))
        await near.finish(1)

    play(run)


@pytest.mark.parametrize("module", ["proxy.worker", "proxy.supervisor"])
def test_nothing_of_the_services_is_loaded_where_calls_are(module):
    found = subprocess.run(
        [sys.executable, "-c", f"import {module}, sys; print(*(name for name in sys.modules))"],
        capture_output=True, text=True, check=True)
    loaded = {name.split(".")[0] for name in found.stdout.split()}
    assert not loaded & {"litestar", "uvicorn", "httpx", "sqlalchemy", "alembic", "aiosqlite", "websockets"}
    assert "proxy.services" not in found.stdout.split()


def test_both_ends_know_the_messages():
    near, far = Link(ToWorker, lambda *_: None), Link(FromWorker, lambda *_: None)
    assert (near.unreadable, far.unreadable, near.up, far.waiting) == (0, 0, False, 0)
