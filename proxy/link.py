"""The link between a worker and the services process: messages of proxy.events over an AF_UNIX SEQPACKET socket.

Neither end ever waits for the other: what the socket does not take waits in a queue, events apart from all else, and
whose queue is full says so. A datagram is either a batch, `\\0` and for each message its length (4 bytes) and msgpack;
or `\\1` and one message with descriptors of its own; or `\\2` alone, and the message is in the memory file that comes
first. The supervisor makes the socket, and a new one when either end is started again.

Cost: messages that are sent in one wake-up of the loop leave in one datagram.
"""
import array
import asyncio
import os
import socket
import struct
from collections import deque
from collections.abc import Callable
from typing import Any

import msgspec

from proxy.messages import memory_file, read_memory_file

BATCH_BYTES = 32 * 1024
"""A batch is closed above this; the socket's buffer takes 200 KiB."""
INLINE_BYTES = 48 * 1024
"""A longer message travels in a memory file."""
READS = 32
"""Datagrams that are read before other sockets get their turn."""
MOST_LEFT = 10_000
"""Datagrams in the buffer of a socket: more than there is room for."""

_LENGTH = struct.Struct("<I")
_BATCH, _ONE, _FILE = b"\0", b"\1", b"\2"
_DESCRIPTORS = 4


