"""What SRTP costs a packet of 20 ms of G.711: a new IV, the cipher, the tag, the window. A round has 10,000 packets."""
import struct
from typing import Any

import pytest

from sipcore.media.srtpkey import NAMES, key_size
from sipcore.media.srtpprobe import SrtpProbe

PACKETS = 10_000


def packet(seq: int) -> bytes:
    return struct.pack(">BBHII", 0x80, 8, seq, 160 * seq, 1) + bytes(160)


def fresh(suite: str, sends: bool) -> SrtpProbe:
    """For each round: no index is sent, or taken, twice."""
    return SrtpProbe(suite, bytes(key_size(suite)), sends)


@pytest.mark.parametrize("suite", sorted(NAMES))
def test_protect(benchmark: Any, suite: str) -> None:
    protect = SrtpProbe.protect_often
    sent = benchmark.pedantic(protect, setup=lambda: ((fresh(suite, True), packet(0), PACKETS), {}), rounds=20)
    assert sent == PACKETS


@pytest.mark.parametrize("suite", sorted(NAMES))
def test_unprotect(benchmark: Any, suite: str) -> None:
    sends = fresh(suite, True)
    wires = [sends.protect(packet(seq)) for seq in range(PACKETS)]
    unprotect = SrtpProbe.unprotect_often
    right = benchmark.pedantic(unprotect, setup=lambda: ((fresh(suite, False), wires), {}), rounds=20)
    assert right == PACKETS


def test_set_up_keys(benchmark: Any) -> None:
    suite = "AES_CM_128_HMAC_SHA1_80"
    benchmark(SrtpProbe, suite, bytes(key_size(suite)), True)
