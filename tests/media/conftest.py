"""Tests that count descriptors begin with none that others have left."""
import gc

import pytest


@pytest.fixture(scope="module", autouse=True)
def _nothing_left() -> None:
    """Sockets that tests before have left in cycles go now, not while descriptors are counted."""
    gc.collect()
