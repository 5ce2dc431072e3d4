"""Calls in progress while more new ones come than can be served: `python -m benchmarks.overload`.

Calls are set up and held; while they end (BYE to 200), a flood of INVITEs arrives. The same without one says what an
undisturbed BYE takes. What counts is the ratio, and that none of the calls that were up is lost.
"""
import os
import sys
import threading
import time
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from benchmarks import load, processes
from benchmarks.results import keep
from benchmarks.subjects import EDGE, ROOT, Failure, Subject, cores, running

LISTEN = "127.0.0.1:5060"
SET_UP = 2.0  # seconds in which the calls begin that are held
PAUSE = 1.0  # between the last one's beginning and the first one's end
RATE = 300  # of these calls a second


class Run(msgspec.Struct, frozen=True):
    """One run: the calls that were held, and the flood beside their ends."""

    flood: float  # INVITEs/s that were asked for
    held: int  # calls; those that were refused when they began are none
    lost: int  # of them
    repeated: int  # BYEs that had to be sent again
    ending: load.Latency  # BYE to 200
    waited: float  # share of the time that the edge was ready and had no core
    ringing: load.Latency | None = None  # of the flood's calls that were served, INVITE to 180
    served: int = 0
    refused: int = 0  # 503
    timeouts: int = 0
    other: int = 0  # with another status


def run(pid: int, base: load.Plan, flood: float) -> Run:
    """Hold calls, let them end with or without a flood beside it."""
    plan = msgspec.structs.replace(base, rate=RATE, window=0, calls=0, duration=SET_UP, hold=SET_UP + PAUSE)
    found: list[load.Report] = []
    thread = threading.Thread(target=lambda: found.append(load.run(plan)))
    thread.start()
    time.sleep(SET_UP + PAUSE / 2)
    edge = processes.tree(pid)
    before, began = processes.cpu(edge), time.monotonic()
    calls = None
    if flood:
        beside = msgspec.structs.replace(base, rate=flood, window=0, calls=0, duration=SET_UP + PAUSE / 2,
                                         capacity=1 << 18)
        calls = load.run(beside).uac
    thread.join()
    after = processes.cpu(edge)
    held = found[0].uac
    assert held is not None
    lost = held.timeouts + sum(number for status, number in held.failed.items() if status != 503)
    result = Run(flood=flood, held=held.ok + lost, lost=lost, repeated=held.retransmitted_byes,
                 ending=held.ending, waited=(after.wait - before.wait) / (time.monotonic() - began))
    if calls is None:
        return result
    refused = calls.failed.get(503, 0)
    return msgspec.structs.replace(
        result, ringing=calls.ringing, served=calls.ok, refused=refused, timeouts=calls.timeouts,
        other=sum(calls.failed.values()) - refused)


def table(runs: list[Run]) -> Table:
    """Return the runs, one a column."""
    result = Table("", *(f"{one.flood:,.0f} INVITEs/s beside" if one.flood else "alone" for one in runs), box=SIMPLE)
    rows = {
        "calls held": lambda one: f"{one.held}, {one.lost} lost",
        "BYEs sent again": lambda one: f"{one.repeated}",
        "BYE to 200, us: p50": lambda one: f"{one.ending.p50:.0f}",
        "  p99 ": lambda one: f"{one.ending.p99:.0f}",
        "  max": lambda one: f"{one.ending.max:.0f}",
        "INVITE to 180 of the flood, us: p50": lambda one: f"{one.ringing.p50:.0f}" if one.ringing else "",
        "  p99": lambda one: f"{one.ringing.p99:.0f}" if one.ringing else "",
        "of the flood: served": lambda one: f"{one.served:,}" if one.flood else "",
        "  refused with 503": lambda one: f"{one.refused:,}" if one.flood else "",
        "  without an answer": lambda one: f"{one.timeouts:,}" if one.flood else "",
        "edge waiting for its core": lambda one: f"{one.waited:.0%}",
    }
    for name, figure in rows.items():
        result.add_row(name, *map(figure, runs))
    return result


def main(
    edge: Annotated[str, typer.Option(help="The edge's command, other than usual; {listen} is host:port.")] = EDGE,
    flood: Annotated[float, typer.Option(min=1, help="INVITEs/s.")] = 30_000,
    listen: Annotated[str, typer.Option(help="Where the edge listens, host:port.")] = LISTEN,
    out: Annotated[Path, typer.Option(help="Folder for overload.json.")] = ROOT / "out/bench",
) -> None:
    """Measure what a flood of INVITEs does to calls in progress. Exit status 1 if one of them was lost."""
    console = Console(width=100, highlight=False)
    core, own = cores()
    os.sched_setaffinity(0, {own})
    base = load.Plan(caller="127.0.0.2:0", callee="127.0.0.3:0", target=listen, window=64, calls=2000)
    try:
        with running(Subject("edge", edge), core, listen, base) as pid:
            load.run(base)
            runs = [run(pid, base, rate) for rate in (0, flood)]
    except (Failure, OSError) as error:
        print(f"overload: {error}", file=sys.stderr)
        raise typer.Exit(2) from None
    console.print(table(runs))
    alone, beside = (one.ending for one in runs)
    console.print(f"BYE under the flood, in times of one alone: p50 {beside.p50 / alone.p50:.1f}, "
                  f"p99 {beside.p99 / alone.p99:.1f}")
    keep(out, "overload", runs)
    if lost := sum(one.lost for one in runs):
        print(f"overload: the edge lost {lost} calls in progress", file=sys.stderr)
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
