"""RTCP against a walk over it in Python, and there and back through rewriting; telephone events of any payload."""
import struct

from sipcore.media.probe import Hearing, read_rtcp, rewrite_rtcp
from tests.fuzz import harness

BLOCK = struct.Struct("!IIIIII")
# Bytes that a packet of a type has at least, with this count (RFC 3550 6.4 to 6.7, RFC 4585 6.1, RFC 3611 2).
LEAST = {
    200: lambda count: 28 + 24 * count, 201: lambda count: 8 + 24 * count, 203: lambda count: 4 + 4 * count,
    204: lambda count: 12, 205: lambda count: 12, 206: lambda count: 12, 207: lambda count: 8,
}


def walk(data: bytes) -> tuple[bool, list[tuple[int, ...]], bool]:
    """Whether the packets add up, all report blocks, whether there is a BYE."""
    blocks: list[tuple[int, ...]] = []
    bye = False
    while data:
        if len(data) < 4 or data[0] >> 6 != 2 or not 192 <= data[1] <= 223:
            return False, blocks, bye
        size, count, kind = 4 * (int.from_bytes(data[2:4], "big") + 1), data[0] & 31, data[1]
        if size > len(data) or size < LEAST.get(kind, lambda count: 4)(count):
            return False, blocks, bye
        if kind in (200, 201):
            start = 28 if kind == 200 else 8
            blocks += [BLOCK.unpack_from(data, start + 24 * i) for i in range(count)]
        bye |= kind == 203
        data = data[size:]
    return True, blocks, bye


def target(data: bytes) -> None:
    data = data[:2048]
    about = int.from_bytes(data[-4:], "big")
    whole, found = read_rtcp(data, about)
    expected, blocks, bye = walk(data) if data else (False, [], False)
    assert whole == expected
    assert found["bye"] == bye
    assert bool(found["block"]) == bool(blocks)
    if blocks:
        source, loss, highest, jitter, lsr, dlsr = next((block for block in blocks if block[0] == about), blocks[0])
        assert (found["about"], found["highest"], found["jitter"]) == (source, highest, jitter)
        assert (found["lsr"], found["dlsr"], found["fraction"]) == (lsr, dlsr, loss >> 24)
        assert found["cumulative"] == (loss & 0x7FFFFF) - (loss & 0x800000)
    same = rewrite_rtcp(data, (about, about), (about, about))
    assert same is None or (same == data and whole)
    # Numbers that stand nowhere in the packet, so that there and back is the identity.
    new = next(number for number in range(1, 600) if number.to_bytes(4, "big") not in data)
    there = rewrite_rtcp(data, (about, new), (about, new), 5)
    if there is not None:
        assert rewrite_rtcp(there, (new, about), (new, about), 2**32 - 5) == data
    hearing = Hearing()
    for at in range(0, len(data) - 8, 8):
        reports = hearing.packet(data[at:at + 4], int.from_bytes(data[at + 4:at + 8], "big"))
        assert all(digit in "0123456789*#ABCD!" for digit, _ in reports)


def _packet(kind: int, count: int, *words: int) -> bytes:
    return struct.pack(f"!BBH{len(words)}I", 0x80 | count, kind, len(words), *words)


SEEDS = [
    _packet(200, 1, 7, 1, 2, 3, 4, 5, 9, 0xFF000003, 70_000, 160, 1, 65536)
    + struct.pack("!BBHIBB14s", 0x81, 202, 5, 7, 1, 13, b"a@example.com"),
    _packet(201, 2, 7, 9, 0xFFFFFF, 0, 0, 0, 0, 7, 1, 2, 3, 4, 5) + _packet(203, 1, 7),
    _packet(201, 0, 7) + _packet(207, 0, 7, 0x05000002, 9, 0) + _packet(204, 0, 7, 0x6E616D65),
    _packet(205, 1, 7, 9, 0) + _packet(206, 1, 7, 9) + _packet(203, 0),
    _packet(201, 0, 7) + bytes(14),
    struct.pack("!BBHI", 5, 0x8A, 800, 1000),
]

if __name__ == "__main__":
    harness.run(target, SEEDS)
