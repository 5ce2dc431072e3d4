"""The variables of a controlled call (transfers.md section 3): what templates read, and how variables are set.

Variables are nested dicts with strings for keys. Strangers fill them (a caller's X-headers, a webhook, an API
client), so number and length are bounded where they come in, and values are checked again where they go out.
"""
import re
from collections.abc import Iterable, Mapping
from typing import Any

from .headers import Patterns, Reader, Template, is_x_header, parse_template, user_of, valid_name

Variables = Mapping[str, Any]

DEPTH = 8
"""Most parts of `{results.data.name}`."""
VALUE_LIMIT = 4096
"""Most bytes (UTF-8) of a variable that is printed; a longer one counts as missing."""
MOST_VARIABLES = 256

RESULTS = "results"
SYSTEM = ("call_id", "from_phone_number", "to_phone_number")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_\-]{0,63}", re.ASCII)
_PART = re.compile(r"[A-Za-z0-9_\-]{1,64}", re.ASCII)
_LARGEST_INTEGER = 2**63


class BadVariable(ValueError):
    """A variable that cannot be set; args: its name, why."""


# --- reading


def lookup(variables: Variables, name: str) -> tuple[str | None, str]:
    """The text of a variable, or None and why it counts as missing. Only strings, numbers, true and false print."""
    value: Any = variables
    for part in name.split("."):
        if not isinstance(value, Mapping):
            return None, f"no {{{name}}}"
        found = value.get(part)
        if found is None and value is variables and is_x_header(part):
            found = next((value[key] for key in value if key.lower() == part.lower()), None)
        value = found
    if value is None:
        return None, f"no {{{name}}}"
    text = _text(value)
    if text is None:
        kind = "a table" if isinstance(value, Mapping) else "a list" if isinstance(value, (list, tuple)) else "no text"
        return None, f"{{{name}}} is {kind}"
    if len(text.encode("utf-8", "surrogatepass")) > VALUE_LIMIT:
        return None, f"{{{name}}} is longer than {VALUE_LIMIT:,} bytes"
    return text, ""


def _text(value: Any) -> str | None:
    """A scalar as JSON writes it, strings without quotes; None for what is none, or has no such text."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value) if abs(value) < _LARGEST_INTEGER else None
    if isinstance(value, float) and abs(value) < float("inf"):
        return repr(value)
    return None


def variable(name: str) -> Reader:
    """What reads a variable from a call's variables; ValueError where no variable can have that name."""
    if name in SYSTEM or valid_name(name):
        return lambda variables: lookup(variables, name)[0]
    first, *more = name.split(".")
    if len(more) >= DEPTH:
        raise ValueError(f"{{{name}}} has {len(more) + 1} parts; expected at most {DEPTH}")
    if first == RESULTS and more and all(_PART.fullmatch(part) for part in more):
        return lambda variables: lookup(variables, name)[0]
    if first != RESULTS and not more and _NAME.fullmatch(first):
        return lambda variables: lookup(variables, name)[0]
    raise ValueError(f"unknown variable {{{name}}}; expected {{results.data.name}}, {{a_name}}, {{X-Name}}, "
                     f"{', '.join(f'{{{one}}}' for one in SYSTEM[:-1])} or {{{SYSTEM[-1]}}}")


def compile_template(text: str) -> Template:
    """A template over a call's variables; ValueError says what was found and what was expected."""
    return parse_template(text, variable)


# --- setting


def call_variables(call_id: str, from_uri: str, to_uri: str, headers: Iterable[tuple[str, str]] = (),
                   hidden: Patterns | None = None) -> dict[str, Any]:
    """The variables that a call begins with, from the caller's INVITE.

    headers: all of its headers. hidden: internal ones, which this sender may not set (none from a trusted group).
    """
    found: dict[str, Any] = {"call_id": call_id, "from_phone_number": user_of(from_uri),
                             "to_phone_number": user_of(to_uri)}
    names: set[str] = set()
    for name, value in headers:
        if (is_x_header(name) and name.lower() not in names and not (hidden and hidden.match(name))
                and len(names) < MOST_VARIABLES):
            names.add(name.lower())
            # A tab is white space between words (RFC 3261 25.1, LWS), which a space is as well.
            found[name] = value.replace("\t", " ")
    # Bytes that are no UTF-8 stand as surrogates, which no JSON and no record can hold.
    return {name: value.encode("utf-8", "replace").decode() for name, value in found.items() if value is not None}


def changed(variables: Variables, changes: Mapping[str, str | None]) -> dict[str, Any]:
    """The variables with some set and some (None) taken away. Raises BadVariable: nothing is set then.

    System variables and results stand for what happened: nobody sets them.
    """
    new = dict(variables)
    for name, value in changes.items():
        if name in SYSTEM or name == RESULTS:
            raise BadVariable(name, f'"{name}" is set by the edge; expected another name')
        if not (valid_name(name) or _NAME.fullmatch(name)):
            raise BadVariable(name, "expected a name of letters, digits, - and _, a letter first, at most 64 of them")
        if value is None:
            new.pop(name, None)
            continue
        size = len(value.encode("utf-8", "surrogatepass"))
        if size > VALUE_LIMIT:
            raise BadVariable(name, f"expected at most {VALUE_LIMIT:,} bytes, found {size:,}")
        new[name] = value
        if len(new) > MOST_VARIABLES:
            raise BadVariable(name, f"expected at most {MOST_VARIABLES} variables of a call")
    return new
