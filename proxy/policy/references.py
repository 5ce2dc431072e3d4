"""Tokens for context by reference (transfers.md section 4): a name for headers that are kept, which nobody can guess.

    token   expires 32 bits (seconds since 1970), random 56, check 128: 27 bytes, 36 characters of base64url
    check   HMAC-SHA256 (RFC 2104) over expires and random, the first 128 bits (RFC 2104 5)

A token is verified without a look at what is kept: whoever tries some costs a hash for each key, and the name that the
headers are kept under, which is the token without its check, opens nothing.
"""
import base64
import hashlib
import hmac
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

LENGTH = 36
"""Characters of a token: each is one, so that sizes are known before there is one."""
_EXPIRES, _RANDOM, _CHECK = 4, 7, 16
_TOKEN = re.compile(rf"[A-Za-z0-9_-]{{{LENGTH}}}", re.ASCII)
_PURPOSE = b"sipedge context 1:"
"""Nothing else that a key may sign begins so."""


@dataclass(frozen=True, slots=True)
class Token:
    """A token that one of our keys has signed."""

    name: str
    """What its headers are kept under: hexadecimal, 22 characters."""
    expires: int
    """Seconds since 1970."""

    def over(self, now: float) -> bool:
        return self.expires <= now


class Tokens:
    """keys: the first one signs, all are accepted. ValueError without any."""

    def __init__(self, keys: Sequence[bytes]):
        if not keys:
            raise ValueError("expected a key at least")
        self._keys = tuple(keys)

    def make(self, expires: int) -> tuple[str, Token]:
        """A new token as it is sent, and what it says. expires: seconds since 1970."""
        body = expires.to_bytes(_EXPIRES, "big") + os.urandom(_RANDOM)
        text = base64.urlsafe_b64encode(body + _check(self._keys[0], body)).decode("ascii")
        return text, Token(body.hex(), expires)

    def read(self, text: str) -> Token | None:
        """What a token of ours says; None for any other text. It may be over."""
        if not _TOKEN.fullmatch(text):
            return None
        data = base64.urlsafe_b64decode(text)
        body, check = data[:-_CHECK], data[-_CHECK:]
        good = False
        for key in self._keys:
            good |= hmac.compare_digest(check, _check(key, body))
        return Token(body.hex(), int.from_bytes(body[:_EXPIRES], "big")) if good else None


def _check(key: bytes, body: bytes) -> bytes:
    return hmac.digest(key, _PURPOSE + body, hashlib.sha256)[:_CHECK]


class Keeper(Protocol):
    """Whoever keeps headers that went by reference."""

    def make(self) -> tuple[str, Token] | str:
        """A new token, or why there is none now."""

    def keep(self, token: Token, headers: dict[str, str]) -> str:
        """Keep headers until the token is over; empty where they can be had from now on, else why not."""


class Nobody:
    """Where nothing can be kept."""

    def make(self) -> str:
        return "nothing is kept here"

    def keep(self, token: Token, headers: dict[str, str]) -> str:
        return self.make()


NOBODY = Nobody()


class Pretended:
    """For sizes that are shown before there is a call."""

    def make(self) -> tuple[str, Token]:
        return LENGTH * "x", Token("", 0)

    def keep(self, token: Token, headers: dict[str, str]) -> str:
        return ""


PRETENDED = Pretended()
