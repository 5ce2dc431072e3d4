"""The event stream: what happens, to whoever listens over a WebSocket; a slow listener loses its own events only."""
import asyncio
from collections import deque
from collections.abc import Callable
from fnmatch import fnmatchcase

import msgspec

from proxy.events import Event

from .webhooks import event_body

MOST_WAITING = 1000
"""Events that wait for one listener; the oldest are dropped, and it is told how many."""
MOST_LISTENERS = 100


class Listener:
    """Patterns of event names, and a call's id where only one is listened to."""

    def __init__(self, patterns: list[str], call: str = ""):
        self.patterns = patterns
        self._call = call
        self._waiting: deque[bytes] = deque()
        self._dropped = 0
        self._more = asyncio.Event()

    def wants(self, event: Event) -> bool:
        return (not self._call or event.about == self._call) and any(
            fnmatchcase(event.name, pattern) for pattern in self.patterns)

    def add(self, body: bytes) -> None:
        if len(self._waiting) >= MOST_WAITING:
            self._waiting.popleft()
            self._dropped += 1
        self._waiting.append(body)
        self._more.set()

    async def next(self) -> bytes:
        """The next event as JSON, or how many were dropped before it."""
        while not self._waiting:
            self._more.clear()
            await self._more.wait()
        if self._dropped:
            dropped, self._dropped = self._dropped, 0
            return msgspec.json.encode({"event": "stream.dropped", "count": dropped})
        return self._waiting.popleft()


class Stream:
    """on_change() is called when the patterns that are listened to may have changed."""

    def __init__(self, on_change: Callable[[], None]):
        self._on_change = on_change
        self._listeners: set[Listener] = set()
        self._encoder = msgspec.json.Encoder()

    @property
    def patterns(self) -> list[str]:
        return sorted({pattern for listener in self._listeners for pattern in listener.patterns})

    @property
    def full(self) -> bool:
        return len(self._listeners) >= MOST_LISTENERS

    def open(self, listener: Listener) -> None:
        self._listeners.add(listener)
        self._on_change()

    def close(self, listener: Listener) -> None:
        self._listeners.discard(listener)
        self._on_change()

    def add(self, event: Event, identifier: str) -> None:
        wanting = [listener for listener in self._listeners if listener.wants(event)]
        if wanting:
            body = self._encoder.encode(event_body(event, identifier))
            for listener in wanting:
                listener.add(body)
