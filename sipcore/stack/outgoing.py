"""A request that a user agent is about to send, as values; the transaction layer adds Via when it renders it.

Once a call or less, so plain Python. Every text that goes in is checked for CR, LF and NUL, whoever it came from:
nothing that a peer, a user or a template says can add a header.
"""
import re
from collections.abc import Iterable
from dataclasses import dataclass

from sipcore.base.errors import SipEdgeError

_BREAKS = re.compile(r"[\r\n\0]")
_QUOTED = re.compile(r'\s*"(?:[^"\\]|\\.)*"', re.DOTALL)

Headers = Iterable[tuple[str, str]]


class BadText(SipEdgeError, ValueError):
    """A text that would break the message it was meant for."""


def raw(text: str) -> bytes:
    """Text as it goes on the wire: UTF-8, and bytes that were no UTF-8 as they were received."""
    return text.encode("utf-8", "surrogateescape")


def header_lines(headers: Headers) -> bytes:
    """Complete header lines; BadText where a name or a value could break the message."""
    lines = []
    for name, value in headers:
        if _BREAKS.search(value) or _BREAKS.search(name) or not name or ":" in name or name != name.strip():
            raise BadText(f"not a header: {name!r}: {value!r}")
        lines.append(f"{name}: {value}\r\n")
    return raw("".join(lines))


def tail(body: bytes, content_type: str) -> bytes:
    """The end of a message: Content-Type where there is a body, Content-Length, the empty line, the body."""
    kind = header_lines([("Content-Type", content_type)]) if body else b""
    return b"%bContent-Length: %d\r\n\r\n%b" % (kind, len(body), body)


def uri_of(value: str) -> str:
    """The URI of a name-addr or addr-spec; a bare one has no parameters of its own (RFC 3261 20.10)."""
    quoted = _QUOTED.match(value)
    opening = value.find("<", quoted.end() if quoted else 0)
    closing = value.find(">", opening)
    if opening >= 0 and closing >= 0:
        return value[opening + 1:closing]
    return value.partition(";")[0].strip()


def address_of(value: str) -> str:
    """A name-addr without its header parameters, so without its tag; an addr-spec gets its brackets."""
    quoted = _QUOTED.match(value)
    start = quoted.end() if quoted else 0
    opening = value.find("<", start)
    closing = value.find(">", opening)
    if opening >= 0 and closing >= 0:
        return value[:closing + 1].strip()
    return f"<{uri_of(value)}>"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outgoing:
    """A request without Via. local and remote are From and To without their tags; next_hop is the URI that says
    where the request goes (RFC 3261 8.1.2), the request URI where it is empty."""

    method: str
    uri: str
    call_id: str
    cseq: int
    local: str
    local_tag: str
    remote: str
    remote_tag: str = ""
    route: tuple[str, ...] = ()
    contact: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    content_type: str = "application/sdp"
    next_hop: str = ""

    @property
    def destination(self) -> str:
        return self.next_hop or self.uri

    def render(self, via: bytes) -> bytes:
        """The whole request; via is a complete header line. BadText where a part could break it."""
        if _BREAKS.search(self.uri) or not self.uri or " " in self.uri:
            raise BadText(f"not a request URI: {self.uri!r}")
        to = f"{self.remote};tag={self.remote_tag}" if self.remote_tag else self.remote
        fixed = [("Max-Forwards", "70"), *(("Route", value) for value in self.route),
                 ("From", f"{self.local};tag={self.local_tag}"), ("To", to), ("Call-ID", self.call_id),
                 ("CSeq", f"{self.cseq} {self.method}")]
        if self.contact:
            fixed.append(("Contact", self.contact))
        return b"".join((raw(f"{self.method} {self.uri} SIP/2.0\r\n"), via, header_lines(fixed),
                         header_lines(self.headers), tail(self.body, self.content_type)))
