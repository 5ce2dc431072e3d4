"""A verdict in the making: the headers that a request gets, where they go, and how it becomes smaller."""
from collections.abc import Iterable
from typing import Any

from proxy.config import HeaderSet, Upstream, UserToUser
from sipcore.stack.verdict import Request, Target, Verdict

from .headers import Filled, MissingVariable, Patterns, Setter, compile_sets, fill, pack_user_to_user, uri_headers
from .refer_to import ReferTo
from .refusals import Refused

NOTHING: tuple[list[Filled], list[str]] = ([], [])


class Injection:
    """Header sets compiled for one method, from one group towards one peer.

    from_trusted, to_trusted: whether the sender and the peer are. Templates read internal headers of a trusted
    sender; internal headers stay as they are only where both are trusted.
    """

    def __init__(self, sets: Iterable[HeaderSet], method: str, upstream: Upstream, internal: Patterns, *,
                 from_trusted: bool, to_trusted: bool):
        self.setters: tuple[Setter, ...] = compile_sets(sets, method)
        self.where: tuple[str, ...] = upstream.refer_headers if method == "REFER" else upstream.invite_headers
        self.packing: UserToUser = upstream.user_to_user
        self.hidden = Patterns(()) if from_trusted else internal
        stripped = () if from_trusted and to_trusted else internal.patterns
        packs = "user-to-user" in self.where and self.setters
        self.packs_header = bool(packs) and (method != "REFER" or "header" in self.packing.where)
        self.packs_uri = bool(packs) and method == "REFER" and "refer-to" in self.packing.where
        self.remove = (*stripped, *(setter.name for setter in self.setters),
                       *(("User-to-User",) if self.packs_header else ()))
        self.constant = all(setter.template.constant for setter in self.setters)
        self._quick = self.where == ("header",) and not any(
            self.hidden.match(variable) for setter in self.setters for _, variable, _ in setter.template.pieces)
        self._readers = tuple(read for setter in self.setters for _, _, read in setter.template.pieces if read)
        self._format = "".join(f"{setter.name}: {setter.template.format}\r\n" for setter in self.setters)

    def fill(self, request: Request) -> tuple[list[Filled], list[str]]:
        """The headers for this request and notes on what is left out. Raises Refused where one must not be."""
        if not self.setters:
            return NOTHING
        try:
            return fill(self.setters, request, self.hidden)
        except MissingVariable as missing:
            name, variable = missing.args
            raise Refused(400, f"No Value for {name}", f"{name} has no {{{variable}}}") from None

    def quick_lines(self, request: Request) -> bytes | None:
        """The header lines of a request whose variables are all there, and all of printable characters; None
        leaves the rare rest to `fill`."""
        if not self._quick:
            return None
        values = []
        for read in self._readers:
            value = read(request)
            if value is None or not value.isprintable() or value[:1] == " " or value[-1:] == " ":
                return None
            values.append(value)
        return (self._format % tuple(values)).encode()

    def fill_constant(self) -> list[Filled]:
        """The headers where none of them has a variable."""
        return [Filled(setter.name, setter.template.pieces[0][0], setter.priority) for setter in self.setters]

    def lines(self, headers: list[Filled]) -> tuple[bytes, list[str]]:
        """Header lines to insert, and what did not fit into User-to-User."""
        text = b"".join([header.line for header in headers]) if "header" in self.where else b""
        if not self.packs_header or not headers:
            return text, []
        value, left_out = pack_user_to_user(headers, self.packing)
        return text + (f"User-to-User: {value}\r\n".encode() if value else b""), left_out

    def uri_headers(self, headers: list[Filled]) -> tuple[str, list[str]]:
        """What goes behind the `?` of Refer-To, escaped, and what did not fit into User-to-User."""
        parts = [uri_headers(headers)] if "refer-to" in self.where and headers else []
        left_out: list[str] = []
        if self.packs_uri and headers:
            value, left_out = pack_user_to_user(headers, self.packing)
            if value:
                parts.append(uri_headers([Filled("User-to-User", value, 0)]))
        return "&".join(parts), left_out


class Draft:
    """All that a forwarding verdict is made of. fields: those of Verdict that do not depend on the headers."""

    __slots__ = ("fields", "filled", "injection", "notes", "refer_to", "targets")

    def __init__(self, fields: dict[str, Any], injection: Injection, filled: list[Filled], notes: list[str],
                 targets: tuple[Target, ...] = (), refer_to: ReferTo | None = None):
        self.fields = fields
        self.injection = injection
        self.filled = filled
        self.notes = notes
        self.targets = targets
        self.refer_to = refer_to

    @property
    def names(self) -> list[str]:
        """Set headers, the ones to be dropped last first."""
        return [header.name for header in self.filled]

    def verdict(self, *, keep: int | None = None, compact: bool = False, body: bytes | None = None,
                scope: int = 0) -> Verdict:
        """The verdict with the first `keep` of the set headers (all by default)."""
        headers = self.filled if keep is None else self.filled[:keep]
        insert, left_out = self.injection.lines(headers)
        notes = self.notes
        replace: tuple[tuple[str, bytes], ...] = ()
        if self.refer_to is not None:
            text, more = self.injection.uri_headers(headers)
            if text and self.refer_to.has_replaces:
                # transfers.md 7.20: on proxied calls a Refer-To with Replaces passes as it came.
                notes = [*notes, "Refer-To has Replaces: no headers put inside"]
                text, more = "", []
            value = self.refer_to.render(text)
            if value is not None:
                replace = (("Refer-To", value),)
            left_out = [*left_out, *(name for name in more if name not in left_out)]
        if left_out:
            notes = [*notes, f"User-to-User is full: left out {', '.join(left_out)}"]
        return Verdict(**self.fields, targets=self.targets, insert=insert, replace=replace, compact=compact, body=body,
                       scope=scope, note="; ".join(notes))
