"""Ports that stay bound between calls: found ready, clean, counted, and given back when there are to be fewer."""
import errno
import socket

import pytest

from sipcore.media.ports import PortPool
from sipcore.media.relay import CLOSED, RELEASED
from tests.media.stage import HOST, PATIENCE, Stage, descriptors, receiver_report, rtp, until

LATE_MAX = 50
"""Packets until a port without a call is made deaf."""


def pool(pairs: int, *, quarantine: float = 0, host: str = HOST) -> PortPool:
    # On all addresses a port is in everybody's way: one that no edge of another test has.
    first = 31000 if host == "0.0.0.0" else 20000
    return PortPool(host, first, first + 2 * pairs - 1, quarantine=quarantine, shuffled=False)


def test_a_call_finds_its_ports_bound_and_leaves_them_so() -> None:
    with Stage(pool(4)) as stage:
        before = descriptors()
        stage.relay.keep(0, 3, ahead=True)
        ports = stage.pools[0]
        assert (ports.bound_ahead, ports.free, ports.used, descriptors()) == (3, 4, 0, before + 6)
        one, two = stage.phone("127.1.0.1"), stage.phone("127.2.0.1")
        phones = descriptors()
        for call in range(4):
            session, where = stage.session(one, two)
            assert (ports.used, descriptors()) == (2, phones), "nothing was bound"
            one.send(rtp(call), where[0])
            assert two.receive() == rtp(call)
            one.control.sendto(receiver_report(), (where[0][0], where[0][1] + 1))
            assert two.control.recv(99) == receiver_report()
            stage.end(session)
            assert (ports.bound_ahead, ports.free, ports.used) == (3, 4, 0)
        assert stage.relay.totals()["late"] == 0


def test_they_gather_where_none_is_bound_ahead_and_no_more_than_they_may() -> None:
    with Stage(pool(8)) as stage:
        stage.relay.keep(0, 3)
        before = descriptors()
        sessions = [stage.relay.open() for _ in range(3)]
        for session in sessions:
            for side in (0, 1):
                assert stage.relay.bind(session, side, 0) > 0
        assert descriptors() == before + 12
        for session in sessions:
            stage.relay.close(session)
        for session in sessions:
            stage.wait_for(CLOSED, session)
        assert (stage.pools[0].bound_ahead, stage.pools[0].free, descriptors()) == (3, 8, before + 6)


def test_they_rest_before_the_next_call_and_others_are_bound_meanwhile() -> None:
    with Stage(pool(3, quarantine=3600)) as stage:
        stage.relay.keep(0, 2, ahead=True)
        used = []
        for _ in range(3):
            session = stage.relay.open()
            used.append(stage.relay.bind(session, 0, 0))
            stage.end(session)
        assert used == [20000, 20002, 20004]
        assert stage.relay.bind(stage.relay.open(), 0, 0) == -1
        assert (stage.pools[0].free, stage.pools[0].bound_ahead) == (3, 2)


@pytest.mark.parametrize("host", [HOST, "::1", "0.0.0.0"], ids=["IPv4", "IPv6", "any"])
def test_what_comes_late_reaches_no_later_call_and_a_flood_ends_at_the_kernel(host: str) -> None:
    with Stage(pool(1, host=host)) as stage:
        stage.relay.keep(0, 1, ahead=True)
        near = "127.0.0.1" if host == "0.0.0.0" else host
        late, one = stage.phone(near), stage.phone(near)
        late.socket.setblocking(False)
        session, where = stage.session(late)
        at = (near, where[0][1])
        late.send(rtp(0), at)
        stage.counted(session, 0, packets=1)
        stage.end(session)
        for sequence in range(LATE_MAX + 1):
            late.send(rtp(sequence), at)
            until(lambda n=sequence: stage.relay.totals()["late"] == n + 1, "thrown away")  # type: ignore[misc]
        # From now on it is a closed port to everybody, whoever sends.
        late.socket.connect(at)
        until(lambda: refused(late.socket), "refused by the kernel")
        wakeups = stage.relay.totals()["wakeups"]
        for _ in range(100):
            assert refused(late.socket)
        assert stage.relay.totals()["wakeups"] == wakeups
        assert stage.relay.totals()["late"] <= LATE_MAX + 3

        # The next call has it as if nothing had been.
        session, where = stage.session(one)
        assert where[0][1] == at[1]
        stage.relay.set_hearing(session, {0: [0]})
        # The thread has it hear again when it takes the command.
        one.socket.connect(at)
        one.socket.settimeout(0.05)
        until(lambda: not refused(one.socket), "heard")
        one.socket.settimeout(PATIENCE)
        one.socket.send(rtp(7))
        assert one.receive() in (rtp(7), rtp(99))
        stage.counted(session, 0, wrong_source=0, kernel_drops=0)
        stage.end(session)


