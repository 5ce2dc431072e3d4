"""The database by a URL alone: the same on PostgreSQL, started for these tests where its programs are installed."""
import asyncio
import os
import pwd
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import msgspec
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from proxy.config import Action
from proxy.events import Record
from proxy.policy.entries import Entry
from proxy.services import tables
from proxy.services.database import Database, Unavailable

from .stage import Stage, a_call, a_transfer

START_SECONDS = 90.0


def program(name: str) -> str:
    """On the path, or where Debian has the programs of a server; skips the test where it is not."""
    found = shutil.which(name) or max(map(str, Path("/usr/lib/postgresql").glob(f"*/bin/{name}")), default="")
    if not found:
        pytest.skip(f"PostgreSQL is not installed: no {name}")
    return found


@pytest.fixture(scope="module")
def server() -> Iterator[Path]:
    """The folder of the server's socket. It listens on nothing else, and runs as somebody else than root."""
    initdb, postgres = program("initdb"), program("postgres")
    folder = Path(mkdtemp(prefix="sipedge-postgresql-"))
    more: dict[str, Any] = {}
    if os.getuid() == 0:
        user = pwd.getpwnam("nobody")
        os.chown(folder, user.pw_uid, user.pw_gid)
        more = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
    try:
        subprocess.run([initdb, "--pgdata", folder / "data", "--username", "edge", "--auth", "trust", "--no-sync",
                        "--encoding", "UTF8", "--no-locale"], check=True, capture_output=True, cwd=folder, **more)
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(
                [postgres, "-D", folder / "data", "-k", folder, "-c", "listen_addresses=", "-c", "fsync=off"],
                stdout=log, stderr=log, cwd=folder, **more)
        try:
            end = time.monotonic() + START_SECONDS
            while b"ready to accept connections" not in (said := (folder / "log").read_bytes()):
                assert process.poll() is None, said
                assert time.monotonic() < end, said
                time.sleep(0.05)
            yield folder
        finally:
            process.send_signal(signal.SIGINT)  # "fast": a test that failed may have left a client
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


MakeUrl = Callable[[], str]


@pytest.fixture
def new_url(server: Path) -> MakeUrl:
    """URLs of databases with nothing in them."""
    def make() -> str:
        async def create() -> None:
            engine = create_async_engine(address("postgres"), isolation_level="AUTOCOMMIT")
            async with engine.connect() as connection:
                await connection.execute(text(f"CREATE DATABASE {name}"))
            await engine.dispose()

        name = f"edge_{os.urandom(4).hex()}"
        asyncio.run(create())
        return address(name)

    def address(name: str) -> str:
        return f"postgresql+asyncpg://edge@/{name}?host={server}"

    return make


def with_database(url: str, play: Callable[[Database], Coroutine[Any, Any, None]]) -> None:
    async def run() -> None:
        database = Database(url)
        try:
            await play(database)
        finally:
            await database.close()

    asyncio.run(run())


def test_its_tables_are_those_that_are_declared(new_url):
    url = new_url()

    async def compare() -> None:
        engine = create_async_engine(url)
        async with engine.connect() as connection:
            found = await connection.run_sync(
                lambda one: compare_metadata(MigrationContext.configure(one), tables.metadata))
        await engine.dispose()
        assert found == []

    async def play(database: Database) -> None:
        await database.actions()
        await compare()

    with_database(url, play)


def test_edges_that_start_at_once_migrate_once(new_url):
    url = new_url()

    async def play() -> None:
        databases = [Database(url) for _ in range(4)]
        assert await asyncio.gather(*(database.actions() for database in databases)) == [[], [], [], []]
        for database in databases:
            await database.close()

    asyncio.run(play())


