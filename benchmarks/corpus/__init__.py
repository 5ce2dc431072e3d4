"""Realistic SIP messages that tests and benchmarks share, one file a message, byte for byte as on the wire.

One call between an agent platform (192.0.2.10) and a PBX (203.0.113.20) through an edge (198.51.100.5): invite,
180, 200, ack, refer, notify, bye; and a phone's register. Requests are as the edge receives them, responses too
(its own Via on top).
"""
from pathlib import Path

FOLDER = Path(__file__).parent
NAMES = tuple(sorted(path.stem for path in FOLDER.glob("*.sip")))


def load(name: str) -> bytes:
    """Return the message called `name` (one of NAMES); FileNotFoundError if there is none."""
    return (FOLDER / f"{name}.sip").read_bytes()
