"""The ladder's lines, and that nothing from the wire reaches the terminal as more than text."""
import io

import pytest
from rich.console import Console

from proxy.demo.ladder import Ladder, label, line, printable
from sipcore.wire.message import Message

HEAD = ("Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKa\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:c@d>\r\nCall-ID: x\r\n"
        "CSeq: 1 {}\r\n{}\r\n")


def message(start, method, more="", body=""):
    return Message(f"{start}\r\n{HEAD.format(method, more)}{body}".encode())


@pytest.mark.parametrize(("found", "expected"), [
    (message("INVITE sip:c@d SIP/2.0", "INVITE"), "INVITE"),
    (message("SIP/2.0 486 Busy Here", "INVITE"), "486 Busy Here"),
    (message("SIP/2.0 202 Accepted", "REFER"), "202 (REFER)"),
    (message("NOTIFY sip:c@d SIP/2.0", "NOTIFY", "Content-Length: 19\r\n", "SIP/2.0 100 Trying\r"), "NOTIFY 100"),
    (message("SIP/2.0 200 \u202ered", "INVITE"), "200 \\x202ered"),
])
def test_labels(found, expected):
    assert label(found) == expected


def test_arrows_cross_the_columns_between():
    assert line("caller", "edge", "INVITE").rstrip() == "     │─ INVITE ───────────>│" + 2 * f"{'│':>22}"
    crossing = "<────────────────────┼─────────── 200 OK ──│"
    assert line("PBX", "edge", "200 OK") == "     │" + f"{'│':>22}" + crossing


def test_a_long_label_stays_in_its_place():
    for source, to in (("caller", "edge"), ("edge", "caller"), ("agent", "edge"), ("edge", "PBX")):
        row = line(source, to, "x" * 100)
        assert len(row) == len(line("caller", "edge", ""))
        assert row.count("│") + row.count("┼") == 4


def test_control_characters_are_written_out():
    assert printable("a\x1b]0;x\x07\u202eb[red]") == "a\\x1b]0;x\\x07\\x202eb[red]"


def test_headers_are_shown_as_they_came_without_markup():
    out = io.StringIO()
    ladder = Ladder(Console(file=out, width=200))
    ladder.headers("INVITE", message("INVITE sip:c@d SIP/2.0", "INVITE", "X-A: [bold]\x9b2J\r\n"), "1 of 2 bytes")
    ladder.message("caller", "out", b"garbage")
    assert "  | X-A: [bold]\\x9b2J\n" in out.getvalue()
    assert "INVITE, as it arrived (1 of 2 bytes):" in out.getvalue()
    assert "\x9b" not in out.getvalue()
