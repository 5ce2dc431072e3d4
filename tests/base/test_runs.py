"""Runs of bytes, against a look at one byte after the other."""
import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sipcore.base.probe import name_key, runs

# Lengths around one, two and three of the sixteen bytes that are looked at together, and of sixty-four.
PARTS = [b"a", b"Z", b"09", b"-.", b"/", b"branch", b"z9hG4bK-00", b":", b"\t", b"\r\n", b"\x7f", b"\x80", b"\xc3\xa9",
         b" ", b"_", b"@", b"[", b"`", b"{", b"x" * 15, b"x" * 60]
TEXTS = st.lists(st.sampled_from(PARTS), max_size=12).map(b"".join)


def _until(pattern, data, start):
    found = re.compile(pattern, re.DOTALL).search(data, start)
    return found.start() if found else len(data)


@given(TEXTS, st.integers(0, 60), st.sampled_from(b":;@>\x80"))
@example(b"", 0, ord(":"))
@example(b"a" * 16, 0, ord(":"))
@example(b"a" * 15 + b":", 0, ord(":"))
@example(b"a" * 16 + b":", 16, ord(":"))
@example(b"a" * 40 + b"\r\n", 3, ord(":"))
@example(b"a" * 63 + b"\r\n" + b"a" * 62 + b"\r\n", 0, ord(":"))
@example(b"\r\n" * 33, 1, ord(":"))
def test_as_byte_for_byte(data, start, byte):
    start = min(start, len(data))
    control, wanted = _until(rb"[\x00-\x1f\x7f]", data, start), _until(re.escape(bytes([byte])), data, start)
    plain = _until(rb"[^A-Za-z0-9.-]", data, start)
    every = [i for i in range(start, len(data)) if data[i] < 32 or data[i] == 127]
    assert runs(data, start, byte) == (control, wanted, plain, every)


@pytest.mark.parametrize("length", [1, 15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 128, 129])
def test_every_byte_at_every_place(length):
    for at in {0, length // 2, length - 1}:
        for byte in range(256):
            data = bytearray(b"m" * length)
            data[at] = byte
            control, wanted, plain, every = runs(bytes(data), 0, ord("!"))
            assert (control == at) == (byte < 32 or byte == 127)
            assert (wanted == at) == (byte == ord("!"))
            assert (plain == at) == (not re.match(rb"[A-Za-z0-9.-]", bytes([byte])))
            assert every == ([at] if control == at else [])


@pytest.mark.parametrize("at", range(17))
def test_the_key_of_a_name(at):
    name = b"Via-MIME@[x_9~X:"[:at]
    text = (name + b": x" * 6)[:16]
    found, key = name_key(text)
    assert (found, key) == ((16, b"") if b":" not in text else
                            (text.index(b":"), bytes(c | 0x20 for c in text[:text.index(b":")]).ljust(16, b"\0")))
