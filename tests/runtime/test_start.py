"""The first moments of the edge's processes."""
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from proxy.supervisor import _BOOT
from tests.edge import wait_until

from .edge import NETWORK, ROOT, WAIT, free_port


@pytest.mark.parametrize(("number", "then"), [(signal.SIGHUP, '"epoch":1'), (signal.SIGINT, '"event":"ended"')])
def test_a_signal_waits_until_the_edge_has_started(tmp_path, number, then):
    """The file is a pipe at first, so that the edge can be met in the middle of its start."""
    file = tmp_path / "edge.toml"
    text = (f'[[listener]]\nname = "a"\nbind = "udp:{NETWORK}.1:{free_port(f"{NETWORK}.1")}"\n'
            f'[process]\ndirectory = "{tmp_path}"\n[log]\nformat = "json"\n')
    os.mkfifo(file)
    with subprocess.Popen([sys.executable, "-m", "proxy", "run", "-c", str(file)], cwd=ROOT, stderr=subprocess.PIPE,
                          text=True) as edge:
        with file.open("w") as pipe:
            file.unlink()
            file.write_text(text)
            edge.send_signal(number)
            pipe.write(text)
        assert edge.stderr is not None
        log = []
        for line in edge.stderr:
            log.append(line)
            if then in line and number == signal.SIGHUP:
                edge.terminate()
        assert edge.wait(WAIT) == 0
    assert any(then in line for line in log)
    assert all(line.startswith("{") for line in log)


@pytest.mark.parametrize("program", [["-c", _BOOT.format("{}", "proxy.worker")], ["-m", "proxy.services", "{}"]])
def test_a_child_ignores_the_signals_of_a_terminal_from_its_first_moment(program):
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours:
        with theirs:
            child = subprocess.Popen([sys.executable, *(part.format(theirs.fileno()) for part in program)], cwd=ROOT,
                                     pass_fds=(theirs.fileno(),), stderr=subprocess.PIPE, text=True)
        wait_until(lambda: ignored(child.pid) >= {signal.SIGINT, signal.SIGHUP}, "it ignores them", WAIT)
        child.send_signal(signal.SIGINT)
        child.send_signal(signal.SIGHUP)
    assert "is started by `sipedge run`" in child.communicate(timeout=WAIT)[1]
    assert child.returncode == 1


def ignored(pid: int) -> set[int]:
    """The signals that a process ignores."""
    (line,) = (line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("SigIgn:"))
    return {number for number in range(1, 65) if int(line.split()[1], 16) >> number - 1 & 1}
