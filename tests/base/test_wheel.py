"""The wheel against a dictionary of deadlines: every timer once, never early, at most a tick late."""
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from sipcore.base.wheel import Wheel

TICK = 10
NEVER = (1 << 64) - 1
LAST = ((1 << 40) - 1) * TICK
CAPACITY = 24
IDS = st.integers(0, CAPACITY - 1)
# Short ones, the SIP timers, and both sides of every level's edge.
LENGTHS = st.one_of(
    st.integers(0, 3000),
    st.sampled_from([500, 1000, 4000, 5000, 32000, 180_000, 3_600_000]),
    st.sampled_from([256**level * TICK + off for level in range(1, 5) for off in (-11, -10, -1, 0, 1, 10, 11)]),
    st.integers(0, NEVER),
)


def rounded(deadline: int) -> int:
    """When a timer fires: the first tick not before its deadline, the last tick for what lies beyond."""
    return min(-(-deadline // TICK) * TICK, LAST)


class WheelAgainstModel(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.wheel = Wheel(CAPACITY)
        self.model: dict[int, int] = {}
        self.now = 0

    def take(self, now: int, limit: int) -> list[int]:
        """One call of expire; what it gives back must be due."""
        out = self.wheel.pop(now, limit)
        assert len(out) <= limit
        for id in out:
            assert self.model.pop(id) <= self.now
        return out

    def take_all(self, now: int) -> None:
        for _ in range(1000):
            self.take(now, 3)
            if self.wheel.next() > self.now // TICK * TICK:
                break
        assert all(when > self.now // TICK * TICK for when in self.model.values())

    @rule(id=IDS, length=LENGTHS)
    def arm(self, id: int, length: int) -> None:
        deadline = min(self.now + length, NEVER)
        self.wheel.set(id, deadline)
        self.model[id] = rounded(deadline)

    @rule(id=IDS, deadline=LENGTHS)
    def arm_at_any_time(self, id: int, deadline: int) -> None:
        self.wheel.set(id, deadline)
        self.model[id] = rounded(deadline)

    @rule(id=IDS)
    def disarm(self, id: int) -> None:
        self.wheel.clear(id)
        self.model.pop(id, None)

    @rule(step=st.one_of(st.integers(0, 700), LENGTHS), limit=st.integers(1, 5))
    def expire_some(self, step: int, limit: int) -> None:
        self.now = min(self.now + step, NEVER)
        self.take(self.now, limit)

    @rule(step=st.one_of(st.integers(0, 700), LENGTHS))
    def expire_all(self, step: int) -> None:
        self.now = min(self.now + step, NEVER)
        self.take_all(self.now)

    @rule(back=LENGTHS)
    def expire_in_the_past(self, back: int) -> None:
        self.take_all(max(self.now - back, 0))

    @rule(step=st.integers(0, 700), lengths=st.lists(LENGTHS, min_size=1, max_size=4))
    def rearm_while_expiring(self, step: int, lengths: list[int]) -> None:
        self.now = min(self.now + step, NEVER)
        for id in self.take(self.now, 8):
            for other in (id, (id + 1) % CAPACITY):
                self.arm(other, lengths[id % len(lengths)])

    @precondition(lambda self: self.model)
    @rule()
    def follow_next_deadline(self) -> None:
        """A loop that sleeps until next_deadline gets the earliest timer, and exactly at its tick."""
        earliest = max(min(self.model.values()), self.now)
        for _ in range(8):
            self.now = max(self.now, self.wheel.next())
            assert self.now <= earliest
            if self.take(self.now, 1):
                assert self.now == earliest
                return
        raise AssertionError("next_deadline makes no progress")

    @invariant()
    def agree(self) -> None:
        assert self.wheel.count == len(self.model)
        assert all(self.wheel.is_set(id) == (id in self.model) for id in range(CAPACITY))
        assert self.wheel.next() <= max(min(self.model.values(), default=NEVER), self.now)
        assert (self.wheel.next() == NEVER) == (not self.model)


WheelAgainstModel.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
TestWheelAgainstModel = WheelAgainstModel.TestCase


EDGES = sorted({256**level * factor + off for level in range(5) for factor in (1, 2, 255) for off in (-1, 0, 1)})


@pytest.mark.parametrize("clock", EDGES)
def test_every_edge_of_every_level(clock: int) -> None:
    """From a clock around each edge over a length around each edge, in one step and by way of next_deadline."""
    for length in EDGES:
        due = rounded((clock + length) * TICK)
        wheel = Wheel(1, clock * TICK)
        wheel.set(0, max(due - 3, 0))
        if due > clock * TICK:
            assert wheel.pop(due - 1) == []
        assert wheel.pop(due) == [0]
        assert wheel.next() == NEVER

        wheel = Wheel(1, clock * TICK)
        wheel.set(0, max(due - 3, 0))
        steps = [wheel.next()]
        while not wheel.pop(steps[-1]):
            steps.append(wheel.next())
        assert steps == sorted(set(steps))
        assert steps[-1] == due
        assert len(steps) <= 5


def test_every_pair_of_clock_and_tick_in_two_levels() -> None:
    for clock in range(0, 600, 7):
        wheel = Wheel(600, clock * TICK)
        for id in range(600):
            wheel.set(id, id * TICK)
        assert sorted(wheel.pop(clock * TICK, 600)) == list(range(clock + 1))
        for tick in range(clock + 1, 600):
            assert wheel.next() <= tick * TICK
            assert wheel.pop(tick * TICK) == [tick]


def test_never_early_and_at_most_one_tick_late() -> None:
    for deadline in range(1000, 1021):
        wheel = Wheel(1)
        wheel.set(0, deadline)
        now = next(now for now in range(990, 1040) if wheel.pop(now))
        assert deadline <= now < deadline + TICK


def test_arming_again_moves() -> None:
    wheel = Wheel(2)
    wheel.set(1, 500)
    wheel.set(1, 90_000)
    assert wheel.count == 1
    assert wheel.pop(80_000) == []
    wheel.set(1, 80_100)
    assert wheel.pop(80_100) == [1]
    assert wheel.count == 0


def test_deadline_in_the_past_is_due_at_once() -> None:
    wheel = Wheel(2, 1_000_000)
    wheel.set(0, 5)
    assert wheel.next() <= 1_000_000
    assert wheel.pop(1_000_000) == [0]


def test_time_that_goes_back_counts_as_the_latest_seen() -> None:
    wheel = Wheel(2)
    wheel.pop(100_000)
    wheel.set(0, 99_000)
    wheel.set(1, 100_500)
    assert wheel.pop(50_000) == [0]
    assert wheel.pop(100_499) == []
    assert wheel.pop(100_500) == [1]


def test_time_that_goes_back_after_a_call_that_its_limit_cut_short() -> None:
    wheel = Wheel(2)
    wheel.set(0, 0)
    wheel.set(1, 10)
    assert wheel.pop(10, 1) == [0]
    assert wheel.pop(9) == [1]


def test_a_jump_to_the_end_of_time_expires_everything() -> None:
    wheel = Wheel(100)
    for id in range(100):
        wheel.set(id, 1 << (id % 64))
    assert sorted(wheel.pop(NEVER, 100)) == list(range(100))
    wheel.set(3, NEVER)
    assert wheel.pop(NEVER) == [3]


def test_expired_ids_come_in_the_order_of_their_ticks() -> None:
    wheel = Wheel(500)
    for id in range(500):
        wheel.set(id, (id * 7919 % 500 + 1) * 137)
    out = wheel.pop(500 * 137, 500)
    ticks = [rounded((id * 7919 % 500 + 1) * 137) for id in out]
    assert len(out) == 500
    assert ticks == sorted(ticks)


def test_limit_leaves_the_rest_for_the_next_call() -> None:
    wheel = Wheel(100)
    for id in range(100):
        wheel.set(id, 700)
    got = wheel.pop(1000, 40)
    assert wheel.next() <= 1000
    got += wheel.pop(1000, 40)
    got += wheel.pop(1000, 40)
    assert sorted(got) == list(range(100))
    assert wheel.next() == NEVER


def test_a_full_list_is_spread_in_bounded_pieces() -> None:
    """20,000 timers due at various ticks of one 2.56 s list: no call does more than a piece of the work."""
    wheel = Wheel(20_000)
    for id in range(20_000):
        wheel.set(id, 2_560_000 + id % 2560)
    now, calls, got = 2_560_000, 0, 0
    while wheel.next() <= now:
        calls += 1
        got += len(wheel.pop(now))
    assert calls >= 20_000 // 512
    assert got == 8
    while wheel.next() != NEVER:
        now = max(now, wheel.next())
        out = wheel.pop(now)
        assert all(rounded(2_560_000 + id % 2560) == now for id in out)
        got += len(out)
    assert got == 20_000


def test_unused_capacity_costs_no_memory() -> None:
    def resident() -> int:
        with open("/proc/self/statm") as statm:
            return int(statm.read().split()[1]) * 4096

    before = resident()
    wheel = Wheel(8_000_000)
    wheel.set(7_999_999, 10)
    assert wheel.pop(10) == [7_999_999]
    assert resident() - before < 16 << 20


@pytest.mark.parametrize("capacity", [0, -1, (1 << 32) - 1])
def test_impossible_capacity_is_refused(capacity: int) -> None:
    with pytest.raises(ValueError, match="capacity of a wheel"):
        Wheel(capacity)


@pytest.mark.parametrize("id", [-1, 4])
def test_ids_are_checked(id: int) -> None:
    wheel = Wheel(4)
    for call in (lambda: wheel.set(id, 1), lambda: wheel.clear(id), lambda: wheel.is_set(id)):
        with pytest.raises(IndexError):
            call()
    with pytest.raises(ValueError, match="limit"):
        wheel.pop(0, 0)