def refused(sock: socket.socket) -> bool:
    """Send, and see whether the kernel says that nobody is there."""
    sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    try:
        sock.send(rtp(99))
        sock.recv(99)
    except OSError as error:
        return error.errno == errno.ECONNREFUSED
    return False


def test_what_waits_in_the_socket_when_a_call_ends_is_thrown_away() -> None:
    """The thread takes the end of one call and the beginning of the next in one go, with packets in between."""
    with Stage(pool(1), nice=19) as stage:
        stage.relay.keep(0, 1, ahead=True)
        gun, two = stage.phone("127.1.0.1"), stage.phone("127.2.0.1")
        for call in range(50):
            session, where = stage.session(gun)
            for sequence in range(20):
                gun.send(rtp(sequence), where[0])
            stage.end(session)
            session, where = stage.session(two)
            stage.relay.set_hearing(session, {0: [0]})
            two.send(rtp(call), where[0])
            assert two.receive() == rtp(call)
            assert two.is_quiet()
            stage.end(session)


def test_drops_of_one_call_are_not_the_next_ones() -> None:
    with Stage(pool(1), watch_ms=20) as stage:
        stage.relay.keep(0, 1, ahead=True)
        one = stage.phone("127.1.0.1")
        session, where = stage.session(one)
        burst = rtp(0, payload=bytes(1400))

        def fill() -> bool:
            for _ in range(2000):
                one.send(burst, where[0])
            stage.relay.take_events()
            return stage.relay.side_counters(session, 0)["kernel_drops"] > 0

        until(fill, "the kernel drops some")
        stage.end(session)
        session, _ = stage.session(stage.phone("127.2.0.1"))
        ticks = stage.relay.totals()["wakeups"] + 200
        until(lambda: stage.relay.totals()["wakeups"] >= ticks, "every socket was looked at")
        assert stage.relay.side_counters(session, 0)["kernel_drops"] == 0
        stage.end(session)


def test_fewer_than_there_are_go_back_to_the_system() -> None:
    with Stage(pool(40), queue=4) as stage:
        before = descriptors()
        stage.relay.keep(0, 40, ahead=True)
        assert descriptors() == before + 80
        session, where = stage.session(stage.phone("127.1.0.1"))
        mine = descriptors() - before - 80
        stage.relay.keep(0, 2)
        until(lambda: stage.relay.take_events() == [] and stage.pools[0].free == 39, "closed")
        assert descriptors() == before + 6 + mine
        stage.end(session)
        assert (stage.pools[0].bound_ahead, descriptors()) == (2, before + 4 + mine)
        stage.relay.keep(0, 0)
        until(lambda: stage.relay.take_events() == [] and stage.pools[0].free == 40, "all of them")
        assert descriptors() == before + mine
        # Whoever wants them has them.
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
            other.bind(where[0])


def test_a_side_that_is_given_back_leaves_its_ports_bound() -> None:
    with Stage(pool(3)) as stage:
        stage.relay.keep(0, 3, ahead=True)
        one, two, three = (stage.phone(f"127.{n}.0.1") for n in (1, 2, 3))
        session, where = stage.session(one, two)
        before = descriptors()
        assert stage.relay.release(session, 1)
        stage.wait_for(RELEASED)
        assert (stage.pools[0].used, stage.pools[0].bound_ahead, descriptors()) == (1, 2, before)
        port = stage.relay.bind(session, 1, 0)
        stage.relay.set_aim(session, 1, rtp=three.address)
        stage.relay.set_hearing(session, {0: [1], 1: [0]})
        three.send(rtp(1), (HOST, port))
        assert one.receive() == rtp(1)
        one.send(rtp(2), where[0])
        assert three.receive() == rtp(2)
        stage.end(session)


def test_a_port_that_another_process_has_is_left_alone() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other, Stage(pool(3)) as stage:
        other.bind((HOST, 20002))
        stage.relay.keep(0, 3, ahead=True)
        assert (stage.pools[0].bound_ahead, stage.pools[0].free) == (2, 3)
        assert stage.pools[0].skipped > 0


def test_there_is_no_such_pool() -> None:
    with Stage() as stage, pytest.raises(IndexError):
        stage.relay.keep(1, 5)
