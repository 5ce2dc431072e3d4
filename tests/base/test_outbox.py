"""The queue of datagrams: order, both ways to be full, and what the flush hook may do."""
import os
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipcore.base.outbox import Outbox
from sipcore.base.probe import CHECKED, overrun_outbox

DATAGRAMS = 512
ARENA = 1 << 20
SENT = st.tuples(
    st.integers(0, 65535), st.sampled_from(["192.0.2.1", "2001:db8::1"]), st.integers(0, 65535), st.binary(max_size=99)
)


@given(st.lists(SENT, max_size=20))
def test_comes_out_as_it_went_in(datagrams: list[tuple[int, str, int, bytes]]) -> None:
    outbox = Outbox()
    for listener, host, port, data in datagrams:
        assert outbox.put(host, port, data, listener)
    assert outbox.count == len(datagrams)
    assert [outbox.datagram(i) for i in range(len(datagrams))] == [data for *_, data in datagrams]
    assert outbox.drain() == datagrams
    assert outbox.drain() == []


def test_full_by_number() -> None:
    outbox = Outbox()
    assert all(outbox.put("192.0.2.1", 5060, bytes([i & 255])) for i in range(DATAGRAMS))
    assert not outbox.put("192.0.2.1", 5060, b"one more")
    assert (outbox.count, outbox.dropped) == (DATAGRAMS, 1)
    assert [data for *_, data in outbox.drain()] == [bytes([i & 255]) for i in range(DATAGRAMS)]
    assert outbox.put("192.0.2.1", 5060, b"room again")


def test_full_by_bytes() -> None:
    outbox = Outbox()
    assert all(outbox.put("192.0.2.1", 5060, bytes(65528)) for _ in range(16))
    assert outbox.put("192.0.2.1", 5060, bytes(ARENA - 16 * 65528))
    assert not outbox.put("192.0.2.1", 5060, b"x")
    assert outbox.put("192.0.2.1", 5060, b"")
    assert outbox.dropped == 1
    assert not Outbox().put("192.0.2.1", 5060, bytes(ARENA + 1))


def test_a_flush_makes_room() -> None:
    outbox, batches = Outbox(), []
    outbox.on_full(lambda: batches.append(outbox.drain()))
    for i in range(2 * DATAGRAMS + 1):
        assert outbox.put("192.0.2.1", 5060, b"%d" % i)
    assert [len(batch) for batch in batches] == [DATAGRAMS, DATAGRAMS]
    assert batches[1][0][3] == b"512"
    assert [data for *_, data in outbox.drain()] == [b"1024"]
    assert outbox.dropped == 0


def test_a_flush_that_sends_nothing_drops_the_new_one() -> None:
    outbox, calls = Outbox(), []
    outbox.on_full(lambda: calls.append(outbox.count))
    for _ in range(DATAGRAMS + 2):
        outbox.put("192.0.2.1", 5060, b"x")
    assert calls == [DATAGRAMS, DATAGRAMS]
    assert (outbox.count, outbox.dropped) == (DATAGRAMS, 2)


def test_nothing_is_flushed_for_what_can_never_fit() -> None:
    outbox, calls = Outbox(), []
    outbox.on_full(lambda: calls.append(outbox.count))
    assert not outbox.put("192.0.2.1", 5060, bytes(ARENA + 1))
    assert calls == []
    assert outbox.dropped == 1


def test_an_exception_of_the_callback_reaches_the_interpreter(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    monkeypatch.setattr(sys, "unraisablehook", lambda what: seen.append(what.exc_type))
    outbox = Outbox()
    outbox.on_full(lambda: 1 // 0)
    for _ in range(DATAGRAMS + 1):
        outbox.put("192.0.2.1", 5060, b"x")
    outbox.on_full(None)
    assert not outbox.put("192.0.2.1", 5060, b"x")
    assert seen == [ZeroDivisionError]
    assert outbox.dropped == 2


def test_what_was_sent_leaves_and_the_rest_stays() -> None:
    outbox = Outbox()
    for i in range(5):
        outbox.put("192.0.2.1", 5060 + i, b"%d" % i)
    outbox.sent(2)
    assert outbox.datagram(0) == b"2"
    outbox.put("192.0.2.1", 5065, b"5")
    assert [data for *_, data in outbox.drain()] == [b"2", b"3", b"4", b"5"]


def test_room_comes_back_when_the_last_one_was_sent() -> None:
    outbox = Outbox()
    for _ in range(DATAGRAMS):
        outbox.put("192.0.2.1", 5060, bytes(100))
    outbox.sent(DATAGRAMS - 1)
    assert not outbox.put("192.0.2.1", 5060, b"x")
    outbox.sent(1)
    assert outbox.put("192.0.2.1", 5060, bytes(ARENA))


def test_indexes_are_checked() -> None:
    outbox = Outbox()
    outbox.put("192.0.2.1", 5060, b"x")
    for index in (-1, 1):
        with pytest.raises(IndexError):
            outbox.datagram(index)
    for number in (-1, 2):
        with pytest.raises(ValueError, match="datagrams of 1"):
            outbox.sent(number)
    with pytest.raises(ValueError, match="not an IP address"):
        outbox.put("pbx", 5060, b"x")
    assert outbox.count == 1


@pytest.mark.skipif(
    not CHECKED or "libasan" not in os.environ.get("LD_PRELOAD", ""), reason="only AddressSanitizer notices"
)
@pytest.mark.parametrize("reserved", [1, 8, 900])
def test_writing_beyond_what_was_reserved_traps(reserved: int) -> None:
    code = (
        "from sipcore.base.outbox import Outbox\nfrom sipcore.base.probe import overrun_outbox\nbox = Outbox()\n"
        f"overrun_outbox(box, {reserved}, {reserved})\noverrun_outbox(box, {reserved}, {reserved} + 1)"
    )
    environment = {**os.environ, "ASAN_OPTIONS": "detect_leaks=0"}
    dead = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert "use-after-poison" in dead.stderr


@pytest.mark.skipif(CHECKED, reason="a plain build would write there")
def test_overruns_are_not_made_in_a_plain_build() -> None:
    with pytest.raises(RuntimeError, match="not a checked build"):
        overrun_outbox(Outbox(), 1, 2)
