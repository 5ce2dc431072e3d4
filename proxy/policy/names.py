"""Upstreams' targets that are names: which they are, and what becomes of their order once they are looked up.

Who looks them up hands over what he found; a target that is not among that stays a name, and whoever sends looks it up
then (sipcore.stack.naming).
"""
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from proxy.config import Config, UpstreamTarget
from sipcore.base.place import Place, Reached

from .addresses import Address, parse_target

Found = Mapping[Place, tuple[Reached, ...]]
"""Addresses of the targets that are names."""
SCALE = 1000
"""What weights are multiplied by where a name's share has to be divided among its addresses."""


@dataclass(frozen=True, slots=True)
class Member:
    """One address that requests are sent to."""

    address: Address
    priority: int
    weight: int


def parsed(target: UpstreamTarget) -> Address:
    """What a target says; ValueError says what was expected."""
    return parse_target(target.address, target.transport, target.server_name)


def places(config: Config) -> Iterator[Place]:
    """Each target that is a name, once."""
    named = (parsed(target).place for upstream in config.upstreams for target in upstream.targets)
    return (place for place in dict.fromkeys(named) if place is not None)


def members(targets: Sequence[UpstreamTarget], found: Found) -> list[Member]:
    """The addresses of an upstream's targets. A name's own priorities and weights (SRV) come below the target's: its
    addresses share its weight, those of a higher priority first."""
    addresses = [parsed(target) for target in targets]
    if all(address.place is None for address in addresses):
        return [Member(address, target.priority, target.weight)
                for address, target in zip(addresses, targets, strict=True)]
    spread: list[tuple[Address, tuple[int, int], int]] = []
    for address, target in zip(addresses, targets, strict=True):
        reached = found.get(address.place, ()) if address.place is not None else ()
        if not reached:
            spread.append((address, (target.priority, 0), SCALE * target.weight))
        for one in reached:
            level = [other.weight for other in reached if other.level == one.level]
            weight = SCALE * target.weight * (one.weight if any(level) else 1) // (sum(level) or len(level))
            spread.append((Address(one.ip, one.port, address.said, None, one.transport, address.name or one.name),
                           (target.priority, one.level), weight))
    levels = sorted({level for _, level, _ in spread})
    return [Member(address, levels.index(level), weight) for address, level, weight in spread]
