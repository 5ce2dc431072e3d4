"""Context that went by reference: kept until it is over, in memory and in the database, and given out by its token.

It can be had from the moment on that the worker has handed it over; the database, which is written to a little later,
brings it back after a start of this process.

Memory: `reference.most_bytes` of headers and `reference.most` entries at most; above, the oldest go, which is only the
database's business then. A worker hands over no more than that in the lifetime of a token.
"""
import asyncio
import time
from collections import OrderedDict
from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from proxy.config import Reference
from proxy.events import Context
from proxy.log import Log
from proxy.policy.references import Token, Tokens

from .database import Database, Unavailable
from .records import GATHER_SECONDS, Pause

ARRIVAL_SECONDS = 1.0
"""How long a context is waited for whose token is good: what a worker says may stand in a queue before this process."""
CLEAN_SECONDS = 60.0
BATCH = 500
"""Contexts of one transaction."""


class Forgotten(Exception):
    """No such context: no token of ours, or nothing is known of it any more."""


class Over(Exception):
    """The token was one of ours, and has expired."""


class Kept(NamedTuple):
    """headers: JSON."""

    expires: int
    headers: bytes


class References:
    """keys: that tokens may be signed with; without any, none is good."""

    def __init__(self, database: Database, log: Log, settings: Reference, keys: Sequence[bytes]):
        self.log = log
        self.redeemed = 0
        self.refused = 0
        self.lost = 0
        """Contexts that there was no memory for before the database had them."""
        self._database = database
        self._kept: OrderedDict[str, Kept] = OrderedDict()
        self._bytes = 0
        self._unsaved: dict[str, Kept] = {}
        self._has_unsaved = asyncio.Event()
        self._has_arrived = asyncio.Event()
        self.configure(settings, keys)

    def __len__(self) -> int:
        return len(self._kept)

    def configure(self, settings: Reference, keys: Sequence[bytes]) -> None:
        """Follow another configuration."""
        self._tokens = Tokens(keys) if keys else None
        self._settings = settings

    def add(self, context: Context) -> None:
        """Take what a worker hands over."""
        kept = Kept(context.expires, msgspec.json.encode(context.headers))
        self._kept[context.name] = self._unsaved[context.name] = kept
        self._bytes += len(kept.headers)
        while self._bytes > self._settings.most_bytes or len(self._kept) > self._settings.most:
            self.lost += self._forget(next(iter(self._kept)))
        self._has_unsaved.set()
        self._has_arrived.set()

    def _forget(self, name: str) -> bool:
        """Whether the database had not had it yet."""
        self._bytes -= len(self._kept.pop(name).headers)
        return self._unsaved.pop(name, None) is not None

    async def redeem(self, text: str) -> tuple[Token, dict[str, str]]:
        """What a token says, and the headers that it stands for. Raises Forgotten, Over, Unavailable."""
        token = self._tokens.read(text) if self._tokens is not None else None
        try:
            if token is None:
                raise Forgotten
            if token.over(time.time()):
                raise Over
            found = await self._find(token.name)
        except (Forgotten, Over):
            self.refused += 1
            raise
        self.redeemed += 1
        return token, msgspec.json.decode(found, type=dict[str, str])

    async def _find(self, name: str) -> bytes:
        if name in self._kept:
            return self._kept[name].headers
        try:
            saved = await self._database.context(name)
        except Unavailable:
            # It may have come in the meantime.
            if name not in self._kept:
                raise
        else:
            if saved is not None:
                return saved
        try:
            async with asyncio.timeout(ARRIVAL_SECONDS):
                while name not in self._kept:
                    self._has_arrived.clear()
                    await self._has_arrived.wait()
        except TimeoutError:
            raise Forgotten from None
        return self._kept[name].headers

    async def run(self) -> None:
        """Work until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._save_all())
            tasks.create_task(self._clean())

    async def finish(self) -> None:
        """After run was cancelled: what can goes into the database."""
        try:
            while self._unsaved:
                await self._save_some()
        except Unavailable as error:
            self.log.warning("contexts lost: the database cannot be used", error=str(error),
                             contexts=len(self._unsaved))

    async def _save_all(self) -> None:
        pause = Pause()
        while True:
            await self._has_unsaved.wait()
            await asyncio.sleep(GATHER_SECONDS)
            self._has_unsaved.clear()
            while self._unsaved:
                try:
                    await self._save_some()
                    pause.over()
                except Unavailable as error:
                    if pause.first:
                        self.log.error("contexts are in memory alone: the database cannot be used", error=str(error))
                    await pause.wait()

    async def _save_some(self) -> None:
        some = dict(list(self._unsaved.items())[:BATCH])
        await self._database.save_contexts([(name, *kept) for name, kept in some.items()])
        for name in some:
            self._unsaved.pop(name, None)

    async def _clean(self) -> None:
        told = False
        while True:
            now = int(time.time())
            for name in [name for name, kept in self._kept.items() if kept.expires <= now]:
                self._forget(name)
            # Without a key nobody makes any; what there was may stay until there is one again.
            if self._tokens is not None:
                try:
                    await self._database.delete_contexts(now)
                    told = False
                except Unavailable as error:
                    if not told:
                        self.log.warning("old contexts not deleted", error=str(error))
                    told = True
            await asyncio.sleep(CLEAN_SECONDS)
