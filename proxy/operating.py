"""What an operator asks of a worker: how its targets are and which addresses are banned, and changes of both.

It also says what happens by itself: a line when an address is banned, and when overload begins and ends.
"""
from typing import TYPE_CHECKING, Any

import msgspec

from proxy.events import Event
from proxy.messages import Operate

if TYPE_CHECKING:
    from proxy.calls.registry import Calls
    from proxy.log import Log
    from sipcore.stack.proxy import Proxy

MOST_BANS = 1000
"""That one answer shows: those that last longest. More would not fit into the socket at once."""
BAN_LINES = 20
"""A second: whoever has many addresses must not fill the log."""


class Operating:
    """Of one worker. drained: addresses that get nothing new from the start; an empty one is the edge itself. log: of
    the worker, as it is then."""

    def __init__(self, proxy: "Proxy", calls: "Calls", drained: list[str]):
        self._proxy = proxy
        self._calls = calls
        self._drained: frozenset[str] = frozenset()
        self._overloaded = False
        self._refused = 0
        self._ban_lines = 0
        self.log: Log | None = None
        proxy.on_ban = self._on_ban
        self._drain(frozenset(drained))

    def obey(self, asked: Operate) -> dict[str, Any]:
        """Do it, and say what there is to say, as JSON."""
        match asked.what:
            case "targets":
                return {"targets": msgspec.to_builtins(self._calls.watch.states())}
            case "drain":
                self._drain(self._drained | {asked.address})
            case "resume":
                self._drain(self._drained - {asked.address})
            case "bans":
                now = self._proxy.time
                longest = sorted(self._proxy.bans.all(now), key=lambda ban: -ban[1])[:MOST_BANS]
                return {"bans": [{"address": host, "until": until + self._calls.wall, "seconds": (until - now) // 1000,
                                  "count": count} for host, until, count in longest]}
            case "ban":
                self._proxy.bans.ban(asked.address, self._proxy.time + 1000 * asked.seconds, self._proxy.time)
                self._tell("address.banned", {"address": asked.address, "seconds": asked.seconds, "by": "operator"})
            case "unban":
                found = self._proxy.bans.lift(asked.address)
                if found:
                    self._tell("address.unbanned", {"address": asked.address})
                return {"found": found}
        return {"found": not asked.address or any(
            one.address == asked.address for one in self._calls.watch.states())}

    def _drain(self, addresses: frozenset[str]) -> None:
        if ("" in addresses) != ("" in self._drained):
            self._proxy.drain_calls("" in addresses)
            self._tell("edge.draining" if "" in addresses else "edge.resumed", {})
        self._drained = addresses
        self._calls.watch.drain(addresses)

    def _tell(self, name: str, detail: dict[str, Any]) -> None:
        services = self._calls.services
        if services.used and services.wants(name):
            services.emit(Event(name=name, at=self._calls.now, detail=detail))

    def look(self) -> None:
        """Once a second: say what has changed."""
        self._ban_lines = 0
        overload, log = self._proxy.overload, self.log
        if log is None or overload.on == self._overloaded:
            return
        self._overloaded = overload.on
        refused = self._proxy.statistics()["overload_refused"]
        if overload.on:
            self._refused = refused
            log.error("overload", refusing=f"{overload.share / 10:.1f} %", lag_ms=overload.lag // 1000)
        else:
            log.warning("overload is over", refused=refused - self._refused)

    def _on_ban(self, host: str, until: int) -> None:
        seconds = (until - self._proxy.time) // 1000
        self._ban_lines += 1
        if self.log is not None and self._ban_lines <= BAN_LINES:
            self.log.warning("address banned", address=host, seconds=seconds)
        self._tell("address.banned", {"address": host, "seconds": seconds, "by": "strikes"})
