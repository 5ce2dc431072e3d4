"""End-to-end run: calls through the edge on one core, and through a peer beside it, in the same run.

Each round starts each proxy afresh and takes it through the same phases; a figure is the median over the rounds,
its ratio to the peer the median of each round's ratio. CPU time is that of the proxy's whole process tree. The load
generator runs in this process, on the other core. `python -m benchmarks.end_to_end --help` lists the options; the
default run takes less than three minutes. JSON and a plot go to out/bench.
"""
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Annotated

import msgspec
import typer
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from benchmarks import certificate, load, processes
from benchmarks.plot import draw
from benchmarks.results import keep
from benchmarks.subjects import CONTROLLED, EDGES, PEERS, ROOT, Failure, Subject, cores, running

LISTEN = "127.0.0.1:5060"
CALLER, CALLEE = "127.0.0.2", "127.0.0.3"
WARM_UP = 2000  # calls before the first phase
OUT = ROOT / "out/bench"
BUSY = 0.05  # share of waiting above which the figures say more about the machine than about the proxy


class Phase(msgspec.Struct, frozen=True):
    """One kind of load: `rate` calls/s, or `window` calls at a time; `weight` is its share of the time."""

    name: str
    rate: float = 0.0
    window: int = 0
    weight: float = 1.0


PHASES = (
    Phase("latency, 200 calls/s", rate=200, weight=1.5),
    Phase("cost, 1000 calls/s", rate=1000),
    Phase("cost, 4000 calls/s", rate=4000),
    Phase("saturation, 64 at a time", window=64),
)


class Sample(msgspec.Struct, frozen=True):
    """What one phase of one round measured."""

    subject: str
    phase: str
    calls_per_second: float
    cpu: float  # seconds per 10,000 calls
    busy: float  # share of its core that the proxy used
    waited: float  # share of the time that its threads were ready and had no core: a busy machine, or each other
    generator: float  # share of its core that the generator used; near 1 it is the generator that was measured
    generator_waited: float  # as above
    ringing: load.Latency
    failed: int  # calls
    retransmissions: int
    rss: float  # MiB, at the end of the phase
    pss: float


# Row, what it is of a sample, and whether its ratio to the peer says anything.
FIGURES: tuple[tuple[str, Callable[[Sample], float], bool], ...] = (
    ("calls/s", lambda sample: sample.calls_per_second, True),
    ("CPU per 10k calls, s", lambda sample: sample.cpu, True),
    ("INVITE to 180, us: p50", lambda sample: sample.ringing.p50, True),
    ("  p90", lambda sample: sample.ringing.p90, True),
    ("  p99", lambda sample: sample.ringing.p99, True),
    ("  p99.9", lambda sample: sample.ringing.p999, True),
    ("PSS, MiB", lambda sample: sample.pss, True),
    ("RSS, MiB", lambda sample: sample.rss, True),
    ("failed calls", lambda sample: sample.failed, False),
    ("messages sent again", lambda sample: sample.retransmissions, False),
    ("share of the core", lambda sample: sample.busy, False),
    ("  waiting for it", lambda sample: sample.waited, False),
    ("share of the generator's", lambda sample: sample.generator, False),
    ("  waiting for it", lambda sample: sample.generator_waited, False),
)


def measure(subject: Subject, pid: int, phase: Phase, plan: load.Plan) -> Sample:
    """Run one phase through a proxy that is up."""
    proxy, own = processes.tree(pid), [os.getpid()]
    before, own_before = processes.cpu(proxy), processes.cpu(own)
    report = load.run(plan)
    after, own_after = processes.cpu(proxy), processes.cpu(own)
    calls, memory = report.uac, processes.memory(proxy)
    if calls is None or not calls.ok:
        raise Failure(f"{subject.name} completed no call: {phase.name}")
    return Sample(
        subject=subject.name,
        phase=phase.name,
        calls_per_second=calls.per_second,
        cpu=(after.run - before.run) / calls.ok * 10_000,
        busy=(after.run - before.run) / report.wall,
        waited=(after.wait - before.wait) / report.wall,
        generator=report.cpu / report.wall,
        generator_waited=(own_after.wait - own_before.wait) / report.wall,
        ringing=calls.ringing,
        failed=calls.started - calls.ok,
        retransmissions=report.retransmissions,
        rss=memory.rss,
        pss=memory.pss,
    )


def one_round(subject: Subject, core: int, base: load.Plan, seconds: float) -> list[Sample]:
    """Start a proxy, take it through the phases, and stop it."""
    samples = []
    with running(subject, core, base.target or "", base) as pid:
        load.run(base)
        for phase in PHASES:
            plan = msgspec.structs.replace(
                base, rate=phase.rate, window=phase.window, calls=0, duration=seconds * phase.weight
            )
            samples.append(measure(subject, pid, phase, plan))
    return samples


