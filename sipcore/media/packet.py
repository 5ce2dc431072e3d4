"""A packet that the relay's thread copied, for captures and recordings."""
from typing import NamedTuple

PLAIN, SEALED, OPENED = range(3)
"""As it came or went without SRTP; with it; and what such a one says, beside it."""


class Packet(NamedTuple):
    """time_ns: of the relay's clock; far: host and port of the far end; sent: whether it went to the far end (else it
    came from there); rtcp: whether it is RTCP; form: PLAIN, SEALED or OPENED."""

    time_ns: int
    session: int
    generation: int
    side: int
    sent: bool
    rtcp: bool
    far: tuple[str, int]
    data: bytes
    form: int = PLAIN
