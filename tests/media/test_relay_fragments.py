"""Packets that are longer than their path takes: in a network namespace of their own, whose loopback is that narrow."""
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import os, socket
from tests.media.stage import HOST, Stage, receiver_report, rtp

def discovery():
    # IP_MTU_DISCOVER of the sockets on the media address, by port: 2 never fragments, 1 does where it must.
    found = {}
    for name in os.listdir("/proc/self/fd"):
        if os.path.exists(path := f"/proc/self/fd/{name}") and os.readlink(path).startswith("socket:"):
            with socket.socket(fileno=os.dup(int(name))) as sock:
                if sock.family == socket.AF_INET and sock.getsockname()[0] == HOST:
                    found[sock.getsockname()[1]] = sock.getsockopt(socket.IPPROTO_IP, 10)
    return found

with Stage() as stage:
    one, two = stage.phone("127.1.0.1"), stage.phone("127.2.0.1")
    session, where = stage.session(one, two)
    ports = {where[0][1]: 2, where[0][1] + 1: 2, where[1][1]: 2, where[1][1] + 1: 2}
    one.send(rtp(1), where[0])
    assert two.receive() == rtp(1)
    assert discovery() == ports
    long = rtp(2, payload=bytes(1988))
    report = receiver_report() * 200
    for packet in (long, rtp(3), long[:2] + bytes([0, 4]) + long[4:]):
        one.send(packet, where[0])
        assert two.receive() == packet
        one.control.sendto(report, (where[0][0], where[0][1] + 1))
        assert two.control.recv(4096) == report
    assert discovery() == ports | {where[1][1]: 1, where[1][1] + 1: 1}
    stage.counted(session, 1, sent=4, sent_rtcp=3, send_failed=0)
print("whole")
"""
SETUP = 'ip link set lo mtu 1280 up && exec "$0" "$@"'


def test_what_is_too_long_for_its_path_leaves_in_fragments() -> None:
    if os.geteuid() or subprocess.run(["unshare", "-n", "true"], check=False).returncode:
        pytest.skip("needs root and network namespaces")
    found = subprocess.run(["unshare", "-n", "sh", "-c", SETUP, sys.executable, "-c", SCRIPT], capture_output=True,
                           text=True, timeout=120, check=False, cwd=Path(__file__).parents[2])
    assert (found.stdout, found.stderr) == ("whole\n", "")
