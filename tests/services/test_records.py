"""Records: on disk before a worker forgets them, in the database when it is there, and gone when they are old."""
import asyncio
import os
import signal
import sqlite3
import time
from contextlib import closing

import msgspec
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine

from proxy.events import Event, Record, new_id
from proxy.services import spool as spool_module
from proxy.services import tables
from proxy.services.database import Database, Unavailable
from proxy.services.spool import Full, Spool

from .stage import Stage, a_call, a_transfer

DAY_MS = 86_400_000


def record(**more) -> Record:
    return Record(at=1, call=a_call(state="ended", ended=time.time_ns() // 1_000_000, **more))


def rows(stage: Stage, table: str = "calls") -> int:
    """How many records there are; none before the tables are made."""
    with closing(sqlite3.connect(f"file:{stage.folder / 'sipedge-test.db'}?mode=ro", uri=True)) as database:
        try:
            return int(database.execute(f"SELECT count(*) FROM {table}").fetchone()[0])
        except sqlite3.OperationalError:
            return 0


# --- the spool


def test_a_spool_gives_back_what_it_got(tmp_path):
    spool = Spool(tmp_path, "s")
    entries = [os.urandom(size) for size in (0, 1, 5000)]
    spool.append(entries)
    spool.append([b"more"])
    assert spool.read(2) == entries[:2]
    assert spool.read(2) == entries[:2]
    spool.stored()
    assert Spool(tmp_path, "s").read(10) == [*entries, b"more"]
    assert spool.read(10) == [entries[2], b"more"]
    spool.stored()
    assert spool.read(10) == []
    assert Spool(tmp_path, "s").read(10) == []


def test_what_a_crash_cut_off_is_left_out(tmp_path):
    Spool(tmp_path, "s").append([b"first", b"second"])
    (file,) = tmp_path.iterdir()
    file.write_bytes(file.read_bytes()[:-3])
    again = Spool(tmp_path, "s")
    assert again.read(10) == [b"first"]
    again.append([b"third"])
    again.stored()
    assert again.read(10) == [b"third"]
    assert not file.exists()


def test_a_spool_is_bounded_and_its_files_go(tmp_path, monkeypatch):
    monkeypatch.setattr(spool_module, "FILE_BYTES", 1000)
    monkeypatch.setattr(spool_module, "MOST_BYTES", 5000)
    spool = Spool(tmp_path, "s")
    count = 0
    try:
        while count < 100:
            spool.append([b"x" * 500])
            count += 1
    except Full:
        assert 5 < count < 15
    assert count < 100
    assert len(list(tmp_path.iterdir())) > 3
    found = 0
    while entries := spool.read(3):
        found += len(entries)
        spool.stored()
    assert found == count
    assert sum(file.stat().st_size for file in tmp_path.iterdir()) == 0
    spool.append([b"again"])
    assert spool.read(1) == [b"again"]


def test_a_full_disk_loses_nothing_that_was_written(tmp_path, monkeypatch):
    spool = Spool(tmp_path, "s")
    spool.append([b"first"])

    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fdatasync", full)
        with pytest.raises(OSError, match="No space"):
            spool.append([b"second"])
    spool.append([b"third"])
    assert Spool(tmp_path, "s").read(10) == [b"first", b"third"]


# --- the database


def test_the_migrations_make_the_tables(tmp_path):
    async def migrate() -> None:
        database = Database(f"sqlite+aiosqlite:///{tmp_path / 'a.db'}")
        assert await database.actions() == []
        await database.close()

    asyncio.run(migrate())
    engine = create_engine(f"sqlite:///{tmp_path / 'a.db'}")
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), tables.metadata) == []
    engine.dispose()


def test_records_are_stored_once_found_and_deleted(tmp_path):
    async def play() -> None:
        database = Database(f"sqlite+aiosqlite:///{tmp_path / 'a.db'}")
        old, new = record(began=1000), record(began=2000)
        assert old.call is not None
        old.call.ended = 1500
        await database.store([old, new, Record(at=1, transfer=a_transfer(old.call.id, began=1, ended=2))])
        await database.store([old])
        page = await database.find(tables.calls, conditions=(), after=None, limit=1)
        assert [msgspec.json.decode(one)["began"] for one in page.records] == [2000]
        began, _, identifier = page.next.partition("-")
        page = await database.find(tables.calls, conditions=(), after=(int(began), identifier), limit=1)
        assert [msgspec.json.decode(one)["began"] for one in page.records] == [1000]
        assert page.next == ""
        assert await database.delete_older(1600) == 2
        assert await database.one(tables.calls, old.call.id) is None
        await database.close()

    asyncio.run(play())


