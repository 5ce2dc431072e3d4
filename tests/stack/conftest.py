"""The edge on a link, and the two phones of most tests here."""
import pytest

from tests.endpoints import Bench


@pytest.fixture
def bench():
    return Bench()


@pytest.fixture
def alice(bench):
    return bench.phone("alice", "127.0.0.2")


@pytest.fixture
def bob(bench):
    return bench.phone("bob", "127.0.0.3")
