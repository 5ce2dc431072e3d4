"""Server names by number: what a TLS target's certificate must show, in the width of an address field."""
from collections import OrderedDict
from collections.abc import Iterable

KEPT = 16384
"""Names remembered."""


class ServerNames:
    """Numbers are never given twice. Where as many names are remembered as may be, the one that was not asked for the
    longest is forgotten; it gets another number when it is asked for again."""

    def __init__(self) -> None:
        self._names: OrderedDict[int, str] = OrderedDict()
        self._numbers: dict[str, int] = {}
        self._given = 0
        self._expected: dict[tuple[str, int], int] = {}

    def number(self, name: str) -> int:
        """The number of a name, without regard to case; 0 for the empty one."""
        name = name.rstrip(".").lower()
        if not name:
            return 0
        found = self._numbers.get(name)
        if found is not None:
            self._names.move_to_end(found)
            return found
        if len(self._names) == KEPT:
            del self._numbers[self._names.popitem(last=False)[1]]
        self._given += 1
        self._numbers[name] = self._given
        self._names[self._given] = name
        return self._given

    def expect(self, servers: Iterable[tuple[str, int, str]]) -> None:
        """Say what the certificates at (host, port, name) must show, also where a URI says no more than the address:
        a Contact of a peer that is configured by its name."""
        self._expected = {(host, port): self.number(name) for host, port, name in servers if name}

    def expected(self, host: str, port: int) -> int:
        """The number of the name that is expected at an address; 0 where that is the address itself."""
        return self._expected.get((host, port), 0)

    def name(self, number: int) -> str | None:
        """The name of that number: "" for 0, None where it is forgotten."""
        return self._names.get(number) if number else ""
