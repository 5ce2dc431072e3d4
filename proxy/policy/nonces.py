"""Nonces of digest authentication that are kept by nobody until somebody has answered one rightly (RFC 7616 3.3).

    nonce   time 48 bits, random 40, check 128: 27 bytes, 36 characters of base 64
    check   BLAKE2b, keyed, over time, random, realm and source address

The key is made anew by each worker at its start, and a nonce in use is known to that worker alone: another one, or
the same one after a start, says that it is stale, and the peer asks again without asking its user. The source's
address counts, its port does not: behind NAT that changes.

Memory: one entry for a nonce that was answered rightly, `most` at most. Where one makes room, all that were made
before it and are not known become stale: what is forgotten is never good once more.
"""
import base64
import binascii
import hashlib
import hmac
import os
from collections import OrderedDict

WINDOW = 64
"""Counts behind the highest one that may still come: UDP changes the order of requests."""
_TIME, _RANDOM, _CHECK = 6, 5, 16
_TEXT = 36
CLOCK_SLACK = 1000
"""ms that a nonce may come from the future: none does, but for a clock that was set."""


class Nonces:
    """Those of one realm. about: what a nonce is bound to besides (the source's address)."""

    def __init__(self, realm: str, most: int, key: bytes = b""):
        self.most = most
        self._key = key or os.urandom(32)
        self._realm = realm.encode()
        self._used: OrderedDict[bytes, tuple[int, int]] = OrderedDict()
        self._forgotten = -1

    def __len__(self) -> int:
        return len(self._used)

    def make(self, now: int, about: str) -> str:
        """A nonce; nothing is remembered of it."""
        body = now.to_bytes(_TIME, "big") + os.urandom(_RANDOM)
        return base64.urlsafe_b64encode(body + self._check(body, about)).decode("ascii")

    def good(self, text: str, now: int, about: str, lifetime: int) -> bool:
        """Whether a nonce is one of ours for this source, and not older than lifetime (ms)."""
        body = self._body(text, about)
        return body is not None and -CLOCK_SLACK <= now - int.from_bytes(body[:_TIME], "big") <= lifetime

    def use(self, text: str, count: int, about: str) -> bool:
        """Note that a good nonce was answered rightly with this count; whether for the first time."""
        body = self._body(text, about)
        if body is None or not 0 < count <= 0xFFFFFFFF:
            return False
        known = self._used.get(body)
        if known is None:
            if int.from_bytes(body[:_TIME], "big") <= self._forgotten:
                return False
            if len(self._used) >= self.most:
                oldest, _ = self._used.popitem(last=False)
                self._forgotten = max(self._forgotten, int.from_bytes(oldest[:_TIME], "big"))
                if int.from_bytes(body[:_TIME], "big") <= self._forgotten:
                    return False
            self._used[body] = count, 1
            return True
        highest, seen = known
        if count > highest:
            seen = (seen << min(count - highest, WINDOW) | 1) & (1 << WINDOW) - 1
            self._used[body] = count, seen
            return True
        bit = 1 << highest - count if highest - count < WINDOW else 0
        if not bit or seen & bit:
            return False
        self._used[body] = highest, seen | bit
        return True

    def resize(self, most: int) -> None:
        """Another bound, from the next one on."""
        self.most = most
        while len(self._used) > most:
            oldest, _ = self._used.popitem(last=False)
            self._forgotten = max(self._forgotten, int.from_bytes(oldest[:_TIME], "big"))

    def _body(self, text: str, about: str) -> bytes | None:
        """Time and random part of a nonce of ours."""
        if len(text) != _TEXT or not text.isascii():
            return None
        try:
            data = base64.b64decode(text, altchars=b"-_", validate=True)
        except (binascii.Error, ValueError):
            return None
        body = data[:_TIME + _RANDOM]
        return body if hmac.compare_digest(data[_TIME + _RANDOM:], self._check(body, about)) else None

    def _check(self, body: bytes, about: str) -> bytes:
        text = body + len(self._realm).to_bytes(2, "big") + self._realm + about.encode()
        return hashlib.blake2b(text, key=self._key, digest_size=_CHECK).digest()