def all_rounds(
    subjects: list[Subject], base: load.Plan, core: int, rounds: int, seconds: float, console: Console
) -> list[Sample]:
    """Return what all rounds measured; who goes first alternates, so that neither has the machine's better moments."""
    samples: list[Sample] = []
    for number in range(rounds):
        for subject in subjects if number % 2 == 0 else subjects[::-1]:
            console.print(f"round {number + 1} of {rounds}: {subject.name}")
            samples += one_round(subject, core, base, seconds)
    return samples


def spread(values: list[float]) -> str:
    """Return median [least-greatest], with as many digits as the size asks for."""
    digits = 0 if max(values) >= 100 or all(value == int(value) for value in values) else 2
    return f"{median(values):.{digits}f} [{min(values):.{digits}f}-{max(values):.{digits}f}]"


def table(samples: list[Sample], phase: Phase, names: list[str]) -> Table:
    """Return a phase's figures: a column for each proxy and, with two, the first's ratio to the second."""
    title = f"{phase.name} (median and range of the rounds)"
    result = Table("", *names, *(["ratio"] if len(names) == 2 else []), title=title, title_justify="left", box=SIMPLE)
    columns = [[s for s in samples if s.phase == phase.name and s.subject == name] for name in names]
    for row, figure, comparable in FIGURES:
        values = [[figure(sample) for sample in column] for column in columns]
        cells = [spread(column) for column in values]
        if len(names) == 2:
            ratios = [ours / theirs for ours, theirs in zip(*values, strict=True) if theirs]
            cells.append(spread(ratios) if ratios and comparable else "")
        result.add_row(row, *cells)
    return result


def main(
    transport: Annotated[load.Transport, typer.Option(help="How callers and callees are reached.")] = "udp",
    edge: Annotated[str, typer.Option(help="The edge's command, other than usual; {listen} is host:port.")] = "",
    controlled: Annotated[bool, typer.Option(help="Measure calls through legs of the edge's own.")] = False,
    peer: Annotated[bool, typer.Option(help="Measure Kamailio beside it, if it is installed.")] = True,
    rounds: Annotated[int, typer.Option(min=1)] = 3,
    seconds: Annotated[float, typer.Option(min=0.1, help="Length of a phase.")] = 3.0,
    listen: Annotated[str, typer.Option(help="Where the proxies listen, host:port.")] = LISTEN,
    spin: Annotated[
        bool, typer.Option("--spin", help="Load generator without sleep: no proxy pays for waking it by its sends.")
    ] = False,
    out: Annotated[Path, typer.Option(help="Folder for end_to_end[_tcp|_tls][_controlled].json, .png.")] = OUT,
) -> None:
    """Measure calls/s, CPU per call, latency and memory. Exit status 1 if the edge failed a call."""
    subjects = [Subject("edge", edge or (CONTROLLED if controlled else EDGES[transport]))]
    stem = "end_to_end" + ("" if transport == "udp" else f"_{transport}") + ("_controlled" if controlled else "")
    if peer and Subject("kamailio", PEERS[transport]).program:
        subjects.append(Subject("kamailio", PEERS[transport]))
    console = Console(width=100, highlight=False)
    core, own = cores()
    os.sched_setaffinity(0, {own})
    chain = key = ""
    try:
        with tempfile.TemporaryDirectory(prefix="bench-") as folder:
            if transport == "tls":
                chain, key = certificate.make(Path(folder), listen.partition(":")[0], CALLEE)
            base = load.Plan(
                caller=f"{CALLER}:0", callee=f"{CALLEE}:0", target=listen, transport=transport, certificate=chain,
                key=key, ca=chain, window=64, calls=WARM_UP, spin=spin,
            )  # fmt: skip
            samples = all_rounds(subjects, base, core, rounds, seconds, console)
    except (Failure, OSError) as error:
        print(f"end_to_end: {error}", file=sys.stderr)
        raise typer.Exit(2) from None
    names = [subject.name for subject in subjects]
    for phase in PHASES:
        console.print(table(samples, phase, names))
    keep(out, stem, samples)
    draw(samples, [phase.name for phase in PHASES], names, out / f"{stem}.png")
    console.print(f"written to {out}/{stem}.json and .png")
    waited = median(sample.generator_waited for sample in samples)
    if waited > BUSY:
        console.print(f"The machine was busy: the load generator waited for its core {waited:.0%} of the time.")
    if failed := sum(sample.failed for sample in samples if sample.subject == "edge"):
        print(f"end_to_end: the edge failed {failed} calls", file=sys.stderr)
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
