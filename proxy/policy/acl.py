"""The access list: which group an address belongs to, and which methods a group may use.

The edge looks sources up below, in a prefix trie that is filled from `prefixes`; `group_of` is the same longest
match in plain Python, for what is computed when the configuration loads.
"""
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import TYPE_CHECKING

from .addresses import parse_prefix

if TYPE_CHECKING:
    from proxy.config import Config

UNLISTED = -1
"""Index of the group of sources that are in no group."""


@dataclass(frozen=True, slots=True)
class Prefix:
    """One entry of the access list of a listener."""

    network: IPv4Network | IPv6Network
    group: int


def prefixes(config: "Config", listener: int) -> list[Prefix]:
    """The access list of a listener (by index): each prefix once, with the index of its group."""
    name = config.listeners[listener].name
    return [
        Prefix(parse_prefix(address), index)
        for index, group in enumerate(config.groups) if not group.listeners or name in group.listeners
        for address in group.addresses
    ]


def group_of(table: list[Prefix], address: str) -> int:
    """Longest match; UNLISTED where nothing matches or address is no IP literal."""
    try:
        ip = ip_address(address.strip("[]"))
    except ValueError:
        return UNLISTED
    if ip.version == 6 and ip.ipv4_mapped:
        ip = ip.ipv4_mapped
    best, group = -1, UNLISTED
    for prefix in table:
        if prefix.network.version == ip.version and ip in prefix.network and prefix.network.prefixlen > best:
            best, group = prefix.network.prefixlen, prefix.group
    return group


def trusts(config: "Config", address: str) -> bool:
    """Whether an address belongs to a trusted group on every listener that lists it, and on one at least."""
    groups = {group_of(prefixes(config, index), address) for index in range(len(config.listeners))} - {UNLISTED}
    return bool(groups) and all(config.groups[group].trusted for group in groups)
