"""Learning over real sockets: hijack attempts before, during and after, NAT, and media that moves."""
import time

import pytest

from sipcore.media.relay import LATCHED
from tests.media.stage import Stage, receiver_report, rtp, until

pytestmark = pytest.mark.usefixtures("by_both")

OFF, SIGNALLED_FIRST, ANY = 0, 1, 2


def test_before_media_is_allowed_nothing_passes() -> None:
    with Stage() as stage:
        one, two = stage.phone("127.1.0.1"), stage.phone("127.2.0.1")
        session, where = stage.session(one, two, active=False)
        one.send(rtp(1), where[0])
        stage.counted(session, 0, early=1, packets=0, wrong_source=0)
        stage.relay.set_aim(session, 0, rtp=one.address)
        one.send(rtp(2), where[0])
        assert two.receive() == rtp(2)
        assert stage.wait_for(LATCHED) == (LATCHED, session, 1, 0, 3, one.address)


@pytest.mark.parametrize("learning", [OFF, SIGNALLED_FIRST])
def test_a_stranger_is_neither_heard_nor_answered(learning: int) -> None:
    """Before, while and after the far end is known, on both ports, with the right SSRC and the wrong one."""
    with Stage() as stage:
        one, two, stranger = (stage.phone(f"127.{n}.0.1") for n in (1, 2, 3))
        session, where = stage.session(one, two, learning=learning)
        attempts = 0

        def attack() -> None:
            nonlocal attempts
            for ssrc in (1, 666):
                stranger.send(rtp(100 + attempts, ssrc=ssrc), where[0])
                stranger.control.sendto(receiver_report(ssrc), (where[0][0], where[0][1] + 1))
                attempts += 2
            stage.counted(session, 0, wrong_source=attempts)

        attack()
        one.send(rtp(1), where[0])
        assert two.receive() == rtp(1)
        attack()
        two.send(rtp(9), where[1])
        assert one.receive() == rtp(9)
        assert stranger.is_quiet()
        assert two.is_quiet()


def test_far_end_behind_a_nat() -> None:
    """Its description names an address that is not reachable; its packets come from where its signalling comes from."""
    with Stage() as stage:
        one, two, stranger = (stage.phone(f"127.{n}.0.1") for n in (1, 2, 3))
        session, where = stage.session(one, two)
        stage.relay.set_aim(session, 0, rtp=("127.99.0.1", 4000), signalling=("127.1.0.1", 5060))
        stranger.send(rtp(1), where[0])
        stage.counted(session, 0, wrong_source=1)
        one.send(rtp(2), where[0])
        assert two.receive() == rtp(2)
        two.send(rtp(3), where[1])
        assert one.receive() == rtp(3)
        assert stage.wait_for(LATCHED)[4:] == (1, one.address)


def test_a_better_source_takes_over_and_a_worse_one_does_not() -> None:
    with Stage() as stage:
        right, other_port, two = stage.phone("127.1.0.1"), stage.phone("127.1.0.1"), stage.phone("127.2.0.1")
        session, where = stage.session(right, two)
        other_port.send(rtp(1), where[0])
        assert two.receive() == rtp(1)
        two.send(rtp(1), where[1])
        assert other_port.receive() == rtp(1)
        right.send(rtp(2), where[0])
        assert two.receive() == rtp(2)
        two.send(rtp(2), where[1])
        assert right.receive() == rtp(2)
        other_port.send(rtp(3), where[0])
        stage.counted(session, 0, wrong_source=1, packets=2)
        assert [stage.wait_for(LATCHED, session)[3:] for _ in range(3)] == [
            (0, 2, other_port.address), (1, 3, two.address), (0, 3, right.address)
        ]


def test_learning_ends() -> None:
    with Stage(learn_ms=30) as stage:
        one, other_port, two = stage.phone("127.1.0.1"), stage.phone("127.1.0.1"), stage.phone("127.2.0.1")
        session, where = stage.session(one, two)
        two.send(rtp(1), where[1])
        assert one.receive() == rtp(1)
        began = stage.relay.side_counters(session, 1)["heard_us"]

        def later() -> bool:
            two.send(rtp(2), where[1])
            one.receive()
            return stage.relay.side_counters(session, 1)["heard_us"] > began + 30_000

        until(later, "30 ms passed")
        other_port.send(rtp(1), where[0])
        stage.counted(session, 0, wrong_source=1)
        one.send(rtp(2), where[0])
        assert two.receive() == rtp(2)


