"""SRTP and SRTCP: whatever comes is dropped unless it was sealed with the key, and what is sealed can be opened."""
from sipcore.media.srtpkey import NAMES, key_size
from sipcore.media.srtpprobe import SrtpProbe
from tests.fuzz import harness

SUITES = sorted(NAMES)
MKIS = (b"", b"\x07", bytes(range(16)))


def made(suite: str, mki: bytes, sends: bool) -> SrtpProbe:
    return SrtpProbe(suite, bytes(range(key_size(suite))), sends, mki=mki)


def target(data: bytes) -> None:
    """A byte says which suite and which of both protocols, and whether packets carry an identifier."""
    if not data:
        return
    suite, rtcp = SUITES[data[0] % len(SUITES)], bool(data[0] & 0x40)
    packet = data[1:2048]
    for mki in MKIS:
        opener = made(suite, mki, False)
        opened = opener.unprotect(packet, rtcp)
        if isinstance(opened, bytes):
            assert len(opened) < len(packet)
            assert opener.unprotect(packet, rtcp) == "replayed"
        else:
            assert opened == "unauthentic"
    try:
        sealed = made(suite, b"", True).protect(packet, rtcp)
    except ValueError:
        return
    if sealed:
        opener = made(suite, b"", False)
        assert opener.unprotect(sealed, rtcp) == packet
        broken = bytearray(sealed)
        broken[-1] ^= 1
        assert made(suite, b"", False).unprotect(bytes(broken), rtcp) == "unauthentic"


def sealed(number: int, rtcp: bool) -> bytes:
    packet = (b"\x80\xc8\x00\x06\xca\xfe\xba\xbe" + bytes(20) if rtcp
              else b"\x80\x00\x00\x01\x00\x00\x00\xa0\xca\xfe\xba\xbe" + bytes(160))
    return bytes([number | 0x40 * rtcp]) + made(SUITES[number], b"", True).protect(packet, rtcp)


SEEDS = [*(sealed(number, rtcp) for number in range(len(SUITES)) for rtcp in (False, True)),
         b"\x00\x90\x00\x00\x01\x00\x00\x00\xa0\xca\xfe\xba\xbe\xbe\xde\xff\xff", b"\x00", b"\x05" + b"\xff" * 40]

if __name__ == "__main__":
    harness.run(target, SEEDS)
