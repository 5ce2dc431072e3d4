"""The database: records of calls and transfers, saved transfer actions, access entries, context that went by reference.
SQLite or PostgreSQL.

Every method may fail with Unavailable, within a bounded time; nothing here is retried. The tables are migrated before
the first use, and again after that failed.
"""
import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import sqlalchemy as sa
from alembic import command
from alembic.config import Config as Alembic
from alembic.util.exc import CommandError
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Connection
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from proxy.config import Action
from proxy.events import Call, Record, Transfer
from proxy.policy.entries import Entry

from .tables import access, actions, calls, contexts, transfers

SECONDS = 5.0
"""How long one operation may take, waiting for a lock or a connection included."""
MIGRATION_SECONDS = 120.0
_LOCK = 0x73697065
"""Of PostgreSQL: of several edges that start at once on a new database one migrates."""
_MIGRATIONS = Path(__file__).with_name("migrations")


class Unavailable(Exception):
    """The database cannot be used now; the text says why, and holds no address and no password."""


class Page(msgspec.Struct):
    """Some records (JSON), latest first, and what `after` continues with; empty at the end."""

    records: list[msgspec.Raw]
    next: str


class Database:
    """url: as SQLAlchemy writes it, with an asynchronous driver."""

    def __init__(self, url: str):
        self._sqlite = sa.make_url(url).get_backend_name() == "sqlite"
        more: dict[str, Any] = {"connect_args": {"timeout": SECONDS / 2}} if self._sqlite else {"pool_pre_ping": True}
        self._engine = create_async_engine(url, hide_parameters=True, **more)
        self._migrated = False
        self._migrating = asyncio.Lock()
        if self._sqlite:
            sa.event.listen(self._engine.sync_engine, "connect", _set_up_sqlite)

    async def close(self) -> None:
        await self._engine.dispose()

    @asynccontextmanager
    async def _begin(self) -> AsyncIterator[AsyncConnection]:
        """A transaction on the migrated database. Raises Unavailable."""
        try:
            await self._migrate()
            async with asyncio.timeout(SECONDS), self._engine.begin() as connection:
                yield connection
        except TimeoutError:
            raise Unavailable(f"no answer within {SECONDS:g} s") from None
        # Drivers raise errors of their own (OSError among them) where a connection cannot be made.
        except (SQLAlchemyError, OSError) as error:
            raise Unavailable(_why(error)) from None

    async def _migrate(self) -> None:
        if not self._migrated:
            async with self._migrating:
                await self._migrate_once()

    async def _migrate_once(self) -> None:
        if self._migrated:
            return
        try:
            async with asyncio.timeout(MIGRATION_SECONDS), self._engine.begin() as connection:
                if not self._sqlite:
                    await connection.execute(sa.text(f"SELECT pg_advisory_xact_lock({_LOCK})"))
                await connection.run_sync(_upgrade)
        except CommandError as error:
            raise Unavailable(f"its tables are of another version: {error}") from None
        self._migrated = True

    # --- records

    async def store(self, records: Sequence[Record]) -> None:
        """Write records; those that are there already stay as they are."""
        call_rows = {record.call.id: _call_row(record.call) for record in records if record.call}
        transfer_rows = {record.transfer.id: _transfer_row(record.transfer) for record in records if record.transfer}
        insert: Any = sqlite.insert if self._sqlite else postgresql.insert
        async with self._begin() as connection:
            for table, rows in ((calls, call_rows), (transfers, transfer_rows)):
                if rows:
                    await connection.execute(insert(table).on_conflict_do_nothing(), list(rows.values()))

    async def find(self, table: sa.Table, *, conditions: Sequence[sa.ColumnElement[bool]],
                   after: tuple[int, str] | None, limit: int) -> Page:
        """Records that meet all conditions, latest first; after: began and id of the last one that is known."""
        query = sa.select(table.c.began, table.c.id, table.c.record).where(*conditions)
        if after is not None:
            query = query.where(sa.tuple_(table.c.began, table.c.id) < sa.tuple_(*map(sa.literal, after)))
        query = query.order_by(table.c.began.desc(), table.c.id.desc()).limit(limit + 1)
        async with self._begin() as connection:
            rows = (await connection.execute(query)).all()
        following = f"{rows[limit - 1].began}-{rows[limit - 1].id}" if len(rows) > limit else ""
        return Page([msgspec.Raw(row.record.encode()) for row in rows[:limit]], following)

    async def one(self, table: sa.Table, identifier: str) -> msgspec.Raw | None:
        """The record (JSON) with that id."""
        async with self._begin() as connection:
            found = (await connection.execute(sa.select(table.c.record).where(table.c.id == identifier))).scalar()
        return None if found is None else msgspec.Raw(found.encode())

    async def delete_older(self, before: int) -> int:
        """Delete the records of what ended before that time (ms since 1970); how many there were."""
        count = 0
        async with self._begin() as connection:
            for table in (calls, transfers):
                count += (await connection.execute(sa.delete(table).where(table.c.ended < before))).rowcount
        return count

    # --- saved actions

    async def actions(self) -> list[Action]:
        async with self._begin() as connection:
            rows = (await connection.execute(sa.select(actions.c.action).order_by(actions.c.name))).scalars().all()
        return [msgspec.json.decode(row, type=Action) for row in rows]

    async def save_action(self, action: Action, *, new: bool) -> bool:
        """Save an action; new: only where none of that name is there, else only where one is. Whether it was saved."""
        row = {"changed": _now(), "action": msgspec.json.encode(action).decode()}
        async with self._begin() as connection:
            if new:
                insert: Any = sqlite.insert if self._sqlite else postgresql.insert
                done = await connection.execute(
                    insert(actions).values(name=action.name, **row).on_conflict_do_nothing())
            else:
                done = await connection.execute(sa.update(actions).where(actions.c.name == action.name).values(row))
        return bool(done.rowcount)

    async def delete_action(self, name: str) -> bool:
        async with self._begin() as connection:
            done = await connection.execute(sa.delete(actions).where(actions.c.name == name))
        return bool(done.rowcount)

    # --- access entries

    async def entries(self) -> list[Entry]:
        """Those that are not over, in the order they were made."""
        async with self._begin() as connection:
            await connection.execute(sa.delete(access).where(access.c.expires.between(1, _now())))
            rows = (await connection.execute(sa.select(access.c.entry))).scalars().all()
        return sorted((msgspec.json.decode(row, type=Entry) for row in rows), key=lambda one: (one.created, one.id))

    async def save_entry(self, entry: Entry) -> None:
        async with self._begin() as connection:
            await connection.execute(sa.insert(access).values(
                id=entry.id, expires=entry.expires, entry=msgspec.json.encode(entry).decode()))

    async def delete_entry(self, identifier: str) -> bool:
        async with self._begin() as connection:
            done = await connection.execute(sa.delete(access).where(access.c.id == identifier))
        return bool(done.rowcount)


    # --- context by reference

    async def save_contexts(self, rows: Sequence[tuple[str, int, bytes]]) -> None:
        """Names, when they are over (s since 1970), and headers (JSON)."""
        insert: Any = sqlite.insert if self._sqlite else postgresql.insert
        async with self._begin() as connection:
            await connection.execute(insert(contexts).on_conflict_do_nothing(), [
                {"name": name, "expires": expires, "headers": headers.decode()} for name, expires, headers in rows])

    async def context(self, name: str) -> bytes | None:
        async with self._begin() as connection:
            found = (await connection.execute(sa.select(contexts.c.headers).where(contexts.c.name == name))).scalar()
        return None if found is None else str(found).encode()

    async def delete_contexts(self, now: int) -> None:
        """Those that are over then."""
        async with self._begin() as connection:
            await connection.execute(sa.delete(contexts).where(contexts.c.expires <= now))


