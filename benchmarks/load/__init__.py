"""SIP load generator: places calls through a proxy, answers them, and counts and times what happens.

One call is INVITE, 180, 200, ACK, a hold time, BYE, 200, with the dialog's route set honoured and RFC 3261's
retransmissions. It runs in one thread, over IPv4 and UDP, TCP or TLS; pin the process to a core that the proxy does
not use. Over TCP and TLS the calling side opens its connections before the first call and shares the calls among them;
the answering side takes those that come in. They stay open to the end of the run.
`python -m benchmarks.load --help` is its command line.
"""
import os
import secrets
import socket
import time
from typing import Literal, Self

import msgspec

from benchmarks.load import messages
from benchmarks.load.connection import MOST_CONNECTIONS, Connections
from benchmarks.load.generator import Generator
from benchmarks.load.uac import Uac
from benchmarks.load.uas import Uas
from sipcore.net.tls import TlsContext

Transport = Literal["udp", "tcp", "tls"]

_SOCKET_BUFFER = 4 << 20


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What to run. Addresses are host:port; port 0 takes a free one where a socket is bound."""

    role: Literal["both", "uac", "uas"] = "both"
    caller: str = "127.0.0.2:5060"
    callee: str = "127.0.0.3:5060"
    target: str | None = None  # the proxy; None calls the callee directly
    transport: Transport = "udp"
    connections: int = 4  # of the calling side, over TCP and TLS
    certificate: str = ""  # PEM file, of the answering side over TLS
    key: str = ""  # its private key
    ca: str = ""  # PEM file with what the proxy's certificate must come from
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
        if not 1 <= self.connections <= MOST_CONNECTIONS:
            raise ValueError(f"a side has 1 to {MOST_CONNECTIONS} connections")
        if self.transport != "udp" and self.loss:
            raise ValueError("a connection loses nothing")
        if self.transport == "tls" and not (self.ca or self.role == "uas"):
            raise ValueError("a caller over TLS needs the authority of the proxy's certificate")
        if self.transport == "tls" and not ((self.certificate and self.key) or self.role == "uac"):
            raise ValueError("a UAS over TLS needs a certificate and its key")


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
    errors: int  # refused by the kernel, or without a connection
    broken: int  # connections that ended during the run
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
        self._sockets: dict[str, list[socket.socket]] = {}
        self._connections: list[Connections] = []
        try:
            self.callee = self._open("uas", plan.callee) if plan.role != "uac" else plan.callee
            self.caller = self._open("uac", plan.caller) if plan.role != "uas" else plan.caller
        except OSError:
            self.close()
            raise
        uac = uas = None
        flows = 0 if plan.transport == "udp" else plan.connections
        if plan.role != "uas":
            host, port = _split(plan.target or self.callee)
            templates = messages.requests(self.caller, self.callee, plan.transport)
            serial = secrets.randbits(39)
            uac = Uac(plan.capacity, socket.inet_aton(host), port, plan.t1, plan.hold, serial, templates, flows)
        if plan.role != "uac":
            uri = messages.contact(messages.CALLEE, self.callee, plan.transport)
            tails = messages.responses(self.callee, plan.transport)
            uas = Uas(plan.capacity, uri, plan.answer, plan.t1, tails, flows > 0)
        self._generator = Generator(
            uac, self._way("uac"), uas, self._way("uas"), rate=plan.rate, window=plan.window, calls=plan.calls,
            duration=plan.duration, loss=plan.loss, seed=plan.seed, spin=plan.spin,
        )  # fmt: skip

    def _open(self, role: str, address: str) -> str:
        """Open the sockets of a side; return the address that the first one got."""
        udp, connecting = self.plan.transport == "udp", self.plan.transport != "udp" and role == "uac"
        opened = self._sockets[role] = []
        for index in range(self.plan.connections if connecting else 1):
            sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM if udp else socket.SOCK_STREAM)
            opened.append(sock)
            if udp:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _SOCKET_BUFFER)
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SOCKET_BUFFER)
            else:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            host, port = _split(address)
            sock.bind((host, 0 if index else port))
            if connecting:
                sock.connect(_split(self.plan.target or self.callee))
            elif not udp:
                sock.listen()
            if not udp:
                sock.setblocking(False)
        host, port = opened[0].getsockname()
        return f"{host}:{port}"

    def _way(self, role: str) -> int | Connections | None:
        """Return what a side sends and receives by."""
        if role not in self._sockets:
            return None
        if self.plan.transport == "udp":
            return self._sockets[role][0].fileno()
        context, plan = None, self.plan
        if plan.transport == "tls":
            answering = role == "uas"
            certificates = [(plan.certificate, plan.key)] if answering else []
            context = TlsContext(server=answering, certificates=certificates, ca="" if answering else plan.ca)
        connections = Connections(self._sockets[role], listening=role == "uas", context=context)
        self._connections.append(connections)
        return connections

    def run(self) -> Report:
        """Run the plan to its end and return what came of it; a caller waits for its last call."""
        wall, cpu = time.monotonic(), time.thread_time()
        counters = self._generator.run()
        counters |= {"wall": time.monotonic() - wall, "cpu": time.thread_time() - cpu, "drops": self._drops()}
        if isinstance(calls := counters.get("uac"), dict):
            calls["per_second"] = calls["ok"] / calls["seconds"] if calls["seconds"] else 0.0
        return msgspec.convert(counters, Report)

    def _drops(self) -> int:
        inodes = {str(os.fstat(sock.fileno()).st_ino) for opened in self._sockets.values() for sock in opened}
        with open("/proc/net/udp") as table:
            rows = [line.split() for line in table]
        return sum(int(row[-1]) for row in rows[1:] if row[9] in inodes)

    def stop(self) -> None:
        """Make run() return soon."""
        self._generator.stop()

    def close(self) -> None:
        """Release the sockets; not while run() is under way."""
        for connections in self._connections:
            connections.close()
        for opened in self._sockets.values():
            for sock in opened:
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
