"""Fixtures of the tests with a real registrar."""
from pathlib import Path

import pytest

from tests.certificates import Authority
from tests.edge import network, start_edge  # noqa: F401


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    folder = tmp_path / "authority"
    folder.mkdir()
    return Authority(folder)
