"""Benches with a relay, closed at the end of a test."""
from collections.abc import Callable, Iterator

import pytest

from tests.anchor.bench import AnchorBench


@pytest.fixture
def opened() -> Iterator[list[AnchorBench]]:
    """Benches to be closed."""
    benches: list[AnchorBench] = []
    yield benches
    for bench in benches:
        bench.close()


@pytest.fixture
def bench(opened: list[AnchorBench]) -> AnchorBench:
    opened.append(AnchorBench())
    return opened[0]


@pytest.fixture
def make(opened: list[AnchorBench]) -> Callable[..., AnchorBench]:
    def make(**options) -> AnchorBench:
        opened.append(AnchorBench(**options))
        return opened[-1]
    return make