def test_a_database_that_is_not_there_says_so_without_its_secret():
    async def play() -> None:
        database = Database("postgresql+asyncpg://somebody:secret@127.0.0.1:9/none")
        with pytest.raises(Unavailable) as caught:
            await database.actions()
        assert "secret" not in str(caught.value)
        await database.close()

    asyncio.run(play())


def test_tables_of_a_later_version_are_not_touched(tmp_path):
    file = tmp_path / "a.db"
    with sqlite3.connect(file) as later:
        later.execute("CREATE TABLE alembic_version (version_num VARCHAR(32))")
        later.execute("INSERT INTO alembic_version VALUES ('9999')")
    later.close()

    async def play() -> None:
        database = Database(f"sqlite+aiosqlite:///{file}")
        with pytest.raises(Unavailable, match="another version"):
            await database.actions()
        await database.close()

    asyncio.run(play())


# --- all of it, in a process of its own


def test_records_reach_the_api(shared_stage):
    call = record(called="sip:sales@127.0.0.1", ended_by="caller", status=200)
    assert call.call is not None
    transfer = a_transfer(call.call.id, state="completed", ended=time.time_ns() // 1_000_000)
    shared_stage.emit(call, Record(at=1, transfer=transfer))
    shared_stage.until(lambda: shared_stage.http.get(f"/v1/records/transfers/{transfer.id}").status_code == 200)
    get = shared_stage.http.get
    found = get("/v1/records/calls", params={"called": "sip:sales@127.0.0.1", "ended_by": "caller", "status": 200})
    assert [one["id"] for one in found.json()["records"]] == [call.call.id]
    assert get("/v1/records/calls", params={"since": 2**50}).json() == {"records": [], "next": ""}
    found = get("/v1/records/transfers", params={"call": call.call.id, "state": "completed"}).json()
    assert [one["id"] for one in found["records"]] == [transfer.id]
    assert get(f"/v1/records/transfers/{new_id(0)}").status_code == 404
    assert get("/v1/records/transfers", params={"state": "happy"}).status_code == 400
    assert get("/v1/records/calls", params={"after": "1-'; DROP TABLE calls"}).status_code == 400
    shared_stage.until(lambda: shared_stage.on_loop(lambda: shared_stage.link.records) == 0)


def test_records_survive_kills_and_a_process_that_hangs(tmp_path):
    with Stage(tmp_path, queue=3000) as stage:
        stage.kill(signal.SIGSTOP)
        slowest = 0.0
        for _ in range(40):
            began = time.monotonic()
            stage.emit(*(Event(name="call.started", at=1, call=a_call()) for _ in range(250)),
                       *(record() for _ in range(25)))
            slowest = max(slowest, time.monotonic() - began)
        assert slowest < 20
        link = stage.link
        assert (link.records, link.records_lost) == (1000, 0)
        assert link.events_dropped == 0
        stage.kill()
        stage.start()
        stage.until(lambda: rows(stage) > 100)
        stage.kill()
        stage.start()
        stage.until(lambda: rows(stage) == 1000, 30)
        stage.until(lambda: stage.on_loop(lambda: link.records) == 0)


def test_records_wait_for_a_database_that_is_locked(tmp_path):
    with Stage(tmp_path) as stage:
        stage.emit(record())
        stage.until(lambda: rows(stage) == 1)
        lock = sqlite3.connect(tmp_path / "sipedge-test.db", isolation_level=None, check_same_thread=False)
        lock.execute("BEGIN EXCLUSIVE")
        stage.emit(*(record() for _ in range(10)))
        stage.until(lambda: stage.on_loop(lambda: stage.link.records) == 0)
        stage.logged("records wait on disk: the database cannot be used", 20)
        answer = stage.http.post("/v1/actions", json={"name": "a", "mode": "blind", "targets": ["sip:1@127.0.0.3"]})
        assert answer.status_code == 503
        assert answer.headers["content-type"] == "application/problem+json"
        assert stage.http.get("/v1/calls").status_code == 200
        assert stage.http.get("/health/ready").json()["database"] == "behind"
        lock.execute("ROLLBACK")
        lock.close()
        stage.until(lambda: rows(stage) == 11, 30)
        stage.logged("records go into the database again")


def test_a_stop_writes_everything_first(tmp_path):
    with Stage(tmp_path) as stage:
        stage.emit(*(record() for _ in range(500)))
        assert stage.stop() == 0
        assert rows(stage) == 500
