"""What every table of the configuration file has in common: strict, frozen, and documented field by field.

The descriptions given to `doc` are the only text about a field: the reference (docs/configuration.md) is made
from them.
"""
from typing import Annotated

from msgspec import Meta, Struct


class Table(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A table of the file: an unknown key is an error, a missing one has its default."""


def doc(text: str) -> Meta:
    """The description of a field, one or two sentences."""
    return Meta(description=text)


Name = Annotated[str, Meta(min_length=1, max_length=64)]
"""How other tables call this one."""

Names = tuple[Name, ...]
Port = Annotated[int, Meta(ge=1, le=65535)]
Count = Annotated[int, Meta(ge=0, le=2**31 - 1)]
Seconds = Annotated[float, Meta(ge=0, le=604800)]
Rate = Annotated[int, Meta(ge=0, le=1_000_000)]
Burst = Annotated[int, Meta(ge=0, le=4_000_000)]
Mtu = Annotated[int, Meta(ge=0, le=65535)]
