"""The load generator's command line: report, JSON, exit status."""
import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def command(*options: str) -> subprocess.CompletedProcess[str]:
    base = [sys.executable, "-m", "benchmarks.load", "--caller", "127.0.0.2:0", "--callee", "127.0.0.3:0"]
    return subprocess.run([*base, *options], capture_output=True, text=True, timeout=240, cwd=ROOT)


def test_json_report() -> None:
    done = command("--window", "4", "--calls", "20", "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert (report["uac"]["ok"], report["uas"]["ended"], report["sent"]) == (20, 20, 120)


def test_report_for_people_and_status_of_failed_calls() -> None:
    done = command("--window", "4", "--calls", "20", "--answer", "486")
    assert done.returncode == 1
    assert "0 of 20 ok, 20 x 486" in done.stdout


def test_impossible_plan() -> None:
    done = command("--window", "4")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "load: a caller needs a number of calls or a duration\n"


def test_address_that_cannot_be_bound() -> None:
    done = command("--window", "1", "--calls", "1", "--caller", "192.0.2.1:5060")
    assert done.returncode == 2
    assert done.stderr.startswith("load: ")
