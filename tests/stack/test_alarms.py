"""Alarms of a user agent: on time, once, cancelled, and safe among themselves."""
from functools import partial

import pytest

from sipcore.base.errors import LimitExceeded
from sipcore.stack.useragent import UserAgent


@pytest.fixture
def agent() -> UserAgent:
    agent = UserAgent(transactions=64)
    agent.add_listener("192.0.2.1", 5060)
    return agent


def test_alarms_fire_in_order_once_and_never_early(agent: UserAgent) -> None:
    fired: list[tuple[int, int]] = []

    def tell(at: int) -> None:
        fired.append((at, agent.time))

    alarms = [agent.call_at(at, partial(tell, at)) for at in (5000, 1200, 1000, 90_000)]
    assert 990 <= (agent.deadline() or 0) <= 1000
    for now in range(0, 100_001, 10):
        agent.advance(now)
    assert [at for at, _ in fired] == [1000, 1200, 5000, 90_000]
    assert all(at <= now <= at + 10 for at, now in fired)
    assert not any(alarm.waiting for alarm in alarms)
    assert agent.deadline() is None


def test_one_that_was_cancelled_never_fires_and_its_place_is_free_again(agent: UserAgent) -> None:
    fired: list[str] = []
    first = agent.call_at(100, lambda: fired.append("first"))
    first.cancel()
    first.cancel()
    assert agent.deadline() is None
    second = agent.call_at(100, lambda: fired.append("second"))
    first.cancel()
    assert second.waiting
    agent.advance(200)
    assert fired == ["second"]


def test_a_callback_may_cancel_and_set_others_that_are_due_in_the_same_step(agent: UserAgent) -> None:
    fired: list[str] = []
    others: list = []

    def first() -> None:
        fired.append("first")
        for other in others:
            other.cancel()
        agent.call_at(agent.time + 1000, lambda: fired.append("later"))
        agent.call_at(agent.time, lambda: fired.append("at once"))

    agent.call_at(90, first)
    others += [agent.call_at(100, lambda: fired.append("cancelled")) for _ in range(5)]
    agent.advance(100)
    assert fired == ["first"]
    agent.advance(110)
    assert fired == ["first", "at once"]
    agent.advance(1200)
    assert fired == ["first", "at once", "later"]


def test_an_error_is_a_trouble_and_stops_no_other(agent: UserAgent) -> None:
    fired: list[str] = []
    agent.call_at(10, lambda: 1 // 0)
    agent.call_at(20, lambda: fired.append("second"))
    agent.advance(30)
    assert fired == ["second"]
    assert [text.partition(":")[0] for text in agent.take_troubles()] == ["alarm"]


def test_more_than_a_portion_at_a_time_all_fire(agent: UserAgent) -> None:
    fired: list[int] = []
    for number in range(500):
        agent.call_at(10, partial(fired.append, number))
    steps = 0
    while agent.deadline() is not None:
        agent.advance(20)
        steps += 1
        assert steps < 50
    assert sorted(fired) == list(range(500))


def test_their_number_is_bounded() -> None:
    agent = UserAgent(transactions=64)
    for _ in range(1 << 16):
        agent.call_at(10, print)
    with pytest.raises(LimitExceeded):
        agent.call_at(10, print)
    with pytest.raises(TypeError):
        agent.call_at(10, 5)  # type: ignore[arg-type]
