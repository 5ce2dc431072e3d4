"""Descriptions that name the edge's own ports: what goes through it twice passes, what goes round is bounded."""
import pytest

from sipcore.media.ports import PortPool
from tests.media.stage import HOST, Stage, rtp, until

pytestmark = pytest.mark.usefixtures("by_both")

PASSING = 1000
"""Packets a second from one of the relay's own ports (forward.pyx)."""


def test_a_packet_that_would_go_round_for_ever() -> None:
    """Both sides of a session name the other side's port of the edge."""
    with Stage() as stage:
        one, two = stage.phone("127.1.0.1"), stage.phone("127.2.0.1")
        session, where = stage.session(one, two)
        for side in (0, 1):
            stage.relay.set_aim(session, side, rtp=where[1 - side], signalling=one.address, moved=True)
        one.send(rtp(1), where[0])
        until(lambda: stage.relay.side_counters(session, 0)["other"], "dropped")
        seen = stage.relay.totals()
        assert seen["packets"] <= 3 * PASSING
        # It is gone: nothing goes round any more.
        until(lambda: stage.relay.totals()["wakeups"] >= seen["wakeups"] + 3, "ticks of the watch")
        assert stage.relay.totals()["packets"] == seen["packets"]
        assert seen["other"] == 1


def test_a_call_that_passes_twice() -> None:
    with Stage(PortPool(HOST, 20000, 20399, quarantine=0), PortPool(HOST, 20400, 20499, quarantine=0)) as stage:
        one, two = stage.phone("127.1.0.1"), stage.phone("127.2.0.1")
        first, there = stage.session(one, one)
        second, onward = stage.session(two, two, pools=(1, 1, 1, 1))
        stage.relay.set_aim(first, 1, rtp=onward[0], moved=True)
        stage.relay.set_aim(second, 0, rtp=there[1], moved=True)
        for sequence in range(PASSING // 5):
            one.send(rtp(sequence), there[0])
            assert two.receive() == rtp(sequence)
            two.send(rtp(sequence), onward[1])
            assert one.receive() == rtp(sequence)
        assert stage.relay.totals()["other"] == 0
