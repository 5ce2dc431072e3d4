"""Event webhooks against servers that are good, slow, wrong, huge, and gone."""
import asyncio
import hashlib
import hmac
import json
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from proxy.config import Config, Webhook
from proxy.events import Event
from proxy.log import Log, Stream
from proxy.services import webhooks
from proxy.services.signature import SIGNATURE, TIMESTAMP
from proxy.services.webhooks import EVENT_ID, Webhooks

from .stage import a_call

Answer = Callable[[int], bytes]
GOOD = b"HTTP/1.1 204 No Content\r\n\r\n"
WRONG = b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n"


class Lines(Stream):
    """What was logged."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[dict] = []

    def write(self, line: bytes) -> None:
        self.lines.append(json.loads(line))


class Server:
    """answer(number of the request) is what it sends; nothing: it never answers."""

    def __init__(self, answer: Answer):
        self.answer = answer
        self.got: list[tuple[dict[str, str], bytes]] = []
        self.changed = asyncio.Event()
        self.open: set[asyncio.StreamWriter] = set()

    async def start(self) -> str:
        self.server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return f"http://127.0.0.1:{self.server.sockets[0].getsockname()[1]}/hook"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open.add(writer)
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n")[1:-2])
                body = await reader.readexactly(int(next(
                    value for name, value in headers.items() if name.lower() == "content-length")))
                self.got.append(({name.lower(): value for name, value in headers.items()}, body))
                self.changed.set()
                writer.write(self.answer(len(self.got)))
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(60):
            while not condition():
                self.changed.clear()
                await self.changed.wait()

    def events(self) -> list[str]:
        return [json.loads(body)["event"] for _, body in self.got]

    async def stop(self) -> None:
        self.server.close()
        for writer in self.open:
            writer.close()
        await self.server.wait_closed()


def play(scene: Callable[[Server, Webhooks, Lines], Awaitable[None]], answer: Answer = lambda _: GOOD, *,
         queue: int = 100, gone: bool = False, **webhook) -> None:
    """A scene with one server and one webhook to it."""
    async def run() -> None:
        server, lines = Server(answer), Lines()
        url = await server.start()
        if gone:
            await server.stop()
        base = Config()
        config = Config(webhooks=(Webhook(name="crm", url=url, **webhook),),
                        services=type(base.services)(queue=max(16, queue)))
        hooks = Webhooks(config, Path(), Log(style="json", stream=lines))
        try:
            await scene(server, hooks, lines)
        finally:
            await hooks.close()
            await server.stop()

    asyncio.run(run())


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Pauses between attempts of hundredths of a second."""
    monkeypatch.setattr(webhooks, "FIRST_PAUSE", 0.01)


def event(name: str = "call.started", call=None, number: int = 0) -> Event:
    return Event(name=name, at=number, call=call or a_call())


def test_an_event_is_posted_with_a_signature_that_holds(monkeypatch):
    monkeypatch.setenv("HOOK_SECRET", "much-secret")

    async def scene(server, hooks, lines):
        said = event("transfer.completed")
        hooks.add(said, "id-1")
        await server.until(lambda: len(server.got) == 1)
        headers, body = server.got[0]
        signed = headers[TIMESTAMP.lower()].encode() + b"." + body
        expected = hmac.new(b"much-secret", signed, hashlib.sha256).hexdigest()
        assert headers[SIGNATURE.lower()] == f"v1={expected}"
        assert headers[EVENT_ID.lower()] == "id-1"
        assert headers["content-type"] == "application/json"
        found = json.loads(body)
        assert (found["event"], found["call"]["id"], found["id"]) == ("transfer.completed", said.about, "id-1")
        assert lines.lines == []

    play(scene, secret_env="HOOK_SECRET")


def test_only_what_is_wanted_is_posted():
    async def scene(server, hooks, _):
        for name in ("call.started", "transfer.ringing", "transfer.completed", "call.ended"):
            hooks.add(event(name), name)
        await server.until(lambda: len(server.got) == 2)
        assert sorted(server.events()) == ["call.ended", "transfer.completed"]
        assert hooks.patterns == ["call.ended", "transfer.completed"]

    play(scene, events=("call.ended", "transfer.completed"))


