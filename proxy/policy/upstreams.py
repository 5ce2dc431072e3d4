"""An upstream, compiled: its targets in the order they are tried, the request URI that each one gets, and all
that is constant about requests to it."""
import zlib
from dataclasses import dataclass
from math import log
from typing import Any

from proxy.config import Config, Upstream
from sipcore.stack.verdict import Request, Target

from .acl import trusts
from .addresses import Address, parse_address
from .fragmentation import Budget
from .refusals import Refused
from .uris import Uri

SLOTS = 1024
"""Positions among which weights are shared out; a Call-ID names one of them."""


@dataclass(frozen=True, slots=True)
class _Member:
    address: Address
    priority: int
    weight: int


class Members:
    """The targets of an upstream: by priority, and within one priority by weight (as RFC 2782 means it), chosen
    by a hash of the Call-ID so that the order is a function of the request."""

    def __init__(self, upstream: Upstream):
        members = [_Member(parse_address(target.address), target.priority, target.weight)
                   for target in upstream.targets]
        levels = [[member for member in members if member.priority == priority]
                  for priority in sorted({member.priority for member in members})]
        varied = any(len(level) > 1 for level in levels)
        self.orders: tuple[tuple[Address, ...], ...] = tuple(
            tuple(member.address for level in levels for member in _order(level, slot))
            for slot in (range(SLOTS) if varied else (0,)))

    def slot(self, call_id: str) -> int:
        if len(self.orders) == 1:
            return 0
        return zlib.crc32(call_id.encode("utf-8", "surrogateescape")) % SLOTS


def _order(level: list[_Member], slot: int) -> list[_Member]:
    """Members of one priority for a slot: the first by exact share of the slots, the others by weighted
    rendezvous hashing, so that a failed target's calls spread by weight as well."""
    def score(index: int) -> float:
        digest = zlib.crc32(f"{slot}/{index}".encode()) * 2654435761 % 2**32
        return -level[index].weight / log((digest + 1) / (2**32 + 1)) if level[index].weight else -1.0

    if len(level) == 1:
        return level
    order = sorted(range(len(level)), key=score, reverse=True)
    total = sum(member.weight for member in level)
    # Slots are dealt out in a scattered order (the odd factor is a permutation of them).
    share, position = 0, slot * 619 % SLOTS
    for index, member in enumerate(level):
        share += member.weight
        if position * total < share * SLOTS:
            order.remove(index)
            order.insert(0, index)
            break
    return [level[index] for index in order]


class Peer:
    """What policy needs of an upstream for one request."""

    def __init__(self, config: Config, upstream: Upstream, index: int):
        self.settings = upstream
        self.index = index
        self.members = Members(upstream)
        self.uri = Uri(upstream)
        self.budget = Budget(upstream.mtu)
        self.addresses = frozenset(self.members.orders[0])
        self.trusted = bool(self.addresses) and all(trusts(config, address.host) for address in self.addresses)
        self._varied = len(self.members.orders) > 1
        self._around = [[self._parts(address) for address in order] for order in self.members.orders]
        timers = config.timers
        self.verdict: dict[str, Any] = {
            "upstream": index,
            "max_calls": upstream.max_calls,
            "try_timeout": round(1000 * (upstream.try_timeout or timers.try_timeout)),
            "ring_timeout": round(1000 * (upstream.ring_timeout or timers.timer_c)),
            "max_duration": upstream.max_duration,
            "budget": self.budget.limit,
        }
        """Fields of every verdict that sends something there."""

    def _parts(self, address: Address) -> tuple[str, int, bytes, bytes]:
        before, after = self.uri.parts(address)
        return address.host, address.port, before.encode(), after.encode()

    @property
    def along_uri(self) -> bool:
        """Requests go where their URI says."""
        return not self.addresses

    @property
    def constant(self) -> bool:
        """The targets do not depend on the request URI."""
        return self.along_uri or self.uri.keeps

    @staticmethod
    def plain(order: tuple[Address, ...]) -> tuple[Target, ...]:
        """Targets that leave the request URI as it is."""
        return tuple([Target(address.host, address.port) for address in order])

    def targets(self, request: Request) -> tuple[Target, ...]:
        """The targets in order, each with its URI. Raises Refused (404) where the URI template cannot take this
        user."""
        if not self.addresses:
            return ()
        slot = self.members.slot(request.call_id) if self._varied else 0
        order = self.members.orders[slot]
        if self.uri.keeps:
            return self.plain(order)
        user = self.uri.user(request.scheme, request.user)
        if user is None:
            raise Refused(404, "Not a Telephone Number", "the upstream takes tel: only")
        if self.uri.reads_domain or not user:
            return tuple([Target(address.host, address.port, -1, self.uri.fill(user, address, request.host).encode())
                          for address in order])
        name = user.encode()
        around = self._around[slot]
        if len(around) == 1:
            host, port, before, after = around[0]
            return (Target(host, port, -1, before + name + after),)
        return tuple([Target(host, port, -1, before + name + after)
                      for host, port, before, after in around])


def compile_peers(config: Config) -> dict[str, Peer]:
    """Every upstream by name; `request-uri` is always among them (index -1 where it is not configured)."""
    peers = {"request-uri": Peer(config, Upstream(name="request-uri", uri=""), -1)}
    peers.update((upstream.name, Peer(config, upstream, index)) for index, upstream in enumerate(config.upstreams))
    return peers
