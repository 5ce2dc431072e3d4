"""Event webhooks: each event is posted to whoever wants it, signed, in order for each call, and again until taken.

A webhook has a bounded queue and a few events under way, of different calls. A server that is slow, wrong or gone costs
its own queue and nothing else: what does not fit, or was refused too often, is counted and logged.
"""
import asyncio
import random
import time
from collections import OrderedDict, deque
from fnmatch import fnmatchcase
from pathlib import Path

import msgspec

from proxy.config import Config, Webhook, read_secret
from proxy.events import Event
from proxy.log import Log

from .client import Client, NoAnswer
from .signature import signed

AT_ONCE = 16
"""Events under way to one webhook: of so many calls at a time."""
MOST_BYTES = 64 * 1024 * 1024
"""Of the events that wait for one webhook, whatever their number."""
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 60.0
ANSWER_BYTES = 65_536
"""What a server may answer; it is read and thrown away."""
LOG_SECONDS = 10.0
"""So often at most a line is written about what is given up."""
EVENT_ID = "X-Sipedge-Event-Id"
GONE = frozenset({400, 401, 403, 404, 405, 410, 413, 415, 422})
"""Statuses that the same event would get again."""


class Hook:
    """One webhook. key: of the signature; most: events that wait."""

    def __init__(self, webhook: Webhook, key: bytes, log: Log, most: int):
        self.webhook = webhook
        self.delivered = self.given_up = self.dropped = 0
        self._key = key
        self._log = log
        self._most = most
        self._client = Client(AT_ONCE)
        # Calls in the order in which their next event is due; the value is what waits, the oldest first.
        self._calls: OrderedDict[str, deque[tuple[str, bytes]]] = OrderedDict()
        self._waiting = 0
        self._bytes = 0
        self._ready: deque[str] = deque()
        self._tasks: set[asyncio.Task[None]] = set()
        self._told_at = 0.0

    @property
    def waiting(self) -> int:
        return self._waiting

    def wants(self, name: str) -> bool:
        events = self.webhook.events
        return not events or any(fnmatchcase(name, pattern) for pattern in events)

    def add(self, event: Event, identifier: str, body: bytes) -> None:
        """Queue an event."""
        if self._waiting >= self._most or self._bytes >= MOST_BYTES:
            self.dropped += 1
            self._tell("webhook queue is full, events dropped", name=event.name, call=event.about)
            return
        self._waiting += 1
        self._bytes += len(body)
        queue = self._calls.get(event.about)
        if queue is None:
            self._calls[event.about] = deque([(identifier, body)])
            self._ready.append(event.about)
            self._start()
        else:
            queue.append((identifier, body))

    def _start(self) -> None:
        while self._ready and len(self._tasks) < AT_ONCE:
            task = asyncio.get_running_loop().create_task(self._deliver(self._ready.popleft()))
            self._tasks.add(task)
            task.add_done_callback(self._on_done)

    def _on_done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            if error := task.exception():
                self._log.error("webhook", webhook=self.webhook.name, error=f"{type(error).__name__}: {error}")
            self._start()

    async def _deliver(self, call: str) -> None:
        """Send the next event of a call; then the call waits for its turn again."""
        queue = self._calls[call]
        identifier, body = queue[0]
        try:
            await self._send(call, identifier, body)
        finally:
            queue.popleft()
            self._waiting -= 1
            self._bytes -= len(body)
            if queue:
                self._ready.append(call)
            else:
                del self._calls[call]

    async def _send(self, call: str, identifier: str, body: bytes) -> None:
        pause, why = FIRST_PAUSE, ""
        for attempt in range(1, self.webhook.attempts + 1):
            headers = {"Content-Type": "application/json", EVENT_ID: identifier} | signed(
                self._key, body, int(time.time()))
            try:
                await self._client.post(self.webhook.url, body, headers, deadline=self.webhook.timeout,
                                        limit=ANSWER_BYTES)
            except NoAnswer as error:
                why = str(error)
                if error.http_status // 100 == 2:
                    # It was taken; what came along does not matter.
                    break
                if error.http_status in GONE:
                    why = f"{why}, not tried again"
                    self._give_up(call, identifier, attempt, why)
                    return
            else:
                break
            if attempt == self.webhook.attempts:
                self._give_up(call, identifier, attempt, why)
                return
            # Somewhat apart, so that a server that comes back is not met by all calls at once.
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))
            pause = min(2 * pause, LONGEST_PAUSE)
        self.delivered += 1

    def _give_up(self, call: str, identifier: str, attempts: int, why: str) -> None:
        self.given_up += 1
        self._tell("webhook event given up", call=call, id=identifier, attempts=attempts, error=why)

    def _tell(self, text: str, **fields: object) -> None:
        now = time.monotonic()
        if now - self._told_at >= LOG_SECONDS:
            self._told_at = now
            self._log.error(text, webhook=self.webhook.name, given_up=self.given_up, dropped=self.dropped, **fields)

    async def close(self) -> None:
        """What waits is given up."""
        waiting = self._waiting
        self.dropped += waiting
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._client.close()
        if waiting:
            self._log.warning("webhook events not delivered", webhook=self.webhook.name, waiting=waiting)


