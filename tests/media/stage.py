"""A relay on loopback with sockets around it, and the assertion that it leaves nothing behind."""
import contextlib
import gc
import os
import select
import socket
import struct
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any

from sipcore.media.offload_program import Program
from sipcore.media.ports import PortPool
from sipcore.media.relay import CLOSED, MediaRelay

Where = tuple[str, int]
Event = tuple[int, int, int, int, int, Where | None]
PATIENCE = 60.0
HOST = f"127.{64 + os.getpid() % 128}.{os.getpid() // 128 % 256}.200"
"""The media address of this process alone, so that runs side by side do not meet."""


def rtp(sequence: int, timestamp: int = 0, *, ssrc: int = 1, payload_type: int = 8, marker: bool = False,
        payload: bytes = bytes(160)) -> bytes:
    """An RTP packet (RFC 3550 5.1)."""
    return struct.pack(
        ">BBHII", 0x80, payload_type | marker << 7, sequence & 0xFFFF, timestamp & 0xFFFFFFFF, ssrc
    ) + payload


def receiver_report(ssrc: int = 1) -> bytes:
    """An empty RTCP receiver report (RFC 3550 6.4.2)."""
    return struct.pack(">BBHI", 0x80, 201, 1, ssrc)


def numbers(packet: bytes) -> tuple[int, int, int, int, bool]:
    """(sequence number, timestamp, SSRC, payload type, marker) of an RTP packet."""
    _, second, sequence, timestamp, ssrc = struct.unpack_from(">BBHII", packet)
    return sequence, timestamp, ssrc, second & 0x7F, bool(second >> 7)


def until(condition: Callable[[], object], what: str) -> None:
    """Wait for what only counters tell."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"never: {what}"
        time.sleep(0.001)


def descriptors() -> int:
    """How many are open, without those that tests before have left in cycles."""
    gc.collect()
    return len(os.listdir("/proc/self/fd"))


def opened() -> set[str]:
    """What each open descriptor is, sockets by their inode. So a leak is seen whatever else is closed meanwhile: what
    tests before have left in cycles goes whenever the collector comes by."""
    found = set()
    for number in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):
            found.add(f"{number} {os.readlink(f'/proc/self/fd/{number}')}")
    return found


class Phone:
    """A far end: a socket for RTP and one for RTCP on the port above."""

    def __init__(self, host: str, *, pair: bool = True):
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        while True:
            self.socket = socket.socket(family, socket.SOCK_DGRAM)
            self.socket.bind((host, 0))
            self.address: Where = self.socket.getsockname()[:2]
            self.control = socket.socket(family, socket.SOCK_DGRAM)
            try:
                if pair:
                    self.control.bind((host, self.address[1] + 1))
                break
            except OSError:
                self.close()
        for each in (self.socket, self.control):
            each.settimeout(PATIENCE)

    def send(self, packet: bytes, to: Where) -> None:
        self.socket.sendto(packet, to)

    def receive(self) -> bytes:
        return self.receive_from()[0]

    def receive_from(self) -> tuple[bytes, Where]:
        packet, source = self.socket.recvfrom(4096)
        return packet, source[:2]

    def is_quiet(self) -> bool:
        """Nothing waits to be read."""
        return not select.select([self.socket, self.control], [], [], 0)[0]

    def close(self) -> None:
        self.socket.close()
        self.control.close()


class Stage:
    """A relay and phones. At the end nothing of it may be left: sessions, ports, descriptors.

    offloads: the kernel passes on what it can from the second packet on, where a stage does not say otherwise.
    """

    offloads = False

    def __init__(self, *pools: PortPool, **settings: Any):
        self._before = opened()
        self.pools = pools or (PortPool(HOST, 20000, 20399, quarantine=0),)
        self.program = None
        if self.offloads:
            self.program = Program([pool.bound for pool in self.pools], sum(pool.pairs for pool in self.pools))
        self.relay = MediaRelay(self.pools, **{"sessions": 16, "nice": 0, "realtime": False, "program": self.program,
                                               "settled": 1} | settings)
        self.phones: list[Phone] = []
        self.events: list[Event] = []

    def phone(self, host: str, *, pair: bool = True) -> Phone:
        self.phones.append(Phone(host, pair=pair))
        return self.phones[-1]

    def session(self, *phones: Phone, pools: tuple[int, ...] = (0, 0, 0, 0), **aim: Any) -> tuple[int, list[Where]]:
        """A session with these phones as its sides, the first two hearing each other; and where each one sends."""
        session = self.relay.open()
        where = []
        for side, (phone, pool) in enumerate(zip(phones, pools, strict=False)):
            port = self.relay.bind(session, side, pool)
            assert port > 0
            where.append((self.pools[pool].bound, port))
            self.relay.set_aim(session, side, rtp=phone.address, **aim)
        self.relay.set_hearing(session, {0: [1], 1: [0]})
        return session, where

    def counted(self, session: int, side: int, **expected: int) -> None:
        """Wait until these counters of a side have these values."""
        until(lambda: expected.items() <= self.relay.side_counters(session, side).items(),
              f"{expected} in {self.relay.side_counters(session, side)}")

    def wait_for(self, kind: int, session: int | None = None) -> Event:
        """The next event of that kind; others are kept for later."""
        deadline = time.monotonic() + PATIENCE
        while True:
            for at, event in enumerate(self.events):
                if event[0] == kind and session in (None, event[1]):
                    return self.events.pop(at)
            left = deadline - time.monotonic()
            assert left > 0, f"no event {kind}, but {self.events}"
            select.select([self.relay.fileno()], [], [], left)
            self.events += self.relay.take_events()

    def sent(self, session: int, side: int, phone: Phone) -> list[bytes]:
        """Everything that was sent to a side: late frames are left out, so their number is not known before."""
        return [phone.receive() for _ in range(self.relay.side_counters(session, side)["sent"])]

    def end(self, session: int) -> None:
        """Close a session and wait until its ports are back."""
        self.relay.close(session)
        self.wait_for(CLOSED, session)

    def __enter__(self) -> "Stage":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for phone in self.phones:
            phone.close()
        self.relay.stop()
        if self.program is not None:
            self.program.close()
        if error is None:
            assert self.relay.open_sessions == 0
            assert [pool.used for pool in self.pools] == [0] * len(self.pools)
            assert opened() <= self._before
            thread_is_gone()


def thread_name(task: str) -> str:
    with open(f"/proc/self/task/{task}/comm") as comm:
        return comm.read().strip()


def thread_names() -> list[str]:
    names = []
    for task in os.listdir("/proc/self/task"):
        # One that ends between the two looks is gone.
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            names.append(thread_name(task))
    return names


def thread_is_gone() -> None:
    """Wait until /proc lists no relay thread: whoever joins a thread is woken while the kernel still takes it down."""
    until(lambda: "sipedge-media" not in thread_names(), "the thread is gone")
