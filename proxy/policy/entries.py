"""Entries of the access list that are kept beside the configuration file: which of them hold, and the list with them.

They are checked by the same code as the addresses of the file.
"""
from collections.abc import Iterable

import msgspec

from proxy.config import Config

from .acl import Owners, taken
from .addresses import parse_prefix


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """A prefix of a group, from the API. Times are ms since 1970."""

    id: str
    group: str
    prefix: str
    note: str = ""
    created: int = 0
    expires: int = 0                    # 0: never

    def over(self, now: int) -> bool:
        return 0 < self.expires <= now


def with_entries(config: Config, entries: Iterable[Entry]) -> tuple[Config, dict[str, tuple[str, str]]]:
    """The configuration with these entries in its groups, and by the id of each that does not fit the field that is
    wrong and why. The file comes first, then whoever stands first."""
    owners = Owners(config)
    groups = {group.name: index for index, group in enumerate(config.groups)}
    more: dict[int, list[str]] = {}
    wrong: dict[str, tuple[str, str]] = {}
    for index, group in enumerate(config.groups):
        for address in group.addresses:
            owners.claim(index, parse_prefix(address))
    for entry in entries:
        found = groups.get(entry.group)
        if found is None:
            wrong[entry.id] = "group", f'expected the name of a [[group]], found "{entry.group}"'
            continue
        try:
            network = parse_prefix(entry.prefix)
        except ValueError as error:
            wrong[entry.id] = "prefix", str(error)
            continue
        owner = owners.claim(found, network)
        if owner != found:
            wrong[entry.id] = "prefix", taken(network, config.groups[owner].name)
        else:
            more.setdefault(found, []).append(str(network))
    merged = tuple(
        msgspec.structs.replace(group, addresses=tuple(
            {parse_prefix(address): address for address in (*group.addresses, *more[index])}.values()))
        if index in more else group for index, group in enumerate(config.groups))
    return msgspec.structs.replace(config, groups=merged), wrong
