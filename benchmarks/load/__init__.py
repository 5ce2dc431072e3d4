"""SIP load generator: places calls through a proxy, answers them, and counts and times what happens.

One call is INVITE, 180, 200, ACK, a hold time, BYE, 200, with the dialog's route set honoured and RFC 3261's
retransmissions. It runs in one thread, IPv4 over UDP; pin the process to a core that the proxy does not use.
`python -m benchmarks.load --help` is its command line.
"""
import os
import secrets
import socket
import time
from typing import Literal, Self

import msgspec

from benchmarks.load import messages
from benchmarks.load.generator import Generator
from benchmarks.load.uac import Uac
from benchmarks.load.uas import Uas

_SOCKET_BUFFER = 4 << 20


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What to run. Addresses are host:port; port 0 takes a free one where a socket is bound."""

    role: Literal["both", "uac", "uas"] = "both"
    caller: str = "127.0.0.2:5060"
    callee: str = "127.0.0.3:5060"
    target: str | None = None  # the proxy; None calls the callee directly
    rate: float = 0.0  # calls/s, evenly spaced (open loop)
    window: int = 0  # calls at a time (closed loop)
    calls: int = 0  # to place, 0 without a limit
    duration: float = 0.0  # seconds in which calls are placed, or answered by a UAS alone; 0 without a limit
    hold: float = 0.0  # seconds between ACK and BYE
    loss: float = 0.0  # share of outgoing messages that are dropped, both sides
    answer: int = 200  # final status of the UAS
    t1: float = 0.5  # seconds; T2 is 8 times, Timers B, F and H 64 times as long
    capacity: int = 1 << 16  # calls at a time, a power of two
    seed: int = 1  # picks which messages are lost
    spin: bool = False  # do not sleep between packets

    def __post_init__(self) -> None:
        if self.role != "uas":
            if bool(self.rate) == bool(self.window):
                raise ValueError("a caller needs either a rate or a window")
            if not (self.calls or self.duration):
                raise ValueError("a caller needs a number of calls or a duration")
        if self.capacity & (self.capacity - 1) or not 0 < self.capacity <= 1 << 24:
            raise ValueError("capacity is a power of two, at most 2**24")
        if not 0 <= self.window <= self.capacity:
            raise ValueError("a window is at most the capacity")
        if not 200 <= self.answer <= 699:
            raise ValueError("the UAS answers with a final status, 200 to 699")
        if not 0 <= self.loss < 1 or min(self.rate, self.calls, self.duration, self.hold) < 0 or self.t1 <= 0:
            raise ValueError("a share lies in [0, 1), a time or number is not negative, T1 is positive")


class Latency(msgspec.Struct, frozen=True):
    """Percentiles in microseconds, from logarithmic buckets 1.6 % wide; max is exact."""

    count: int
    p50: float
    p90: float
    p99: float
    p999: float
    max: float


class Calls(msgspec.Struct, frozen=True):
    """What the calling side saw."""

    started: int
    ok: int  # BYE answered with 2xx
    failed: dict[int, int]  # calls by final status
    timeouts: int  # Timer B or F
    malformed: int  # messages that cannot be used; the call of a response among them is given up
    skipped: int  # not placed, because all slots were in use
    strays: int  # messages that no live call wants
    retransmitted_invites: int
    retransmitted_byes: int
    repeated_finals: int  # final responses to INVITE received again
    seconds: float  # from the start to the end of the last call
    per_second: float  # calls that were ok
    lateness: float  # of the call placed latest, in microseconds: the generator's own fault in an open loop
    ringing: Latency  # INVITE to 18x
    ending: Latency  # BYE to its final response


class Answers(msgspec.Struct, frozen=True):
    """What the answering side saw."""

    answered: int
    confirmed: int  # final responses acknowledged
    ended: int  # BYE received
    unacknowledged: int  # ended by BYE or Timer H without an ACK
    skipped: int  # INVITEs left alone, because all slots were in use
    malformed: int
    misrouted: int  # ACK or BYE with another request URI than our Contact, or a Route left over
    strays: int
    retransmitted_finals: int
    repeated_requests: int


class Report(msgspec.Struct, frozen=True):
    """The outcome of one run; `uac` or `uas` is None where that side did not take part."""

    sent: int  # messages
    received: int
    lost: int  # on purpose
    errors: int  # refused by the kernel
    oversized: int  # would not have fitted into the generator's buffers
    drops: int  # by the kernel, for lack of receive buffer
    cpu: float  # seconds of the generator itself
    wall: float  # seconds
    uac: Calls | None = None
    uas: Answers | None = None

    @property
    def retransmissions(self) -> int:
        """Messages that either side sent again."""
        calls = self.uac.retransmitted_invites + self.uac.retransmitted_byes if self.uac else 0
        return calls + (self.uas.retransmitted_finals if self.uas else 0)


class Load:
    """A plan with its sockets bound: run() once, stop() from another thread, close() at the end.

    OSError if an address cannot be bound.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self._sockets: dict[str, socket.socket] = {}
        try:
            self.callee = self._bind("uas", plan.callee) if plan.role != "uac" else plan.callee
            self.caller = self._bind("uac", plan.caller) if plan.role != "uas" else plan.caller
        except OSError:
            self.close()
            raise
        uac = uas = None
        if plan.role != "uas":
            host, port = _split(plan.target or self.callee)
            templates = messages.requests(self.caller, self.callee)
            serial = secrets.randbits(39)
            uac = Uac(plan.capacity, socket.inet_aton(host), port, plan.t1, plan.hold, serial, templates)
        if plan.role != "uac":
            uri = messages.contact(messages.CALLEE, self.callee)
            uas = Uas(plan.capacity, uri, plan.answer, plan.t1, messages.responses(self.callee))
        self._generator = Generator(
            uac, self._fileno("uac"), uas, self._fileno("uas"), rate=plan.rate, window=plan.window, calls=plan.calls,
            duration=plan.duration, loss=plan.loss, seed=plan.seed, spin=plan.spin,
        )  # fmt: skip

    def _bind(self, role: str, address: str) -> str:
        sock = self._sockets[role] = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _SOCKET_BUFFER)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SOCKET_BUFFER)
        sock.bind(_split(address))
        host, port = sock.getsockname()
        return f"{host}:{port}"

    def _fileno(self, role: str) -> int:
        return self._sockets[role].fileno() if role in self._sockets else -1

    def run(self) -> Report:
        """Run the plan to its end and return what came of it; a caller waits for its last call."""
        wall, cpu = time.monotonic(), time.thread_time()
        counters = self._generator.run()
        counters |= {"wall": time.monotonic() - wall, "cpu": time.thread_time() - cpu, "drops": self._drops()}
        if isinstance(calls := counters.get("uac"), dict):
            calls["per_second"] = calls["ok"] / calls["seconds"] if calls["seconds"] else 0.0
        return msgspec.convert(counters, Report)

    def _drops(self) -> int:
        inodes = {str(os.fstat(sock.fileno()).st_ino) for sock in self._sockets.values()}
        with open("/proc/net/udp") as table:
            rows = [line.split() for line in table]
        return sum(int(row[-1]) for row in rows[1:] if row[9] in inodes)

    def stop(self) -> None:
        """Make run() return soon."""
        self._generator.stop()

    def close(self) -> None:
        """Release the sockets; not while run() is under way."""
        for sock in self._sockets.values():
            sock.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def run(plan: Plan) -> Report:
    """Run a plan from binding its sockets to closing them."""
    with Load(plan) as load:
        return load.run()


def _split(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    return host, int(port)
