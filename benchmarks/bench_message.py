"""Whole messages: index, decode, edit and render.

Every call does 1000 operations in C, so the table's microseconds are nanoseconds a message; the `view` rows make the
Python object that policy code gets, one a call.
"""
from collections.abc import Callable

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from sipcore.wire import probe
from sipcore.wire.message import Message, decode, index

from .corpus import load

OPERATIONS = 1000
MESSAGES = ("invite", "180", "ack", "bye")
OURS = b"Via: SIP/2.0/UDP 198.51.100.5:5060;branch=z9hG4bK00000000000g00c6sqg6gq3ecnmq8b9djpr4g\r\n"


@pytest.mark.parametrize("name", MESSAGES)
@pytest.mark.parametrize("with_values", [False, True], ids=["index", "decode"])
def test_read(benchmark: BenchmarkFixture, name: str, with_values: bool) -> None:
    message = load(name)
    headers = message.partition(b"\r\n\r\n")[0].count(b"\r\n")
    assert benchmark(probe.index_often, message, OPERATIONS, with_values) == OPERATIONS * headers


@pytest.mark.parametrize("view", [index, decode], ids=lambda view: view.__name__)
def test_view(benchmark: BenchmarkFixture, view: Callable[[bytes], Message]) -> None:
    assert benchmark(view, load("invite")).method == "INVITE"


@pytest.mark.parametrize("name", MESSAGES)
def test_edit_and_render(benchmark: BenchmarkFixture, name: str) -> None:
    """A line of ours before each of the first four headers."""
    message = load(name)
    places, at = [], 0
    for _ in range(4):
        at = message.index(b"\r\n", at) + 2
        places.append(at)
    size = len(message) + len(places) * len(OURS)
    assert benchmark(probe.edit_often, message, places, OURS, OPERATIONS) == OPERATIONS * size