def test_records_are_stored_once_found_and_deleted(new_url):
    async def play(database: Database) -> None:
        calls = [a_call(began=began, ended=began + 500, caller="sip:\u00e4@\U0001f4de") for began in (1000, 2000, 2000)]
        transfer = a_transfer(calls[0].id, began=1, ended=2)
        records = [Record(at=1, call=call) for call in calls] + [Record(at=1, transfer=transfer)]
        await database.store(records)
        await database.store(records[1:])
        found, after = [], None
        while True:
            page = await database.find(tables.calls, conditions=(), after=after, limit=1)
            found += [msgspec.json.decode(one)["id"] for one in page.records]
            if not page.next:
                break
            began, _, identifier = page.next.partition("-")
            after = int(began), identifier
        assert found == [call.id for call in sorted(calls, key=lambda call: (call.began, call.id), reverse=True)]
        kept = await database.one(tables.calls, calls[1].id)
        assert kept is not None
        assert msgspec.json.decode(kept)["caller"] == "sip:\u00e4@\U0001f4de"
        assert await database.delete_older(1600) == 2
        assert await database.one(tables.calls, calls[0].id) is None

    with_database(new_url(), play)


def test_actions_and_entries(new_url):
    async def play(database: Database) -> None:
        action = Action(name="desk", mode="blind", targets=("sip:1@127.0.0.3",))
        assert await database.save_action(action, new=True)
        assert not await database.save_action(action, new=True)
        assert not await database.save_action(Action(name="other", mode="blind"), new=False)
        changed = Action(name="desk", mode="blind", targets=("sip:2@127.0.0.3",))
        assert await database.save_action(changed, new=False)
        assert await database.actions() == [changed]
        assert await database.delete_action("desk")
        assert not await database.delete_action("desk")

        kept = Entry(id="1", group="phones", prefix="192.0.2.1/32", created=2, expires=2**53)
        await database.save_entry(kept)
        await database.save_entry(Entry(id="2", group="phones", prefix="192.0.2.2/32", created=1, expires=1))
        assert await database.entries() == [kept]
        assert not await database.delete_entry("2")
        assert await database.delete_entry("1")
        assert await database.entries() == []

    with_database(new_url(), play)


def test_contexts(new_url):
    async def play(database: Database) -> None:
        now = int(time.time())
        headers = '{"X-Name":"J\u00fcrgen"}'.encode()
        rows = [("a" * 22, now + 60, headers), ("b" * 22, now - 1, b"{}")]
        await database.save_contexts(rows)
        await database.save_contexts(rows)
        assert await database.context("a" * 22) == headers
        assert await database.context("c" * 22) is None
        await database.delete_contexts(now)
        assert [await database.context(name) for name, _, _ in rows] == [headers, None]

    with_database(new_url(), play)


def test_a_services_process_uses_it_by_its_url_alone(new_url, tmp_path):
    more = f'\n[database]\nurl = "{new_url()}"\n'
    call = a_call(state="ended", ended=time.time_ns() // 1_000_000)
    with Stage(tmp_path, more=more) as stage:
        stage.emit(Record(at=1, call=call))
        stage.until(lambda: stage.http.get(f"/v1/records/calls/{call.id}").status_code == 200)
        assert stage.http.post("/v1/access", json={"group": "phones", "prefix": "192.0.2.7"}).status_code == 201
        body = {"name": "claims", "mode": "blind", "targets": ["sip:2002@127.0.0.3"]}
        assert stage.http.post("/v1/actions", json=body).status_code == 201
        assert stage.http.post("/v1/actions", json=body).status_code == 409
        assert not list(tmp_path.glob("*.db"))
        stage.stop()
        stage.start()
        stage.until(lambda: stage.http.get("/v1/actions/claims").status_code == 200)
        assert stage.http.get(f"/v1/records/calls/{call.id}").json()["id"] == call.id


def test_a_server_that_is_gone_is_said_without_its_address(server):
    async def play(database: Database) -> None:
        with pytest.raises(Unavailable) as caught:
            await database.entries()
        assert "secret" not in str(caught.value)

    with_database(f"postgresql+asyncpg://edge:secret@/none?host={server}", play)
