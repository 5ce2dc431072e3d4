"""Where filled headers go on a request, and what a transfer of ours carries (transfers.md section 3).

One Placement serves verdicts on forwarded requests and requests that the edge itself sends.
"""
from collections.abc import Iterable, Mapping
from copy import copy
from dataclasses import dataclass, replace
from typing import Literal

from proxy.config import Action, Extractor, Upstream, UserToUser

from .answers import cut, one_line
from .context import Variables, compile_template, lookup
from .headers import Filled, Patterns, escape, is_x_header, kept, pack_user_to_user, uri_headers, valid_value
from .refer_to import ReferTo
from .refusals import Refused

Where = Literal["header", "refer-to", "user-to-user", "reference", "left out"]


class Placement:
    """Where an upstream reads headers on INVITE or REFER."""

    def __init__(self, upstream: Upstream, method: str):
        refer = method == "REFER"
        self.where: tuple[str, ...] = upstream.refer_headers if refer else upstream.invite_headers
        self.packing: UserToUser = upstream.user_to_user
        packs = "user-to-user" in self.where
        self.packs_header = packs and (not refer or "header" in self.packing.where)
        self.packs_uri = packs and refer and "refer-to" in self.packing.where
        self.nowhere = "User-to-User has no room or no place for it"
        """Why a header stands in none of the places."""

    def outside(self) -> "Placement":
        """The same places but for Refer-To: RFC 3966 knows no headers in a tel: URI."""
        placement = copy(self)
        placement.where = tuple(place for place in self.where if place != "refer-to")
        placement.packs_uri = False
        if not placement.packs_header:
            placement.nowhere = "a tel: URI has no headers"
        return placement

    def unplaced(self, headers: list[Filled]) -> list[str]:
        """Names of those that go nowhere: packed alone, and not among what is packed."""
        names = {name.lower() for name in self.packing.names}
        return [header.name for header in headers
                if names and set(self.where) == {"user-to-user"} and header.name.lower() not in names]

    def lines(self, headers: list[Filled]) -> tuple[list[tuple[str, str]], list[str]]:
        """Header lines of the request, and the names that did not fit into User-to-User."""
        lines = [(header.name, header.value) for header in headers] if "header" in self.where else []
        if not self.packs_header or not headers:
            return lines, []
        value, left_out = pack_user_to_user(headers, self.packing)
        return lines + ([("User-to-User", value)] if value else []), left_out

    def uri_headers(self, headers: list[Filled]) -> tuple[str, list[str]]:
        """What goes behind the `?` of Refer-To, escaped once, and the names that did not fit into User-to-User."""
        parts = [uri_headers(headers)] if "refer-to" in self.where and headers else []
        left_out: list[str] = []
        if self.packs_uri and headers:
            value, left_out = pack_user_to_user(headers, self.packing)
            if value:
                parts.append(uri_headers([Filled("User-to-User", value, 0)]))
        return "&".join(parts), left_out


@dataclass(frozen=True, slots=True)
class Sent:
    """A header of a transfer and where it went, for the record: the name, never the value."""

    name: str
    where: Where
    why: str = ""


@dataclass(frozen=True, slots=True)
class Plan:
    """The headers that a transfer carries to one peer, filled and checked."""

    method: str
    filled: tuple[Filled, ...]
    """In the order of their priority: what is dropped first stands last."""
    left_out: tuple[Sent, ...]
    placement: Placement
    extra: tuple[tuple[str, str], ...] = ()
    """Headers that go as they came."""

    @classmethod
    def empty(cls, upstream: Upstream, method: str) -> "Plan":
        """For a request that carries nothing of its own, and may still be too big."""
        return cls(method, (), (), Placement(upstream, method))

    def towards(self, target: str) -> "Plan":
        """What of it a REFER can carry whose Refer-To is about that URI."""
        if target[:4].lower() != "tel:":
            return self
        placement = self.placement.outside()
        left_out = tuple(Sent(name, "left out", placement.nowhere) for name, _ in self.extra)
        return replace(self, placement=placement, left_out=(*self.left_out, *left_out), extra=())

    @property
    def names(self) -> list[str]:
        return [header.name for header in self.filled]

    def headers(self, keep: int | None = None, instead: Filled | None = None) -> tuple[tuple[str, str], ...]:
        """Header lines of the INVITE or REFER, with the first `keep` of the headers (all by default), and one instead
        of the others."""
        lines, _ = self.placement.lines(kept(self.filled, keep, instead))
        return (*lines, *(self.extra if self.method == "INVITE" else ()))

    def refer_to(self, uri: str, keep: int | None = None, instead: Filled | None = None) -> str:
        """The Refer-To value for a target's URI, with the headers that go inside it."""
        inside, _ = self.placement.uri_headers(kept(self.filled, keep, instead))
        inside = "&".join(part for part in (inside, *(f"{name}={escape(value)}" for name, value in self.extra)) if part)
        value = ReferTo("<", uri, ">", "sip", "", "", 0, changed=True).render(inside)
        assert value is not None
        return value.decode("utf-8", "surrogateescape")

    def sent(self, keep: int | None = None, instead: Filled | None = None) -> tuple[Sent, ...]:
        """Each header and where it went, one entry a place."""
        sent = kept(self.filled, keep, instead)
        packed = set()
        for packs, place in ((self.placement.packs_header, self.placement.lines),
                             (self.placement.packs_uri, self.placement.uri_headers)):
            if packs:
                _, full = place(sent)
                packed |= {header.name for header in sent} - set(full)
        if self.placement.packing.names:
            chosen = {name.lower() for name in self.placement.packing.names}
            packed = {name for name in packed if name.lower() in chosen}
        found: list[Sent] = []
        for header in sent:
            places: list[Where] = [place for place in ("header", "refer-to") if place in self.placement.where]
            if header.name in packed:
                places.append("user-to-user")
            found += [Sent(header.name, place) for place in places] or [
                Sent(header.name, "left out", self.placement.nowhere)]
        where: tuple[Where, str] = ("left out", "dropped for the size")
        if instead is not None:
            where = "reference", f"by the token in {instead.name}"
        return (*found, *(Sent(header.name, *where) for header in self.filled if header not in sent), *self.left_out)


