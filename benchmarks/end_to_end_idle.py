"""Idle TLS connections, end to end: what one takes, and whether new calls notice those that are there.

Calls are placed without them, then the connections are opened, each with a whole handshake and from one of many
addresses, and the same calls are placed beside them. Afterwards a part of the connections is asked whether it is alive
(RFC 5626 3.5.1: CRLF twice, answered by one). Memory is PSS of the edge's whole process tree.
"""
import os
import resource
import socket
import ssl
import sys
import tempfile
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from benchmarks import certificate, load, processes
from benchmarks.end_to_end import CALLEE, CALLER, LISTEN, WARM_UP
from benchmarks.results import keep
from benchmarks.subjects import ROOT, Failure, Subject, cores, running, tls_seat

EDGE = "sipedge run --config {seat}"
MOST = 300.0  # MiB
A_SOURCE = 64  # connections from one address
ASKED = 100  # of them one is asked whether it is alive
OTHER_FILES = 256


class Idle(msgspec.Struct, frozen=True):
    """What one run came to. Memory in MiB; alone: calls before the connections were opened; beside: with them."""

    connections: int
    base: float
    peak: float
    alone: load.Latency
    beside: load.Latency
    failed: int  # calls
    asked: int
    alive: int

    @property
    def taken(self) -> float:
        """MiB."""
        return self.peak - self.base

    def wrong(self, most: float) -> list[str]:
        """What is not as it should be."""
        return [text for text, bad in (
            (f"{self.connections} connections take {self.taken:.1f} MiB", self.taken > most),
            (f"{self.failed} calls failed", self.failed > 0),
            (f"{self.asked - self.alive} of {self.asked} connections did not answer", self.alive < self.asked),
        ) if bad]  # fmt: skip


def opened(count: int, listen: str, ca: str) -> list[ssl.SSLSocket]:
    """Open so many connections, with their handshakes done."""
    host, _, port = listen.rpartition(":")
    context = ssl.create_default_context(cafile=ca)
    context.check_hostname = False
    kept = []
    for number in range(count):
        source = number // A_SOURCE
        sock = socket.socket()
        sock.settimeout(10)
        sock.bind((f"127.1.{source // 250}.{1 + source % 250}", 0))
        sock.connect((host, int(port)))
        kept.append(context.wrap_socket(sock))
    return kept


def alive(connections: list[ssl.SSLSocket]) -> int:
    """How many of them answer a ping."""
    for each in connections:
        each.sendall(b"\r\n\r\n")
    return sum(each.recv(16) == b"\r\n" for each in connections)


def place(plan: load.Plan) -> tuple[load.Latency, int]:
    """INVITE to 18x of a plan's calls, and how many of them failed."""
    calls = load.run(plan).uac
    if calls is None or not calls.ok:
        raise Failure("the edge completed no call")
    return calls.ringing, calls.started - calls.ok


def measure(pid: int, base: load.Plan, count: int, rate: float, seconds: float) -> Idle:
    """Open the connections to an edge that is up."""
    steady = msgspec.structs.replace(base, rate=rate, window=0, calls=0, duration=seconds)
    load.run(base)
    alone, failed = place(steady)
    before = processes.memory(processes.tree(pid)).pss
    kept = opened(count, base.target or "", base.ca)
    try:
        peak = processes.memory(processes.tree(pid)).pss
        beside, more = place(steady)
        some = kept[::ASKED]
        return Idle(connections=count, base=before, peak=max(peak, processes.memory(processes.tree(pid)).pss),
                    alone=alone, beside=beside, failed=failed + more, asked=len(some), alive=alive(some))
    finally:
        for each in kept:
            each.close()


def main(
    edge: Annotated[str, typer.Option(help="The edge's command; {seat} is its configuration.")] = EDGE,
    connections: Annotated[int, typer.Option(min=1, max=60_000, help="Connections open at a time.")] = 10_000,
    most: Annotated[float, typer.Option(help="MiB that they may take.")] = MOST,
    rate: Annotated[float, typer.Option(min=1, help="Calls/s, before and beside.")] = 1000.0,
    seconds: Annotated[float, typer.Option(min=0.1, help="For so long each.")] = 3.0,
    listen: Annotated[str, typer.Option(help="Where the edge listens, host:port.")] = LISTEN,
    out: Annotated[Path, typer.Option(help="Folder for end_to_end_idle.json.")] = ROOT / "out/bench",
) -> None:
    """Measure idle TLS connections. Exit status 1 if they take too much, do not answer, or a call failed."""
    core, own = cores()
    os.sched_setaffinity(0, {own})
    try:
        with tempfile.TemporaryDirectory(prefix="idle-") as folder:
            chain, key = certificate.make(Path(folder), listen.rpartition(":")[0], CALLEE)
            base = load.Plan(caller=f"{CALLER}:0", callee=f"{CALLEE}:0", target=listen, transport="tls",
                             certificate=chain, key=key, ca=chain, window=64, calls=WARM_UP)
            seat = Path(folder, "edge.toml")
            # No call is refused because a machine is slow.
            seat.write_text(tls_seat(listen, base) + f"\n[streams]\nconnections = {connections + OTHER_FILES}\n"
                            "[overload]\nlag = 0\n")
            _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
            with running(Subject("edge", edge.replace("{seat}", str(seat))), core, listen, base) as pid:
                found = measure(pid, base, connections, rate, seconds)
    except (Failure, OSError) as error:
        print(f"end_to_end_idle: {error}", file=sys.stderr)
        raise typer.Exit(2) from None
    print(f"idle   {connections} connections: {found.base:.1f} MiB before, {found.peak:.1f} with them: "
          f"{found.taken:.1f} MiB (at most {most:.0f}), {found.taken * 1024 / connections:.1f} KiB each")
    print(f"calls  INVITE to 180 p50/p99 {found.alone.p50:.0f}/{found.alone.p99:.0f} us without them, "
          f"{found.beside.p50:.0f}/{found.beside.p99:.0f} us beside them, {found.failed} failed; "
          f"{found.alive} of {found.asked} connections answered")
    keep(out, "end_to_end_idle", found)
    if wrong := found.wrong(most):
        print(f"end_to_end_idle: {'; '.join(wrong)}", file=sys.stderr)
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
