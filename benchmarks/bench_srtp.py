"""What SRTP costs a packet of 20 ms of G.711: a new IV, the cipher, the tag, the window. A round has 10,000 packets."""
import struct
from typing import Any

import pytest

from sipcore.media.srtpkey import NAMES, key_size
from sipcore.media.srtpprobe import SrtpProbe

PACKETS = 10_000


def packet(seq: int) -> bytes:
    return struct.pack(">BBHII", 0x80, 8, seq, 160 * seq, 1) + bytes(160)


@pytest.mark.parametrize("suite", sorted(NAMES))
def test_protect(benchmark: Any, suite: str) -> None:
    sends = SrtpProbe(suite, bytes(key_size(suite)), True)
    assert benchmark(sends.protect_often, packet(0), PACKETS) == PACKETS


@pytest.mark.parametrize("suite", sorted(NAMES))
def test_unprotect(benchmark: Any, suite: str) -> None:
    sends = SrtpProbe(suite, bytes(key_size(suite)), True)
    wires = [sends.protect(packet(seq)) for seq in range(PACKETS)]

    def anew() -> tuple[tuple[SrtpProbe], dict[str, Any]]:
        return (SrtpProbe(suite, bytes(key_size(suite)), False),), {}

    right = benchmark.pedantic(lambda hears: hears.unprotect_often(wires), setup=anew, rounds=20)
    assert right == PACKETS


def test_set_up_keys(benchmark: Any) -> None:
    suite = "AES_CM_128_HMAC_SHA1_80"
    benchmark(SrtpProbe, suite, bytes(key_size(suite)), True)
