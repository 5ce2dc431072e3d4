"""The run with idle connections: how it judges, and that it opens them to a real edge."""
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from benchmarks import end_to_end_idle, load, subjects
from benchmarks.end_to_end_idle import EDGE, Idle

FAST = load.Latency(count=10, p50=1.0, p90=1.0, p99=1.0, p999=1.0, max=1.0)
GOOD = Idle(connections=1024, base=10.0, peak=20.0, alone=FAST, beside=FAST, failed=0, asked=11, alive=11)


def test_a_run_with_nothing_wrong() -> None:
    assert GOOD.taken == 10.0
    assert GOOD.wrong(10.0) == []


@pytest.mark.parametrize(("change", "said"), [
    ({"peak": 40.5}, "1024 connections take 30.5 MiB"),
    ({"failed": 2}, "2 calls failed"),
    ({"alive": 10}, "1 of 11 connections did not answer"),
])
def test_what_is_wrong_is_said(change: dict[str, Any], said: str) -> None:
    assert msgspec.structs.replace(GOOD, **change).wrong(10.0) == [said]


def run(tmp_path: Path, *more: str) -> "subprocess.CompletedProcess[str]":
    edge = EDGE.replace("sipedge", f"{sys.executable} -m proxy", 1)
    command = [sys.executable, "-m", "benchmarks.end_to_end_idle", "--edge", edge, "--connections", "150"]
    command += ["--rate", "100", "--seconds", "0.5", "--listen", "127.0.0.6:5061", "--out", str(tmp_path), *more]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=subjects.ROOT, check=False)


def test_connections_are_opened_to_a_real_edge(tmp_path: Path) -> None:
    done = run(tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    found = msgspec.json.decode((tmp_path / "end_to_end_idle.json").read_bytes(), type=Idle)
    assert (found.connections, found.failed, found.asked, found.alive) == (150, 0, 2, 2)
    assert 0 < found.base < found.peak


def test_an_edge_that_takes_too_much_fails(tmp_path: Path) -> None:
    done = run(tmp_path, "--most", "0")
    assert done.returncode == 1
    assert "150 connections take" in done.stderr


def test_an_edge_that_cannot_be_started(tmp_path: Path) -> None:
    done = run(tmp_path, "--edge", "nothing-here {seat}")
    assert (done.returncode, done.stdout) == (2, "")
    assert end_to_end_idle.__name__.rpartition(".")[2] in done.stderr
