"""What processes cost: CPU time by the scheduler's own clock, and memory (Linux /proc)."""
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec


class Cpu(msgspec.Struct, frozen=True):
    """Seconds on a CPU, and seconds ready to run but waiting for one: a busy machine shows in the latter."""

    run: float
    wait: float


class Memory(msgspec.Struct, frozen=True):
    """Memory of processes in MiB; shared pages count once in `pss` and once a process in `rss`."""

    rss: float
    pss: float


def tree(pid: int) -> list[int]:
    """Return the process and its living descendants, parents first."""
    found = [pid]
    for parent in found:
        for task in _tasks(parent):
            found += [int(child) for child in _read(task / "children").split()]
    return found


def cpu(pids: Iterable[int]) -> Cpu:
    """Return what these processes' living threads have had so far; the difference of two is what a run has cost."""
    run = wait = 0
    for pid in pids:
        for task in _tasks(pid):
            if fields := _read(task / "schedstat").split():
                run += int(fields[0])
                wait += int(fields[1])
    return Cpu(run / 1e9, wait / 1e9)


def memory(pids: Iterable[int]) -> Memory:
    """Return what these processes occupy now."""
    rss = pss = 0
    for pid in pids:
        for line in _read(Path(f"/proc/{pid}/smaps_rollup")).splitlines():
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
