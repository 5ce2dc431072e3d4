"""The request URI that an upstream's targets get, from a template."""
import re
from typing import TYPE_CHECKING
from urllib.parse import quote

from .addresses import Address
from .routing import number_of

if TYPE_CHECKING:
    from proxy.config import Upstream

_PIECE = re.compile(r"\{([^{}]*)\}")
# RFC 3261 25.1: user = unreserved / escaped / user-unreserved; ";" and "?" and "/" are among the last.
_USER_SAFE = "-_.!~*'()&=+$,;?/%"
_USER = re.compile(r"[A-Za-z0-9\-_.!~*'()&=+$,;?/%]*", re.ASCII)
_URI_TEXT = re.compile(r"[A-Za-z0-9\-_.!~*'()&=+$,;?/%@:\[\]{}]*", re.ASCII)


def check_uri_template(text: str) -> None:
    """ValueError where a template of a request URI cannot give a URI."""
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


class Uri:
    """The request URI for each target, from the upstream's template."""

    def __init__(self, upstream: "Upstream"):
        self.text = upstream.uri
        self.keeps = not upstream.uri
        self.strip = upstream.strip
        self.prefix = upstream.prefix
        self.tel = upstream.uri.startswith("tel:")
        self.reads_domain = "{domain}" in upstream.uri
        pieces = [""]
        for index, piece in enumerate(_PIECE.split(upstream.uri)):
            if index % 2:
                pieces.append(piece)
                pieces.append("")
            else:
                pieces[-1] = piece
        self._literals = tuple(pieces[::2])
        self._variables = tuple(pieces[1::2])

    def user(self, scheme: str, user: str) -> str | None:
        """`{user}` for a received user part (escaped) or number; None where `tel:` is wanted and it is none."""
        if scheme == "tel" or self.tel:
            number = number_of(user)
            if number:
                user = number
            elif self.tel:
                return None
        if self.strip and user.startswith(self.strip):
            user = user[len(self.strip):]
        user = self.prefix + user
        return user if _USER.fullmatch(user) else quote(user, safe=_USER_SAFE, errors="surrogateescape")

    def fill(self, user: str, target: Address, domain: str) -> str:
        """The URI; without a user part its `@` goes as well."""
        values = {"user": user, "host": str(target), "domain": domain or str(target)}
        text = self._literals[0]
        for variable, literal in zip(self._variables, self._literals[1:], strict=True):
            text += values[variable]
            text += literal
        return text if user else text.replace("@", "", 1)
