"""The queue between two threads: against a deque, and with two threads under the thread sanitizer."""
import os
import shutil
import subprocess
from collections import deque
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipcore.base.ring import WordRing


@given(st.integers(1, 9), st.lists(st.one_of(st.none(), st.integers(0, 1 << 63))))
def test_order_and_bound_against_a_deque(capacity: int, steps: list[int | None]) -> None:
    ring, model = WordRing(capacity), deque[int]()
    assert capacity <= ring.capacity < 2 * capacity
    for word in steps:
        if word is None:
            assert ring.take() == (model.popleft() if model else None)
        else:
            full = len(model) == ring.capacity
            assert ring.put(word) is not full
            if not full:
                model.append(word)
        left = ring.capacity - len(model)
        assert ring.has_room(left)
        assert not ring.has_room(left + 1)


def test_wake_once_until_it_listens_again() -> None:
    ring = WordRing(4)
    ring.put(1)
    assert ring.must_wake()
    ring.put(2)
    assert not ring.must_wake()
    ring.listen()
    assert [ring.take(), ring.take(), ring.take()] == [1, 2, None]
    ring.put(3)
    assert ring.must_wake()


def test_no_data_race(tmp_path: Path) -> None:
    """Two real threads, items that point to memory handed over, and sleeping and waking, under ThreadSanitizer."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler")
    here = Path(__file__).parent
    program = tmp_path / "ring_threads"
    built = subprocess.run(
        [compiler, "-O1", "-g", "-pthread", "-fsanitize=thread", f"-I{here.parents[1] / 'sipcore' / 'base'}",
         str(here / "ring_threads.c"), "-o", str(program)],
        capture_output=True, text=True, timeout=120,
    )
    if built.returncode != 0 and "tsan" in built.stderr:
        pytest.skip("the compiler has no thread sanitizer")
    assert built.returncode == 0, built.stderr
    # The runtime of another sanitizer, under which the tests may run, does not go with it.
    environment = {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"}
    ran = subprocess.run([program], capture_output=True, text=True, timeout=120, env=environment)
    assert (ran.returncode, ran.stderr) == (0, "")
