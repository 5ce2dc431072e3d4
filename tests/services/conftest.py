"""A services process for all tests of a module that leave no trace in it, and the loop that it runs on."""
import asyncio
from collections.abc import Iterator

import pytest
import uvloop

from proxy.services import program

from .stage import Stage


@pytest.fixture(scope="module")
def shared_stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with Stage(tmp_path_factory.mktemp("services")) as stage:
        yield stage


@pytest.fixture
def stage(shared_stage: Stage) -> Iterator[Stage]:
    """The worker's stand-in begins with no call."""
    stand_in = shared_stage.stand_in
    stand_in.calls.clear()
    stand_in.transfers.clear()
    stand_in.told.clear()
    stand_in.bans.clear()
    shared_stage.operated.clear()
    yield shared_stage
    stand_in.hung = False


@pytest.fixture
def uvloop_only(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """asyncio.run takes uvloop, as the edge's processes do; its transports differ from asyncio's. However long a busy
    machine takes to end a program, its end is waited for: a loop that closes before that complains."""
    monkeypatch.setattr(program, "GONE_SECONDS", 60.0)
    asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
    yield
    asyncio.set_event_loop_policy(None)
