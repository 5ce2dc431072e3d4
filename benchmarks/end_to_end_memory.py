"""Memory of controlled calls, end to end: what a call that is up takes, and whether a long run stays level.

Held: so many calls are set up and none is ended until all are up; what the edge's processes have grown by then, by
calls, both legs and what lingers of their transactions included. Sustained: calls at a steady rate for longer than
finished transactions linger; from then on memory should stay what it is. PSS of the whole process tree.
"""
import os
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from benchmarks import load, processes
from benchmarks.end_to_end import LISTEN, WARM_UP
from benchmarks.results import keep
from benchmarks.subjects import CONTROLLED, ROOT, Failure, Subject, cores, running

MOST = 20.0  # KiB a call
GROWTH = 0.03  # share that a level run may grow by: the allocator's arenas come in pieces of 1 MiB
SETUP_RATE = 1000.0  # calls/s
SPARE = 3.0  # seconds that all held calls are up together
LINGER = 36.0  # seconds: 32 of lingering from a call's end, and the last pieces that memory comes in
STEP = 0.5  # seconds between two looks


class Look(msgspec.Struct, frozen=True):
    """Seconds since the load began, and MiB."""

    at: float
    pss: float


class Memory(msgspec.Struct, frozen=True):
    """What one run came to. base: MiB before it. peak: while all calls were up."""

    held: int
    base: float
    peak: float
    looks: tuple[Look, ...]
    failed: int

    @property
    def per_call(self) -> float:
        """KiB."""
        return (self.peak - self.base) * 1024 / self.held


def growth(looks: tuple[Look, ...], linger: float = LINGER) -> float:
    """Share by which memory has grown between the middle and the end of the time after everything that lingers does;
    0 where that time is too short to tell."""
    late = [look.pss for look in looks if look.at >= linger]
    half = len(late) // 2
    if not half:
        return 0.0
    # The least of a few looks: a buffer that is being emptied is none that stays.
    return min(late[half:]) / min(late[:half]) - 1


def watched(pid: int, plan: load.Plan) -> tuple[load.Report, tuple[Look, ...]]:
    """Run a plan in a thread of its own, and look at the memory of a process tree all the while."""
    reports: list[load.Report] = []
    thread = threading.Thread(target=lambda: reports.append(load.run(plan)))
    began = time.monotonic()
    thread.start()
    looks = tuple(_looks(pid, thread, began))
    if not reports:
        raise Failure("the load could not be run")
    return reports[0], looks


def _looks(pid: int, thread: threading.Thread, began: float) -> Iterator[Look]:
    while thread.is_alive():
        yield Look(time.monotonic() - began, processes.memory(processes.tree(pid)).pss)
        thread.join(STEP)


def failures(report: load.Report) -> int:
    return report.uac.started - report.uac.ok if report.uac else 1


def main(
    edge: Annotated[str, typer.Option(help="The edge's command; {listen} is host:port.")] = CONTROLLED,
    held: Annotated[int, typer.Option(min=1, help="Calls up at a time.")] = 10_000,
    rate: Annotated[float, typer.Option(min=1, help="Calls/s of the sustained run.")] = 2000.0,
    seconds: Annotated[float, typer.Option(min=0.1, help="Length of the sustained run.")] = 40.0,
    most: Annotated[float, typer.Option(help="KiB that a held call may take.")] = MOST,
    listen: Annotated[str, typer.Option(help="Where the edge listens, host:port.")] = LISTEN,
    out: Annotated[Path, typer.Option(help="Folder for end_to_end_memory.json.")] = ROOT / "out/bench",
) -> None:
    """Measure memory per held call, and in a long run. Exit status 1 if it is too much or grows, or a call failed."""
    core, own = cores()
    os.sched_setaffinity(0, {own})
    base = load.Plan(caller="127.0.0.2:0", callee="127.0.0.3:0", target=listen, window=64, calls=WARM_UP)
    setup = held / SETUP_RATE
    holding = msgspec.structs.replace(base, rate=SETUP_RATE, window=0, calls=held, hold=setup + SPARE)
    steady = msgspec.structs.replace(base, rate=rate, window=0, calls=0, duration=seconds)
    try:
        with running(Subject("edge", edge), core, listen, base) as pid:
            load.run(base)
            before = processes.memory(processes.tree(pid)).pss
            report, looks = watched(pid, holding)
            up = [look.pss for look in looks if setup <= look.at <= setup + SPARE]
            if not up:
                raise Failure("nobody looked while all calls were up")
        with running(Subject("edge", edge), core, listen, base) as pid:
            long, level = watched(pid, steady)
    except (Failure, OSError) as error:
        print(f"end_to_end_memory: {error}", file=sys.stderr)
        raise typer.Exit(2) from None
    found = Memory(held, before, max(up), level, failures(report) + failures(long))
    grown = growth(level)
    print(f"held       {held} calls: {before:.1f} MiB before, {found.peak:.1f} with them; "
          f"{found.per_call:.1f} KiB a call (at most {most:.0f})")
    print(f"sustained  {rate:.0f} calls/s for {seconds:.0f} s: {level[0].pss:.1f} MiB at first, {level[-1].pss:.1f} at "
          f"the end; {grown:+.1%} after {LINGER:.0f} s")
    keep(out, "end_to_end_memory", found)
    if found.failed:
        print(f"end_to_end_memory: {found.failed} calls failed", file=sys.stderr)
    if found.failed or found.per_call > most or grown > GROWTH:
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