def plan_headers(action: Action, variables: Variables, extracted: Mapping[str, str], upstream: Upstream, method: str, *,
                 internal: Patterns, trusted: bool = False, carried: Iterable[tuple[str, str]] = ()) -> Plan:
    """The headers of a transfer for one peer.

    variables: of the call. extracted: what extractors came to, by header name; empty leaves a header out. internal:
    headers that leave only to a trusted peer. carried: what the Refer-To that asked for the transfer brought along
    (Referred.headers); the action's own headers come first.

    All is checked here, after filling: no control characters in a value, X- names alone. Raises Refused where a header
    whose `missing` is `fail` has no value.
    """
    filled: list[Filled] = []
    left_out: list[Sent] = []
    for header in action.headers:
        text, why = _filled(header.value, header.missing, variables)
        if why and header.missing == "fail":
            raise Refused(400, f"No Value for {header.name}", f"{header.name}: {why}")
        _take(filled, left_out, header.name, text, why, header.priority)
    for extractor in action.extractors:
        value, why = _extracted(extractor, extracted)
        _take(filled, left_out, extractor.header, value, why, extractor.priority)
    taken = {name.lower() for name in [*(one.name for one in filled), *(one.name for one in left_out)]}
    placement, extra = Placement(upstream, method), []
    for name, value in carried:
        why = "" if valid_value(value) else "control character"
        if is_x_header(name) and name.lower() not in taken:
            _take(filled, left_out, name, value, why, 0)
        elif name.lower() == "user-to-user" and not why and not (placement.packs_header or placement.packs_uri):
            extra.append((name, value))
        taken.add(name.lower())
    if not trusted:
        left_out += [Sent(one.name, "left out", "internal") for one in filled if internal.match(one.name)]
        filled = [one for one in filled if not internal.match(one.name)]
    filled.sort(key=lambda one: -one.priority)
    return Plan(method, tuple(filled), tuple(left_out), placement, tuple(extra))


def _take(filled: list[Filled], left_out: list[Sent], name: str, value: str, why: str, priority: int) -> None:
    if why:
        left_out.append(Sent(name, "left out", why))
    else:
        filled.append(Filled(name, value.strip(" "), priority))


def _filled(template: str, missing: str, variables: Variables) -> tuple[str, str]:
    """A header's value, or why it has none. A value that may not be sent counts as missing."""
    text = ""
    for literal, name, _ in compile_template(template).pieces:
        text += literal
        if not name:
            continue
        value, why = lookup(variables, name)
        if value is not None:
            value = value.replace("\t", " ")
            if not valid_value(value):
                value, why = None, f"{{{name}}} has a control character"
        if value is None and missing != "empty":
            return "", why
        text += value or ""
    return text, ""


def _extracted(extractor: Extractor, extracted: Mapping[str, str]) -> tuple[str, str]:
    value = extracted.get(extractor.header, "")
    if not value:
        return "", "no answer"
    if not valid_value(value) or len(value.encode()) > extractor.limit:
        return "", "not a header value"
    return value, ""


def fill_text(template: str, variables: Variables, longest: int) -> str:
    """A text that is spoken: variables without a value are empty; one line, at most so many bytes."""
    text = "".join(literal + (lookup(variables, name)[0] or "" if name else "")
                   for literal, name, _ in compile_template(one_line(template)).pieces)
    return cut(one_line(text), longest).rstrip()
