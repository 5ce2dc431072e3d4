"""RFC 4475 by real sockets: what is invalid never reaches the PBX, and what passes says there what it said here."""
import csv
from collections.abc import Iterator
from pathlib import Path

import pytest

from sipcore.wire.message import Message
from tests.conftest import SHARED
from tests.security.range import TORTURER, Range, reply

FOLDER = SHARED / "corpora" / "rfc4475"


def cases() -> Iterator[object]:
    manifest = FOLDER / "MANIFEST.tsv"
    if not manifest.exists():
        yield pytest.param("", "", marks=pytest.mark.skip(reason="no folder corpora beside the project"))
        return
    with manifest.open(newline="") as lines:
        for row in csv.DictReader(lines, delimiter="\t"):
            yield pytest.param(row["file"], row["expected at proxy (RFC text)"], id=row["file"].removesuffix(".dat"))


@pytest.mark.parametrize(("file", "expected"), list(cases()))
def test_torture_message(ground: Range, corpora: Path, file: str, expected: str) -> None:
    data = (corpora / "rfc4475" / "messages" / file).read_bytes()
    torturer = ground.party(TORTURER)
    torturer.send(data)
    ground.mark()
    forwarded = ground.pbx.take()
    for request in forwarded:
        # Many of the messages share a branch: nothing of one may be left for the next.
        ground.pbx.send(reply(request, "480 Temporarily Unavailable"))
    ground.mark()
    if expected == "-":
        return
    if expected.lower().startswith(("4", "5", "6", "error", "discard", "drop")) and "forward" not in expected:
        assert forwarded == []
        return
    assert len(forwarded) <= 1
    if forwarded:
        sent, received = Message(data), Message(forwarded[0])
        assert received.method == sent.method
        for name in ("Call-ID", "CSeq", "From", "To"):
            assert received.header(name) == sent.header(name)
        assert received.body == sent.body
    else:
        assert data.startswith(b"SIP/2.0") or torturer.take(), "neither forwarded nor answered"
