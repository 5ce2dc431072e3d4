"""What supervisor, workers and the command line say to each other: msgspec Structs as msgpack, one a datagram.

They travel over AF_UNIX SEQPACKET sockets; what is long (a configuration) goes as a memory file whose descriptor
comes with the message.
"""
import array
import os
import socket
from typing import Literal

import msgspec

LARGEST = 64 * 1024
"""Bytes of one message; statistics of all counters take about 3 KiB."""


class Start(msgspec.Struct, tag="start"):
    """Supervisor to worker, once: the descriptors that come with it are configuration, counters, SIP sockets."""

    worker: int
    secret: bytes
    epoch: int
    trace: bool = False
    drained: list[str] = []


class StartServices(msgspec.Struct, tag="start_services"):
    """Supervisor to services process, once: the descriptors that come with it are configuration, counters, and the
    socket of the API where there is one. folder and name: where its files are kept, and what they are called after."""

    epoch: int
    folder: str
    name: str


class Attach(msgspec.Struct, tag="attach"):
    """Supervisor to that worker and to the services process: an end of a new link between them comes with it."""

    worker: int


class Reload(msgspec.Struct, tag="reload"):
    """Services process to supervisor: read the configuration again. The answer is Reloaded with this number."""

    ask: int


class Reloaded(msgspec.Struct, tag="reloaded"):
    """Supervisor to services process: that epoch runs now, or why not."""

    ask: int
    epoch: int
    error: str = ""


class UseEntries(msgspec.Struct, tag="use_entries"):
    """Services process to supervisor: the entries of the access list that come with it, and no others, hold beside the
    file. The answer is Reloaded with this number."""

    ask: int


class Configure(msgspec.Struct, tag="configure"):
    """Supervisor to worker and services process: take over the configuration that comes with it."""

    epoch: int


class Configured(msgspec.Struct, tag="configured"):
    """Worker or services process to supervisor: running with that epoch, or why not."""

    epoch: int
    error: str = ""


class Trace(msgspec.Struct, tag="trace"):
    """Command line to supervisor to workers: show every message, or end it."""

    on: bool


class Capture(msgspec.Struct, tag="capture"):
    """Command line to supervisor to workers: write a call's packets, or what is heard of it, into the file that comes
    first, for so many seconds at most, and say how it went as a line of JSON over the socket that comes second; its end
    ends it too."""

    call_id: str
    seconds: float
    decrypted: bool = False
    """SRTP as plain RTP, and messages with their keys."""
    sound: bool = False
    """A stereo WAV of the audio in place of packets."""


Task = Literal["targets", "drain", "resume", "bans", "ban", "unban"]


class Operate(msgspec.Struct, tag="operate"):
    """Command line or services process to supervisor to workers: show or change something; each worker answers with a
    line of JSON over the socket that comes along. A worker that starts later knows of what is drained by its Start.
    address: of a target or a ban; of `drain` and `resume` empty for the edge itself. seconds: that a ban lasts."""

    what: Task
    address: str = ""
    seconds: int = 0


class Stop(msgspec.Struct, tag="stop"):
    """Supervisor to worker and services process: begin nothing more, finish what runs within so many seconds, end."""

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


Message = (Start | StartServices | Attach | Configure | Configured | Reload | Reloaded | UseEntries | Trace | Capture
           | Operate | Stop | AskStatistics | Statistics | Done)
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
    with os.fdopen(descriptor, "wb", closefd=False) as file:
        file.write(data)
    return descriptor


def read_memory_file(descriptor: int) -> bytes:
    """The content of a memory file; closes the descriptor."""
    with os.fdopen(descriptor, "rb") as file:
        file.seek(0)
        return file.read()
