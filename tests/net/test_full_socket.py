"""A socket that takes no more: the rest waits in its order, and nothing is lost.

On the loopback interface a sent packet leaves the send buffer at once, so this needs an interface with a slow queue,
in a network namespace; what leaves it is read from the other end of a veth pair.
"""
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import asyncio, re, socket
from sipcore.base.trie import Trie
from sipcore.net.endpoint import Endpoint
from sipcore.net.udp import bind_udp
from sipcore.stack.admission import Admission
from sipcore.stack.proxy import Proxy
from sipcore.stack.verdict import Verdict
from tests.endpoints import build

COUNT = 200
PEER = ("10.9.9.7", 5060)
seen = []

async def main():
    wire = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(0x0800))
    wire.bind(("d1", 0x0800))
    wire.setblocking(False)
    admission = Admission([Trie([("10.9.9.0/24", 0)])])
    admission.add_group("allow", ["OPTIONS"])
    proxy = Proxy(admission=admission, decide=lambda _: Verdict(action=Verdict.LOCAL, status=200, reason="OK"),
                  transactions=1024, dialogs=64)
    proxy.add_listener("10.9.9.1", 5060)
    endpoint = Endpoint(proxy, [bind_udp("10.9.9.1", 5060, buffer_bytes=1 << 20, send_buffer_bytes=1)])
    endpoint.start(asyncio.get_running_loop())
    now = asyncio.get_running_loop().time
    for number in range(1, COUNT + 1):
        proxy.feed(build("OPTIONS sip:10.9.9.1 SIP/2.0", [
            ("Via", f"SIP/2.0/UDP 10.9.9.7:5060;branch=z9hG4bK-{number}"), ("Max-Forwards", "70"),
            ("From", "<sip:a@10.9.9.7>;tag=1"), ("To", "<sip:10.9.9.1>"), ("Call-ID", f"c{number}"),
            ("CSeq", f"{number} OPTIONS")]), PEER, int(now() * 1000))
    endpoint.wake()
    blocked = endpoint.sender.sent
    async with asyncio.timeout(60):
        while len(seen) < COUNT:
            try:
                data = wire.recv(65535)
            except BlockingIOError:
                await asyncio.sleep(0)
                continue
            found = re.search(rb"CSeq: (\\d+)", data)
            if found:
                seen.append(int(found[1]))
    print(0 < blocked < COUNT, seen == list(range(1, COUNT + 1)), endpoint.sender.sent, endpoint.sender.errors)
    endpoint.close()
    wire.close()

asyncio.run(main())
"""
SETUP = """
ip link add d0 type veth peer name d1 && ip link set d0 up && ip link set d1 up && ip addr add 10.9.9.1/24 dev d0 &&
ip neigh add 10.9.9.7 lladdr 02:00:00:00:00:07 dev d0 &&
tc qdisc add dev d0 root tbf rate 4mbit burst 3000 limit 1000000 && exec "$0" "$@"
"""


def test_what_a_full_send_buffer_does_not_take_waits_in_order():
    if os.geteuid() or subprocess.run(["unshare", "-n", "true"], check=False).returncode:
        pytest.skip("needs root and network namespaces")
    found = subprocess.run(["unshare", "-n", "sh", "-c", SETUP, sys.executable, "-c", SCRIPT], capture_output=True,
                           text=True, timeout=120, check=False, cwd=Path(__file__).parents[2])
    if "qdisc kind is unknown" in found.stderr:
        pytest.skip("the kernel has no token bucket filter")
    assert (found.stdout, found.stderr) == ("True True 200 0\n", "")
