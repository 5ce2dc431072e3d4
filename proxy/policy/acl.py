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
    """The access list of a listener (by index): each prefix once, however often and in whatever spelling its group has
    it, with the index of that group."""
    name = config.listeners[listener].name
    return [
        Prefix(network, index)
        for index, group in enumerate(config.groups) if not group.listeners or name in group.listeners
        for network in dict.fromkeys(map(parse_prefix, group.addresses))
    ]


class Owners:
    """Which group has a prefix, listener by listener: in two groups the longest match would be a matter of luck."""

    def __init__(self, config: "Config"):
        self._listeners = [
            [index for index, listener in enumerate(config.listeners)
             if not group.listeners or listener.name in group.listeners] for group in config.groups]
        self._owners: list[dict[str, int]] = [{} for _ in config.listeners]

    def claim(self, group: int, network: IPv4Network | IPv6Network) -> int:
        """Give a group a prefix, unless another has it on one of its listeners; the group that has it then."""
        text = str(network)
        tables = [self._owners[index] for index in self._listeners[group]]
        for table in tables:
            if table.get(text, group) != group:
                return table[text]
        for table in tables:
            table[text] = group
        return group


def taken(network: IPv4Network | IPv6Network, group: str) -> str:
    """What is wrong with a prefix that another group has."""
    return f'{network} is in group "{group}" already; expected each prefix in one group'


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
