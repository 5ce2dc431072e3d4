"""Reading secrets from where the configuration says they are."""
import os
from pathlib import Path

from .outside import Reference
from .process import Secrets

KEY_SIZE = 32
MOST_KEYS = 8
"""Of one table: each is tried."""


def read_secret(folder: Path, file: str, env: str) -> bytes:
    """A secret from an environment variable, or a file without the white space around it; empty where neither is named.

    folder: what a relative file name starts from (the configuration file's). Raises ValueError with what was found
    and expected; never puts the secret in a message.
    """
    text = _read(folder, file, env)
    return text if env else text.strip()


def _read(folder: Path, file: str, env: str) -> bytes:
    """All of it."""
    if env:
        text = os.environ.get(env)
        if text is None:
            raise ValueError(f"the environment has no variable {env}")
        return os.fsencode(text)
    if file:
        try:
            return (folder / file).read_bytes()
        except OSError as error:
            raise ValueError(f"cannot read {file}: {error.strerror}") from None
    return b""


def token_key(secrets: Secrets, folder: Path) -> bytes:
    """The key for dialog tokens and branches; empty where none is configured. Raises as read_secret.

    Any bytes may be in a key: a line end behind text is an editor's, and one behind other bytes is a byte of the key.
    """
    key = _read(folder, secrets.token_key_file, secrets.token_key_env)
    line = key.removesuffix(b"\n").removesuffix(b"\r")
    if line.decode(errors="surrogateescape").isprintable():
        key = line
    if not (secrets.token_key_env or secrets.token_key_file):
        return b""
    if not key.strip():
        raise ValueError("is empty; expected a key")
    if len(key) < KEY_SIZE:
        raise ValueError(f"the key has {len(key)} bytes, expected {KEY_SIZE} at least")
    return key


def lines_of(secret: bytes) -> list[bytes]:
    """Secrets that stand one a line."""
    return [line.strip() for line in secret.splitlines() if line.strip()]


def reference_keys(reference: Reference, folder: Path) -> list[bytes]:
    """The keys for context by reference, the one that signs first; none where none are configured. Raises as
    read_secret."""
    keys = lines_of(read_secret(folder, reference.key_file, reference.key_env))
    if not keys and (reference.key_file or reference.key_env):
        raise ValueError("is empty; expected keys, one a line")
    if len(keys) > MOST_KEYS:
        raise ValueError(f"has {len(keys)} keys, expected {MOST_KEYS} at most")
    for number, key in enumerate(keys, 1):
        if len(key) < KEY_SIZE:
            raise ValueError(f"key {number} has {len(key)} bytes, expected {KEY_SIZE} at least")
    return keys
