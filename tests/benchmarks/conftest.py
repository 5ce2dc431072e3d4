"""Fixtures of the tests that run benchmarks."""
from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their edges' control sockets stand here, not in the folder that all edges of a user share: another run of these
    tests may have an edge at the same address, in a network of its own."""
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(tmp_path))
