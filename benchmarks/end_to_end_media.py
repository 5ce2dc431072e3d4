"""End-to-end run of audio: calls set up through the edge, and RTP both ways through the ports that it gave them.

Each round starts the edge afresh, places the calls, and measures each phase; a figure is the median over the rounds.
Beside it `direct`: the same packets between the generator's own sockets, which is what generator and kernel take by
themselves. `thread` is an edge whose relay thread passes all packets on by itself, without the program in the kernel,
whose work is not in the CPU of the edge: it is done in the name of whoever sends. `busy` is such an edge, too, whose
event loop is kept busy: audio must not notice. `most` are the packets/s up to which p99 stays under 20 ms and nothing
is lost. JSON and a plot go to out/bench.
"""
import os
import sys
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Annotated

import msgspec
import typer
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from benchmarks import load, media, processes
from benchmarks.end_to_end import BUSY, LISTEN, spread
from benchmarks.plot import draw_media
from benchmarks.results import keep
from benchmarks.subjects import ROOT, Failure, Subject, cores, running

SEAT = ROOT / "benchmarks/seats/media.toml"
EDGE = "sipedge run --config {seat} --listen udp:{listen}"
BUSY_EDGE = "python -m benchmarks.busy run --config {seat} --listen udp:{listen}"
WARM_UP = 1.0  # seconds; within, streams settle
SLOWEST = 20_000.0  # us: a p99 above is no audio any more
LOST = 0.0005  # share of packets above which a rate is too high
STEP = 1.1  # of the rate, where the most is looked for


class Phase(msgspec.Struct, frozen=True):
    """So many calls at 20 ms a packet."""

    calls: int

    @property
    def name(self) -> str:
        return f"{self.calls} calls, {self.calls * 100:,} packets/s"


class Sample(msgspec.Struct, frozen=True):
    """What one phase of one round measured."""

    subject: str
    phase: str
    per_second: float
    cpu: float  # seconds per million packets
    latency: load.Latency
    lost: int
    lateness: float  # us
    generator: float  # share of its core
    generator_waited: float  # share of the time that it was ready and had no core: a busy machine
    waited: float  # share of the time that the subject's threads were ready and had no core
    memory: float  # PSS in MiB
    per_call: float  # KiB of PSS that a call has added


FIGURES: tuple[tuple[str, Callable[[Sample], float]], ...] = (
    ("packets/s", lambda sample: sample.per_second),
    ("CPU per million packets, s", lambda sample: sample.cpu),
    ("sent to received, us: p50", lambda sample: sample.latency.p50),
    ("  p90", lambda sample: sample.latency.p90),
    ("  p99", lambda sample: sample.latency.p99),
    ("  p99.9", lambda sample: sample.latency.p999),
    ("lost packets", lambda sample: sample.lost),
    ("PSS, MiB", lambda sample: sample.memory),
    ("  KiB a call", lambda sample: sample.per_call),
    ("waiting for its core", lambda sample: sample.waited),
    ("share of the generator's core", lambda sample: sample.generator),
    ("  waiting for it", lambda sample: sample.generator_waited),
    ("  latest packet, us", lambda sample: sample.lateness),
)


def measure(subject: str, phase: Phase, pid: int | None, listen: str, seconds: float,
            further: Callable[[media.Load], None] | None = None) -> Sample:  # fmt: skip
    """One phase through an edge that is up, or directly where there is none; further: what else its calls are for."""
    family = processes.tree(pid) if pid is not None else []
    empty = processes.memory(family).pss
    with media.Load(media.Plan(calls=phase.calls, proxy=listen if pid is not None else None)) as audio:
        audio.run(WARM_UP)
        before = processes.cpu(family)
        report = audio.run(seconds)
        after = processes.cpu(family)
        full = processes.memory(family).pss
        if further is not None:
            further(audio)
    if report.misrouted or report.strange or not report.received:
        raise Failure(f"{subject}, {phase.name}: {report.received} packets came out, {report.misrouted} at another "
                      f"call's port, {report.strange} changed")  # fmt: skip
    return Sample(
        subject=subject,
        phase=phase.name,
        per_second=report.per_second,
        cpu=(after.run - before.run) / report.received * 1e6,
        latency=report.latency,
        lost=report.lost,
        lateness=report.lateness,
        generator=report.cpu / report.seconds,
        generator_waited=report.waited / report.seconds,
        waited=(after.wait - before.wait) / report.seconds,
        memory=full,
        per_call=(full - empty) * 1024 / phase.calls,
    )


