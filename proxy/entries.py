"""The entries of the access list that hold beside the configuration file, in the supervisor: it ends those that are
over, whatever becomes of the process that they came from."""
import asyncio
import time
from collections.abc import Callable

from proxy.config import Config
from proxy.log import Log
from proxy.policy.entries import Entry, with_entries

LOOK_SECONDS = 60.0
"""How long the time of day is trusted to go on as it does."""


class Entries:
    """over: called when one has come to its end."""

    def __init__(self, over: Callable[[], None]):
        self._over = over
        self._entries: list[Entry] = []
        self._timer: asyncio.TimerHandle | None = None
        self._told: set[str] = set()

    def use(self, entries: list[Entry]) -> bool:
        """These hold from now on, and no others; whether that is a change."""
        changed = entries != self._entries
        self._entries = entries
        self._end()
        return changed

    def merged(self, config: Config, log: Log) -> Config:
        """The configuration with them; of those that it has no place for the log says why, once."""
        merged, wrong = with_entries(config, self._entries)
        for identifier, (_, why) in wrong.items():
            if identifier not in self._told:
                log.warning("access entry not in effect", id=identifier, reason=why)
        self._told = set(wrong)
        return merged

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _end(self) -> bool:
        """Forget those that are over, and see to it that the next one is; whether there were any."""
        self.stop()
        now = time.time_ns() // 1_000_000
        count = len(self._entries)
        self._entries = [entry for entry in self._entries if not entry.over(now)]
        ends = [entry.expires for entry in self._entries if entry.expires]
        if ends:
            seconds = min(LOOK_SECONDS, (min(ends) - now) / 1000)
            self._timer = asyncio.get_running_loop().call_later(seconds, self._on_timer)
        return len(self._entries) != count

    def _on_timer(self) -> None:
        if self._end():
            self._over()
