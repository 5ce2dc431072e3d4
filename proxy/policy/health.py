"""The state of one target: what it answered, what it failed to answer, and what follows. The whole state machine.

  up         it gets its weight
  degraded   some requests fail: it gets a part of its weight
  down       nothing works: it is skipped
  draining   an operator takes it out: nothing new goes there, calls that are up go on

Evidence is an answer or a failure, of a probe or of a real request. Two counters make it slow to judge (hysteresis):
failures in a row and answers in a row. Evidence that reaches a threshold is another event than evidence alone, so that
the table below says everything. A failing share (3 of 10 calls, never two in a row) is seen by a window of ten seconds.

Sans-IO: every method takes the time, in ms of any clock that goes forward.
"""
from dataclasses import dataclass
from enum import Enum
from typing import Final

from proxy.config import Health

from .members import FULL


class State(Enum):
    UP = "up"
    DEGRADED = "degraded"
    DOWN = "down"
    DRAINING = "draining"


class Event(Enum):
    ANSWERED = "answered"       # below any threshold
    PROVEN = "proven"           # answers in a row: health.up_after, and calm enough
    FAILED = "failed"           # below any threshold
    DOUBTED = "doubted"         # failures in a row: health.degraded_after; or a share of the calls
    LOST = "lost"               # failures in a row: health.down_after
    ASKED = "asked"             # 503 with Retry-After (RFC 3261 21.5.4)
    WAITED = "waited"           # that time is over; or down for health.retry_after, and nobody probes
    DRAIN = "drain"             # the operator
    RESUME = "resume"


_U, _G, _D, _R = State.UP, State.DEGRADED, State.DOWN, State.DRAINING
_E = Event
# What the state is after an event. A row each for the states, a column for the events.
_EVENTS = (_E.ANSWERED, _E.PROVEN, _E.FAILED, _E.DOUBTED, _E.LOST, _E.ASKED, _E.WAITED, _E.DRAIN, _E.RESUME)
_ROWS = {
    _U:   (_U,          _U,        _U,        _G,         _D,      _D,       _U,        _R,       _U),
    _G:   (_G,          _U,        _G,        _G,         _D,      _D,       _G,        _R,       _G),
    _D:   (_D,          _U,        _D,        _D,         _D,      _D,       _G,        _R,       _D),
    _R:   (_R,          _R,        _R,        _R,         _R,      _R,       _R,        _R,       _U),
}
TABLE: Final = {(state, event): then for state, row in _ROWS.items()
                for event, then in zip(_EVENTS, row, strict=True)}

RAMPS: Final = frozenset({(_D, _U), (_D, _G), (_R, _U)})
"""Ways back on which the weight grows slowly (health.slow_start)."""

WINDOW_MS = 10_000
"""Of the failing share; also how long a degraded target must be without a failure to be up."""
FEWEST = 5
"""Failures that are a share of anything."""
STEPS = 10
"""In which a weight grows."""


@dataclass(frozen=True, slots=True)
class Change:
    """A state changed."""

    was: State
    now: State
    why: str