@pytest.mark.parametrize("ssrc", [1, 2])
def test_nat_binds_anew_after_silence(ssrc: int) -> None:
    with Stage(learn_ms=0) as stage:
        one, rebound, two = stage.phone("127.1.0.1"), stage.phone("127.1.0.1"), stage.phone("127.2.0.1")
        session, where, last = 0, [("", 0)], 0

        def refused() -> bool:
            """Whether the new port spoke so soon that it was no silence; a busy machine may have kept it from that."""
            nonlocal session, where, last
            session, where = stage.session(one, two)
            one.send(rtp(1, ssrc=1), where[0])
            two.receive()
            last = stage.relay.side_counters(session, 0)["heard_us"]
            rebound.send(rtp(2, ssrc=ssrc), where[0])
            until(lambda: sum(stage.relay.side_counters(session, 0)[name] for name in ("packets", "wrong_source")) == 2,
                  "it is taken or not")
            found = stage.relay.side_counters(session, 0)
            if found["packets"] == 2:
                assert ssrc == 1
                assert found["heard_us"] - last >= 500_000
                two.receive()
                stage.end(session)
            return found["wrong_source"] == 1

        until(refused, "the new port speaks soon after the old one")

        def silent() -> bool:
            two.send(rtp(1), where[1])
            one.receive()
            return stage.relay.side_counters(session, 1)["heard_us"] > last + 500_000

        until(silent, "half a second of silence")
        rebound.send(rtp(3, ssrc=ssrc), where[0])
        if ssrc == 1:
            assert two.receive() == rtp(3)
            two.send(rtp(9), where[1])
            assert rebound.receive() == rtp(9)
            one.send(rtp(4), where[0])
            stage.counted(session, 0, wrong_source=2)
        else:
            stage.counted(session, 0, wrong_source=2)


def test_nat_binds_the_port_of_reports_anew_while_audio_goes_on() -> None:
    with Stage(learn_ms=1) as stage:
        one, rebound, two = stage.phone("127.1.0.1"), stage.phone("127.1.0.1"), stage.phone("127.2.0.1")
        session, where = stage.session(one, two)
        reports = (where[0][0], where[0][1] + 1)
        one.control.sendto(receiver_report(), reports)
        assert two.control.recv(99) == receiver_report()
        last = time.monotonic()

        def silent() -> bool:
            one.send(rtp(1), where[0])
            return two.receive() == rtp(1) and time.monotonic() > last + 0.6

        until(silent, "more than half a second without a report")
        rebound.control.sendto(receiver_report(), reports)
        assert two.control.recv(99) == receiver_report()
        stage.counted(session, 0, wrong_source=0)


def test_media_that_moves_is_learned_anew() -> None:
    with Stage() as stage:
        one, new, two = (stage.phone(f"127.{n}.0.1") for n in (1, 3, 2))
        session, where = stage.session(one, two)
        one.send(rtp(1), where[0])
        assert two.receive() == rtp(1)
        stage.relay.set_aim(session, 0, rtp=new.address, moved=True)
        two.send(rtp(1), where[1])
        assert new.receive() == rtp(1)
        one.send(rtp(2), where[0])
        stage.counted(session, 0, wrong_source=1)
        new.send(rtp(3), where[0])
        assert two.receive() == rtp(3)


def test_reports_are_learned_for_themselves() -> None:
    with Stage() as stage:
        one, two = stage.phone("127.1.0.1"), stage.phone("127.2.0.1")
        session, where = stage.session(one, two)
        other = stage.phone("127.1.0.1")
        other.send(receiver_report(), (where[0][0], where[0][1] + 1))
        assert two.control.recvfrom(99)[0] == receiver_report()
        two.control.sendto(receiver_report(), (where[1][0], where[1][1] + 1))
        assert other.receive() == receiver_report()
        two.send(rtp(5), where[1])
        assert one.receive() == rtp(5)
        stage.counted(session, 0, wrong_source=0)


def test_anybody_only_by_an_explicit_rule() -> None:
    with Stage() as stage:
        one, two, anybody = (stage.phone(f"127.{n}.0.1") for n in (1, 2, 3))
        session, where = stage.session(one, two, learning=ANY)
        anybody.send(rtp(1), where[0])
        assert two.receive() == rtp(1)
        one.send(rtp(2), where[0])
        assert two.receive() == rtp(2)
        anybody.send(rtp(3), where[0])
        stage.counted(session, 0, wrong_source=1)
