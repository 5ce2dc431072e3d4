"""Host names at run time: the stack's questions to the resolver, and upstreams' targets that are kept looked up."""
import asyncio
from collections.abc import Callable, Iterable
from functools import partial
from ipaddress import ip_address
from typing import Any

from proxy.config import Config
from proxy.policy.addresses import bind_address, parse_address
from proxy.policy.names import Found, places
from proxy.policy.targets import Targets
from sipcore.base.place import Place, Reached, Unresolved
from sipcore.net.endpoint import monotonic_ms
from sipcore.net.locate import Reach
from sipcore.net.nameserver import TRIES, NameServers
from sipcore.net.resolve import Bounds, Outcome, Resolver, Waiting
from sipcore.stack.naming import Naming

PREFERRED = ("udp", "tcp", "tls")
"""Transports that a name may lead to, the preferred one first; WebSocket clients connect to us."""
AGAIN_MS = 5_000
"""After which a target that does not resolve is asked for again."""
SOON_MS = 100
"""Changes that come together become one."""
TOLD_MS = 60_000
"""How often it is logged that name servers do not answer."""

Step = Callable[[Callable[[], None]], None]
Log = Callable[..., None]


def bounds_of(config: Config) -> Bounds:
    dns = config.dns
    return Bounds(deadline=_ms(dns.deadline), ttl_min=_ms(dns.ttl_min), ttl_max=_ms(dns.ttl_max),
                  negative=_ms(dns.negative), stale=_ms(dns.stale), entries=dns.entries, waiting=dns.waiting)


def reach_of(config: Config) -> Reach:
    """What the listeners can send by. Nothing is sent where a name leads to no host, to the edge itself, or to this
    machine's loopback, unless a listener is there."""
    bound = [bind_address(listener.bind) for listener in config.listeners]
    targets = Targets(config)
    local = any(ip_address(address.host).is_loopback for _, address in bound)

    def refuse(ip: str, port: int) -> str:
        if targets.is_own(ip, port):
            return "loop"
        address = ip_address(ip)
        if address.is_loopback and not local:
            return "is this machine's own"
        if address.is_unspecified or address.is_multicast or address.is_link_local or (
                address.is_reserved and not address.is_loopback):
            return "is no host's"
        return ""

    families = {":" in address.host for _, address in bound}
    return Reach(tuple(one for one in PREFERRED if any(one == transport for transport, _ in bound)),
                 False in families, True in families, refuse)


def name_servers(config: Config, loop: asyncio.AbstractEventLoop) -> NameServers:
    servers = [str(parse_address(text, 53)) for text in config.dns.servers]
    # Several tries, each twice as long as the one before, fit into the deadline of one question.
    return NameServers(loop, servers, config.dns.deadline / 2**TRIES)


def resolver_of(config: Config, servers: NameServers, loop: asyncio.AbstractEventLoop,
                reach: Reach | None = None) -> Resolver:
    """A resolver by the stack's clock and the timers of a loop. reach: by default what the listeners can send by."""
    return Resolver(servers, monotonic_ms, lambda ms, then: loop.call_later(ms / 1000, then), reach or reach_of(config),
                    bounds_of(config))


class LookUp(Naming):
    """The stack's way to a Resolver. step: takes the stack to now, does something with it, and sends what it says."""

    def __init__(self, resolver: Resolver, step: Step) -> None:
        self.resolver = resolver
        self.step = step

    def known(self, place: Place) -> Outcome | None:
        return self.resolver.known(place)

    def resolve(self, place: Place, told: Callable[[Outcome, int], None]) -> Outcome | None:
        return self.resolver.resolve(
            place, lambda outcome: self.step(lambda: told(outcome, self.resolver.clock())))


