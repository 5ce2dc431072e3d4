"""A real edge for tests: `python -m proxy run` as a process of its own, and everything that can be seen of it.

Nothing here waits without a bound, and nothing waits by sleeping where there is an event to wait for.
"""
import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

import pytest

from proxy import load
from proxy.config import Config
from proxy.control import ask
from proxy.messages import AskStatistics, Statistics

ROOT = Path(__file__).resolve().parents[1]
START_SECONDS = 90.0
STOP_SECONDS = 60.0
WAIT_SECONDS = 60.0
PAUSE = 0.02
SLOW_TIMERS = """
[timers]
t1 = 4
t2 = 4
try_timeout = 30
"""
"""Lines of a configuration: what is repeated over UDP was lost, and not only late on a busy machine."""
PATIENT = "[overload]\nlag = 0\n[services]\nreply_timeout = 60\n"
"""Lines of a configuration: a machine that is busy with something else makes the edge wait, and no call and no request
of the API is refused for that."""
UDP_AND_TCP = """
[[listener]]
name = "udp"
bind = "udp:{net}.1:5060"

[[listener]]
name = "tcp"
bind = "tcp:{net}.1:5060"
"""
"""Of an edge's configuration, to be filled in: a listener of each at one address."""


def kill_group(process: "subprocess.Popen[Any]") -> None:
    """Kill a process, and where it has a session of its own all that it has started there: what is left of those would
    keep its pipes open. The processes of an edge end with their supervisor, and it with a group that a test run has."""
    process.kill()
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(STOP_SECONDS)


