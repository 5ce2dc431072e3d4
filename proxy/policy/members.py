"""Which of an upstream's targets are tried for a call, and in which order.

Lower priorities come first. Within one priority an upstream's `balance` decides: by weight (RFC 2782; exact shares of
1024 slots, one of which a Call-ID names), by a consistent hash of the Call-ID (weighted rendezvous: a target that comes
or goes moves no calls but its own), or by the calls in progress.

What health says of the targets comes in as shares of their weights (`follow`); a target without a share is skipped.
Nothing is computed then: orders are made when a call first needs them, and an order that was made before is the same
object again, so that what hangs on it (verdicts that are ready) need not be made anew.
"""
import zlib
from collections.abc import Callable, Sequence
from math import log

from proxy.config import Upstream

from .addresses import Address
from .names import Found, members

SLOTS = 1024
"""Positions among which weights are shared out; a Call-ID names one of them."""
FULL = 1000
"""The share of a target that is as it should be."""
MOST_ORDERS = 4096
"""Orders that are kept; with ten targets of one priority a few hundred turn up."""


Parts = tuple[str, int, bytes, bytes, str, str]
"""Host and port of a target, its request URI before and behind the user part, transport and server name."""


class Order:
    """Addresses in the order they are tried, none where a call is to be refused. Equal orders of one upstream are one
    object as a rule, and never two with different addresses."""

    __slots__ = ("addresses", "parts")

    def __init__(self, addresses: tuple[Address, ...]):
        self.addresses = addresses
        self.parts: list[Parts] | None = None
        """For who fills in request URIs: what each address makes of the template."""


class Members:
    """The targets of an upstream."""

    def __init__(self, upstream: Upstream, found: Found | None = None):
        """found: addresses of its targets that are names."""
        all_ = members(upstream.targets, found or {})
        self.addresses = tuple(member.address for member in all_)
        self._balance = upstream.balance
        self._try_all = upstream.health.all_down
        self._weights = [member.weight for member in all_]
        self._keys = [str(index) if self._balance == "weight" else str(address)
                      for index, address in enumerate(self.addresses)]
        self._levels = [[index for index, member in enumerate(all_) if member.priority == priority]
                        for priority in sorted({member.priority for member in all_})]
        self._made: dict[tuple[int, ...], Order] = {}
        self.loads: Callable[[], Sequence[int]] | None = None
        """Calls in progress, one for each of `addresses`."""
        self.shares: tuple[int, ...] = ()
        self.follow([FULL] * len(self.addresses))

    def follow(self, shares: Sequence[int | None]) -> None:
        """Take over what each target is to get of its weight, of FULL. 0: it is down; None: it gets nothing even where
        all others are down."""
        self.shares = tuple(share or 0 for share in shares)
        live = [[index for index in level if shares[index]] for level in self._levels]
        if not any(live):
            self.shares = (FULL,) * len(shares)
            live = [[index for index in level if shares[index] is not None] for level in self._levels
                    ] if self._try_all else []
        self._live = [level for level in live if level]
        self._effective = [weight * share for weight, share in zip(self._weights, self.shares, strict=True)]
        self._asks_loads = self._balance == "least-load" and any(len(level) > 1 for level in self._live)
        varied = any(len(level) > 1 for level in self._live)
        self._slots: list[Order | None] = [None] * (SLOTS if varied else 1)
        self.fixed: Order | None = None if varied else self._order(0)
        """The order where it is the same for every call."""

    def order(self, call_id: str) -> Order:
        """The order for a call."""
        if self.fixed is not None:
            return self.fixed
        slot = zlib.crc32(call_id.encode("utf-8", "surrogateescape")) % SLOTS
        if self._asks_loads and self.loads is not None:
            return self._by_load(slot, self.loads())
        return self._slots[slot] or self._order(slot)

    def _order(self, slot: int) -> Order:
        """Make the order of a slot."""
        indices: list[int] = []
        for level in self._live:
            indices += self._ranked(level, slot)
        order = self._slots[slot] = self._intern(tuple(indices))
        return order

    def _intern(self, indices: tuple[int, ...]) -> Order:
        order = self._made.get(indices)
        if order is None:
            if len(self._made) >= MOST_ORDERS:
                self._made.clear()
            order = self._made[indices] = Order(tuple(self.addresses[index] for index in indices))
        return order

    def _ranked(self, level: list[int], slot: int) -> list[int]:
        """Targets of one priority for a slot: by weighted rendezvous hashing, so that a failed target's calls spread by
        weight as well; where weights are to be exact, the first by its share of the slots."""
        if len(level) == 1:
            return level
        order = sorted(level, key=lambda index: self._score(slot, index), reverse=True)
        total = sum(self._effective[index] for index in level)
        if self._balance == "weight":
            # Slots are dealt out in a scattered order (the odd factor is a permutation of them).
            share, position = 0, slot * 619 % SLOTS
            for index in level:
                share += self._effective[index]
                if position * total < share * SLOTS:
                    order.remove(index)
                    order.insert(0, index)
                    break
        return order

    def _score(self, slot: int, index: int) -> float:
        digest = zlib.crc32(f"{slot}/{self._keys[index]}".encode()) * 2654435761 % 2**32
        weight = self._effective[index]
        return -weight / log((digest + 1) / (2**32 + 1)) if weight else -1.0

    def _by_load(self, slot: int, loads: Sequence[int]) -> Order:
        """First, of each priority, who has the fewest calls for its weight; among equals a slot decides."""
        indices: list[int] = []
        for level in self._live:
            first, least, turn = level[0], -1.0, slot % len(level)
            for index in (*level[turn:], *level[:turn]):
                weight = self._effective[index]
                load = (loads[index] + 1) / weight if weight else 1e9 + loads[index]
                if least < 0 or load < least:
                    first, least = index, load
            indices.append(first)
            indices += [index for index in level if index != first]
        return self._intern(tuple(indices))
