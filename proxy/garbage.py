"""When a worker looks for garbage that reference counting does not find.

A full collection looks at every object that is alive, so that with thousands of calls up every packet waits for it; and
CPython starts one whenever the young objects are a quarter of the old ones, which on a busy worker is all the time.
Nothing of a call needs it: what belongs to one goes when the call ends, which a test proves. What is left for it are
errors with their tracebacks and what libraries leave behind.

  loading            everything that is there is frozen: never looked at again
  young objects      CPython's own way, in portions large enough that a call's short-lived ones are gone by then
  everything         where few calls are up, once a minute; else once an hour
"""
import gc

YOUNG = 10_000
"""Objects made and not freed since the last look."""
MIDDLE = 20
"""Looks at the young ones to one at those that survived the one before."""
NEVER = 1 << 30
FEW = 100
"""Calls with which a full collection keeps nobody waiting."""
MINUTE, HOUR = 60.0, 3600.0


class Garbage:
    """now: seconds of a clock that only goes on."""

    def __init__(self, now: float):
        self.looked = now
        gc.collect()
        gc.freeze()
        gc.set_threshold(YOUNG, MIDDLE, NEVER)

    def look(self, now: float, calls: int) -> bool:
        """Collect everything where it is time for that; whether it was. calls: how many are up."""
        if now - self.looked < (MINUTE if calls <= FEW else HOUR):
            return False
        self.looked = now
        gc.collect()
        return True
