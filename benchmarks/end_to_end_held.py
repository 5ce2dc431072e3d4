"""Anchored controlled calls held at once, end to end: what one takes, audio through every one, and every port back.

The edge has two relay addresses with exactly as many ports as the calls need: two pairs a call. All calls are set up,
and while all are up every direction of every call gets audio, each packet known by its call. Then all are ended, and as
many again are set up and ended, which only ports that came back make possible. Memory is PSS of the whole process
tree; what the kernel keeps (of the whole machine, so a hint) stands beside it. Four sockets a call: where the hard
limit of open files is too low for --calls nothing is run, and the exit status is 2.
"""
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from benchmarks import load, media, processes
from benchmarks.end_to_end import LISTEN
from benchmarks.end_to_end_memory import MOST
from benchmarks.results import keep
from benchmarks.subjects import ROOT, Failure, Subject, cores, running
from proxy.config import Config
from proxy.control import ask
from proxy.load import load as load_config
from proxy.machine import allow_files, streams_allowed
from proxy.messages import AskStatistics, Statistics

EDGE = "sipedge run --config {seat} --listen udp:{{listen}}"
HOSTS = ("127.0.0.1", "127.0.0.4")
FIRST_PORT = 10_000
CALLS = 10_000
WARM_UP = 200  # calls, which take the memory that only the first calls take
PATIENCE = 100.0  # seconds until the edge has given up calls that a slow start has left behind, and closed their ports


class Held(msgspec.Struct, frozen=True):
    """What one run came to. Memory in MiB."""

    calls: int
    base: float
    peak: float
    kernel: float  # that the kernel's objects have grown by
    files: int  # open in all processes of the edge while the calls were up; before: files_before
    files_before: int
    files_after: int
    up: int  # audio streams that the edge counted
    left: int  # that it counted after the end
    again: int  # calls that were set up on the same ports
    audio: media.Report

    @property
    def per_call(self) -> float:
        """KiB."""
        return (self.peak - self.base) * 1024 / self.calls

    def wrong(self, most: float) -> list[str]:
        """What is not as it should be."""
        audio = self.audio
        return [text for text, bad in (
            (f"a call takes {self.per_call:.1f} KiB", self.per_call > most),
            (f"{self.up} of {self.calls} streams were up", self.up != self.calls),
            (f"{self.left} streams were left", self.left != 0),
            (f"{self.files_after - self.files_before} files stayed open", self.files_after > self.files_before),
            (f"{self.again} calls could be set up again", self.again != self.calls),
            ("a call had no audio", audio.sent < 2 * self.calls),
            (f"{audio.lost} packets were lost, {audio.misrouted} came out at another call's port, {audio.strange} "
             "were changed", bool(audio.lost or audio.misrouted or audio.strange)),
        ) if bad]  # fmt: skip


def seat(calls: int, folder: str) -> str:
    """The configuration: the seat of controlled calls with their audio anchored, ports for so many, no alarms for calls
    that say next to nothing, none refused because a machine is slow, and the control socket in that folder."""
    text = (ROOT / "benchmarks/seats/b2b.toml").read_text()
    text = text.replace("control = true", 'control = true\nmedia = "anchor"')
    for host in HOSTS:
        text += (f'\n[[media]]\nname = "{host}"\nbind = "{host}"\n'
                 f'ports = "{FIRST_PORT}-{FIRST_PORT + 2 * calls - 1}"\n')
    text += f'\n[process]\ndirectory = "{folder}"\n'
    return text + "\n[overload]\nlag = 0\n[relay]\nsilence_seconds = 0\ntimeout_seconds = 0\nquarantine_seconds = 0\n"


def room(config: Config, calls: int) -> None:
    """Raise the limit of open files, which the edge inherits. Failure, with what to do, where so many calls do not
    fit."""
    short = allow_files(config)
    if (most := streams_allowed(config)) < calls:
        raise Failure(f"{short}, or take --calls {most}")


def fitting(file: Path, folder: str) -> int:
    """How many calls to hold where nobody has said it: CALLS, or as many as the limit of open files allows."""
    file.write_text(seat(CALLS, folder))
    return min(CALLS, streams_allowed(load_config(file)))


