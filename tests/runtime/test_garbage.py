"""When a worker looks for garbage."""
import gc

import pytest

from proxy.garbage import FEW, HOUR, MINUTE, Garbage


@pytest.fixture(autouse=True)
def own_settings():
    thresholds = gc.get_threshold()
    yield
    gc.set_threshold(*thresholds)
    gc.unfreeze()


def test_everything_is_looked_at_where_nobody_waits_for_it():
    garbage = Garbage(1000.0)
    assert gc.get_freeze_count()
    assert not garbage.look(1000.0 + MINUTE - 1, 0)
    assert garbage.look(1000.0 + MINUTE, FEW)
    assert not garbage.look(1000.0 + 2 * MINUTE, FEW + 1)
    assert garbage.look(1000.0 + MINUTE + HOUR, 10_000)


def test_no_full_collection_starts_by_itself():
    Garbage(0.0)
    full = []

    def on_collection(phase, info):
        if phase == "start" and info["generation"] == 2:
            full.append(info)

    gc.callbacks.append(on_collection)
    try:
        kept = [[number] for number in range(400_000)]
    finally:
        gc.callbacks.remove(on_collection)
    assert len(kept) == 400_000
    assert full == []
