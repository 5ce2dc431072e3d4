"""A Naming for tests: it knows what the test says it knows, and tells the rest when the test has it told."""
from sipcore.base.place import Place, Reached, Unresolved
from sipcore.stack.naming import Naming


def reached(*hosts, level=0, port=5060, transport="udp", name=""):
    return tuple(Reached(host, port, transport, name, level + n, 1) for n, host in enumerate(hosts))


def nowhere(place, status=480):
    return Unresolved(place, "has no address" if status == 480 else "does not resolve: no answer", status=status)


class Book(Naming):
    """known_places: what is answered at once."""

    def __init__(self, **known):
        self.known_places = {Place.of(host.replace("_", ".")): outcome for host, outcome in known.items()}
        self.asked = []
        """(place, told) of what nobody has been told of."""

    def known(self, place):
        return self.known_places.get(place)

    def resolve(self, place, told):
        found = self.known_places.get(place)
        if found is None:
            self.asked.append((place, told))
        return found

    @property
    def names(self):
        return [str(place) for place, _ in self.asked]

    def tell(self, outcome, now, at=0):
        """Tell the one who asked first; an int is a status."""
        place, told = self.asked.pop(at)
        told(nowhere(place, outcome) if isinstance(outcome, int) else outcome, now)
