"""What supervisor, worker and command line exchange: messages, memory files, the page, the path MTU."""
import os
import socket

import msgspec
import pytest

from proxy.messages import Configure, Done, Start, Statistics, Stop, memory_file, read_memory_file, receive, send
from proxy.page import COPIED, GAUGES, NAMES, Page
from proxy.pathmtu import path_mtu


@pytest.fixture
def pair():
    one, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    yield one, other
    one.close()
    other.close()


@pytest.mark.parametrize("message", [
    Start(3, b"\0\xff" * 16, 7, True), Configure(2), Stop(1.5), Done("why"),
    Statistics({"calls": 2**63}, 1, 0, 4, 2.5)])
def test_messages_arrive_as_they_were_sent(pair, message):
    send(pair[0], message)
    assert receive(pair[1]) == (message, [])


def test_statistics_fit_into_one_message(pair):
    counters = dict.fromkeys(NAMES, 2**64 - 1)
    send(pair[0], Statistics(counters, 255, 10**9, 10**9, 1e9))
    message, _ = receive(pair[1])
    assert isinstance(message, Statistics)
    assert message.counters == counters


def test_a_configuration_comes_as_a_memory_file(pair):
    text = b"x" * 1_000_000
    descriptor = memory_file("configuration", text)
    send(pair[0], Configure(1), [descriptor])
    os.close(descriptor)
    _, (received,) = receive(pair[1])
    assert not os.get_inheritable(received)
    assert read_memory_file(received) == text
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(received)


def test_a_closed_socket_and_what_is_no_message(pair):
    one, other = pair
    other.setblocking(False)
    with pytest.raises(BlockingIOError):
        receive(other)
    one.send(b"\xc1")
    with pytest.raises(msgspec.DecodeError):
        receive(other)
    one.close()
    assert receive(other) == (None, [])


def test_the_page_shows_what_is_written_to_whoever_maps_it():
    page = Page()
    reader = Page(page.descriptor)
    memoryview(page.map).cast("Q")[NAMES.index("calls")] = 5
    page.write(dict.fromkeys(GAUGES, 7) | {"size_over": 2})
    found = reader.read()
    assert (found["calls"], found["size_over"], found["transactions"]) == (5, 2, 7)
    assert list(found) == list(NAMES)
    os.close(page.descriptor)


def test_a_next_worker_goes_on_counting_where_the_last_one_ended():
    first = Page()
    first.write(dict.fromkeys((*COPIED, *GAUGES), 3))
    second = Page(first.descriptor)
    second.write(dict.fromkeys((*COPIED, *GAUGES), 2))
    found = second.read()
    assert {found[name] for name in COPIED} == {5}
    assert {found[name] for name in GAUGES} == {2}
    os.close(first.descriptor)


def test_the_path_mtu_is_the_kernels():
    assert path_mtu("127.0.0.1", 5060) >= 65535
    assert path_mtu("no address", 5060) == 0
