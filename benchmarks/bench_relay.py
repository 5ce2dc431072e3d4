"""What the relay's pure parts cost a packet: the queue, learning, one egress. A round has 100,000 operations."""
import struct
from typing import Any

from sipcore.base.ring import WordRing
from sipcore.media.egress import EgressProbe
from sipcore.media.latch import LatchProbe

OPERATIONS = 100_000
SOURCE = ("192.0.2.1", 4000)


def packet(ssrc: int) -> bytes:
    return struct.pack(">BBHII", 0x80, 8, 0, 0, ssrc) + bytes(160)


def test_pass_through_the_ring(benchmark: Any) -> None:
    ring = WordRing(64)
    assert benchmark(ring.pass_often, OPERATIONS) == OPERATIONS * (OPERATIONS - 1) // 2


def test_admit_the_known_source(benchmark: Any) -> None:
    latch = LatchProbe()
    latch.aim(SOURCE)
    assert benchmark(latch.admit_often, SOURCE, OPERATIONS) == OPERATIONS


def test_leave_untouched(benchmark: Any) -> None:
    egress = EgressProbe()
    assert benchmark(egress.send_often, 0, packet(1), 0, OPERATIONS) == OPERATIONS % 65536 - 1
    assert not egress.rewrites


def test_leave_with_other_numbers(benchmark: Any) -> None:
    egress = EgressProbe()
    egress.send(0, packet(1), 0)
    benchmark(egress.send_often, 1, packet(2), 1_000_000, OPERATIONS)
    assert egress.rewrites
