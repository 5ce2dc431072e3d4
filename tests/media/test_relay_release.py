"""One side given back while the others go on."""
import pytest

from sipcore.media.relay import PLAYED, RELEASED
from tests.media.stage import Stage, numbers, rtp

pytestmark = pytest.mark.usefixtures("by_both")

FRAMES = bytes(1600)


def test_the_others_never_notice() -> None:
    with Stage() as stage:
        one, two, three = (stage.phone(f"127.{n}.0.1") for n in (1, 2, 3))
        session, where = stage.session(one, two, three)
        pool = stage.pools[0]
        one.send(rtp(1), where[0])
        assert two.receive() == rtp(1)
        assert stage.relay.play(session, 2, FRAMES, payload=8, loop=True)
        three.receive()
        assert stage.relay.release(session, 2)
        assert not stage.relay.release(session, 2)
        assert stage.wait_for(PLAYED)[3:5] == (2, 0)
        assert stage.wait_for(RELEASED)[:4] == (RELEASED, session, 1, 2)
        assert pool.used == 2
        one.send(rtp(2), where[0])
        two.send(rtp(9), where[1])
        assert (two.receive(), one.receive()) == (rtp(2), rtp(9))
        stage.end(session)


def test_another_one_takes_its_place_at_once_and_is_another_source() -> None:
    with Stage() as stage:
        one, two, three = (stage.phone(f"127.{n}.0.1") for n in (1, 2, 3))
        session, where = stage.session(one, two)
        two.send(rtp(100, 1000, ssrc=7), where[1])
        assert one.receive() == rtp(100, 1000, ssrc=7)
        assert stage.relay.release(session, 1)
        port = stage.relay.bind(session, 1, 0)
        assert port != where[1][1]
        stage.relay.set_aim(session, 1, rtp=three.address)
        stage.relay.set_hearing(session, {0: [1], 1: [0]})
        # Whom the side had learned is a stranger now.
        two.send(rtp(101, 1160, ssrc=7), (where[1][0], port))
        stage.counted(session, 1, wrong_source=1, packets=1)
        three.send(rtp(5, 0, ssrc=8), (where[1][0], port))
        sequence, timestamp, ssrc, _, marker = numbers(one.receive())
        assert (sequence, ssrc, marker) == (101, 7, True)
        assert timestamp > 1000
        one.send(rtp(1), where[0])
        assert three.receive() == rtp(1)
        stage.wait_for(RELEASED)
        assert stage.pools[0].used == 2
        stage.end(session)


def test_ports_come_back_when_the_relay_stops_before_it_said_so() -> None:
    with Stage() as stage:
        one, two = stage.phone("127.1.0.1"), stage.phone("127.2.0.1")
        session, _ = stage.session(one, two)
        for _ in range(3):
            assert stage.relay.release(session, 1)
            assert stage.relay.bind(session, 1, 0) > 0


def test_nothing_to_release() -> None:
    with Stage() as stage:
        session = stage.relay.open()
        assert not stage.relay.release(session, 0)
        assert not stage.relay.release(session, 4)
        assert not stage.relay.release(99, 0)
        stage.end(session)
