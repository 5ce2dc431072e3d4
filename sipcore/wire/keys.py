"""Keys in messages that somebody is to read."""
import re

_ATTRIBUTE = re.compile(rb"^(?:a=crypto:|k=|a=key-mgmt:)[^\r\n]*", re.MULTILINE | re.IGNORECASE)
_KEY = re.compile(rb"(?<=inline:)[^|;\s]+|(?<=^k=)[^\r\n]+|(?<=^a=key-mgmt:)[^\r\n]+", re.IGNORECASE)


def hide_keys(message: bytes, cover: bytes = b"*") -> bytes:
    """The message with stars, or another byte, in the place of every media key in it (RFC 4568, RFC 4567, RFC 8866
    5.12).

    As long as before, so that Content-Length stays right.
    """
    return _ATTRIBUTE.sub(lambda line: _KEY.sub(lambda key: cover * len(key[0]), line[0]), message)
