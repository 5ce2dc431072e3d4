"""What supervisor, workers and the command line say to each other: msgspec Structs as msgpack, one a datagram.

They travel over AF_UNIX SEQPACKET sockets; what is long (a configuration) goes as a memory file whose descriptor
comes with the message.
"""
import array
import os
import socket

import msgspec

LARGEST = 64 * 1024
"""Bytes of one message; statistics of all counters take about 3 KiB."""


class Start(msgspec.Struct, tag="start"):
    """Supervisor to worker, once: the descriptors that come with it are configuration, counters, SIP sockets."""

    worker: int
    secret: bytes
    epoch: int
    trace: bool = False


class Configure(msgspec.Struct, tag="configure"):
    """Supervisor to worker: take over the configuration that comes with it."""

    epoch: int


class Configured(msgspec.Struct, tag="configured"):
    """Worker to supervisor: running with that epoch, or why not."""

    epoch: int
    error: str = ""


class Trace(msgspec.Struct, tag="trace"):
    """Command line to supervisor to workers: show every message, or end it."""

    on: bool


class Capture(msgspec.Struct, tag="capture"):
    """Command line to supervisor to workers: write a call's packets into the file that comes first, for so many
    seconds at most, and say how it went as a line of JSON over the socket that comes second; its end ends it too."""

    call_id: str
    seconds: float


class Stop(msgspec.Struct, tag="stop"):
    """Supervisor to worker: begin nothing more, finish what runs within so many seconds, end."""

    timeout: float


class AskStatistics(msgspec.Struct, tag="ask_statistics"):
    """Command line to supervisor."""


class Statistics(msgspec.Struct, tag="statistics"):
    """Supervisor to command line: the sums over all workers, and what concerns the supervisor."""

    counters: dict[str, int]
    workers: int
    restarts: int
    epoch: int
    uptime: float


class Done(msgspec.Struct, tag="done"):
    """Supervisor to command line: what was asked for is under way, or why not."""

    error: str = ""


Message = Start | Configure | Configured | Trace | Capture | Stop | AskStatistics | Statistics | Done
_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Message)


def send(sock: socket.socket, message: Message, descriptors: list[int] | None = None) -> None:
    """Send one message. OSError where the other side is gone or does not read."""
    data = _encoder.encode(message)
    ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))] if descriptors else []
    sock.sendmsg([data], ancillary)


def receive(sock: socket.socket) -> tuple[Message | None, list[int]]:
    """Receive one message and its descriptors; (None, []) when the other side has closed.

    BlockingIOError where nothing waits on a non-blocking socket; msgspec.DecodeError for what is no message.
    """
    data, ancillary, _, _ = sock.recvmsg(
        LARGEST, socket.CMSG_SPACE(64 * array.array("i").itemsize), socket.MSG_CMSG_CLOEXEC)
    descriptors = array.array("i")
    for level, kind, payload in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            descriptors.frombytes(payload[:len(payload) - len(payload) % descriptors.itemsize])
    if not data:
        return None, []
    return _decoder.decode(data), list(descriptors)


def memory_file(name: str, data: bytes) -> int:
    """A descriptor of a memory file with that content, to be passed on."""
    descriptor = os.memfd_create(name, os.MFD_CLOEXEC)
    with os.fdopen(os.dup(descriptor), "wb") as file:
        file.write(data)
    return descriptor


def read_memory_file(descriptor: int) -> bytes:
    """The content of a memory file; closes the descriptor."""
    with os.fdopen(descriptor, "rb") as file:
        file.seek(0)
        return file.read()
