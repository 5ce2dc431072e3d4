"""Seats of the benchmarks as tests want them."""
import re
from pathlib import Path

from benchmarks.subjects import ROOT
from tests.edge import PATIENT


def patient(command: str, folder: Path) -> str:
    """A command with a copy of its seat by which no call is refused for the lag of a busy machine, and what is under
    way at the end is not waited for long."""
    seat = re.search(r"benchmarks/seats/\w+\.toml", command)
    assert seat is not None
    file = folder / "patient.toml"
    file.write_text(f"{(ROOT / seat[0]).read_text()}\n{PATIENT}[process]\nstop_timeout = 1\n")
    return command.replace(seat[0], str(file))
