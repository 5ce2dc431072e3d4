"""Buffers come from the right class, go back to it, and never exceed the limit."""
import os
import subprocess
import sys
from itertools import pairwise

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from sipcore.base.pool import Pool
from sipcore.base.probe import CHECKED, Kept

MIB = 1 << 20
SIZES = [0, 1, 511, 512, 513, 2047, 2048, 2049, 65535]


@pytest.mark.parametrize(
    ("n", "capacity"),
    [(0, 512), (1, 512), (512, 512), (513, 2048), (2048, 2048), (2049, 2049), (65535, 65535)],
)
def test_size_classes(n: int, capacity: int) -> None:
    pool = Pool(4 * MIB)
    data = bytes(i & 255 for i in range(n))
    kept = Kept(pool, data)
    assert bytes(kept) == data
    assert kept.capacity == capacity
    assert sum(pool.live) == 1
    kept.give()
    assert kept.address == 0
    kept.give()
    assert pool.live == (0, 0, 0)


class PoolAgainstModel(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.pool = Pool(2 * MIB + 200_000)
        self.kept: list[tuple[Kept, bytes]] = []
        self.refused = 0

    @rule(n=st.sampled_from(SIZES), fill=st.integers(0, 255))
    def keep(self, n: int, fill: int) -> None:
        data = bytes([fill]) * n
        try:
            self.kept.append((Kept(self.pool, data), data))
        except MemoryError:
            assert self.pool.held + (n if n > 2048 else MIB) > self.pool.limit
            self.refused += 1

    @precondition(lambda self: self.kept)
    @rule(choice=st.integers(0))
    def give(self, choice: int) -> None:
        kept, _ = self.kept.pop(choice % len(self.kept))
        kept.give()

    @invariant()
    def agree(self) -> None:
        assert all(bytes(kept) == data for kept, data in self.kept)
        spans = sorted((kept.address, kept.address + kept.capacity) for kept, _ in self.kept)
        assert all(end <= start for (_, end), (start, _) in pairwise(spans))
        assert sum(self.pool.live) == len(self.kept)
        assert self.pool.held <= self.pool.limit
        assert self.pool.refused == self.refused


PoolAgainstModel.TestCase.settings = settings(max_examples=50, stateful_step_count=40, deadline=None)
TestPoolAgainstModel = PoolAgainstModel.TestCase


def test_the_last_one_given_is_the_next_one_taken() -> None:
    pool = Pool(MIB)
    first, second = Kept(pool, b"1"), Kept(pool, b"2")
    addresses = [second.address, first.address]
    first.give()
    second.give()
    again = [Kept(pool, b"3"), Kept(pool, b"4")]
    assert [kept.address for kept in again] == addresses


def test_a_chunk_holds_2047_small_buffers_and_the_limit_counts_chunks() -> None:
    pool = Pool(2 * MIB - 1)
    kept = [Kept(pool, bytes(512)) for _ in range(2047)]
    assert pool.held == MIB
    with pytest.raises(MemoryError):
        Kept(pool, b"")
    assert pool.refused == 1
    kept.pop().give()
    kept.append(Kept(pool, b"again"))
    assert pool.live == (2047, 0, 0)


def test_small_ones_fall_back_to_medium_buffers() -> None:
    pool = Pool(MIB)
    Kept(pool, bytes(2048)).give()
    kept = [Kept(pool, bytes(100)) for _ in range(511)]
    assert {one.capacity for one in kept} == {2048}
    assert pool.live == (0, 511, 0)
    with pytest.raises(MemoryError):
        Kept(pool, bytes(100))
    del kept
    assert pool.live == (0, 0, 0)


def test_long_buffers_are_bounded_and_returned_to_the_system() -> None:
    pool = Pool(MIB)
    kept = [Kept(pool, bytes(65535)) for _ in range(16)]
    assert pool.held == 16 * 65535
    with pytest.raises(MemoryError):
        Kept(pool, bytes(65535))
    with pytest.raises(MemoryError):
        Kept(pool, bytes(1))  # no room for a chunk
    kept.clear()
    assert pool.held == 0
    with pytest.raises(MemoryError):
        Kept(pool, bytes(65536))


@pytest.mark.parametrize("limit", [0, -1, MIB - 1, 1 << 63])
def test_impossible_limit_is_refused(limit: int) -> None:
    with pytest.raises(ValueError, match="limit of a pool"):
        Pool(limit)


def run(code: str) -> subprocess.CompletedProcess[str]:
    """Run code that is expected to be killed; what a sanitizer writes goes to stderr, not to the run's own log."""
    environment = {**os.environ, "ASAN_OPTIONS": "detect_leaks=0"}
    imports = "from sipcore.base.pool import Pool\nfrom sipcore.base.probe import Kept\npool = Pool(1 << 22)\n"
    return subprocess.run([sys.executable, "-c", imports + code], env=environment, capture_output=True, text=True)


@pytest.mark.skipif(not CHECKED, reason="only a checked build notices")
def test_giving_twice_traps() -> None:
    for size in (1, 2000):  # another one is out, so that the count alone would not notice
        dead = run(f"other = Kept(pool, bytes({size}))\nKept(pool, bytes({size})).give_twice()")
        assert dead.returncode != 0
        assert "sipcore: " in dead.stderr


@pytest.mark.skipif(not CHECKED, reason="only a checked build poisons")
@pytest.mark.parametrize("index", [0, 7, 8, 511])
def test_reading_after_giving(index: int) -> None:
    dead = run(f"print(Kept(pool, bytes(512)).read_after_give({index}))")
    if "libasan" in os.environ.get("LD_PRELOAD", ""):
        assert dead.returncode != 0
        assert "use-after-poison" in dead.stderr
    elif index >= 8:  # the first eight bytes are the free list's
        assert dead.stdout == f"{0xDD}\n"


@pytest.mark.skipif(CHECKED, reason="a plain build cannot survive it")
def test_mistakes_are_not_made_in_a_plain_build() -> None:
    kept = Kept(Pool(MIB), b"x")
    with pytest.raises(RuntimeError, match="not a checked build"):
        kept.give_twice()
    with pytest.raises(RuntimeError, match="not a checked build"):
        kept.read_after_give(0)
    assert bytes(kept) == b"x"
