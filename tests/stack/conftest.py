"""The edge on a link, and the two phones of most tests here; the two legs of those of legs, and a phone beside them."""
import pytest

from tests.endpoints import Bench
from tests.stack.legs import Phone, Scene


@pytest.fixture
def bench():
    return Bench()


@pytest.fixture
def alice(bench):
    return bench.phone("alice", "127.0.0.2")


@pytest.fixture
def bob(bench):
    return bench.phone("bob", "127.0.0.3")


@pytest.fixture
def scene():
    return Scene()


@pytest.fixture
def phone(scene):
    return Phone(scene.link)