class Link:
    """One end. on_message(message, descriptors) owns the descriptors; on_down() says that the other end is gone."""

    def __init__(self, kinds: Any, on_message: Callable[[Any, list[int]], None],
                 on_down: Callable[[], None] = lambda: None):
        self.unreadable = 0
        self._decoder = msgspec.msgpack.Decoder(kinds)
        self._encoder = msgspec.msgpack.Encoder()
        self._on_message = on_message
        self._on_down = on_down
        self._first: deque[tuple[bytes, tuple[int, ...]]] = deque()
        self._events: deque[bytes] = deque()
        self.event_bytes = 0
        """Of the events that wait."""
        self._socket: socket.socket | None = None
        self._flushing = False

    @property
    def up(self) -> bool:
        return self._socket is not None

    @property
    def waiting(self) -> int:
        """Messages that the socket has not taken yet."""
        return len(self._first) + len(self._events)

    @property
    def urgent(self) -> int:
        """How many of them are no events."""
        return len(self._first)

    @property
    def events(self) -> int:
        """How many of them are events."""
        return len(self._events)

    def attach(self, sock: socket.socket) -> None:
        """Use this socket from now on; the one before, if any, is closed without a word to on_down."""
        self.detach()
        sock.setblocking(False)
        self._socket = sock
        asyncio.get_running_loop().add_reader(sock.fileno(), self._on_readable, sock)
        self._flush_soon()

    def detach(self) -> None:
        """Close the socket; events wait for the next one, everything else is forgotten."""
        if self._socket is not None:
            loop = asyncio.get_running_loop()
            loop.remove_reader(self._socket.fileno())
            loop.remove_writer(self._socket.fileno())
            self._socket.close()
            self._socket = None
            self._flushing = False
        for _, descriptors in self._first:
            _close(descriptors)
        self._first.clear()

    def encode(self, message: msgspec.Struct) -> bytes:
        return self._encoder.encode(message)

    def send(self, data: bytes, descriptors: tuple[int, ...] = ()) -> None:
        """Send what encode made, before all events that wait. The descriptors are closed, sent or not."""
        if self._socket is None:
            _close(descriptors)
            return
        self._first.append((data, descriptors))
        self._flush_soon()

    def send_now(self, data: bytes) -> bool:
        """Send what encode made before anything that waits; False, and nothing has happened, where the socket does not
        take it at once. A socket that is broken is found so by whoever reads it next."""
        if self._socket is None:
            return False
        try:
            if len(data) > INLINE_BYTES:
                self._send_one(self._socket, data, ())
            else:
                self._socket.send(b"".join((_BATCH, _LENGTH.pack(len(data)), data)))
        except OSError:
            return False
        return True

    def send_event(self, data: bytes) -> None:
        """Send an event; without a socket it waits for one."""
        self._events.append(data)
        self.event_bytes += len(data)
        self._flush_soon()

    def drop_event(self) -> bool:
        """Forget the oldest event that waits; False where none does."""
        if self._events:
            self._forget_event()
            return True
        return False

    def _forget_event(self) -> None:
        self.event_bytes -= len(self._events.popleft())

    def _flush_soon(self) -> None:
        if not self._flushing and self._socket is not None:
            self._flushing = True
            asyncio.get_running_loop().call_soon(self._flush)

    def _flush(self) -> None:
        self._flushing = False
        sock = self._socket
        if sock is None:
            return
        while self._first or self._events:
            try:
                self._send_some(sock)
            except (BlockingIOError, InterruptedError):
                # One more turn comes with the writer; until then nothing tries.
                self._flushing = True
                asyncio.get_running_loop().add_writer(sock.fileno(), self._on_writable, sock)
                return
            except OSError:
                self._down(sock)
                return

    def _on_writable(self, sock: socket.socket) -> None:
        asyncio.get_running_loop().remove_writer(sock.fileno())
        self._flush()

    def _send_some(self, sock: socket.socket) -> None:
        """One datagram; what it carried leaves the queue when the socket has it."""
        if self._first:
            data, descriptors = self._first[0]
            if descriptors or len(data) > INLINE_BYTES:
                self._send_one(sock, data, descriptors)
                _close(self._first.popleft()[1])
                return
        elif len(self._events[0]) > INLINE_BYTES:
            self._send_one(sock, self._events[0], ())
            self._forget_event()
            return
        parts, size = [_BATCH], 0
        for data, descriptors in self._first:
            if descriptors or len(data) > INLINE_BYTES or size > BATCH_BYTES:
                break
            parts += (_LENGTH.pack(len(data)), data)
            size += _LENGTH.size + len(data)
        important = len(parts) // 2
        if important == len(self._first):
            for data in self._events:
                if len(data) > INLINE_BYTES or size > BATCH_BYTES:
                    break
                parts += (_LENGTH.pack(len(data)), data)
                size += _LENGTH.size + len(data)
        sock.send(b"".join(parts))
        for _ in range(important):
            self._first.popleft()
        for _ in range(len(parts) // 2 - important):
            self._forget_event()

    @staticmethod
    def _send_one(sock: socket.socket, data: bytes, descriptors: tuple[int, ...]) -> None:
        if len(data) <= INLINE_BYTES:
            sock.sendmsg([_ONE, data], _rights(descriptors))
            return
        file = memory_file("sipedge-message", data)
        try:
            sock.sendmsg([_FILE], _rights((file, *descriptors)))
        finally:
            os.close(file)

    def take_rest(self) -> None:
        """Read what the other end has said before it went, which nobody will say again."""
        if self._socket is not None:
            self._on_readable(self._socket, MOST_LEFT)

    def _on_readable(self, sock: socket.socket, reads: int = READS) -> None:
        for _ in range(reads):
            if sock is not self._socket:
                return
            try:
                data, descriptors = _receive(sock)
            except (BlockingIOError, InterruptedError):
                return
            except OSError:
                data, descriptors = b"", []
            if not data:
                self._down(sock)
                return
            self._take(data, descriptors)

    def _take(self, data: bytes, descriptors: list[int]) -> None:
        try:
            bodies = _bodies(data, descriptors)
        except (struct.error, IndexError, OSError):
            bodies = [b""]
        for body in bodies:
            try:
                message = self._decoder.decode(body)
            except msgspec.MsgspecError:
                self.unreadable += 1
                _close(descriptors)
            else:
                self._on_message(message, descriptors)

    def _down(self, sock: socket.socket) -> None:
        if sock is self._socket:
            self.detach()
            self._on_down()


def _bodies(data: bytes, descriptors: list[int]) -> list[bytes]:
    """The messages of a datagram; takes the memory file off the descriptors."""
    if data[:1] == _FILE:
        return [read_memory_file(descriptors.pop(0))]
    if data[:1] == _ONE:
        return [data[1:]]
    found, at = [], 1
    while at < len(data):
        (length,) = _LENGTH.unpack_from(data, at)
        at += _LENGTH.size + length
        found.append(data[at - length:at])
    return found


def _rights(descriptors: tuple[int, ...]) -> list[tuple[int, int, Any]]:
    return [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))] if descriptors else []


def _receive(sock: socket.socket) -> tuple[bytes, list[int]]:
    """One datagram and its descriptors; empty when the other end has closed."""
    data, ancillary, _, _ = sock.recvmsg(
        INLINE_BYTES + BATCH_BYTES + 4096, socket.CMSG_SPACE(_DESCRIPTORS * array.array("i").itemsize),
        socket.MSG_CMSG_CLOEXEC)
    descriptors = array.array("i")
    for level, kind, payload in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            descriptors.frombytes(payload[:len(payload) - len(payload) % descriptors.itemsize])
    return data, list(descriptors)


def _close(descriptors: list[int] | tuple[int, ...]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)
