"""Records on disk, until the database has them: files that are only appended to, and deleted when all of one is stored.

Every method blocks on the disk and is to be called in a thread, one at a time. An entry is its length (4 bytes), the
CRC-32 of its bytes (4) and the bytes; what a crash cut off is ignored.
"""
import os
import struct
import zlib
from pathlib import Path

FILE_BYTES = 8 * 1024 * 1024
"""A file is closed above this, so that a stream of records that never pauses leaves nothing behind."""
MOST_BYTES = 1024 * 1024 * 1024
"""Of all files: then nothing more is taken, and the workers keep what they have."""

_HEAD = struct.Struct("<II")


class Full(OSError):
    """The spool has reached its size, as the database has been gone for so long."""


class Spool:
    """stem: what the names of the files begin with. Raises OSError where the folder cannot be used."""

    def __init__(self, folder: Path, stem: str):
        self._folder = folder
        self._stem = stem
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._numbers = sorted(int(path.suffixes[-2][1:]) for path in folder.glob(f"{stem}.[0-9]*.spool"))
        self._older_bytes = sum(self._path(number).stat().st_size for number in self._numbers)
        self._writing: int | None = None
        self._bytes = 0
        self._read_at = 0           # in the oldest file
        self._next_at = 0           # behind what read returned last

    def _path(self, number: int) -> Path:
        return self._folder / f"{self._stem}.{number:08}.spool"

    def append(self, entries: list[bytes]) -> None:
        """Write entries, and have them on disk when this returns. Raises OSError (Full among them); then none of them
        counts as written."""
        if self._older_bytes + self._bytes > MOST_BYTES:
            raise Full(f"more than {MOST_BYTES} bytes wait for the database")
        if self._writing is None or self._bytes > FILE_BYTES:
            self._older_bytes += self._bytes
            self._bytes = 0
            number = self._numbers[-1] + 1 if self._numbers else 1
            descriptor = os.open(self._path(number), os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            self._numbers.append(number)
            self._writing = number
            self._sync_folder()
        else:
            descriptor = os.open(self._path(self._writing), os.O_WRONLY | os.O_CLOEXEC)
        data = b"".join(part for entry in entries for part in (_HEAD.pack(len(entry), zlib.crc32(entry)), entry))
        try:
            at = self._bytes
            while at < self._bytes + len(data):
                at += os.pwrite(descriptor, data[at - self._bytes:], at)
            os.fdatasync(descriptor)
        except OSError:
            # What was written of them is written over next time.
            os.ftruncate(descriptor, self._bytes)
            raise
        finally:
            os.close(descriptor)
        self._bytes += len(data)

    def read(self, most: int) -> list[bytes]:
        """The next entries that are not stored yet, the same ones again until `stored`; none where all are."""
        while self._numbers:
            number = self._numbers[0]
            found = self._entries(number, most)
            if found or number == self._writing:
                return found
            self._forget(number)
        return []

    def _entries(self, number: int, most: int) -> list[bytes]:
        found: list[bytes] = []
        self._next_at = self._read_at
        with self._path(number).open("rb") as file:
            file.seek(self._read_at)
            end = self._bytes if number == self._writing else None
            while len(found) < most and (end is None or self._next_at < end):
                head = file.read(_HEAD.size)
                if len(head) < _HEAD.size:
                    break
                size, check = _HEAD.unpack(head)
                entry = file.read(size) if size <= MOST_BYTES else b""
                if len(entry) < size or zlib.crc32(entry) != check:
                    break
                found.append(entry)
                self._next_at += _HEAD.size + size
        return found

    def stored(self) -> None:
        """What read returned last is in the database."""
        self._read_at = self._next_at
        if self._numbers and self._numbers[0] == self._writing and self._read_at == self._bytes:
            os.truncate(self._path(self._writing), 0)
            self._bytes = self._read_at = 0

    def _sync_folder(self) -> None:
        """Have the name of a new file on disk too."""
        descriptor = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def _forget(self, number: int) -> None:
        """Delete the oldest file."""
        path = self._path(number)
        self._older_bytes -= path.stat().st_size
        path.unlink()
        self._numbers.pop(0)
        self._read_at = self._next_at = 0
