"""Header injection: names, values and templates, and where filled headers go (transfers.md section 3).

Names and values are checked twice, when the configuration loads and after variables are filled in: what a
variable holds (an inbound header, an escaped user part) can never end a line or begin another header.
"""
import json
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote_to_bytes

from sipcore.wire.tables import canonical_name

if TYPE_CHECKING:
    from proxy.config import Header, HeaderSet, UserToUser
    from sipcore.stack.verdict import Request

_NAME = re.compile(r"X-[A-Za-z0-9\-_]+", re.ASCII)
# Control characters (C0, DEL, C1), the line separators that some peers split at, and lone surrogates (octets
# that are not UTF-8).
_FORBIDDEN = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_BRACES = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")
_UNRESERVED = "-_.!~*'()"

Reader = Callable[[Any], str | None]
"""Reads a variable's value from a source: a Request, or the variables of a call (proxy.policy.context)."""


class MissingVariable(Exception):
    """A header whose `missing` is `fail` has a variable without a value; args: header name, why."""


def valid_name(name: str) -> bool:
    """`^X-[A-Za-z0-9\\-_]+$`, to the very end (no trailing newline)."""
    return _NAME.fullmatch(name) is not None


def is_x_header(name: str) -> bool:
    """Whether a received header has such a name, in any case (RFC 3261 7.3.1)."""
    return valid_name(name[:1].upper() + name[1:])


def valid_value(value: str) -> bool:
    """No CR, LF, NUL nor any other control character."""
    return _FORBIDDEN.search(value) is None


def user_of(uri: str) -> str | None:
    """The user part of a sip: URI or the number of a tel: URI, unescaped and without parameters; None where
    there is none."""
    scheme, colon, rest = uri.partition(":")
    if not colon:
        return None
    rest, at, _ = rest.partition("@")
    if not at and scheme.lower() != "tel":
        return None
    if ":" in rest:
        rest = rest.partition(":")[0]
    if ";" in rest:
        rest = rest.partition(";")[0]
    return (unescape(rest) if "%" in rest else rest) or None


def unescape(text: str) -> str:
    """Percent escapes as the characters that they stand for; octets that are not UTF-8 as lone surrogates."""
    return unquote_to_bytes(text.encode("utf-8", "surrogateescape")).decode("utf-8", "surrogateescape")


_SYSTEM: dict[str, Reader] = {
    "call_id": lambda request: request.call_id or None,
    "from_phone_number": lambda request: user_of(request.from_uri),
    "to_phone_number": lambda request: user_of(request.to_uri),
}


@dataclass(frozen=True, slots=True)
class Template:
    """A header value: constant text, and variables between."""

    pieces: tuple[tuple[str, str, Reader | None], ...]
    """Text, the name of the variable after it, and what reads that ('' and None at the end)."""

    @property
    def constant(self) -> bool:
        return all(read is None for _, _, read in self.pieces)

    @property
    def format(self) -> str:
        """The template for the operator `%`."""
        return "".join(f"{literal.replace('%', '%%')}{'%s' if read else ''}" for literal, _, read in self.pieces)


def parse_template(text: str, reader: Callable[[str], Reader] | None = None) -> Template:
    """Read `{variable}`, `{{` and `}}`; ValueError says what was found and what was expected.

    reader: what reads a variable of that name; of a Request by default.
    """
    reader = reader or _reader
    if not valid_value(text):
        raise ValueError("contains a control character; expected printable text")
    text = text.strip(" ")
    pieces: list[tuple[str, str, Reader | None]] = []
    literal, end = "", 0
    for match in _BRACES.finditer(text):
        literal += text[end:match.start()]
        end = match.end()
        if match[0] in ("{{", "}}"):
            literal += match[0][0]
        elif match[1] is None:
            raise ValueError(f"a single {match[0]} at character {match.start() + 1}; expected a variable in braces, "
                             f"or {match[0] * 2} for a brace")
        else:
            pieces.append((literal, match[1], reader(match[1])))
            literal = ""
    pieces.append((literal + text[end:], "", None))
    return Template(tuple(pieces))


def _reader(variable: str) -> Reader:
    if variable in _SYSTEM:
        return _SYSTEM[variable]
    if valid_name(variable):
        return lambda request: request.header(variable)
    raise ValueError(f"unknown variable {{{variable}}}; expected one of {', '.join(f'{{{name}}}' for name in _SYSTEM)}"
                     " or {X-Name}")


@dataclass(frozen=True, slots=True)
class Filled:
    """A header with its value for one request, checked."""

    name: str
    value: str
    priority: int


