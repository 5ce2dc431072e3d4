"""Pools of port pairs, through the relay that takes from them."""
import errno
import socket

import pytest

from sipcore.media.ports import PortPool
from sipcore.media.relay import CLOSED
from tests.media.stage import HOST, Stage


def bound_port(stage: Stage) -> int:
    return stage.relay.bind(stage.relay.open(), 0, 0)


@pytest.mark.parametrize(("first", "last", "pairs"), [(20000, 20003, 2), (20001, 20004, 1), (20000, 20002, 1)])
def test_pairs_are_even_and_whole(first: int, last: int, pairs: int) -> None:
    pool = PortPool("127.0.0.1", first, last)
    assert (pool.pairs, pool.free, pool.used, pool.family) == (pairs, pairs, 0, 4)


@pytest.mark.parametrize(
    ("bound", "first", "last"),
    [("localhost", 1, 9), ("127.0.0.1", 9, 1), ("127.0.0.1", 0, 5), ("127.0.0.1", 2, 65536), ("127.0.0.1", 4, 4)],
)
def test_nonsense_is_refused(bound: str, first: int, last: int) -> None:
    with pytest.raises(ValueError, match=r"not an IP|not a range|no even port"):
        PortPool(bound, first, last)


def test_address_of_another_machine() -> None:
    with pytest.raises(OSError, match=r"cannot bind media address 192\.0\.2\.1") as caught:
        PortPool("192.0.2.1", 20000, 20001)
    assert caught.value.errno == errno.EADDRNOTAVAIL


def test_advertised_address() -> None:
    assert PortPool(HOST, 20000, 20001).advertised == HOST
    assert PortPool(HOST, 20000, 20001, advertised="192.0.2.1").advertised == "192.0.2.1"


def test_order_is_shuffled_by_default() -> None:
    with Stage(PortPool(HOST, 20000, 20199, quarantine=0), sessions=100) as stage:
        shuffled = [bound_port(stage) for _ in range(100)]
    assert sorted(shuffled) == list(range(20000, 20200, 2))
    assert shuffled != sorted(shuffled)


def test_exhaustion_and_return() -> None:
    pool = PortPool(HOST, 20000, 20003, quarantine=0)
    with Stage(pool) as stage:
        session = stage.relay.open()
        assert {stage.relay.bind(session, side, 0) for side in (0, 1)} == {20000, 20002}
        assert bound_port(stage) == -1
        assert (pool.exhausted, pool.free, pool.used, pool.failed) == (1, 0, 2, 0)
        stage.end(session)
        assert (pool.free, pool.used) == (2, 0)
        assert bound_port(stage) > 0


def test_quarantine() -> None:
    pool = PortPool(HOST, 20000, 20003, quarantine=3600, shuffled=False)
    with Stage(pool) as stage:
        for port in (20000, 20002):
            session = stage.relay.open()
            assert stage.relay.bind(session, 0, 0) == port
            stage.end(session)
        assert pool.free == 2
        assert bound_port(stage) == -1


def test_longest_free_first() -> None:
    with Stage(PortPool(HOST, 20000, 20005, quarantine=0, shuffled=False)) as stage:
        ports = []
        for _ in range(7):
            session = stage.relay.open()
            ports.append(stage.relay.bind(session, 0, 0))
            stage.end(session)
    assert ports == [20000, 20002, 20004] * 2 + [20000]


@pytest.mark.parametrize("offset", [0, 1])
def test_port_of_another_process_is_skipped(offset: int) -> None:
    pool = PortPool(HOST, 20000, 20003, quarantine=0, shuffled=False)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind((HOST, 20000 + offset))
        with Stage(pool) as stage:
            assert bound_port(stage) == 20002
            assert pool.skipped == 1
            assert bound_port(stage) == -1
            assert pool.skipped == 2


def test_a_side_keeps_its_ports() -> None:
    with Stage() as stage:
        session = stage.relay.open()
        port = stage.relay.bind(session, 2, 0)
        assert stage.relay.bind(session, 2, 0) == port == stage.relay.port(session, 2)
        assert stage.relay.port(session, 1) == 0
        assert stage.pools[0].used == 1


def test_nothing_is_bound_for_nobody() -> None:
    with Stage() as stage:
        session = stage.relay.open()
        for side, pool in ((-1, 0), (4, 0), (0, 1), (0, -1)):
            assert stage.relay.bind(session, side, pool) == -1
        assert stage.relay.bind(session + 1, 0, 0) == -1
        stage.relay.close(session)
        assert stage.relay.bind(session, 0, 0) == -1
        stage.wait_for(CLOSED)
        assert stage.pools[0].used == 0
