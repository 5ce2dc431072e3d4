"""A whole Proxy under virtual time: any messages from two peers, answered to what it forwards, then silence.

The input is a script of steps that end with a line holding one dot. A step is one letter and the rest:
`a` or `b` and a message from the caller or the callee, `u` and one from a stranger; `A`, `B` and `S` the same over
connections, by TCP and (the caller's) by TLS; `x`: what was sent last cannot be delivered; `t` and a number of ms that
pass. Placeholders of the shared messages become real: our branch and token are those that the edge made last.
"""
import re
import sys
from collections.abc import Iterator
from typing import Any

from proxy.app import build_proxy
from proxy.config import Config, decode
from proxy.policy.validate import problems_of
from sipcore.stack.hop import Hop
from sipcore.stack.proxy import Proxy
from sipcore.wire.message import Message
from tests.fuzz import harness

CALLER, CALLEE, STRANGER = ("192.0.2.10", 5060), ("203.0.113.20", 5060), ("198.51.100.200", 5060)
SOURCES = {b"a": CALLER, b"b": CALLEE, b"u": STRANGER}
FLOW = 0x80000000
STREAMS: dict[bytes, tuple[int, tuple[str, int, str, int]]] = {
    b"A": (1, ("192.0.2.10", 40000, "tcp", FLOW + 1)), b"B": (1, ("203.0.113.20", 40000, "tcp", FLOW + 2)),
    b"S": (2, ("192.0.2.10", 40001, "tls", FLOW + 3)),
}
"""Listener and Hop of those that have connected."""
VIAS = ("SIP/2.0/UDP 198.51.100.5:5060;branch=", "SIP/2.0/TCP 198.51.100.5:5060;branch=",
        "SIP/2.0/TLS 198.51.100.5:5061;branch=")
END = b"\n.\n"
STEPS = 40
# Longer than Timer C and the lingering states behind it, or than a transfer's outcome is waited for.
QUIET_MS = 600_000
FILE = """
[[listener]]
name = "edge"
bind = "udp:198.51.100.5:5060"
[[listener]]
name = "tcp"
bind = "tcp:198.51.100.5:5060"
[[listener]]
name = "tls"
bind = "tls:198.51.100.5:5061"
tls = ["any"]
[[tls]]
name = "any"
certificate = "cert.pem"
key = "key.pem"
[[group]]
name = "agents"
addresses = ["192.0.2.0/24"]
methods = ["INVITE", "OPTIONS", "REGISTER", "REFER", "MESSAGE"]
[[group]]
name = "pbx"
addresses = ["203.0.113.0/24"]
methods = ["INVITE", "OPTIONS"]
[unlisted]
answer = "forbid"
[[upstream]]
name = "pbx"
targets = [{ address = "203.0.113.20:5060" }, { address = "203.0.113.21:5060", priority = 2 }]
mtu = 1500
codecs = ["PCMU"]
[[headers]]
name = "call"
on = ["INVITE", "REFER"]
add = [{ name = "X-Call", value = "{call_id} {from_phone_number} {X-Caller-Name}" }]
[internal]
headers = ["X-Internal-*", "X-Customer-Intent"]
[[refer]]
groups = ["agents"]
domains = ["pbx.example.net"]
headers = ["call"]
[[route]]
to = "pbx"
headers = ["call"]
[limits]
transactions = 64
dialogs = 16
memory = 16
sources = 64
"""
# What the log is told of a REFER that no rule allows.
TOLD = "REFER refused with "
ROUTE = re.compile(rb"Record-Route: <sips?:198\.51\.100\.5:506[01](?:;transport=t[cl][ps])?;lr;t=([0-9a-v]+)>")
METHOD = re.compile(rb"[A-Za-z0-9\-.!%*_+`'~]+ ")


def configuration() -> Config:
    return decode(FILE, problems_of, file="fuzz.toml")


