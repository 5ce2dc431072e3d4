"""Captures of a call, SIP and RTP in one file, that Wireshark and tcpdump open.

Packets come without their IP and UDP headers (from the relay's tap, from whoever handles SIP), so these are built
anew: addresses and ports are the true ones, TTL and IP identification are not known and say nothing. The format is the
classic one with nanoseconds (draft-ietf-opsawg-pcap), link type RAW: packets begin with their IP header.
"""
import struct
from io import BufferedWriter, FileIO
from pathlib import Path
from socket import AF_INET, AF_INET6, inet_pton
from types import TracebackType
from typing import BinaryIO

from .packet import Packet

MAGIC_NANOSECONDS = 0xA1B23C4D
LINKTYPE_RAW = 101
SNAP_LENGTH = 262_144
UDP = 17

Where = tuple[str, int]


class Capture:
    """A pcap file that is being written. path: or the number of an open descriptor, which is the file's from then on.

    limit: bytes of the file; a packet that would go beyond is not written, and counted in `dropped`. OSError where the
    file cannot be written; what was written before stays readable.
    """

    def __init__(self, path: str | Path | int, *, limit: int = 256 << 20):
        self.limit = limit
        self.written = 0
        """Packets."""
        self.dropped = 0
        self._identification = 0
        self._file: BinaryIO = BufferedWriter(FileIO(path, "w"))
        self._bytes = self._file.write(struct.pack("<IHHiIII", MAGIC_NANOSECONDS, 2, 4, 0, 0, SNAP_LENGTH,
                                                   LINKTYPE_RAW))

    def write(self, time_ns: int, source: Where, destination: Where, payload: bytes) -> None:
        """Add one datagram. time_ns: since 1970. ValueError where the two are not IP literals of one family, or the
        payload does not fit into a datagram."""
        packet = _datagram(source, destination, payload, self._identification)
        if self._bytes + 16 + len(packet) > self.limit:
            self.dropped += 1
            return
        self._identification = (self._identification + 1) & 0xFFFF
        head = struct.pack("<IIII", time_ns // 1_000_000_000, time_ns % 1_000_000_000, len(packet), len(packet))
        self._bytes += self._file.write(head) + self._file.write(packet)
        self.written += 1

    def write_copy(self, packet: Packet, local: Where, epoch_ns: int) -> None:
        """Add a packet of the relay's tap. local: our address, and the port that it came to or was sent from;
        epoch_ns: what to add to the relay's clock for the time since 1970."""
        ends = (local, packet.far) if packet.sent else (packet.far, local)
        self.write(packet.time_ns + epoch_ns, *ends, packet.data)

    def flush(self) -> None:
        self._file.flush()

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> "Capture":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


def _datagram(source: Where, destination: Where, payload: bytes, identification: int) -> bytes:
    """An IP packet around a payload (RFC 791 3.1, RFC 8200 3, RFC 768)."""
    family = AF_INET6 if ":" in source[0] else AF_INET
    try:
        # Without the scope, which is not part of an address in a packet.
        ends = b"".join(inet_pton(family, host.partition("%")[0]) for host, _ in (source, destination))
    except OSError as error:
        raise ValueError(f"{source[0]} and {destination[0]}: expected two IP literals of one family") from error
    length = 8 + len(payload)
    if length + 20 > 0xFFFF:
        raise ValueError(f"{len(payload)} bytes: expected a payload that fits into a datagram")
    ports = struct.pack("!HHH", source[1], destination[1], length)
    # 0 would say that there is none (RFC 768).
    sum = _checksum(ends + struct.pack("!HH", UDP, length) + ports + b"\0\0" + payload) or 0xFFFF
    udp = ports + struct.pack("!H", sum) + payload
    if family == AF_INET6:
        return struct.pack("!IHBB", 6 << 28, length, UDP, 64) + ends + udp
    head = struct.pack("!BBHHHBB", 0x45, 0, 20 + length, identification, 0x4000, 64, UDP)
    return head + struct.pack("!H", _checksum(head + ends)) + ends + udp


def _checksum(data: bytes) -> int:
    """The Internet checksum (RFC 1071)."""
    total = sum(struct.unpack(f"!{len(data) // 2}H", data[: len(data) & ~1]))
    if len(data) % 2:
        total += data[-1] << 8
    # 2**16 is 1 modulo 2**16 - 1: the carries come round by themselves. Of the two zeros, all ones is meant.
    return 0xFFFF - (total % 0xFFFF or (0xFFFF if total else 0))
