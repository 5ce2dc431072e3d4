"""Context by reference in a worker: tokens are made here, and what they stand for is handed to the services process.

It never waits: where the services process does not take something at once, or too much is kept already, there is no
token, and the request goes on to the next step of its size policy.

Memory: two numbers for each context that is not over, `reference.most` at most.
"""
import math
import time
from collections import deque
from collections.abc import Callable, Sequence

from proxy.config import Reference
from proxy.events import Context
from proxy.policy.references import Token, Tokens

QUIET_SECONDS = 10.0
"""Between two lines of the log."""
FULL, AWAY, UNSIGNED = ("too much is kept already", "the services process does not take it", "no key is configured")


class References:
    """proxy.policy.references.Keeper. hand_over: gives a context to the services process; whether that took it. log:
    takes level, event and fields. now: seconds since 1970."""

    def __init__(self, hand_over: Callable[[Context], bool], log: Callable[..., None],
                 now: Callable[[], float] = time.time):
        self._hand_over = hand_over
        self._log = log
        self._now = now
        self._settings = Reference()
        self._tokens: Tokens | None = None
        self._kept: deque[tuple[int, int]] = deque()
        self._bytes = 0
        self._untold = 0
        self._told_at = -QUIET_SECONDS

    def configure(self, settings: Reference, keys: Sequence[bytes]) -> None:
        """Follow another configuration; tokens that are out stay good as long as they were to be."""
        self._settings = settings
        self._tokens = Tokens(keys) if keys else None

    def make(self) -> tuple[str, Token] | str:
        if self._tokens is None:
            return UNSIGNED
        return self._tokens.make(math.ceil(self._now()) + self._settings.seconds)

    def keep(self, token: Token, headers: dict[str, str]) -> str:
        now = self._now()
        # Another configuration may have brought shorter lives: what is behind a longer one waits for that.
        while self._kept and self._kept[0][0] <= now:
            self._bytes -= self._kept.popleft()[1]
        size = sum(len(name) + len(value.encode()) for name, value in headers.items())
        why = ""
        if len(self._kept) >= self._settings.most or self._bytes + size > self._settings.most_bytes:
            why = FULL
        elif not self._hand_over(Context(name=token.name, expires=token.expires, headers=headers)):
            why = AWAY
        else:
            self._kept.append((token.expires, size))
            self._bytes += size
        if why:
            self._tell(why, now)
        return why

    def _tell(self, why: str, now: float) -> None:
        self._untold += 1
        if not 0 <= now - self._told_at < QUIET_SECONDS:
            self._log("warning", "context not sent by reference", reason=why, requests=self._untold,
                      kept=len(self._kept))
            self._told_at, self._untold = now, 0