def steps(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    for step in data.split(END)[:STEPS]:
        yield step[:1], step[1:]


class Run:
    """One script on a proxy of its own."""

    def __init__(self, config: Config) -> None:
        self.proxy: Proxy = build_proxy(config, secret=b"a secret for the fuzz target")
        self.now = 1_000_000
        self.fed = 0
        self.branch = self.token = self.last = b""

    def play(self, data: bytes) -> None:
        for kind, rest in steps(data):
            if kind in SOURCES:
                self.feed(rest, SOURCES[kind])
            elif kind in STREAMS:
                listener, hop = STREAMS[kind]
                self.feed(rest, hop, listener)
            elif kind == b"x" and self.last:
                self.proxy.unreachable(self.last, self.now)
                self.look()
            elif kind == b"t" and rest[:6].isdigit():
                self.wait(int(rest[:6]))
        self.wait(QUIET_MS)
        self.end()

    def feed(self, message: bytes, source: Hop, listener: int = 0) -> None:
        if self.branch:
            message = message.replace(b"z9hG4bK1x00a4c7f2e09d3b5c1aa7", self.branch)
        if self.token:
            message = message.replace(b"t=5f1c09ae", b"t=" + self.token)
        self.proxy.feed(message[:65535], source, self.now, listener)
        self.fed += 1
        self.look()

    def wait(self, ms: int) -> None:
        """Let time pass, timer by timer."""
        end = self.now + ms
        for _ in range(10_000):
            due = self.proxy.deadline()
            if due is None or due > end:
                break
            self.now = max(self.now, due)
            self.proxy.advance(self.now)
            self.look()
        else:
            raise AssertionError("timers go in a circle")
        self.now = end

    def look(self) -> None:
        """What leaves can be read again, and nothing went wrong inside."""
        for listener, _host, port, data in self.proxy.drain():
            self.last = data
            assert 0 < port <= 65535
            assert data.startswith(b"SIP/2.0 ") or METHOD.match(data)
            message = Message(data, not data.startswith(b"SIP/2.0 "))
            if message.is_request:
                self.branch = message.branch.encode()
                assert message.headers("Via")[0].startswith(VIAS[listener])
                assert not any(name.lower().startswith("x-internal-") for name, _ in message.items())
            token = ROUTE.search(data)
            self.token = token[1] if token else self.token
        assert [text for text in self.proxy.take_troubles() if not text.startswith(TOLD)] == []

    def end(self) -> None:
        """After the silence nothing of it is left, and what was counted adds up."""
        assert self.proxy.live == 0
        assert self.proxy.pool.live == (0, 0, 0)
        found = self.proxy.statistics()
        assert min(found.values()) >= 0
        assert found["datagrams_in"] == self.fed
        assert found["requests_in"] + found["responses_in"] + found["keepalives"] <= self.fed
        assert found["calls_answered"] + found["calls_failed"] <= found["calls"]
        assert found["calls_ended"] <= found["calls"]
        assert found["dialogs"] <= found["calls"] + found["refers"]
        assert found["refers_accepted"] <= found["refers"]
        assert found["refers_completed"] + found["refers_failed"] + found["refers_unknown"] <= found["refers"]
        assert found["decide_errors"] == 0


def target(data: bytes) -> None:
    unraisable: list[Any] = []
    before, sys.unraisablehook = sys.unraisablehook, unraisable.append
    try:
        Run(CONFIG).play(data)
    finally:
        sys.unraisablehook = before
    # What a function that cannot raise had to swallow.
    assert not unraisable, unraisable[0]


CONFIG = configuration()


def script(*parts: tuple[bytes, bytes]) -> bytes:
    return END.join(kind + text for kind, text in parts)


def _seeds() -> list[bytes]:
    from benchmarks import corpus

    invite, ringing, ok, ack, refer, notify, bye, register = (
        corpus.load(name) for name in ("invite", "180", "200", "ack", "refer", "notify", "bye", "register"))
    busy = ringing.replace(b"180 Ringing", b"486 Busy Here")
    cancel = re.sub(rb"\r\nContent-Type[^\0]*", b"\r\nContent-Length: 0\r\n\r\n", invite).replace(b"INVITE", b"CANCEL")
    done = ok.partition(b"\r\n\r\n")[0].replace(b"209", b"0") + b"\r\n\r\n"
    accepted = done.replace(b"101 INVITE", b"102 REFER").replace(b"200 OK", b"202 Accepted")
    call = [(b"a", invite), (b"b", ringing), (b"b", ok), (b"a", ack)]
    end = [(b"a", bye), (b"b", done.replace(b"101 INVITE", b"103 BYE"))]
    return [
        script(*call, *end),
        script(*call, (b"t", b"700"), (b"a", refer), (b"b", accepted), (b"b", notify), *end),
        script((b"a", invite), (b"b", ringing), (b"a", cancel), (b"t", b"3000"), (b"b", busy)),
        script((b"a", invite), (b"t", b"999999")),
        script((b"a", invite), (b"b", busy), (b"a", invite)),
        script((b"a", register), (b"u", invite), (b"u", refer), (b"u", bye), (b"b", b"\r\n\r\n")),
    ]


SEEDS = _seeds()

if __name__ == "__main__":
    harness.run(target, SEEDS)
