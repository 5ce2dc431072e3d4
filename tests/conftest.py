"""Fixtures shared by the whole suite."""
from pathlib import Path

import pytest
from hypothesis import settings

SHARED = Path(__file__).resolve().parents[2] / "shared"

# How long an example takes depends on the machine's load and on the sanitizers.
settings.register_profile("sipedge", deadline=None)
settings.load_profile("sipedge")


def _folder(path: Path) -> Path:
    if not path.is_dir():
        pytest.skip(f"no folder {path.name} in {path.parent.name} beside the project")
    return path


@pytest.fixture(scope="session")
def corpora() -> Path:
    """The folder of the RFC 4475, RFC 5118 and call-flow messages; skips where it is missing."""
    return _folder(SHARED / "corpora")


@pytest.fixture(scope="session")
def clients() -> Path:
    """The folder of the scripts that drive real phones; skips where it is missing."""
    return _folder(SHARED / "clients")
