"""Tests that count descriptors begin with none that others have left; those of the relay are run with the kernel too.
"""
import gc

import pytest

from sipcore.media import offload_program
from tests.media.stage import Stage


@pytest.fixture(scope="module", autouse=True)
def _nothing_left() -> None:
    """Sockets that tests before have left in cycles go now, not while descriptors are counted."""
    gc.collect()


@pytest.fixture(params=["thread", "kernel"])
def by_both(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The thread passes every packet on, and then the kernel what it can: nobody may notice."""
    if request.param == "kernel":
        if why := offload_program.problem():
            pytest.skip(why)
        monkeypatch.setattr(Stage, "offloads", True)
