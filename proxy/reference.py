"""The reference of the configuration (docs/configuration.md), made from the Structs that decode it.

`python -m proxy.reference > docs/configuration.md` writes it anew; a test compares the two.
"""
from typing import Any

import msgspec
from msgspec import inspect

from proxy.config import tables

INTRODUCTION = """\
# Configuration

One TOML file. It is checked as a whole before anything starts: an unknown key, a wrong type, a reference to
something that is not there, each is an error with the file's line, the path of the key, what was found and what was
expected. `sipedge check -c FILE` does only that, and shows the size budget that each header set uses.

A small edge needs no more than this:

```toml
[[listener]]
name = "public"
bind = "udp:203.0.113.5:5060"

[[group]]
name = "office"
addresses = ["192.0.2.0/24"]

[[upstream]]
name = "pbx"
targets = [{ address = "192.0.2.10:5060" }]

[[route]]
to = "pbx"
```

`[[name]]` is a table that may stand several times, `[name]` one that may stand once. Times are in seconds, sizes in
bytes. Secrets never stand in this file.

How a request that begins something is decided: its source's group (`group`, longest prefix) must allow the method;
the route (`route`) with the longest number prefix that matches, else the first that matches, says where it goes;
its header sets (`headers`) are filled in; internal headers are taken out; and if the result is bigger than the
budget of the upstream, the steps of its `size_policy` make it smaller. A Route, or `maddr` in the request URI, that
leads elsewhere than the upstream, or than the `domains` of a route along the request URI, is refused (403).

Inside dialogs that the edge forwarded, requests follow the dialog. REFER is passed on only by a rule (`refer`).
"""


def render() -> str:
    """The whole reference as Markdown."""
    parts = [INTRODUCTION]
    for field in tables():
        info = inspect.type_info(field.type)
        many = isinstance(_bare(info), inspect.VarTupleType)
        name = f"[[{field.encode_name}]]" if many else f"[{field.encode_name}]"
        parts += _struct(name, field.encode_name, _struct_of(info), 2)
    return "\n".join(parts)


def _struct(title: str, path: str, info: inspect.StructType, level: int) -> list[str]:
    """A section for a table, then one for each table in it."""
    parts = [f"{'#' * level} `{title}`\n", f"{_text(info.cls.__doc__ or '')}\n",
             "| key | value | default | |", "| --- | --- | --- | --- |"]
    inner = []
    for field in info.fields:
        about = field.type.extra_json_schema if isinstance(field.type, inspect.Metadata) else None
        description = (about or {}).get("description", "")
        parts.append(f"| `{field.encode_name}` | {_kind(field.type)} | {_default(field)} | {_text(description)} |")
        if (struct := _struct_in(field.type)) is not None:
            inner.append((f"{path}.{field.encode_name}", struct))
    parts.append("")
    for name, struct in inner:
        parts += _struct(name, name, struct, level + 1)
    return parts


def _text(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _bare(info: Any) -> Any:
    """A type without what is said about it; of `X | None` it is X."""
    while isinstance(info, inspect.Metadata | inspect.UnionType):
        info = info.type if isinstance(info, inspect.Metadata) else next(
            one for one in info.types if not isinstance(one, inspect.NoneType))
    return info


def _struct_in(info: Any) -> inspect.StructType | None:
    info = _bare(info)
    if isinstance(info, inspect.VarTupleType):
        info = _bare(info.item_type)
    return info if isinstance(info, inspect.StructType) else None


def _struct_of(info: Any) -> inspect.StructType:
    struct = _struct_in(info)
    assert struct is not None
    return struct


def _kind(info: Any) -> str:
    match _bare(info):
        case inspect.LiteralType(values=values):
            return ", ".join(f"`{value}`" if value else '`""`' for value in values)
        case inspect.VarTupleType(item_type=item):
            return f"array of {_kind(item)}"
        case inspect.StructType():
            return "table"
        case inspect.BoolType():
            return "true or false"
        case inspect.IntType(ge=low, le=high) | inspect.FloatType(ge=low, le=high) as number:
            name = "integer" if isinstance(number, inspect.IntType) else "number"
            if low is None or high is None or high > 65535:
                return f"{name} from {low:g}" if low else name
            return f"{name} {low:g} to {high:g}"
        case _:
            return "string"


def _default(field: inspect.Field) -> str:
    if field.required:
        return "needed"
    value = field.default if field.default is not msgspec.NODEFAULT else field.default_factory()
    if isinstance(value, msgspec.Struct):
        return "as below"
    if value is None:
        return "none"
    return f"`{_toml(value)}`"


def _toml(value: Any) -> str:
    if isinstance(value, tuple):
        return f"[{', '.join(_toml(item) for item in value)}]"
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{value}"' if isinstance(value, str) else f"{value:g}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    print(render(), end="")
