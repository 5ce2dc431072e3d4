"""The run that holds anchored calls: how it judges, and that it does hold them on a real edge."""
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from benchmarks import end_to_end_held, subjects
from benchmarks.end_to_end_held import EDGE, Held, room, seat
from benchmarks.media import Report
from proxy.load import load

GOOD = Held(calls=1000, base=10.0, peak=20.0, kernel=5.0, files=4100, files_before=100, files_after=100, up=1000,
            left=0, again=1000, audio=msgspec.convert(
                {"sent": 2000, "received": 2000, "errors": 0, "misrouted": 0, "strange": 0, "seconds": 1.0,
                 "waited": 0.0, "lateness": 0.0, "cpu": 0.0,
                 "latency": {"count": 2000, "p50": 1, "p90": 1, "p99": 1, "p999": 1, "max": 1}}, Report))  # fmt: skip


def test_a_run_with_nothing_wrong() -> None:
    assert GOOD.wrong(20.0) == []
    assert GOOD.per_call == 10.24


@pytest.mark.parametrize(("change", "said"), [
    ({"peak": 40.0}, "a call takes 30.7 KiB"),
    ({"up": 999}, "999 of 1000 streams were up"),
    ({"left": 1}, "1 streams were left"),
    ({"files_after": 104}, "4 files stayed open"),
    ({"again": 998}, "998 calls could be set up again"),
    ({"audio": {"sent": 1999, "received": 1999}}, "a call had no audio"),
    ({"audio": {"received": 1990}}, "10 packets were lost"),
    ({"audio": {"misrouted": 3}}, "3 came out at another call's port"),
    ({"audio": {"strange": 2}}, "2 were changed"),
])
def test_what_is_wrong_is_said(change: dict[str, Any], said: str) -> None:
    if "audio" in change:
        change = {"audio": msgspec.structs.replace(GOOD.audio, **change["audio"])}
    (found,) = msgspec.structs.replace(GOOD, **change).wrong(20.0)
    assert said in found


def test_a_limit_that_is_too_low_is_told_before_anything_is_started(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "edge.toml"
    file.write_text(seat(1000, str(tmp_path)))
    config = load(file)

    def refuse(*_: object) -> None:
        if _[1] != (3000, 3000):
            raise ValueError("not allowed to raise maximum limit")

    monkeypatch.setattr(resource, "getrlimit", lambda _: (1024, 3000))
    monkeypatch.setattr(resource, "setrlimit", refuse)
    with pytest.raises(subjects.Failure) as caught:
        room(config, 1000)
    assert "1000 audio streams and the ports kept ready take 5280 open files, and the limit" in str(caught.value)
    assert str(caught.value).endswith("or take --calls 430")
    room(config, 430)


def test_calls_are_held_on_a_real_edge(tmp_path: Path) -> None:
    edge = EDGE.replace("sipedge", f"{sys.executable} -m proxy", 1)
    # So few calls say nothing about the memory of one.
    done = subprocess.run([sys.executable, "-m", "benchmarks.end_to_end_held", "--edge", edge, "--calls", "40",
                           "--spread", "0.2", "--most", "1000", "--listen", "127.0.0.6:5060", "--out", str(tmp_path)],
                          capture_output=True, text=True, timeout=120, cwd=subjects.ROOT, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "40 calls set up again on the same ports" in done.stdout
    found = msgspec.json.decode((tmp_path / "end_to_end_held.json").read_bytes(), type=Held)
    assert (found.calls, found.up, found.left, found.again) == (40, 40, 0, 40)
    assert found.audio.received == found.audio.sent >= 80
    assert found.wrong(1000.0) == []


def test_an_edge_that_cannot_be_started(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-m", "benchmarks.end_to_end_held", "--edge", "nothing-here {seat}",
                           "--calls", "4", "--out", str(tmp_path)], capture_output=True, text=True, timeout=60,
                          cwd=subjects.ROOT, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert end_to_end_held.__name__.rpartition(".")[2] in done.stderr