def most(audio: media.Load, seconds: float) -> tuple[float, float]:
    """The highest rate (packets/s) that the edge carried well, and what stopped the search: 1 the edge, 0 the
    generator."""
    best, rate = 0.0, 100_000.0
    while True:
        interval = 2 * audio.plan.calls / rate
        audio.run(WARM_UP, interval)
        report = audio.run(seconds, interval)
        if report.latency.p99 > SLOWEST or report.lost > LOST * report.sent:
            return best, 1.0
        if report.per_second < 0.98 * rate:
            return best, 0.0
        best = report.per_second
        rate *= STEP


def table(samples: list[Sample], phase: str) -> Table:
    """A phase's figures, a column for each subject."""
    of = [sample for sample in samples if sample.phase == phase]
    names = list(dict.fromkeys(sample.subject for sample in of))
    result = Table("", *names, title=f"{phase} (median and range of the rounds)", title_justify="left", box=SIMPLE)
    for row, figure in FIGURES:
        result.add_row(row, *(spread([figure(sample) for sample in of if sample.subject == name]) for name in names))
    return result


def main(
    edge: Annotated[str, typer.Option(
        help="The edge's command; {listen} is host:port, {seat} the configuration.")] = EDGE,
    busy: Annotated[str, typer.Option(help="The same with a busy event loop.")] = BUSY_EDGE,
    rounds: Annotated[int, typer.Option(min=1)] = 3,
    seconds: Annotated[float, typer.Option(min=0.1, help="Length of a phase.")] = 3.0,
    calls: Annotated[int, typer.Option(min=2, help="Calls of the first phase; the last has twice as many.")] = 1000,
    search: Annotated[bool, typer.Option(help="Look for the most packets/s.")] = True,
    listen: Annotated[str, typer.Option(help="Where the edge listens, host:port.")] = LISTEN,
    out: Annotated[Path, typer.Option(help="Folder for end_to_end_media.json and .png.")] = ROOT / "out/bench",
) -> None:
    """Measure latency, CPU per packet, loss and packets/s. Exit status 2 where a packet came out wrong."""
    console = Console(width=100, highlight=False)
    core, own = cores()
    os.sched_setaffinity(0, {own})
    first, second = Phase(calls), Phase(2 * calls)
    samples: list[Sample] = []
    found: list[tuple[float, float]] = []
    out.mkdir(parents=True, exist_ok=True)
    alone = out / "media-thread.toml"
    alone.write_text(SEAT.read_text().replace("offload = true", "offload = false"))

    def look(audio: media.Load) -> None:
        found.append(most(audio, seconds / 2))

    probe = load.Plan(caller="127.0.0.2:0", callee="127.0.0.3:0", target=listen, window=1, calls=1)
    try:
        for number in range(rounds):
            console.print(f"round {number + 1} of {rounds}")
            samples += [measure("direct", phase, None, listen, seconds) for phase in (first, second)]
            for name, seat in (("edge", SEAT), ("thread", alone)):
                with running(Subject(name, edge.replace("{seat}", str(seat))), core, listen, probe) as pid:
                    samples.append(measure(name, first, pid, listen, seconds))
                    samples.append(measure(name, second, pid, listen, seconds,
                                           look if search and name == "edge" else None))
            with running(Subject("busy", busy.replace("{seat}", str(alone))), core, listen, probe) as pid:
                samples.append(measure("busy", first, pid, listen, seconds))
    except (Failure, media.NotCarried, OSError) as error:
        print(f"end_to_end_media: {error}", file=sys.stderr)
        raise typer.Exit(2) from None
    for phase in (first, second):
        console.print(table(samples, phase.name))
    if found:
        by = "the edge" if median(stopped for _, stopped in found) else "the generator, not the edge"
        console.print(f"most packets/s: {spread([best for best, _ in found])}; the limit was {by}")
    result = {"samples": samples, "most": [best for best, _ in found]}
    keep(out, "end_to_end_media", result)
    draw_media(samples, [best for best, _ in found], out / "end_to_end_media.png")
    console.print(f"written to {out}/end_to_end_media.json and .png")
    waited = median(sample.generator_waited for sample in samples)
    if waited > BUSY:
        console.print(f"The machine was busy: the generator waited for its core {waited:.0%} of the time.")


if __name__ == "__main__":
    typer.run(main)
