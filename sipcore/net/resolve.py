"""The resolver: places to addresses, from a cache at once or from a name server later.

What is known is answered where it is asked, without a task, a future or a wait. Equal questions in flight are asked
once. Time comes from the clock that it is given, and what it waits for from `later`, so that tests need no time.

Bounds: entries of the cache (the least used go first), resolutions that wait, questions in flight, one deadline for all
of a resolution. A server that does not answer is asked again by the next resolution only after a pause, and until then
what it last said stays good for so long as the configuration lets it (RFC 8767): a dead server costs the calls that
need a new name, and those no longer than the deadline.
"""
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Generic, NamedTuple, Protocol, TypeVar

from sipcore.base.place import Place, Reached, Unresolved
from sipcore.net.locate import Answer, Locating, Question, Reach, locate

Outcome = tuple[Reached, ...] | Unresolved
Told = Callable[[Outcome], None]

PAUSE_MS = 5_000
"""How long a server that failed with a question is not asked it again."""
STALE_MS = 30_000
"""How long an old answer stands in for that (RFC 8767 5)."""
MOST_QUESTIONS = 1_000
"""In flight at a time, where nobody says that his is urgent."""
FOREVER = 1 << 62


class Waiting(Protocol):
    def cancel(self) -> None: ...


class Asks(Protocol):
    """Whoever carries questions to a name server; `answered` is called once, never inside `ask`."""

    def ask(self, question: Question, answered: Callable[[Answer], None]) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """See proxy.config.Dns; times in ms."""

    deadline: int = 4_000
    ttl_min: int = 10_000
    ttl_max: int = 3_600_000
    negative: int = 30_000
    stale: int = 3_600_000
    entries: int = 10_000
    waiting: int = 1_000


Key = TypeVar("Key")
Value = TypeVar("Value")


class _Known(NamedTuple):
    """An answer that was given once. expires: when its time to live ends; it may be good for longer, see STALE_MS."""

    answer: Answer
    expires: int


class Cache(Generic[Key, Value]):
    """Values with the time until which they are good; the least used one goes where there is no room."""

    def __init__(self, entries: int) -> None:
        self.entries = entries
        self._kept: dict[Key, tuple[int, Value]] = {}

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, key: Key) -> tuple[int, Value] | None:
        """(good until, value), however old."""
        found = self._kept.pop(key, None)
        if found is not None:
            self._kept[key] = found
        return found

    def put(self, key: Key, until: int, value: Value) -> None:
        self._kept.pop(key, None)
        while len(self._kept) >= self.entries:
            del self._kept[next(iter(self._kept))]
        self._kept[key] = until, value


@dataclass(slots=True, eq=False)
class _Resolution:
    """One place on its way."""

    place: Place
    locating: Locating
    told: list[Told]
    urgent: bool
    timer: Waiting | None = None
    until: int = FOREVER
    """Until when all that was used is good."""
    questions: tuple[Question, ...] | None = None
    answers: dict[Question, Answer] = field(default_factory=dict)
    """Those to the questions that have come."""
    over: bool = False


