"""An edge together with the demo: the edge runs, and once it is ready the demo plays against it in a process of its
own. The terminal is the demo's; what the edge logs goes to a file."""
import asyncio
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from proxy.supervisor import Supervisor

LONGEST_START = 60
"""Seconds."""
STDOUT, STDERR = 1, 2

Screen = tuple[int, int]
"""Standard output and standard error."""


def log_to(log: Path) -> Screen:
    """Have this process and all that it starts write to that file, made anew; returns what its streams were. OSError
    where that cannot be: nothing has changed then."""
    log.parent.mkdir(parents=True, exist_ok=True)
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC, 0o644)
    screen = os.dup(STDOUT), os.dup(STDERR)
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    for descriptor in (STDOUT, STDERR):
        os.dup2(file, descriptor)
    os.close(file)
    return screen


async def run_with_demo(supervisor: "Supervisor", edge: str, screen: Screen, log: Path, *, once: bool,
                        options: Sequence[str]) -> int:
    """Run the edge, and the demo when it is ready; the exit status. edge: address and port. screen: where the demo
    shows what it sees. log: the edge's. once: end with the demo, and with its exit status. options: of the demo."""
    ready = asyncio.Event()
    supervisor.on_ready = ready.set
    playing = asyncio.ensure_future(_play(ready, edge, screen, log, once, options))
    status = await supervisor.run()
    if once and playing.done():
        return status or playing.result()
    playing.cancel()
    await asyncio.wait([playing])
    return status or int(once)


async def _play(ready: asyncio.Event, edge: str, screen: Screen, log: Path, once: bool, options: Sequence[str]) -> int:
    """The demo's exit status; 1 where there was no edge in time. Cancelled, the demo is ended."""
    try:
        await asyncio.wait_for(ready.wait(), LONGEST_START)
        demo = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "proxy", "demo", *(() if once else ("--serve",)), "--edge", edge, *options,
            stdout=screen[0], stderr=screen[1])
        try:
            # Below zero: a signal ended it.
            return abs(await demo.wait())
        finally:
            if demo.returncode is None:
                demo.terminate()
                await demo.wait()
    except TimeoutError:
        os.write(screen[1], f"The edge was not ready within {LONGEST_START} s; {log} says why.\n".encode())
        return 1
    finally:
        if once:
            signal.raise_signal(signal.SIGTERM)
