"""What a process and all its descendants cost: CPU time by the scheduler's own clock, and memory (Linux /proc)."""
from collections.abc import Iterator
from pathlib import Path

import msgspec


class Cpu(msgspec.Struct, frozen=True):
    """Seconds on a CPU, and seconds ready to run but waiting for one: a busy machine shows in the latter."""

    run: float
    wait: float


class Memory(msgspec.Struct, frozen=True):
    """Memory of a process tree in MiB; shared pages count once in `pss` and once a process in `rss`."""

    rss: float
    pss: float


def tree(pid: int) -> list[int]:
    """Return the process and its living descendants, parents first."""
    found = [pid]
    for parent in found:
        for task in _tasks(parent):
            found += [int(child) for child in _read(task / "children").split()]
    return found


def cpu(pid: int) -> Cpu:
    """Return what the tree's living threads have had so far; the difference of two is what a run has cost."""
    run = wait = 0
    for process in tree(pid):
        for task in _tasks(process):
            if fields := _read(task / "schedstat").split():
                run += int(fields[0])
                wait += int(fields[1])
    return Cpu(run / 1e9, wait / 1e9)


def memory(pid: int) -> Memory:
    """Return what the tree occupies now."""
    rss = pss = 0
    for process in tree(pid):
        for line in _read(Path(f"/proc/{process}/smaps_rollup")).splitlines():
            if line.startswith("Rss:"):
                rss += int(line.split()[1])
            elif line.startswith("Pss:"):
                pss += int(line.split()[1])
    return Memory(rss / 1024, pss / 1024)


def _tasks(pid: int) -> Iterator[Path]:
    try:
        yield from Path(f"/proc/{pid}/task").iterdir()
    except (FileNotFoundError, ProcessLookupError):
        return


def _read(path: Path) -> str:
    """Return the file's text, nothing if the process has ended."""
    try:
        return path.read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""