class UpstreamNames:
    """The addresses of upstreams' targets that are names, looked up anew when their time is over; the last good ones
    stay for a bounded time when nobody answers, or says that there are none.

    changed: called a moment after they did. log: takes level, event and fields.
    """

    def __init__(self, resolver: Resolver, changed: Callable[[], None], log: Log, stale_ms: int) -> None:
        self.resolver = resolver
        self.changed = changed
        self.log = log
        self.stale_ms = stale_ms
        self.found: dict[Place, tuple[Reached, ...]] = {}
        self._good: dict[Place, int] = {}
        """When it was last found."""
        self._faults: dict[Place, str] = {}
        self._timers: dict[Place, Waiting | None] = {}
        self._soon: Waiting | None = None

    def follow(self, wanted: Iterable[Place]) -> None:
        """Look up these from now on, and no others."""
        wanted = set(wanted)
        for place in self._timers.keys() - wanted:
            timer = self._timers.pop(place)
            if timer is not None:
                timer.cancel()
            self.found.pop(place, None)
            self._faults.pop(place, None)
        for place in sorted(wanted - self._timers.keys()):
            self._timers[place] = None
            self._ask(place)

    def stop(self) -> None:
        self.follow(())
        if self._soon is not None:
            self._soon.cancel()

    def _ask(self, place: Place) -> None:
        outcome = self.resolver.resolve(place, partial(self._told, place), urgent=True)
        if outcome is not None:
            self._told(place, outcome)

    def _told(self, place: Place, outcome: Outcome) -> None:
        if place not in self._timers:
            return
        now = self.resolver.clock()
        if isinstance(outcome, Unresolved):
            self._failed(place, str(outcome), now)
            wait = AGAIN_MS
        else:
            if self._faults.pop(place, ""):
                self.log("info", "name resolves again", name=str(place))
            self._good[place] = now
            self._take(place, outcome)
            wait = max(self.resolver.good_until(place) - now, 1_000)
        self._timers[place] = self.resolver.later(wait, partial(self._ask, place))

    def _take(self, place: Place, outcome: tuple[Reached, ...]) -> None:
        before = self.found.get(place)
        if before == outcome:
            return
        self.found[place] = outcome
        self.log("info", "name resolved", name=str(place), addresses=_shown(outcome), before=_shown(before or ()))
        self._change()

    def _failed(self, place: Place, why: str, now: int) -> None:
        kept = place in self.found and now - self._good[place] < self.stale_ms
        if self._faults.get(place) != why:
            self._faults[place] = why
            self.log("warning", "name does not resolve", name=str(place), error=why,
                     kept=_shown(self.found[place]) if kept else [])
        if place in self.found and not kept:
            del self.found[place]
            self.log("warning", "name given up", name=str(place))
            self._change()

    def _change(self) -> None:
        if self._soon is None:
            self._soon = self.resolver.later(SOON_MS, self._on_soon)

    def _on_soon(self) -> None:
        self._soon = None
        self.changed()


class Failures:
    """Says once in a while that name servers do not answer."""

    def __init__(self, resolver: Resolver, log: Log) -> None:
        self.resolver = resolver
        self.log = log
        self.seen = 0
        self.told_at = -TOLD_MS

    def look(self) -> None:
        counters = self.resolver.counters
        failed = counters["failed"] + counters["stale"]
        now = self.resolver.clock()
        if failed > self.seen and now - self.told_at >= TOLD_MS:
            self.log("warning", "name server does not answer", questions=failed - self.seen,
                     last=self.resolver.last_fault)
            self.seen, self.told_at = failed, now


def look_up(config: Config, servers: Callable[[Config, asyncio.AbstractEventLoop], NameServers] = name_servers,
            ) -> dict[Place, Outcome]:
    """The outcome for each upstream's target that is a name, all asked for at once and within one deadline."""
    wanted = list(places(config))
    if not wanted:
        return {}
    found: dict[Place, Outcome] = {}

    async def run() -> None:
        loop = asyncio.get_running_loop()
        asked = servers(config, loop)
        resolver = resolver_of(config, asked, loop)
        over = asyncio.Event()

        def told(place: Place, outcome: Outcome) -> None:
            found[place] = outcome
            if len(found) == len(wanted):
                over.set()

        for place in wanted:
            outcome = resolver.resolve(place, partial(told, place), urgent=True)
            if outcome is not None:
                told(place, outcome)
        await over.wait()
        asked.close()

    asyncio.run(run())
    return found


def addresses_in(outcomes: dict[Place, Outcome]) -> Found:
    """Of what was looked up, what leads somewhere."""
    return {place: outcome for place, outcome in outcomes.items() if not isinstance(outcome, Unresolved)}


def _shown(found: tuple[Reached, ...]) -> list[Any]:
    return [f"{one.transport}:{f'[{one.ip}]' if ':' in one.ip else one.ip}:{one.port}" for one in found]


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
