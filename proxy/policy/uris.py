"""The request URI that an upstream's targets get, from a template."""
import re
from collections.abc import Iterable
from urllib.parse import quote

from proxy.config import Upstream
from sipcore.wire.uri import URI

from .addresses import Address
from .refusals import Refused
from .routing import number_of

_SAMPLES = Address("192.0.2.10", 5060), Address("2001:db8::10", 5060)
_SAMPLE_NUMBER = "2001"
_PIECE = re.compile(r"\{([^{}]*)\}")
# What is none of RFC 3261 25.1: user = unreserved / escaped / user-unreserved.
_NOT_USER = re.compile(r"%(?![0-9A-Fa-f]{2})|[^A-Za-z0-9\-_.!~*'()&=+$,;?/%]")
_URI_TEXT = re.compile(r"[A-Za-z0-9\-_.!~*'()&=+$,;?/%@:\[\]{}]*", re.ASCII)


def check_uri_template(text: str, targets: Iterable[Address] = _SAMPLES) -> None:
    """ValueError where a template of a request URI cannot give a URI, for each of the targets."""
    if not text:
        return
    if not re.match(r"sip:|tel:", text):
        raise ValueError(f'expected a template that starts with "sip:" or "tel:", found "{text}"')
    for name in _PIECE.findall(text):
        if name not in ("user", "host", "domain"):
            raise ValueError(f"unknown variable {{{name}}}; expected {{user}}, {{host}} or {{domain}}")
    if not _URI_TEXT.fullmatch(text) or "{" in _PIECE.sub("", text) or "}" in _PIECE.sub("", text):
        raise ValueError(f'expected a URI with {{user}}, {{host}} or {{domain}}, found "{text}"')
    if text.startswith("tel:") and text != "tel:{user}" and not text.startswith("tel:{user};"):
        raise ValueError(f'expected "tel:{{user}}", with parameters or without, found "{text}"')
    if text.count("{user}") > 1:
        raise ValueError(f'expected {{user}} once at most, found "{text}"')
    uri = Uri(Upstream(name="", uri=text))
    for target in targets:
        # A URI may come without a user part, and one of tel: without a domain.
        for user in (_SAMPLE_NUMBER,) if uri.tel else (_SAMPLE_NUMBER, ""):
            for domain in ("example.com", ""):
                _check_uri(text, uri.fill(user, target, domain), user if uri.takes_user else "")


def _check_uri(template: str, filled: str, user: str) -> None:
    """ValueError where what was made of a template is no request URI with that user."""
    try:
        found = URI(filled.encode())
        good = user in (found.user or "") and not found.header_list
    except ValueError:
        good = False
    if not good:
        raise ValueError(f'expected a template such as "sip:{{user}}@{{host}}" ({{host}} has its port already, and so '
                         f'has {{domain}} of a tel: URI), found "{template}", which gives "{filled}"')


def as_sips(uri: str) -> str:
    """A sip: URI that asks for TLS on every hop. Raises ValueError for one of another scheme."""
    if uri[:4].lower() != "sip:":
        raise ValueError(uri)
    return "sips" + uri[3:]


class Uri:
    """The request URI for each target, from the upstream's template."""

    def __init__(self, upstream: "Upstream"):
        self.name = upstream.name
        self.text = upstream.uri
        self.keeps = not upstream.uri
        self.strip = upstream.strip
        self.prefix = upstream.prefix
        self.tel = upstream.uri.startswith("tel:")
        self.reads_domain = "{domain}" in upstream.uri
        self._pieces = _PIECE.split(upstream.uri or "sip:{user}@{host}")
        self.takes_user = "user" in self._pieces[1::2]

    def user(self, scheme: str, user: str) -> str | None:
        """`{user}` for a received user part (escaped) or number; None where `tel:` is wanted and it is none, or where
        `strip` leaves nothing."""
        if not self.takes_user:
            return ""
        if scheme == "tel" or self.tel:
            number = number_of(user)
            if number:
                user = number
            elif self.tel:
                return None
        if self.strip and user.startswith(self.strip):
            user = user[len(self.strip):]
            if not user:
                return None
        if self.prefix:
            user = self.prefix + user
        if self.tel:
            return number_of(user) or None
        if _NOT_USER.search(user) is None:
            return user
        return _NOT_USER.sub(lambda wrong: quote(wrong[0], safe="", errors="surrogateescape"), user)

    def refusal(self, said: str = "the request URI") -> Refused:
        """What is answered where there is no `{user}` for what was said."""
        if self.tel:
            return Refused(404, "Not a Telephone Number", f'upstream "{self.name}" takes tel: only, and {said} has no '
                                                          "number, or none is left of it")
        return Refused(404, "Nothing Left of the Number", f'`strip` of upstream "{self.name}" takes all of {said}')

    def parts(self, target: Address, domain: str = "") -> tuple[str, str]:
        """What stands before and after the user part in the URI for a target; domain: host of the received URI, an IPv6
        address without brackets."""
        if ":" in domain:
            domain = f"[{domain}]"
        values = {"user": "\0", "host": target.uri_host, "domain": domain or target.uri_host}
        before, _, after = "".join(
            values[piece] if index % 2 else piece for index, piece in enumerate(self._pieces)).partition("\0")
        return before, after

    def fill(self, user: str, target: Address, domain: str = "") -> str:
        """The URI; without a user part its `@` goes as well. A template without `{user}` has no place for one."""
        before, after = self.parts(target, domain)
        if not self.takes_user:
            return before
        return before + user + (after.removeprefix("@") if before + user == "sip:" else after)
