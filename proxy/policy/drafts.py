"""A verdict in the making: the headers that a request gets, where they go, and how it becomes smaller."""
from collections.abc import Iterable
from typing import Any

from proxy.config import HeaderSet, Upstream
from sipcore.stack.verdict import Request, Target, Verdict

from .fragmentation import fewer_codecs
from .headers import Filled, MissingVariable, Patterns, Setter, compile_sets, fill, kept
from .placement import Placement
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
        self.placement = Placement(upstream, method)
        self.hidden = Patterns(()) if from_trusted else internal
        stripped = () if from_trusted and to_trusted else internal.patterns
        names = tuple(setter.name for setter in self.setters)
        placement = self.placement
        self.remove = (*stripped, *names, *(("User-to-User",) if names and placement.packs_header else ()))
        packs = placement.packs_header or placement.packs_uri
        self.inside = Patterns((*names, *(("User-to-User",) if names and packs else ())))
        """Headers of Refer-To that these take the place of, wherever they go themselves: what stands there becomes a
        header of the new INVITE too."""
        self.constant = all(setter.template.constant for setter in self.setters)
        self._quick = self.placement.where == ("header",) and not any(
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
            name, why = missing.args
            raise Refused(400, f"No Value for {name}", f"{name}: {why}") from None

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
        lines, left_out = self.placement.lines(headers)
        return "".join(f"{name}: {value}\r\n" for name, value in lines).encode(), left_out


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

    def verdict(self, *, keep: int | None = None, instead: Filled | None = None, compact: bool = False,
                body: bytes | None = None, scope: int = 0) -> Verdict:
        """The verdict with the first `keep` of the set headers (all by default), and one instead of the others."""
        headers = kept(self.filled, keep, instead)
        fields = self.fields
        if instead is not None:
            fields = {**fields, "remove": (*fields["remove"], instead.name)}
        insert, left_out = self.injection.lines(headers)
        notes = self.notes
        replace: tuple[tuple[str, bytes], ...] = ()
        refer_to = self.refer_to
        if refer_to is not None:
            if instead is not None:
                refer_to = refer_to.without(Patterns((instead.name,)))
            text, more = self.injection.placement.uri_headers(headers)
            if text and refer_to.closed:
                notes = [*notes, f"{refer_to.closed}: no headers put inside"]
                text, more = "", []
            value = refer_to.render(text)
            if value is not None:
                replace = (("Refer-To", value),)
            left_out = [*left_out, *(name for name in more if name not in left_out)]
            if unplaced := self.injection.placement.unplaced(headers):
                notes = [*notes, f"User-to-User is not for {', '.join(unplaced)}: left out"]
        if left_out:
            notes = [*notes, f"User-to-User is full: left out {', '.join(left_out)}"]
        return Verdict(**fields, targets=self.targets, insert=insert, replace=replace, compact=compact, body=body,
                       scope=scope, note="; ".join(notes))


class Received:
    """A forwarded request under a draft, for the size policy. Its size is that towards the target whose URI is
    longest."""

    def __init__(self, request: Request, draft: Draft):
        self.filled = draft.filled
        self.ipv6 = any(":" in target.host for target in draft.targets) or ":" in request.host
        self._request = request
        self._draft = draft

    def build(self, *, keep: int, instead: Filled | None, compact: bool, body: bytes | None) -> tuple[Verdict, int]:
        verdict = self._draft.verdict(keep=keep, instead=instead, compact=compact, body=body)
        return verdict, max(self._request.size_with(verdict, index) for index in range(len(verdict.targets) or 1))

    def shorter(self, codecs: tuple[str, ...]) -> bytes | None:
        request = self._request
        return fewer_codecs(request.body, request.header("Content-Type") or "",
                            request.header("Content-Encoding") is not None, codecs)
