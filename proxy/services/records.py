"""Records on their way: from the workers to disk, then into the database, and out of it when they are old.

A worker forgets a record when the disk has it, the disk when the database has it. Each waits for the next one for as
long as it takes; none of them ever holds up a call.
"""
import asyncio
import time

import msgspec

from proxy.events import Record
from proxy.log import Log

from .database import Database, Unavailable
from .spool import Spool
from .workers import Sender, Workers

BATCH = 500
"""Records of one transaction."""
GATHER_SECONDS = 0.25
"""How long a transaction waits for further records: it costs as much for one as for twenty."""
FIRST_PAUSE, LONGEST_PAUSE = 0.2, 30.0
DAY_MS = 86_400_000
CLEAN_SECONDS = 3600.0


class Pause:
    """How long to wait before the next attempt; doubles until one succeeds."""

    def __init__(self) -> None:
        self._next = FIRST_PAUSE

    async def wait(self) -> None:
        seconds, self._next = self._next, min(2 * self._next, LONGEST_PAUSE)
        await asyncio.sleep(seconds)

    @property
    def first(self) -> bool:
        """Whether nothing has failed since the last success."""
        return self._next == FIRST_PAUSE

    def over(self) -> None:
        self._next = FIRST_PAUSE


class Records:
    """keep_days: 0 keeps them for ever."""

    def __init__(self, spool: Spool, database: Database, workers: Workers, log: Log, keep_days: int):
        self.keep_days = keep_days
        self.log = log
        self.behind = 0
        """Records on disk that the database has not."""
        self._spool = spool
        self._database = database
        self._workers = workers
        self._arrived: list[tuple[Sender, Record]] = []
        self._has_arrived = asyncio.Event()
        self._has_spooled = asyncio.Event()
        self._has_spooled.set()
        self._disk = asyncio.Lock()
        self._encoder = msgspec.msgpack.Encoder()
        self._decoder = msgspec.msgpack.Decoder(Record)
        self._ending = False

    def add(self, sender: Sender, record: Record) -> None:
        """Take a record of a worker; it hears when the disk has it."""
        self._arrived.append((sender, record))
        self._has_arrived.set()

    async def run(self) -> None:
        """Work until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._spool_all())
            tasks.create_task(self._store_all())
            tasks.create_task(self._clean())

    async def finish(self) -> None:
        """After run was cancelled: what has arrived goes to disk, and what can into the database."""
        if self._arrived:
            try:
                await self._spool_some()
            except OSError as error:
                self.log.error("records lost", error=str(error), records=len(self._arrived))
        try:
            while await self._store_some():
                continue
        except (OSError, Unavailable) as error:
            self.log.warning("records wait on disk", error=str(error))

    async def _spool_all(self) -> None:
        pause = Pause()
        while True:
            await self._has_arrived.wait()
            self._has_arrived.clear()
            while self._arrived:
                try:
                    await self._spool_some()
                    pause.over()
                except OSError as error:
                    if pause.first:
                        self.log.error("records cannot be written to disk", error=str(error))
                    await pause.wait()

    async def _spool_some(self) -> None:
        arrived = list(self._arrived)
        entries = [self._encoder.encode(record) for _, record in arrived]
        async with self._disk:
            await asyncio.to_thread(self._spool.append, entries)
        del self._arrived[:len(arrived)]
        self.behind += len(arrived)
        # A worker's records come in the order of their numbers.
        for sender, number in {sender: record.number for sender, record in arrived}.items():
            self._workers.kept(sender, number)
        self._has_spooled.set()

    async def _store_all(self) -> None:
        pause = Pause()
        while True:
            try:
                if not await self._store_some():
                    await self._has_spooled.wait()
                    await asyncio.sleep(GATHER_SECONDS)
                    self._has_spooled.clear()
                if not pause.first:
                    self.log.info("records go into the database again")
                pause.over()
            except (OSError, Unavailable) as error:
                if pause.first:
                    self.log.error("records wait on disk: the database cannot be used", error=str(error))
                await pause.wait()

    async def _store_some(self) -> bool:
        """Move a batch into the database; whether there was one."""
        async with self._disk:
            entries = await asyncio.to_thread(self._spool.read, BATCH)
        if not entries:
            self.behind = 0
            return False
        records = []
        for entry in entries:
            try:
                records.append(self._decoder.decode(entry))
            except msgspec.MsgspecError as error:
                # Of another version of this program.
                self.log.error("record unreadable, left out", error=str(error))
        await self._database.store(records)
        async with self._disk:
            await asyncio.to_thread(self._spool.stored)
        self.behind = max(0, self.behind - len(entries))
        return True

    async def _clean(self) -> None:
        while True:
            if self.keep_days:
                try:
                    count = await self._database.delete_older(time.time_ns() // 1_000_000 - self.keep_days * DAY_MS)
                    if count:
                        self.log.info("old records deleted", records=count, days=self.keep_days)
                except Unavailable as error:
                    self.log.warning("old records not deleted", error=str(error))
            await asyncio.sleep(CLEAN_SECONDS)
