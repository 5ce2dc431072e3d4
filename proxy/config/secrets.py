"""Reading secrets from where the configuration says they are."""
import os
from pathlib import Path

from .process import Secrets

KEY_SIZE = 32


def token_key(secrets: Secrets, folder: Path) -> bytes:
    """The key for dialog tokens and branches; empty where none is configured.

    folder: what relative file names start from (the configuration file's). Raises ValueError with what was
    found and expected; never puts the secret in a message.
    """
    if secrets.token_key_env:
        text = os.environ.get(secrets.token_key_env)
        if text is None:
            raise ValueError(f"the environment has no variable {secrets.token_key_env}")
        key = os.fsencode(text)
    elif secrets.token_key_file:
        try:
            key = (folder / secrets.token_key_file).read_bytes().strip()
        except OSError as error:
            raise ValueError(f"cannot read {secrets.token_key_file}: {error.strerror}") from None
    else:
        return b""
    if len(key) < KEY_SIZE:
        raise ValueError(f"the key has {len(key)} bytes, expected {KEY_SIZE} at least")
    return key
