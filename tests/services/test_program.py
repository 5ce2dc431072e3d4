"""Programs that are given up: nothing of them is left."""
import asyncio
import os
import threading
from pathlib import Path

import pytest

from proxy.services.program import run

pytestmark = pytest.mark.usefixtures("uvloop_only")


@pytest.mark.parametrize("turns", range(12))
def test_a_program_is_ended_whenever_its_question_is_given_up(turns):
    """While it starts, while it runs, and while it is being ended: a loop that closes finds nothing of it open."""
    mine = Path(f"/proc/{os.getpid()}/task/{threading.get_native_id()}/children")
    before = mine.read_text()

    async def given_up():
        asking = asyncio.create_task(run(("sh", "-c", "sleep 300 & wait"), b"hello", 1000))
        for _ in range(turns):
            await asyncio.sleep(0)
        asking.cancel()
        await asyncio.sleep(0)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking

    asyncio.run(given_up())
    assert mine.read_text() == before