@dataclass(slots=True)
class Target:
    """What is known of one target. started: when it was first known."""

    settings: Health
    started: int
    state: State = State.UP
    since: int = 0
    """When it came into its state."""
    failures: int = 0
    """In a row."""
    answers: int = 0
    """In a row."""
    last_failure: str = ""
    _failed_at: int = -WINDOW_MS
    _pause: int | None = None
    """Until when it has asked to be left alone."""
    _ramp: int | None = None
    """When the weight began to grow; None where it is full."""
    _window: tuple[int, int] | None = None
    """When it began, and the calls that had begun by then."""
    _window_failures: int = 0

    def __post_init__(self) -> None:
        self.since = self.started

    @property
    def suspect(self) -> bool:
        """Whether answers matter: of a target that is as it should be only failures do."""
        return self.state is not State.UP or self.failures > 0

    def answered(self, now: int) -> Change | None:
        """It answered as one that is alive does. While it wants a pause that says nothing of when it is over."""
        if self._pause is not None and now < self._pause:
            return None
        self.failures = 0
        self.answers += 1
        calm = self.state is not State.DEGRADED or now - self._failed_at >= WINDOW_MS
        proven = self.answers >= self.settings.up_after and calm
        return self._step(now, Event.PROVEN if proven else Event.ANSWERED, f"{self.answers} answers in a row")

    def failed(self, now: int, why: str, begun: int = 0, pause: int = 0) -> Change | None:
        """It did not answer, or as none does that can take calls. begun: how many calls it was ever sent, for the share
        that fails; 0 where that is not counted. pause: seconds for which it wants no more of them."""
        settings = self.settings
        self.answers = 0
        self.failures += 1
        self.last_failure = why
        self._failed_at = now
        share = self._share_fails(now, begun)
        wait = round(1000 * min(pause, settings.longest_pause))
        if wait and self.state is not State.DRAINING:
            self._pause = max(now + wait, self._pause or 0)
            event, text = Event.ASKED, f"it wants no calls for {-(-wait // 1000)} s: {why}"
        elif self.failures >= settings.down_after:
            event, text = Event.LOST, f"{self.failures} failures in a row, the last one: {why}"
        elif self.failures >= settings.degraded_after:
            event, text = Event.DOUBTED, f"{self.failures} failures in a row, the last one: {why}"
        elif share:
            event, text = Event.DOUBTED, f"{share}, the last one: {why}"
        else:
            event, text = Event.FAILED, why
        return self._step(now, event, text)

    def advance(self, now: int) -> Change | None:
        """Do what is due."""
        if self._ramp is not None and now >= self._ramp + self._slow:
            self._ramp = None
        if self._retry_at is not None and now >= self._retry_at:
            # One more failure is enough to lose it again.
            self.failures = self.settings.down_after - 1
            self.answers = 0
            self._pause = None
            return self._step(now, Event.WAITED, "tried again")
        return None

    def drain(self, now: int) -> Change | None:
        """Send nothing new there."""
        return self._step(now, Event.DRAIN, "asked for")

    def resume(self, now: int) -> Change | None:
        """End the draining; a target that failed meanwhile is found out as any other."""
        self.failures = min(self.failures, self.settings.degraded_after - 1)
        return self._step(now, Event.RESUME, "asked for")

    def follow(self, settings: Health) -> None:
        """Judge by other settings from now on."""
        self.settings = settings

    def share(self, now: int) -> int | None:
        """What it is to get of its weight, of FULL; None while it drains or wants a pause: nothing at all."""
        if self.state is State.DRAINING or self._pause is not None:
            return None
        if self.state is State.DOWN:
            return 0
        share = FULL
        if self._ramp is not None:
            share = FULL * min(STEPS, 1 + STEPS * max(0, now - self._ramp) // self._slow) // STEPS
        return round(share * self.settings.degraded_weight) if self.state is State.DEGRADED else share

    def due(self, now: int) -> int | None:
        """When `advance` has something to do, or the share grows; None for never."""
        times = []
        if self._ramp is not None:
            done = STEPS * max(0, now - self._ramp) // self._slow
            times.append(self._ramp - -(done + 1) * self._slow // STEPS)
        if self._retry_at is not None:
            times.append(self._retry_at)
        return min(times, default=None)

    @property
    def _slow(self) -> int:
        return max(STEPS, round(1000 * self.settings.slow_start))

    @property
    def _retry_at(self) -> int | None:
        if self._pause is not None:
            return self._pause
        if self.state is not State.DOWN or self.settings.probe_interval:
            return None
        return self.since + round(1000 * self.settings.retry_after)

    def _share_fails(self, now: int, begun: int) -> str:
        """What share of the calls of the window has failed, where that is too much."""
        at, before = self._window or (now, begun)
        if self._window is None or now - at >= WINDOW_MS or begun < before:
            self._window = at, before = now, max(0, begun - 1)
            self._window_failures = 0
        self._window_failures += 1
        calls = max(begun - before, self._window_failures)
        limit = self.settings.degraded_share
        if begun and limit and self._window_failures >= FEWEST and self._window_failures >= limit * calls:
            return f"{self._window_failures} of {calls} calls failed"
        return ""

    def _step(self, now: int, event: Event, why: str) -> Change | None:
        then = TABLE[self.state, event]
        if then is self.state:
            return None
        change = Change(self.state, then, why)
        if (self.state, then) in RAMPS:
            self._ramp = now if self.settings.slow_start else None
        elif then in (State.DOWN, State.DRAINING):
            self._ramp = None
        self.state, self.since = then, now
        if event is not Event.WAITED:
            self.answers = 0
        if event is Event.DRAIN:
            self._pause = None
        return change