def wait_until(condition: Callable[[], object], what: str, seconds: float = WAIT_SECONDS) -> None:
    """Look again and again until the condition holds: for what gives no event of its own (counters, /proc)."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {what}"
        time.sleep(PAUSE)


class Output:
    """The lines that a process writes to one of its pipes, read by a thread so that it never blocks."""

    def __init__(self, pipe: Iterator[str]):
        self.lines: list[str] = []
        self.ended = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._read, args=(pipe,), daemon=True)
        self._thread.start()

    def _read(self, pipe: Iterator[str]) -> None:
        for line in pipe:
            with self._changed:
                self.lines.append(line.rstrip("\n"))
                self._changed.notify_all()
        with self._changed:
            self.ended = True
            self._changed.notify_all()

    def wait(self, found: Callable[[list[str]], bool], seconds: float) -> bool:
        """Whether the condition came true for the lines so far, within seconds and before the end of output."""
        with self._changed:
            self._changed.wait_for(lambda: self.ended or found(self.lines), seconds)
            return found(self.lines)

    def join(self) -> None:
        self._thread.join(STOP_SECONDS)
        assert not self._thread.is_alive(), "the pipe is still open: a process of the edge is left"


class EdgeProcess:
    """A running edge. Leaving the context stops it, and asserts that it lived and ended as it should.

    text: the configuration; `[process]` is added, so that edges share no folder. stop_timeout: seconds for what is
    under way at the end. The edge is started in the network namespace of the calling thread.
    """

    def __init__(self, folder: Path, text: str, *, listen: str = "", stop_timeout: int = 1):
        self.file = folder / "edge.toml"
        self.file.write_text(
            f'{text}\n{PATIENT}[process]\nstop_timeout = {stop_timeout}\ndirectory = "{folder}"\n')
        self.config: Config = load.load(self.file, listen=listen)
        arguments = ["--listen", listen] if listen else []
        self._process = subprocess.Popen(
            [sys.executable, "-m", "proxy", "run", "-c", str(self.file), *arguments], cwd=ROOT, text=True,
            errors="backslashreplace", stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env=os.environ | {"PYTHONPATH": str(ROOT)})
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        self._out, self._err = Output(self._process.stdout), Output(self._process.stderr)
        if not self._err.wait(lambda lines: any('"worker ready"' in line for line in lines), START_SECONDS):
            kill_group(self._process)
            self._close()
            raise AssertionError("the edge did not start:\n" + "\n".join(self._err.lines + self._out.lines))
        self.pid = self._process.pid
        self.worker_pid: int = next(line["pid"] for line in self.log_lines if line["event"] == "worker ready")

    def __enter__(self) -> "EdgeProcess":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self.stop()

    # --- what can be seen

    def stats(self) -> dict[str, int]:
        """The counters, the gauges (a second old at most), and `restarts`."""
        answer = ask(self.config, AskStatistics())
        assert isinstance(answer, Statistics)
        return answer.counters | {"restarts": answer.restarts}

    def wait_stats(self, condition: Callable[[dict[str, int]], object], what: str,
                   seconds: float = WAIT_SECONDS) -> dict[str, int]:
        """The counters as soon as a condition holds for them, the gauges too renewed since the call (one worker)."""
        before = self.stats()["gauges_renewed"]
        wait_until(lambda: (found := self.stats())["gauges_renewed"] > before and condition(found), what, seconds)
        return self.stats()

    @property
    def log_lines(self) -> list[dict]:
        """What the edge logged about itself."""
        return _decoded(self._err.lines)

    @property
    def call_lines(self) -> list[dict]:
        """The lines of calls and transfers."""
        return _decoded(self._out.lines)

    def wait_call_line(self, seconds: float = WAIT_SECONDS, **fields: object) -> dict:
        """The first line of a call or transfer with these fields."""
        return _wait_line(self._out, seconds, fields)

    def wait_log_line(self, seconds: float = WAIT_SECONDS, **fields: object) -> dict:
        """The first line about the edge itself with these fields: a pipe is no faster than what is sent meanwhile."""
        return _wait_line(self._err, seconds, fields)

    def resident(self) -> int:
        """Bytes of memory that the worker holds (RSS)."""
        status = Path(f"/proc/{self.worker_pid}/status").read_text()
        return 1024 * int(next(line for line in status.splitlines() if line.startswith("VmRSS:")).split()[1])

    def assert_unharmed(self) -> None:
        """The same supervisor and the same worker still run."""
        assert self._process.poll() is None, self._err.lines
        assert Path(f"/proc/{self.worker_pid}").exists(), self._err.lines
        assert self.stats()["restarts"] == 0

    # --- its end

    def stop(self) -> None:
        """Stop the edge, and assert a clean end: status 0, no worker that died, no traceback."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        try:
            status = self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            kill_group(self._process)
            raise
        finally:
            self._close()
        output = "\n".join(self._err.lines + self._out.lines)
        assert status == 0, output
        assert "Traceback" not in output, output
        # That a target is down is an error to whoever runs the edge, and what a test means that takes it away.
        assert not [line for line in self.log_lines
                    if line["level"] == "error" and line["event"] != "target down"], output

    def _close(self) -> None:
        try:
            self._out.join()
            self._err.join()
        finally:
            kill_group(self._process)
            for pipe in (self._process.stdout, self._process.stderr):
                if pipe is not None:
                    pipe.close()


def _wait_line(output: Output, seconds: float, fields: dict[str, object]) -> dict:
    def matching(lines: list[str]) -> list[dict]:
        return [line for line in _decoded(lines) if fields.items() <= line.items()]

    assert output.wait(lambda lines: bool(matching(lines)), seconds), (fields, output.lines)
    return matching(output.lines)[0]


def _decoded(lines: list[str]) -> list[dict]:
    return [json.loads(line) for line in lines if line.startswith("{")]


class Networks:
    """Hands out 127.x.y networks, each to one user only."""

    def __init__(self) -> None:
        self._last = 0

    def take(self) -> str:
        """The first three numbers of a loopback network that nobody else in this run uses."""
        self._last += 1
        return f"127.{64 + os.getpid() % 150}.{self._last}"


NETWORKS = Networks()


@pytest.fixture
def network() -> str:
    """Three numbers of a loopback network of the test's own: `127.70.3`."""
    return NETWORKS.take()


StartEdge = Callable[[str], EdgeProcess]


@pytest.fixture
def start_edge(tmp_path: Path) -> Iterator[StartEdge]:
    """Start edges with a configuration's text; they are stopped, and their end is judged, after the test."""
    started: list[EdgeProcess] = []

    def start(text: str) -> EdgeProcess:
        folder = tmp_path / f"edge-{len(started)}"
        folder.mkdir()
        started.append(EdgeProcess(folder, text))
        return started[-1]

    yield start
    for edge in started:
        edge.stop()
