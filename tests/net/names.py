"""A name server and a clock in memory: what a resolver asks is answered when the test says so, or at once."""
from typing import Any

from sipcore.net.locate import AAAA, NAPTR, SRV, A, Answer, Naptr, Question, Srv
from sipcore.net.resolve import Outcome, Resolver

TYPES = {"A": A, "AAAA": AAAA, "SRV": SRV, "NAPTR": NAPTR}
SILENT = object()
"""The answer of a server that says nothing."""


def srv(priority, weight, port, target):
    return Srv(priority, weight, port, target)


def naptr(order, preference, service, replacement, flags="s", regexp=""):
    return Naptr(order, preference, flags, service, regexp, replacement)


class Zone:
    """records: by "name type", an Answer, a list of records (TTL 60), or SILENT. What is not there is not there."""

    def __init__(self, **records):
        self.now = 1_000_000
        self.clockwork: Zone = self
        """Whose time it goes by."""
        self.records: dict[str, Any] = dict(records)
        self.asked: list[str] = []
        self.timers: list[Timer] = []
        self.lag = 20

    # --- a server

    def ask(self, question: Question, answered):
        kind = next(name for name, number in TYPES.items() if number == question.type)
        self.asked.append(f"{question.name} {kind}")
        found = self.records.get(self.asked[-1], ())
        if found is not SILENT:
            answer = found if isinstance(found, Answer) else Answer(tuple(found), 60 if found else 0)
            self.later(self.lag, lambda: answered(answer))

    # --- a clock

    def clock(self):
        return self.now

    def later(self, ms, callback):
        if self.clockwork is not self:
            return self.clockwork.later(ms, callback)
        timer = Timer(self.now + ms, callback)
        self.timers.append(timer)
        return timer

    def wait(self, ms):
        end = self.now + ms
        while due := [one for one in self.timers if one.at <= end and one.callback is not None]:
            timer = min(due, key=lambda one: one.at)
            self.now = max(self.now, timer.at)
            callback, timer.callback = timer.callback, None
            callback()
        self.timers = [one for one in self.timers if one.callback is not None]
        self.now = end

    def resolver(self, reach=None, bounds=None):
        return Resolver(self, self.clock, self.later, reach, bounds)


class Timer:
    def __init__(self, at: int, callback: Any):
        self.at = at
        self.callback = callback

    def cancel(self):
        self.callback = None


def ask(zone, resolver, place, **more):
    """What comes of a place, whether at once or later."""
    told: list[Outcome] = []
    outcome = resolver.resolve(place, told.append, **more)
    if outcome is not None:
        assert not told
        return outcome
    zone.wait(60_000)
    (outcome,) = told
    return outcome
