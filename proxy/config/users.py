"""The texts of secrets of digest authentication: users of a realm, and what the edge has for an upstream.

What is kept of a password is its hashes. No error names a secret.
"""
from collections.abc import Mapping

from sipcore.wire.digest import HASHES, SIZES, ha1_of, is_hash

from .auth import Credentials, Realm

Hashes = Mapping[str, str]
"""HA1 in hex by the name of its algorithm."""

_PLAIN = "{PLAIN}"
LONGEST_NAME = 256


def users_of(text: bytes, realm: Realm) -> dict[str, Hashes]:
    """The users of a realm by name. Raises ValueError with the line of the first mistake."""
    found: dict[str, dict[str, str]] = {}
    new: dict[str, str]
    for number, line in enumerate(_decoded(text).splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        name, colon, rest = line.partition(":")
        if not colon or not name or len(name) > LONGEST_NAME or not name.isprintable():
            raise ValueError(f"line {number}: expected `user:realm:hash` or `user:{_PLAIN}password`")
        if rest.startswith(_PLAIN):
            password = rest.removeprefix(_PLAIN)
            if not password:
                raise ValueError(f"line {number}: the password is empty")
            new = {algorithm: ha1_of(algorithm, name, realm.realm, password) for algorithm in realm.algorithms}
        else:
            of, _, digits = rest.rpartition(":")
            if of != realm.realm:
                raise ValueError(f'line {number}: is not of the realm "{realm.realm}"; expected '
                                 f"`user:realm:hash` or `user:{_PLAIN}password`")
            new = _hash_of(digits, number)
        hashes = found.setdefault(name, {})
        if hashes.keys() & new.keys():
            raise ValueError(f"line {number}: this user has a secret already")
        hashes |= new
    for name, hashes in found.items():
        for algorithm in realm.algorithms:
            if algorithm not in hashes:
                raise ValueError(f'user "{name}" has no hash for {algorithm}, which is offered')
    if not found:
        raise ValueError("has no users")
    return dict(found)


def hashes_of(text: bytes, credentials: Credentials) -> Hashes:
    """The hashes that answer an upstream. Raises ValueError."""
    decoded = _decoded(text)
    if not credentials.hashed:
        password = decoded.strip("\r\n")
        if not password:
            raise ValueError("is empty; expected a secret")
        return {name: ha1_of(name, credentials.user, credentials.realm, password) for name in HASHES}
    found: dict[str, str] = {}
    for number, line in enumerate(decoded.splitlines(), 1):
        if line.strip():
            found |= _hash_of(line, number)
    if not found:
        raise ValueError("is empty; expected a hash")
    return found


def _decoded(text: bytes) -> str:
    try:
        return text.decode("utf-8")
    except UnicodeDecodeError:
        raise ValueError("is not UTF-8") from None


def _hash_of(text: str, number: int) -> dict[str, str]:
    digits = text.strip().lower()
    if not is_hash(digits):
        raise ValueError(f"line {number}: expected a hash of 32 (MD5) or 64 (SHA-256) hex digits")
    return {SIZES[len(digits)]: digits}