@dataclass(frozen=True, slots=True)
class Setter:
    """A header of the configuration, compiled."""

    name: str
    template: Template
    missing: str
    priority: int

    def fill(self, request: "Request", hidden: "Patterns") -> tuple[Filled | None, str]:
        """The header for this request, or None and why it is left out.

        hidden: received headers that this sender may not set, read as missing. What may not be sent counts as missing
        too: no sender can suppress a header that must be there. Raises MissingVariable.
        """
        text = ""
        for literal, variable, read in self.template.pieces:
            text += literal
            if read is None:
                continue
            value, why = None if hidden.match(variable) else read(request), f"no {{{variable}}}"
            if value is not None:
                # A tab is white space between words (RFC 3261 25.1, LWS), which a space is as well.
                value = value.replace("\t", " ")
                if not valid_value(value):
                    value, why = None, f"{{{variable}}} has a control character"
            if value is None and self.missing == "fail":
                raise MissingVariable(self.name, why)
            if value is None and self.missing == "omit":
                return None, f"{self.name} left out: {why}"
            text += value or ""
        return Filled(self.name, text.strip(" "), self.priority), ""


def kept(headers: Sequence[Filled], keep: int | None, instead: Filled | None) -> list[Filled]:
    """The first `keep` of the headers (all by default), behind the one that stands in place of the others, if any: what
    has its name goes with those."""
    first = headers if keep is None else headers[:keep]
    if instead is None:
        return list(first)
    name = instead.name.lower()
    return [instead, *(header for header in first if header.name.lower() != name)]


class Patterns:
    """Header names and `X-Internal-*` prefixes, matched in any case and in compact form (RFC 3261 7.3.3)."""

    def __init__(self, patterns: Iterable[str]):
        self.patterns = tuple(patterns)
        self._names = frozenset(canonical_name(pattern).lower() for pattern in self.patterns
                                if not pattern.endswith("*"))
        self._prefixes = tuple(pattern[:-1].lower() for pattern in self.patterns if pattern.endswith("*"))

    def match(self, name: str) -> bool:
        name = canonical_name(name).lower()
        return name in self._names or name.startswith(self._prefixes)


def compile_sets(sets: Iterable["HeaderSet"], method: str) -> tuple[Setter, ...]:
    """The headers that a request of this method gets, highest priority first, else in the file's order: what
    is dropped first stands last."""
    chosen = [header for one in sets if method in one.on for header in one.add]
    return tuple(sorted((_setter(header) for header in chosen), key=lambda setter: -setter.priority))


def _setter(header: "Header") -> Setter:
    return Setter(header.name, parse_template(header.value), header.missing, header.priority)


def fill(setters: Iterable[Setter], request: "Request", hidden: Patterns) -> tuple[list[Filled], list[str]]:
    """Fill headers in order; the second list says what was left out and why. Raises MissingVariable."""
    filled, notes = [], []
    for setter in setters:
        header, note = setter.fill(request, hidden)
        if header is None:
            notes.append(note)
        else:
            filled.append(header)
    return filled, notes


def escape(text: str) -> str:
    """Escape for a URI header, once: everything outside RFC 3261's `unreserved` becomes %XX of its UTF-8."""
    return quote(text, safe=_UNRESERVED)


def uri_headers(headers: Iterable[Filled]) -> str:
    """`X-A=1&X-B=two%20words`, as it stands after the `?` of a URI."""
    return "&".join(f"{header.name}={escape(header.value)}" for header in headers)


def pack_user_to_user(headers: list[Filled], settings: "UserToUser") -> tuple[str, list[str]]:
    """The value of `User-to-User` (RFC 7433: `uui-value` in hex and its parameters), and the names left out
    because they exceed the limit, lowest priority first. Empty where nothing is packed."""
    names = {name.lower() for name in settings.names}
    chosen = [header for header in headers if not names or header.name.lower() in names]
    left_out: list[str] = []
    if settings.packing == "value":
        chosen, left_out = chosen[:1], [header.name for header in chosen[1:]]
    while chosen:
        data = _packed(chosen, settings.packing)
        if len(data) <= settings.limit:
            parameters = "".join(f";{name}={value}" for name, value in (
                ("encoding", settings.encoding), ("purpose", settings.purpose), ("content", settings.content)) if value)
            return data.hex() + parameters, left_out
        left_out.append(chosen.pop().name)
    return "", left_out


def _packed(headers: list[Filled], packing: str) -> bytes:
    if packing == "value":
        return headers[0].value.encode()
    if packing == "pairs":
        return uri_headers(headers).encode()
    fields: dict[str, Any] = {header.name: header.value for header in headers}
    return json.dumps(fields, ensure_ascii=False, separators=(",", ":")).encode()
