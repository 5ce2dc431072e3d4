"""The memory run: how it sums up, and that it holds calls on a real edge."""
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from benchmarks import end_to_end_memory, subjects
from benchmarks.end_to_end_memory import Look, Memory, growth
from tests.benchmarks.seats import patient

EDGE = subjects.CONTROLLED.replace("sipedge", f"{sys.executable} -m proxy", 1)


@pytest.mark.parametrize(("sizes", "share"), [([50, 60, 70, 70, 70, 70], 0.0), ([50, 60, 70, 70, 77, 78], 0.1),
                                              ([50, 60, 70, 99, 70, 99], 0.0), ([50, 60, 70], 0.0)])
def test_growth_is_judged_when_everything_that_lingers_does(sizes, share):
    looks = tuple(Look(at=16.0 * number, pss=size) for number, size in enumerate(sizes))
    assert growth(looks, linger=32.0) == pytest.approx(share)


def test_a_call_takes_what_was_there_more():
    assert Memory(held=1024, base=20.0, peak=40.0, looks=(), failed=0).per_call == 20.0


def run(tmp_path: Path, *more: str) -> "subprocess.CompletedProcess[str]":
    edge = patient(EDGE, tmp_path)
    command = [sys.executable, "-m", "benchmarks.end_to_end_memory", "--edge", edge, "--held", "200", "--rate", "200"]
    command += ["--seconds", "0.5", "--listen", "127.0.0.6:5060", "--out", str(tmp_path), *more]
    return subprocess.run(command, capture_output=True, text=True, timeout=240, cwd=subjects.ROOT, check=False)


def test_calls_are_held_on_a_real_edge(tmp_path: Path) -> None:
    # So few calls say nothing about one: the first ones have pages of memory taken.
    done = run(tmp_path, "--most", "1000")
    assert done.returncode == 0, done.stderr
    found = msgspec.json.decode((tmp_path / "end_to_end_memory.json").read_bytes(), type=Memory)
    assert (found.held, found.failed) == (200, 0)
    assert 0 < found.base <= found.peak
    assert found.looks


def test_an_edge_that_takes_too_much_fails(tmp_path: Path) -> None:
    done = run(tmp_path, "--most", "-1000")
    assert done.returncode == 1
    assert "KiB a call" in done.stdout


def test_an_edge_that_cannot_be_started(tmp_path: Path) -> None:
    done = run(tmp_path, "--edge", "nothing-here {listen}")
    assert (done.returncode, done.stdout) == (2, "")
    assert end_to_end_memory.__name__.rpartition(".")[2] in done.stderr
