"""Entries of the access list that the API has made: in the database, and put into effect by the supervisor.

It ends by itself what is over: that must not depend on this process.
"""
import asyncio
import time
from collections.abc import Awaitable, Callable
from uuid import uuid4

import msgspec

from proxy.config import Config
from proxy.log import Log
from proxy.policy.addresses import parse_prefix
from proxy.policy.entries import Entry, with_entries

from .database import Database, Unavailable
from .records import Pause
from .workers import Unanswered

MOST = 1000
"""Entries at a time."""
Applier = Callable[[list[Entry]], Awaitable[None]]
"""Has the supervisor put these entries, and no others, into effect. Raises Unanswered."""


class BadEntry(Exception):
    """status, the field that is wrong if there is one, and why."""


class Access:
    """Changes are made one after the other."""

    def __init__(self, database: Database, config: Config, apply: Applier, log: Log):
        self.config = config
        self.log = log
        self._database = database
        self._apply = apply
        self._entries: list[Entry] = []
        self._changing = asyncio.Lock()

    def all(self) -> list[tuple[Entry, str]]:
        """Those that are not over, and why they are not in effect, where they are not: the file may have changed."""
        now = _now()
        current = [entry for entry in self._entries if not entry.over(now)]
        _, wrong = with_entries(self.config, current)
        return [(entry, wrong[entry.id][1] if entry.id in wrong else "") for entry in current]

    async def run(self) -> None:
        """Load them, however long the database takes, and have them put into effect."""
        pause = Pause()
        while True:
            try:
                async with self._changing:
                    self._entries = await self._database.entries()
                    await self._apply(self._entries)
                return
            except (Unavailable, Unanswered) as error:
                if pause.first:
                    self.log.error("access entries are not in effect", error=str(error))
                await pause.wait()

    async def add(self, group: str, prefix: str, note: str, expires: int) -> Entry:
        """Make an entry. Raises BadEntry, Unavailable, or Unanswered with the entry made."""
        now = _now()
        entry = Entry(id=uuid4().hex, group=group, prefix=prefix, note=note, created=now, expires=expires)
        if entry.over(now):
            raise BadEntry(422, "expires", "expected a time that is to come, in ms since 1970")
        async with self._changing:
            known = await self._database.entries()
            _, wrong = with_entries(self.config, [*known, entry])
            if entry.id in wrong:
                raise BadEntry(422, *wrong[entry.id])
            entry = msgspec.structs.replace(entry, prefix=str(parse_prefix(prefix)))
            if any((one.group, one.prefix) == (entry.group, entry.prefix) for one in known):
                raise BadEntry(409, "prefix", f'{entry.prefix} is an entry of group "{group}" already')
            if len(known) >= MOST:
                raise BadEntry(409, "", f"there are {MOST} entries already")
            await self._database.save_entry(entry)
            self._entries = [*known, entry]
            await self._apply(self._entries)
        return entry

    async def delete(self, identifier: str) -> bool:
        """End an entry; False where there is none. Raises Unavailable, or Unanswered with the entry deleted."""
        async with self._changing:
            found = await self._database.delete_entry(identifier)
            self._entries = await self._database.entries()
            await self._apply(self._entries)
        return found


def _now() -> int:
    return time.time_ns() // 1_000_000
