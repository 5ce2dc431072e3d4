"""Wrong passwords of one source, bounded.

Only answers to a nonce that was given to that very address count, so nobody can spend the attempts of an address
that he does not receive at: the bound is no weapon. Who shares an address with a guesser waits at most until the
tokens come back.
"""
from collections import OrderedDict
from ipaddress import ip_address

MOST = 4096
"""Sources that are remembered; of more, the one that failed first is forgotten: the bound becomes softer, never
harder. 4096 of them take 1 MiB."""
MINUTE = 60_000


class Attempts:
    """burst wrong answers in a row from a source, and a_minute of them again each minute."""

    def __init__(self, burst: int, a_minute: int):
        self.burst = burst
        self.a_minute = a_minute
        self._spent: OrderedDict[str, tuple[float, int]] = OrderedDict()

    def blocked(self, host: str, now: int) -> bool:
        """Whether a source has none left at now (ms)."""
        return bool(self._spent) and self._left(_network(host), now) > self.burst - 1

    def fail(self, host: str, now: int) -> None:
        """Count a wrong answer."""
        network = _network(host)
        spent = self._left(network, now)
        self._spent[network] = spent + 1, now
        if len(self._spent) > MOST:
            self._spent.popitem(last=False)

    def _left(self, network: str, now: int) -> float:
        """Attempts that are spent, and have not come back yet."""
        spent, at = self._spent.get(network, (0.0, 0))
        return max(0.0, spent - (now - at) * self.a_minute / MINUTE)


def _network(host: str) -> str:
    """An IPv4 address, or the /64 that one owner has at least."""
    if ":" not in host:
        return host
    return ip_address(host.partition("%")[0]).exploded[:19]