def files(pid: int) -> int:
    """Open files of a process tree."""
    return sum(len(os.listdir(f"/proc/{each}/fd")) for each in processes.tree(pid))


def kernel() -> float:
    """MiB that the kernel's objects take, of the whole machine."""
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("Slab:"):
            return int(line.split()[1]) / 1024
    return 0.0


def streams(config: Config, expected: int) -> int:
    """Audio streams that the edge has, once they are as many as expected: it counts them once a second."""
    deadline = time.monotonic() + PATIENCE
    while True:
        answer = ask(config, AskStatistics())
        assert isinstance(answer, Statistics)
        found = answer.counters["media_sessions"]
        if found == expected or time.monotonic() > deadline:
            return found
        time.sleep(0.1)


def measure(pid: int, config: Config, listen: str, calls: int, spread: float) -> Held:
    """Hold the calls on an edge that is up; spread: seconds between two packets of a direction."""
    # Half of the ports at most: calls that showed that the edge is up may still have others.
    warm = min(calls // 2, WARM_UP)
    with media.Load(media.Plan(calls=warm, proxy=listen)):
        streams(config, warm)
    if streams(config, 0):
        raise Failure("ports of the first calls are still open")
    family = processes.tree(pid)
    before, base, slab = files(pid), processes.memory(family).pss, kernel()
    with media.Load(media.Plan(calls=calls, proxy=listen)) as audio:
        peak, up, open_files, grown = processes.memory(family).pss, streams(config, calls), files(pid), kernel() - slab
        report = audio.run(2 * spread, spread)
        peak = max(peak, processes.memory(family).pss)
    left, after = streams(config, 0), files(pid)
    with media.Load(media.Plan(calls=calls, proxy=listen)):
        again = streams(config, calls)
    return Held(calls=calls, base=base, peak=peak, kernel=grown, files=open_files, files_before=before,
                files_after=after, up=up, left=left, again=again, audio=report)


def main(
    edge: Annotated[str, typer.Option(help="The edge's command; {seat} is its configuration.")] = EDGE,
    calls: Annotated[int | None, typer.Option(
        min=2, max=11_000, help=f"Calls up at a time; else {CALLS}, or what the limit of open files allows.")] = None,
    most: Annotated[float, typer.Option(help="KiB that a held call may take.")] = MOST,
    spread: Annotated[float, typer.Option(min=0.02, help="Seconds between two packets of a direction.")] = 2.0,
    listen: Annotated[str, typer.Option(help="Where the edge listens, host:port.")] = LISTEN,
    out: Annotated[Path, typer.Option(help="Folder for end_to_end_held.json.")] = ROOT / "out/bench",
) -> None:
    """Hold anchored controlled calls. Exit status 1 if one takes too much, has no audio, or leaves a port behind."""
    core, own = cores()
    os.sched_setaffinity(0, {own})
    probe = load.Plan(caller="127.0.0.2:0", callee="127.0.0.3:0", target=listen, window=1, calls=1)
    try:
        with tempfile.TemporaryDirectory(prefix="held-") as folder:
            file = Path(folder, "edge.toml")
            calls = calls or fitting(file, folder)
            file.write_text(seat(calls, folder))
            config = load_config(file, listen=f"udp:{listen}")
            room(config, calls)
            with running(Subject("edge", edge.format(seat=file)), core, listen, probe) as pid:
                found = measure(pid, config, listen, calls, spread)
    except (Failure, media.NotCarried, OSError) as error:
        print(f"end_to_end_held: {error}", file=sys.stderr)
        raise typer.Exit(2) from None
    print(f"held   {found.calls} calls on {' and '.join(HOSTS)}, {found.files - found.files_before} files more open: "
          f"{found.base:.1f} MiB before, {found.peak:.1f} with them; {found.per_call:.1f} KiB a call (at most "
          f"{most:.0f}), and {found.kernel * 1024 / calls:.1f} of the kernel's")
    print(f"audio  {found.audio.received} of {found.audio.sent} packets, at least one in each direction of every call")
    print(f"ended  {found.left} streams left, {found.files_after - found.files_before:+d} files open; "
          f"{found.again} calls set up again on the same ports")
    keep(out, "end_to_end_held", found)
    if wrong := found.wrong(most):
        print(f"end_to_end_held: {'; '.join(wrong)}", file=sys.stderr)
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
