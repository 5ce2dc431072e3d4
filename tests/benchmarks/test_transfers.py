"""The run of warm transfers: a real edge, and what it prints."""
import re
import subprocess
import sys

from benchmarks.subjects import ROOT


def test_transfers_begin_and_are_timed() -> None:
    command = [sys.executable, "-m", "benchmarks.transfers", "--transfers", "10", "--rate", "50"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    found = re.search(r"INVITE at the target  p50 ([\d.]+) .* p99 ([\d.]+) ", done.stdout)
    assert found is not None, done.stdout
    half, most = map(float, found.groups())
    assert 0 < half <= most
