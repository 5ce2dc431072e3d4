"""RTP load generator: calls set up by INVITE through a proxy, then paced audio both ways through the ports it gave.

    with media.Load(media.Plan(calls=1000, proxy="127.0.0.1:5060")) as load:
        report = load.run(seconds=4)

Each side of each call has ports of its own at the proxy; at this end all calls of a side share one. Without a proxy
the two sides send to each other: that is what the generator and the kernel take by themselves. One thread, IPv4; pin
the process to a core that the proxy does not use.
"""
import os
import socket
from typing import Self

import msgspec

from benchmarks import processes
from benchmarks.load import Latency
from benchmarks.media.calls import Address, Call, Endpoints, NotCarried
from benchmarks.media.streams import Streams

__all__ = ["Load", "NotCarried", "Plan", "Report"]

_SOCKET_BUFFER = 8 << 20
_FORCE_RECEIVE_BUFFER = 33 if os.geteuid() == 0 else socket.SO_RCVBUF  # SO_RCVBUFFORCE has no name in Python


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What to set up."""

    calls: int
    proxy: str | None = None  # host:port; None: the two sides send to each other
    caller: str = "127.0.0.2"
    callee: str = "127.0.0.3"
    size: int = 172  # bytes: RTP header and 20 ms of G.711


class Report(msgspec.Struct, frozen=True):
    """What came of one run."""

    sent: int
    received: int
    errors: int  # refused by the kernel
    misrouted: int  # came out at another call's port
    strange: int  # not what was sent
    seconds: float
    waited: float  # seconds in which the generator was ready to run and had no core
    lateness: float  # of the packet sent latest, in microseconds: the generator's own fault
    latency: Latency
    cpu: float  # seconds of the generator itself

    @property
    def lost(self) -> int:
        """Packets that never came out."""
        return self.sent - self.received

    @property
    def per_second(self) -> float:
        """Packets that came out."""
        return self.received / self.seconds


class Load:
    """Calls that are up: run() as often as wanted, close() at the end. Raises NotCarried, OSError."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self._calls: list[Call] = []
        self._sockets: list[socket.socket] = []
        self._endpoints: Endpoints | None = None
        try:
            self._sockets += [_audio_socket(plan.caller), _audio_socket(plan.callee)]
            self._streams = Streams([sock.fileno() for sock in self._sockets], self._targets(), size=plan.size)
        except BaseException:
            self.close()
            raise

    def _targets(self) -> list[Address]:
        one, other = (sock.getsockname() for sock in self._sockets)
        if self.plan.proxy is None:
            return [other, one] * self.plan.calls
        host, _, port = self.plan.proxy.rpartition(":")
        self._endpoints = Endpoints(self.plan.caller, self.plan.callee, (host, int(port)))
        self._calls = self._endpoints.call([(one[1], other[1])] * self.plan.calls)
        return [target for call in self._calls for target in (call.for_caller, call.for_callee)]

    def run(self, seconds: float, interval: float = 0.02) -> Report:
        """Send for so many seconds, with so many between two packets of a direction."""
        before = processes.cpu([os.getpid()])
        found = self._streams.run(seconds, interval)
        after = processes.cpu([os.getpid()])
        return msgspec.convert(found | {"cpu": after.run - before.run, "waited": after.wait - before.wait}, Report)

    def close(self) -> None:
        """End the calls and close the sockets."""
        try:
            if self._endpoints is not None and self._calls:
                self._endpoints.hang_up(self._calls)
        finally:
            if self._endpoints is not None:
                self._endpoints.__exit__()
            for sock in self._sockets:
                sock.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _audio_socket(host: str) -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setsockopt(socket.SOL_SOCKET, _FORCE_RECEIVE_BUFFER, _SOCKET_BUFFER)
    sock.bind((host, 0))
    return sock