class Resolver:
    """clock: ms. later(ms, callback): calls back once, unless cancelled."""

    def __init__(self, server: Asks, clock: Callable[[], int], later: Callable[[int, Callable[[], None]], Waiting],
                 reach: Reach | None = None, bounds: Bounds | None = None) -> None:
        self.server = server
        self.clock = clock
        self.later = later
        self.counters = dict.fromkeys(("asked", "cached", "failed", "stale", "refused", "late"), 0)
        self._answers: Cache[Question, _Known]
        self._places: Cache[Place, Outcome]
        self._asked: dict[Question, list[_Resolution]] = {}
        self._running: dict[Place, _Resolution] = {}
        self.waiting = 0
        self.last_fault = ""
        """What a name server did wrong, and about which name."""
        self.configure(server, reach or Reach(), bounds or Bounds())

    def configure(self, server: Asks, reach: Reach, bounds: Bounds) -> None:
        """Begin anew with other servers or bounds; what is under way goes on as it began."""
        self.server = server
        self.reach = reach
        self.bounds = bounds
        self._answers = Cache(bounds.entries)
        self._places = Cache(bounds.entries)

    def statistics(self) -> dict[str, int]:
        return {"dns_waiting": self.waiting, "dns_questions": len(self._asked), "dns_names": len(self._places),
                **{f"dns_{name}": count for name, count in self.counters.items()}}

    def good_until(self, place: Place) -> int:
        """Until when (ms) the outcome for a place need not be asked for again; 0 where it is not known."""
        found = self._places.get(place)
        return found[0] if found is not None else 0

    def known(self, place: Place) -> Outcome | None:
        """The outcome, where it need not be asked for."""
        found = self._places.get(place)
        if found is None or self.clock() >= found[0]:
            return None
        self.counters["cached"] += 1
        return found[1]

    def resolve(self, place: Place, told: Told, *, urgent: bool = False) -> Outcome | None:
        """The outcome, where it is known; None, and told(outcome) exactly once and never inside this call, where it
        has to be asked for. urgent: not one of a stranger's many, so that those leave room for it."""
        found = self.known(place)
        if found is not None:
            return found
        running = self._running.get(place)
        if self.waiting >= self.bounds.waiting and not urgent:
            self.counters["refused"] += 1
            return Unresolved(place, "does not resolve: too many names are being asked for")
        if running is not None:
            running.told.append(told)
            self.waiting += 1
            return None
        resolution = _Resolution(place, locate(place, self.reach), [told], urgent)
        outcome = self._step(resolution)
        if outcome is not None:
            return outcome
        self.waiting += 1
        self._running[place] = resolution
        resolution.timer = self.later(self.bounds.deadline, lambda: self._on_deadline(resolution))
        return None

    def _step(self, resolution: _Resolution) -> Outcome | None:
        """Go on as far as what is known leads; None where answers are awaited."""
        outcome: Outcome
        try:
            if resolution.questions is None:
                self._ask(resolution, next(resolution.locating))
            while resolution.questions is not None and all(
                    question in resolution.answers for question in resolution.questions):
                self._ask(resolution, resolution.locating.send(
                    [resolution.answers[question] for question in resolution.questions]))
            return None
        except StopIteration as found:
            outcome = found.value
        except Unresolved as unresolved:
            outcome = unresolved
        resolution.over = True
        if self.clock() < resolution.until < FOREVER:
            self._places.put(resolution.place, resolution.until, outcome)
        return outcome

    def _ask(self, resolution: _Resolution, questions: tuple[Question, ...]) -> None:
        """Raises Unresolved where too much is being asked for."""
        resolution.questions, resolution.answers = questions, {}
        now = self.clock()
        for question in dict.fromkeys(questions):
            known = self._answers.get(question)
            if known is not None and now < known[0]:
                self._take(resolution, question, known[1].answer, known[0])
            elif question in self._asked:
                self._asked[question].append(resolution)
            elif len(self._asked) >= MOST_QUESTIONS and not resolution.urgent:
                self.counters["refused"] += 1
                # That says nothing of the name.
                resolution.until = 0
                raise Unresolved(resolution.place, "does not resolve: too many names are being asked for")
            else:
                self._asked[question] = [resolution]
                self.counters["asked"] += 1
                self.server.ask(question, partial(self._on_answer, question))

    @staticmethod
    def _take(resolution: _Resolution, question: Question, answer: Answer, until: int) -> None:
        resolution.answers[question] = answer
        resolution.until = min(resolution.until, until)

    def _on_answer(self, question: Question, answer: Answer) -> None:
        now, bounds = self.clock(), self.bounds
        known = self._answers.get(question)
        expires = now
        if answer.fault:
            self.last_fault = f"{question.name}: {answer.fault}"
        if answer.records:
            until = expires = now + min(max(1000 * answer.ttl, bounds.ttl_min), bounds.ttl_max)
        elif not answer.fault:
            until = now + bounds.negative
        elif known is not None and known[1].answer.records and now < known[1].expires + bounds.stale:
            self.counters["stale"] += 1
            answer, expires = known[1]
            until = min(now + STALE_MS, expires + bounds.stale)
        else:
            self.counters["failed"] += 1
            until = now + PAUSE_MS
        self._answers.put(question, until, _Known(answer, expires))
        for resolution in self._asked.pop(question, ()):
            if resolution.over:
                self.counters["late"] += 1
                continue
            self._take(resolution, question, answer, until)
            outcome = self._step(resolution)
            if outcome is not None:
                self._finish(resolution, outcome)

    def _on_deadline(self, resolution: _Resolution) -> None:
        resolution.timer = None
        self._finish(resolution, Unresolved(resolution.place, "does not resolve: no answer in time"))

    def _finish(self, resolution: _Resolution, outcome: Outcome) -> None:
        resolution.over = True
        if resolution.timer is not None:
            resolution.timer.cancel()
        del self._running[resolution.place]
        resolution.locating.close()
        self.waiting -= len(resolution.told)
        for told in resolution.told:
            told(outcome)
