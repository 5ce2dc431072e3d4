"""Fixtures shared by the whole suite, and a network of its own for each process that runs a part of it."""
import ctypes
import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import settings

SHARED = Path(__file__).resolve().parents[2] / "shared"

# How long an example takes depends on the machine's load and on the sanitizers. The examples are the same each time:
# what a check says should depend on the change alone. SIPEDGE_LONG=1 looks for new ones.
settings.register_profile("sipedge", deadline=None, derandomize="SIPEDGE_LONG" not in os.environ)
settings.load_profile("sipedge")


CLONE_NEWNET = 0x40000000


def pytest_configure(config: pytest.Config) -> None:
    """Under `-n`, tests with the same fixed ports run at the same time: each process gets a loopback to itself."""
    if not hasattr(config, "workerinput"):
        return
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNET) != 0:
        raise pytest.UsageError(f"no network namespace ({os.strerror(ctypes.get_errno())}): run without -n")
    for command in ("link set lo up",
                    # A phone takes its own address from an interface that is not loopback; the other end leads nowhere.
                    "link add phones type veth peer name nowhere", "link set phones up",
                    "address add 198.51.100.1/24 dev phones", "route add default dev phones"):
        subprocess.run(["ip", *command.split()], check=True)


def _folder(path: Path) -> Path:
    if not path.is_dir():
        pytest.skip(f"no folder {path.name} in {path.parent.name} beside the project")
    return path


@pytest.fixture(scope="session")
def corpora() -> Path:
    """The folder of the RFC 4475, RFC 5118 and call-flow messages; skips where it is missing."""
    return _folder(SHARED / "corpora")


@pytest.fixture(scope="session")
def clients() -> Path:
    """The folder of the scripts that drive real phones; skips where it is missing."""
    return _folder(SHARED / "clients")