class Webhooks:
    """All of a configuration. folder: what their files are relative to. ValueError where a key cannot be read."""

    def __init__(self, config: Config, folder: Path, log: Log):
        self._log = log
        self._encoder = msgspec.json.Encoder()
        self.hooks: dict[str, Hook] = {}
        self._closing: set[asyncio.Task[None]] = set()
        self._leaving: set[Hook] = set()
        self._before = dict.fromkeys(("delivered", "given_up", "dropped"), 0)
        self.configure(config, folder)

    def configure(self, config: Config, folder: Path) -> None:
        """Follow a configuration; of a webhook that stays as it is, what waits goes on."""
        keys = {one.name: read_secret(folder, one.secret_file, one.secret_env) for one in config.webhooks}
        before, self.hooks = self.hooks, {}
        for webhook in config.webhooks:
            hook = before.get(webhook.name)
            if hook is not None and hook.webhook == webhook and hook._key == keys[webhook.name]:
                self.hooks[webhook.name] = before.pop(webhook.name)
            else:
                self.hooks[webhook.name] = Hook(webhook, keys[webhook.name], self._log, config.services.queue)
        self._leaving.update(before.values())
        for hook in before.values():
            task = asyncio.get_running_loop().create_task(self._retire(hook))
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)

    async def _retire(self, hook: Hook) -> None:
        """Of a webhook that is no more its figures are kept."""
        await hook.close()
        self._leaving.discard(hook)
        for name in self._before:
            self._before[name] += getattr(hook, name)

    @property
    def patterns(self) -> list[str]:
        """Of the events that any of them wants."""
        return sorted({pattern for hook in self.hooks.values() for pattern in hook.webhook.events or ("*",)})

    def add(self, event: Event, identifier: str) -> None:
        wanting = [hook for hook in self.hooks.values() if hook.wants(event.name)]
        if wanting:
            body = self._encoder.encode(event_body(event, identifier))
            for hook in wanting:
                hook.add(event, identifier, body)

    def statistics(self) -> dict[str, int]:
        """Of all that there are and were."""
        hooks = [*self.hooks.values(), *self._leaving]
        return {**{f"webhook_{name}": before + sum(getattr(hook, name) for hook in hooks)
                   for name, before in self._before.items()},
                "webhook_waiting": sum(hook.waiting for hook in self.hooks.values())}

    async def close(self) -> None:
        await asyncio.gather(*(hook.close() for hook in self.hooks.values()), *self._closing)


def event_body(event: Event, identifier: str) -> dict[str, object]:
    """What webhooks and the event stream show of an event."""
    return {"id": identifier, "event": event.name, "at": event.at, "call": event.call, "transfer": event.transfer,
            "detail": event.detail}