def test_events_of_a_call_come_in_order_though_the_server_refuses_some():
    async def scene(server, hooks, _):
        calls = [a_call() for _ in range(5)]
        for number in range(6):
            for call in calls:
                hooks.add(event(f"call.n{number}", call), f"{call.id}-{number}")
        async with asyncio.timeout(60):
            while hooks.hooks["crm"].delivered < 30:  # noqa: ASYNC110 nothing tells of it but the count
                await asyncio.sleep(0.01)
        taken: dict[str, list[str]] = {}
        for number, (_, body) in enumerate(server.got, 1):
            if answer(number) == GOOD:
                found = json.loads(body)
                taken.setdefault(found["call"]["id"], []).append(found["event"])
        assert taken == {call.id: [f"call.n{number}" for number in range(6)] for call in calls}

    def answer(number: int) -> bytes:
        return WRONG if number % 3 == 0 else GOOD

    play(scene, answer)


@pytest.mark.parametrize("answer", [
    WRONG, b"nonsense\r\n\r\n", b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:9/\r\nContent-Length: 0\r\n\r\n"],
    ids=["500", "no HTTP", "redirect"])
def test_an_event_that_is_never_taken_is_given_up_with_a_line(answer):
    async def scene(server, hooks, lines):
        hooks.add(event(), "a")
        hook = hooks.hooks["crm"]
        async with asyncio.timeout(60):
            while not hook.given_up:  # noqa: ASYNC110 nothing tells of it but the count
                await asyncio.sleep(0.01)
        assert len(server.got) == 3
        assert hook.waiting == 0
        (line,) = lines.lines
        assert (line["event"], line["attempts"], line["webhook"]) == ("webhook event given up", 3, "crm")
        assert "127.0.0.1" not in line["error"]

    play(scene, lambda _: answer, attempts=3)


@pytest.mark.parametrize(("answer", "gone"), [(b"", False), (GOOD, True)], ids=["hangs", "is gone"])
def test_a_server_that_never_answers_costs_its_own_queue_only(answer, gone):
    async def scene(server, hooks, lines):
        before = asyncio.get_running_loop().time()
        for number in range(300):
            hooks.add(event(), str(number))
        assert asyncio.get_running_loop().time() - before < 20
        hook = hooks.hooks["crm"]
        assert (hook.waiting, hook.dropped) == (100, 200)
        async with asyncio.timeout(60):
            while hook.waiting:  # noqa: ASYNC110 nothing tells of it but the count
                await asyncio.sleep(0.01)
        assert (hook.given_up, hook.delivered) == (100, 0)
        assert 1 <= len(lines.lines) < 10

    play(scene, lambda _: answer, gone=gone, attempts=2, timeout=0.2)


def test_a_huge_answer_is_not_read_and_the_event_was_taken():
    huge = b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n" + b"x" * 200_000

    async def scene(server, hooks, _):
        hooks.add(event(), "a")
        hook = hooks.hooks["crm"]
        await server.until(lambda: len(server.got) == 1)
        async with asyncio.timeout(60):
            while hook.waiting:  # noqa: ASYNC110 nothing tells of it but the count
                await asyncio.sleep(0.01)
        assert (hook.delivered, len(server.got)) == (1, 1)

    play(scene, lambda _: huge)


def test_a_reload_keeps_what_waits_for_a_webhook_that_stays():
    async def scene(server, hooks, _):
        for number in range(20):
            hooks.add(event(), str(number))
        config = Config(webhooks=tuple(hook.webhook for hook in hooks.hooks.values()))
        hooks.configure(config, Path())
        await server.until(lambda: len(server.got) == 20)
        hooks.configure(Config(), Path())
        assert hooks.patterns == []
        hooks.add(event(), "nobody")
        await hooks.close()
        # What it did is still counted, and the webhook itself is forgotten.
        counted = hooks.statistics()
        assert counted["webhook_delivered"] + counted["webhook_dropped"] == 20
        assert not hooks._leaving

    play(scene)
