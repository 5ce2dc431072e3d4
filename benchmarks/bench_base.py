"""The layer without protocol: hashes, timers, buffers, prefixes, limits, outbox.

Every call does 1000 operations in C, so the table's microseconds are nanoseconds an operation.
"""
import random

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from sipcore.base import probe
from sipcore.base.bucket import SourceLimiter
from sipcore.base.linger import Linger
from sipcore.base.outbox import Outbox
from sipcore.base.pool import Pool
from sipcore.base.trie import Trie
from sipcore.base.wheel import Wheel

OPERATIONS = 1000
STRIDE = 7919  # a prime: neighbours in time are not neighbours in memory


@pytest.mark.parametrize("size", [12, 48, 192])
@pytest.mark.parametrize("how", ["13", "24", "slices"])
def test_hash(benchmark: BenchmarkFixture, how: str, size: int) -> None:
    assert benchmark(probe.hash_often, bytes(size), how, OPERATIONS) > 0


def test_base32_there_and_back(benchmark: BenchmarkFixture) -> None:
    assert benchmark(probe.base32_often, OPERATIONS) > 0


@pytest.mark.parametrize("capacity", [1000, 1_000_000])
def test_wheel_rearm(benchmark: BenchmarkFixture, capacity: int) -> None:
    wheel = Wheel(capacity)
    for id in range(capacity):
        wheel.set(id, 500 + id % 32000)
    assert benchmark(probe.rearm_often, wheel, 0, 500, STRIDE % capacity, OPERATIONS) == capacity


@pytest.mark.parametrize("length", [500, 32000])
@pytest.mark.parametrize("capacity", [1000, 1_000_000])
def test_wheel_expire_and_arm(benchmark: BenchmarkFixture, capacity: int, length: int) -> None:
    wheel = Wheel(capacity)
    order = list(range(capacity))
    random.Random(1).shuffle(order)
    for i, id in enumerate(order):
        wheel.set(id, length * i // capacity)
    now = 0

    def turn() -> None:
        nonlocal now
        now = probe.turn_wheel(wheel, now, length, OPERATIONS)

    benchmark(turn)
    assert wheel.count == capacity


def test_wheel_nothing_due(benchmark: BenchmarkFixture) -> None:
    wheel = Wheel(1000)
    wheel.set(1, 32000)
    wheel.pop(5)
    assert benchmark(probe.idle_often, wheel, 5, OPERATIONS) > 0


@pytest.mark.parametrize("capacity", [10_000, 1_000_000])
def test_linger_push_and_expire(benchmark: BenchmarkFixture, capacity: int) -> None:
    linger = Linger(capacity, capacity // 2)
    now = 0

    def turn() -> None:
        nonlocal now
        probe.linger_often(linger, now, STRIDE % capacity, OPERATIONS)
        now += OPERATIONS

    benchmark(turn)
    assert linger.count <= capacity


@pytest.mark.parametrize("n", [400, 1400, 9000])
def test_pool_take_and_give(benchmark: BenchmarkFixture, n: int) -> None:
    pool = Pool(1 << 24)
    assert benchmark(probe.take_often, pool, n, OPERATIONS) > 0
    assert pool.live == (0, 0, 0)


def random_ipv4(source: random.Random) -> str:
    return ".".join(str(source.randrange(256)) for _ in range(4))


def random_ipv6(source: random.Random) -> str:
    return f"2001:{source.randrange(65536):x}:{source.randrange(65536):x}::{source.randrange(1, 65536):x}"


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("prefixes", [10, 1000, 100_000])
def test_trie_find(benchmark: BenchmarkFixture, prefixes: int, family: int) -> None:
    source = random.Random(prefixes)
    if family == 4:
        entries = {random_ipv4(source).rpartition(".")[0] + ".0/24": i for i in range(prefixes)}
        ips = [random_ipv4(source) for _ in range(4096)]
    else:
        entries = {random_ipv6(source).partition("::")[0] + "::/48": i for i in range(prefixes)}
        ips = [random_ipv6(source) for _ in range(4096)]
    trie = Trie(entries.items())
    benchmark.extra_info["bytes"] = trie.memory
    benchmark(probe.look_up_often, trie, probe.Addresses(ips), OPERATIONS)
    assert len(trie) == len(entries)


@pytest.mark.parametrize("family", [4, 6])
def test_trie_build_10000(benchmark: BenchmarkFixture, family: int) -> None:
    source = random.Random(family)
    if family == 4:
        entries = list({random_ipv4(source): i for i in range(10_000)}.items())
    else:
        entries = list({random_ipv6(source): i for i in range(10_000)}.items())
    assert len(benchmark(Trie, entries)) == len(entries)


@pytest.mark.parametrize("sources", [10, 30_000, 1_000_000])
def test_limiter_take(benchmark: BenchmarkFixture, sources: int) -> None:
    limiter = SourceLimiter(10, 20)
    now = 0

    def turn() -> int:
        nonlocal now
        now += OPERATIONS
        return probe.limit_often(limiter, now, sources, OPERATIONS)

    assert benchmark(turn) > 0


def test_bucket_take(benchmark: BenchmarkFixture) -> None:
    assert benchmark(probe.bucket_often, 1, OPERATIONS) > 0


def test_outbox_put(benchmark: BenchmarkFixture) -> None:
    assert benchmark(probe.outbox_often, Outbox(), bytes(900), OPERATIONS) == OPERATIONS
