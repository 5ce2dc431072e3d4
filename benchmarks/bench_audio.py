"""What the relay does with each audio packet besides relaying it.

Every call does 1000 operations in C, so the table's microseconds are nanoseconds an operation.
"""
from pytest_benchmark.fixture import BenchmarkFixture

from sipcore.media import probe

OPERATIONS = 1000


def test_reception(benchmark: BenchmarkFixture) -> None:
    assert benchmark(probe.Receiver().receive_often, OPERATIONS) >= 0