def _set_up_sqlite(connection: Any, _: object) -> None:
    # Readers do not wait for the writer; a record that was committed outlives a crash of the process.
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=NORMAL")
    cursor.close()


def _upgrade(connection: Connection) -> None:
    settings = Alembic()
    settings.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    settings.attributes["connection"] = connection
    command.upgrade(settings, "head")


def _why(error: Exception) -> str:
    """The driver's own words, without the statement and what an address could tell."""
    cause = getattr(error, "orig", None) or error
    return f"{type(cause).__name__}: {str(cause).splitlines()[0][:200] if str(cause) else ''}".rstrip(": ")


def _now() -> int:
    return time.time_ns() // 1_000_000


def _call_row(call: Call) -> dict[str, Any]:
    return {"id": call.id, "began": call.began, "ended": call.ended or call.began, "status": call.status,
            "ended_by": call.ended_by[:16], "caller": call.caller, "called": call.called,
            "record": msgspec.json.encode(call).decode()}


def _transfer_row(transfer: Transfer) -> dict[str, Any]:
    return {"id": transfer.id, "call": transfer.call, "began": transfer.began,
            "ended": transfer.ended or transfer.began, "state": transfer.state, "mode": transfer.mode,
            "action": transfer.action[:64], "target": transfer.target,
            "record": msgspec.json.encode(transfer).decode()}
