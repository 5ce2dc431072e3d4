"""Where requests of the edge's own are to go: by address, or by a name that is looked up first."""
import contextlib
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from sipcore.base.errors import LimitExceeded
from sipcore.base.place import Place, Reached, Unresolved, in_order, seed_of

if TYPE_CHECKING:
    from sipcore.stack.alarms import Alarm
    from sipcore.stack.seeking import Seeking

_SECURE = ("tls", "wss")


class Aim(NamedTuple):
    """A request URI, and the address that it is sent to, or the place that it is about."""

    uri: str
    host: str = ""
    port: int = 0
    transport: str = "udp"
    name: str = ""
    """What its certificate has to show, where that is not the address."""
    listener: int = -1
    place: Place | None = None

    def at(self, one: Reached) -> "Aim":
        """The same at an address of its place."""
        name = (self.name or one.name) if one.transport in _SECURE else ""
        return self._replace(host=one.ip, port=one.port, transport=one.transport, name=name, place=None)


Then = Callable[[list[Aim] | Unresolved], None]


class Seeker:
    """Looks up what is a name among some aims, all at once; then(their addresses, in order) once it is known, or
    then(Unresolved) where none of them leads anywhere. `cancel` forgets it. Made by `seek`."""

    __slots__ = ("aims", "alarm", "call_id", "found", "left", "stack", "then")

    def __init__(self, stack: "Seeking", aims: Sequence[Aim], call_id: str, then: Then) -> None:
        self.stack = stack
        self.aims = aims
        self.call_id = call_id
        self.then: Then | None = then
        self.found: list[list[Aim] | Unresolved | None] = [None if aim.place is not None else [aim] for aim in aims]
        self.left = 0
        self.alarm: Alarm | None = None

    def begin(self) -> None:
        naming = self.stack.naming
        for index, aim in enumerate(self.aims):
            if aim.place is None:
                continue
            outcome = naming.known(aim.place) or naming.resolve(aim.place, partial(self._told, index))
            if outcome is None:
                self.left += 1
            else:
                self._put(index, outcome)
        if not self.left:
            self._end()
            return
        # Whoever looks names up has a deadline of its own, too.
        with contextlib.suppress(LimitExceeded):
            self.alarm = self.stack.call_at(self.stack.time + self.stack.pending.deadline_ms, self._end)

    def cancel(self) -> None:
        self.then = None
        if self.alarm is not None:
            self.alarm.cancel()
            self.alarm = None

    def _put(self, index: int, outcome: tuple[Reached, ...] | Unresolved) -> None:
        self.found[index] = outcome if isinstance(outcome, Unresolved) else [
            self.aims[index].at(one) for one in in_order(outcome, seed_of(self.call_id))]

    def _told(self, index: int, outcome: tuple[Reached, ...] | Unresolved, now: int) -> None:
        if self.then is None or self.found[index] is not None:
            return
        self._put(index, outcome)
        self.left -= 1
        self.stack.advance(now)
        if not self.left:
            self._end()

    def _end(self) -> None:
        then = self.then
        self.cancel()
        if then is None:
            return
        aims = [aim for found in self.found if isinstance(found, list) for aim in found]
        if aims:
            then(aims)
            return
        why = next((found for found in self.found if isinstance(found, Unresolved)), None)
        place = next(aim.place for aim in self.aims if aim.place is not None)
        then(why or Unresolved(place, "does not resolve: no answer in time"))


def seek(stack: "Seeking", aims: Sequence[Aim], call_id: str, then: Then) -> Seeker | None:
    """Call then(aims with addresses) or then(Unresolved): at once where all is known. None where nothing is a name."""
    for aim in aims:
        if aim.place is not None:
            break
    else:
        then(list(aims))
        return None
    seeker = Seeker(stack, aims, call_id, then)
    seeker.begin()
    return seeker
