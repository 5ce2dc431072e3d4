"""Constant-length queues against a list: in order, exact to the millisecond, and O(1) to leave early."""
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from sipcore.base.linger import Linger

NEVER = (1 << 64) - 1
CAPACITY = 12
DURATION = 5000
IDS = st.integers(0, CAPACITY - 1)
STEPS = st.one_of(st.integers(0, 2000), st.sampled_from([DURATION - 1, DURATION, DURATION + 1, 1 << 40]))


class LingerAgainstModel(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.linger = Linger(CAPACITY, DURATION)
        self.model: list[tuple[int, int]] = []  # (deadline, id), the next one to expire first
        self.now = self.latest = 0

    def leave(self, id: int) -> None:
        self.model = [(deadline, other) for deadline, other in self.model if other != id]

    @rule(id=IDS, step=STEPS)
    def push(self, id: int, step: int) -> None:
        self.now += step
        self.push_at(id, self.now)

    @rule(id=IDS, back=STEPS)
    def push_in_the_past(self, id: int, back: int) -> None:
        self.push_at(id, max(self.now - back, 0))

    def push_at(self, id: int, now: int) -> None:
        self.linger.add(id, now)
        self.latest = max(self.latest, now)
        self.leave(id)
        self.model.append((self.latest + DURATION, id))

    @rule(id=IDS)
    def remove(self, id: int) -> None:
        self.linger.discard(id)
        self.leave(id)

    @rule(step=STEPS, limit=st.integers(1, 4))
    def expire(self, step: int, limit: int) -> None:
        self.now += step
        due = [id for deadline, id in self.model if deadline <= self.now][:limit]
        assert self.linger.pop(self.now, limit) == due
        self.model = self.model[len(due) :]

    @rule()
    def follow_next_deadline(self) -> None:
        if self.model:
            self.now = max(self.now, self.linger.next())
            self.expire(0, 4)

    @invariant()
    def agree(self) -> None:
        assert self.linger.count == len(self.model)
        assert self.linger.next() == (self.model[0][0] if self.model else NEVER)
        queued = {id for _, id in self.model}
        assert all((id in self.linger) == (id in queued) for id in range(CAPACITY))


LingerAgainstModel.TestCase.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
TestLingerAgainstModel = LingerAgainstModel.TestCase


def test_expires_exactly_after_its_duration() -> None:
    linger = Linger(1, 32_000)
    linger.add(0, 17)
    assert linger.pop(32_016) == []
    assert linger.pop(32_017) == [0]


def test_from_the_first_middle_and_last_place() -> None:
    for leaving in range(3):
        linger = Linger(3, 10)
        for id in range(3):
            linger.add(id, id)
        linger.discard(leaving)
        linger.discard(leaving)
        assert linger.pop(100) == [id for id in range(3) if id != leaving]


def test_ids_pushed_again_while_expiring() -> None:
    linger = Linger(4, 10)
    for id in range(4):
        linger.add(id, 0)
    for id in linger.pop(10, 2):
        linger.add(id, 10)
    assert linger.pop(10) == [2, 3]
    assert linger.pop(19) == []
    assert linger.pop(20) == [0, 1]


def test_the_end_of_time() -> None:
    linger = Linger(2, 1000)
    linger.add(0, NEVER)
    linger.add(1, NEVER - 1)
    assert linger.next() == NEVER - 1
    assert linger.pop(NEVER) == [0, 1]


@pytest.mark.parametrize(("capacity", "duration"), [(0, 1), ((1 << 32) - 1, 1), (1, 0), (1, -1), (1, 1 << 62)])
def test_impossible_sizes_are_refused(capacity: int, duration: int) -> None:
    with pytest.raises(ValueError, match="expected"):
        Linger(capacity, duration)


@pytest.mark.parametrize("id", [-1, 4])
def test_ids_are_checked(id: int) -> None:
    linger = Linger(4, 1)
    for call in (lambda: linger.add(id, 1), lambda: linger.discard(id)):
        with pytest.raises(IndexError):
            call()
    assert id not in linger
    with pytest.raises(ValueError, match="limit"):
        linger.pop(0, 0)
