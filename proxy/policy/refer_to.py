"""Refer-To: the target formats of transfers.md section 2, and changes that leave the rest byte for byte."""
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from ipaddress import ip_address

from sipcore.base.place import valid_host
from sipcore.wire.nameaddr import NameAddress
from sipcore.wire.uri import URI

from .addresses import same_host
from .headers import Patterns, unescape
from .refusals import Refused
from .routing import number_of

RAW = re.compile(r"[A-Za-z0-9][A-Za-z0-9\-_.]*", re.ASCII)
_MAX_RAW = 64
_TOKEN = re.compile(r"[A-Za-z0-9\-.!%*_+`'~]+", re.ASCII)
_ENDS = re.compile("[\r\n\0]")


@dataclass(frozen=True, slots=True)
class ReferTo:
    """A Refer-To value in parts: what stands before the URI, the URI, what follows."""

    before: str
    uri: str
    after: str
    scheme: str
    """`sip`, `tel`, or `raw` for a bare extension."""
    user: str
    """User part, still escaped; the number of a tel: URI; a raw target itself."""
    host: str
    port: int
    header_names: tuple[str, ...] = ()
    changed: bool = False
    maddr: str = ""
    """Where the URI leads in place of its host (RFC 3261 19.1.1)."""

    @property
    def has_replaces(self) -> bool:
        return any(name.lower() == "replaces" for name in self.header_names)

    @property
    def closed(self) -> str:
        """Why no headers are put inside, empty where they may be."""
        if self.scheme == "tel":
            # RFC 3966 3: such a URI has no headers.
            return "Refer-To is a tel: URI"
        # transfers.md 7.20: on proxied calls a Refer-To with Replaces passes as it came.
        return "Refer-To has Replaces" if self.has_replaces else ""

    @property
    def hosts(self) -> tuple[str, ...]:
        """All that it says of where the target is: each has to be allowed, and none refused."""
        return (self.host, self.maddr) if self.maddr else (self.host,)

    @property
    def number(self) -> str:
        return number_of(self.user)

    def with_uri(self, uri: str) -> "ReferTo":
        """The same value around another URI, which has no headers of its own."""
        return replace(self, uri=uri, scheme=uri.partition(":")[0], header_names=(), changed=True, maddr="")

    def without(self, names: Patterns) -> "ReferTo":
        """Take headers of these names out of the URI, and such as would become several headers in the request that is
        made of it; all else, escapes included, stays as written."""
        if not self.header_names:
            return self
        start = _query(self.uri)
        parts = self.uri[start + 1:].split("&")
        kept = [part for part in parts if _is_one(part) and not names.match(unescape(part.partition("=")[0]))]
        if len(kept) == len(parts):
            return self
        return replace(self, uri=self.uri[:start] + (f"?{'&'.join(kept)}" if kept else ""), changed=True,
                       header_names=tuple(unescape(part.partition("=")[0]) for part in kept))

    def render(self, headers: str) -> bytes | None:
        """The value with URI headers (escaped) added; None where it is as it came."""
        if not headers and not self.changed:
            return None
        uri = self.uri
        if headers:
            uri += f"{'&' if _query(uri) >= 0 else '?'}{headers}"
        before, after = (self.before, self.after) if self.before.endswith("<") else ("<", f">{self.after}")
        return f"{before}{uri}{after}".encode("utf-8", "surrogateescape")


def _is_one(part: str) -> bool:
    """Whether a header of a URI is one header once its escapes are resolved; a body may have any lines."""
    name, _, value = part.partition("=")
    name = unescape(name)
    return name.lower() == "body" or (_TOKEN.fullmatch(name) is not None and not _ENDS.search(unescape(value)))


def _query(uri: str) -> int:
    """Position of the `?` that begins the headers, -1 for none; a user part may hold others."""
    return uri.find("?", uri.rfind("@") + 1)


def parse_refer_to(values: list[str]) -> ReferTo:
    """Read the one Refer-To of a request. Raises Refused: 400 for none, several or a malformed one, 416 for a
    scheme that the edge does not take."""
    if len(values) != 1:
        # RFC 3515 2.4.2: exactly one.
        raise Refused(400, "Exactly One Refer-To Is Needed", f"Refer-To: {len(values)} values")
    value = values[0].strip()
    before, text, after = _split(value)
    behind = {} if before else _parameters(after)
    if RAW.fullmatch(text):
        if len(text) > _MAX_RAW:
            raise Refused(400, "Malformed Refer-To", "Refer-To: raw target too long")
        return ReferTo(before, text, after, "raw", text, "", 0)
    try:
        NameAddress(value.encode("utf-8", "surrogateescape"))
        uri = URI(text.encode("utf-8", "surrogateescape"))
    except ValueError:
        raise Refused(400, "Malformed Refer-To", "Refer-To: malformed") from None
    if uri.scheme not in ("sip", "sips", "tel"):
        raise Refused(416, "Unsupported URI Scheme", "Refer-To: scheme")
    params = uri.params | behind
    if params.get("method", "INVITE") != "INVITE":
        raise Refused(603, "Decline", "Refer-To: method")
    names = tuple(name for name, _ in uri.header_list)
    if uri.scheme == "tel":
        return ReferTo(before, text, after, "tel", text[4:].partition(";")[0], "", 0, names)
    user = text.partition(":")[2].rpartition("@")[0].partition(":")[0]
    return ReferTo(before, text, after, "sip", user, same_host(uri.host),
                   uri.port or (5061 if uri.scheme == "sips" else 0), names,
                   maddr=_maddr(params))


def _parameters(text: str) -> dict[str, str]:
    """Parameters behind a URI without brackets. They are the header's (RFC 3261 20), but some peers take them for the
    URI's, whose `method` and `maddr` say what is sent and where. Raises Refused where such a peer would read more than
    parameters, or one of them could be read in two ways."""
    found: dict[str, str] = {}
    for part in text.split(";")[1:]:
        name, _, value = part.partition("=")
        name = unescape(name.strip()).lower()
        if "?" in part or "@" in part or name in found:
            raise Refused(400, "Malformed Refer-To", "Refer-To: a URI with ; and ? needs brackets")
        found[name] = unescape(value.strip())
    return found


def _maddr(params: Mapping[str, str | None]) -> str:
    """The host that `maddr` names, empty for none. Raises Refused where it is no host (RFC 3261 25.1: maddr-param)."""
    if "maddr" not in params:
        return ""
    host = same_host(params["maddr"] or "")
    try:
        ip_address(host)
    except ValueError:
        if not valid_host(host):
            raise Refused(400, "Malformed Refer-To", "Refer-To: maddr") from None
    return host


def _split(value: str) -> tuple[str, str, str]:
    """What stands before the URI of a name-addr or addr-spec (RFC 3261 25.1), the URI, and the rest."""
    start = 0
    if value.startswith('"'):
        quoted = re.match(r'"(?:[^"\\]|\\.)*"', value, re.DOTALL)
        start = quoted.end() if quoted else len(value)
    opening = value.find("<", start)
    if opening >= 0:
        closing = value.find(">", opening)
        if closing >= 0:
            return value[:opening + 1], value[opening + 1:closing], value[closing:]
    text, semicolon, rest = value.partition(";")
    return "", text.strip(), semicolon + rest
