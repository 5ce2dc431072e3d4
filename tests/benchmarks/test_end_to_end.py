"""The end-to-end run: what it measures of processes, how it sums up, and that it carries calls through a real proxy."""
import io
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from rich.console import Console

from benchmarks import end_to_end, load, processes, subjects

BURN = "import time\nend = time.process_time() + 0.2\nwhile time.process_time() < end: pass\n"
FAMILY = f"""
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", {BURN + "print('burnt', flush=True); input()"!r}], stdin=sys.stdin)
child.wait()
"""


def test_cost_of_a_process_tree() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", FAMILY], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == "burnt\n"
        family = processes.tree(parent.pid)
        spent, used = processes.cpu(family), processes.memory(family)
        parent.communicate("\n")
    assert family[0] == parent.pid
    assert len(family) == 2
    assert 0.2 <= spent.run < 60
    assert spent.wait >= 0
    assert used.rss > used.pss > 1
    assert processes.cpu(family) == processes.Cpu(0, 0), "processes that have ended"


def sample(subject: str, rate: float, **changes: object) -> end_to_end.Sample:
    times = load.Latency(count=10, p50=200, p90=300, p99=400, p999=500, max=600)
    whole = end_to_end.Sample(
        subject=subject, phase="cost", calls_per_second=rate, cpu=1.0, busy=0.5, waited=0.0, generator=0.2,
        generator_waited=0.0, ringing=times, failed=0, retransmissions=0, rss=20.0, pss=10.0,
    )  # fmt: skip
    return msgspec.structs.replace(whole, **changes)


def test_spread() -> None:
    assert end_to_end.spread([3.0, 1.0, 200.0]) == "3 [1-200]"
    assert end_to_end.spread([0.5, 0.25]) == "0.38 [0.25-0.50]"
    assert end_to_end.spread([0]) == "0 [0-0]"


def test_ratio_is_the_median_of_each_rounds_ratio() -> None:
    samples = [sample("edge", rate) for rate in (400, 200, 900)]
    samples += [sample("kamailio", rate) for rate in (100, 200, 100)]
    console = Console(width=120, file=io.StringIO(), record=True)
    console.print(end_to_end.table(samples, end_to_end.Phase("cost"), ["edge", "kamailio"]))
    row = next(line for line in console.export_text().splitlines() if "calls/s" in line)
    assert row.split()[1:] == ["400", "[200-900]", "100", "[100-200]", "4", "[1-9]"]


def test_program_that_is_missing_or_dies() -> None:
    plan = load.Plan(caller="127.0.0.2:0", callee="127.0.0.3:0", target="127.0.0.1:9", window=1, calls=1)
    core = subjects.cores()[0]
    with pytest.raises(subjects.Failure, match="nothing-here is not installed"):  # noqa: SIM117
        with subjects.running(subjects.Subject("edge", "nothing-here {listen}"), core, "127.0.0.1:9", plan):
            pass
    dying = subjects.Subject("edge", f"{sys.executable} -c 'print(\"why it died\"); raise SystemExit(1)'")
    with pytest.raises(subjects.Failure, match="carried no call:\nwhy it died"):  # noqa: SIM117
        with subjects.running(dying, core, "127.0.0.1:9", plan):
            pass


@pytest.mark.skipif(subjects.Subject("kamailio", subjects.KAMAILIO).program is None, reason="kamailio is not installed")
def test_calls_through_a_proxy(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.end_to_end", "--edge", subjects.KAMAILIO, "--no-peer"]
    command += ["--rounds", "1", "--seconds", "0.3", "--listen", "127.0.0.5:5060", "--out", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, cwd=subjects.ROOT)
    assert done.returncode == 0, done.stderr
    assert "saturation" in done.stdout
    samples = msgspec.json.decode((tmp_path / "end_to_end.json").read_bytes(), type=list[end_to_end.Sample])
    assert [each.phase for each in samples] == [phase.name for phase in end_to_end.PHASES]
    assert all(each.failed == 0 and each.cpu > 0 and each.pss > 1 for each in samples)
    assert (tmp_path / "end_to_end.png").read_bytes().startswith(b"\x89PNG")
