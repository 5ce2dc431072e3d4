"""The size check follows the path MTU that the kernel knows, to an upstream and along the request URI: a route with a
lower MTU, in a network namespace."""
import asyncio
import os
import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import pytest

from proxy import app, worker

from .edge import ROOT

SCRIPT = """
import sys
from pathlib import Path
from proxy import app, load
from proxy.pathmtu import path_mtu
from tests.endpoints import SDP, build
from sipcore.base.trie import Trie

config = load.load(Path(sys.argv[1]))
proxy = app.build_proxy(config, secret=b"k" * 32)
number = iter(range(1, 100))

def sent(size):
    '''Bytes of the INVITE that goes on, or the status that it is answered with, for one of so many bytes.'''
    def invite(padding):
        call = f"call-{size}-{padding > 0}"
        return build(f"INVITE sip:2001@{sys.argv[2]}:5060 SIP/2.0", [
            ("Via", f"SIP/2.0/UDP 10.9.9.2:5060;branch=z9hG4bK-{call}"), ("Max-Forwards", "70"),
            ("From", "<sip:alice@10.9.9.2>;tag=1"), ("To", "<sip:2001@10.9.9.1>"), ("Call-ID", call),
            ("CSeq", "1 INVITE"), ("Contact", "<sip:alice@10.9.9.2>"), ("X-Padding", "x" * padding)], SDP)
    data = invite(size - len(invite(0)) - 1)
    proxy.feed(data, ("10.9.9.2", 5060), 1000 * next(number))
    names = [packet[3].split(b" ")[:2] for packet in proxy.outbox.drain()]
    return "sent" if [b"INVITE", b"sip:2001@10.9.9.7:5060"] in names else names[0][1].decode()

print(path_mtu("10.9.9.7", 5060), sent(700), sent(1000), sent(1200))
"""

CONFIGURATION = """\
[[listener]]
name = "main"
bind = "udp:10.9.9.1:5060"

[[group]]
name = "all"
addresses = ["10.9.9.0/24"]

[[upstream]]
name = "pbx"
targets = [{ address = "10.9.9.7:5060" }]
size_policy = ["refuse"]

[[route]]
to = "pbx"
"""


ALONG = """\
[[upstream]]
name = "request-uri"
size_policy = ["refuse"]

[[route]]
to = "request-uri"
"""


@pytest.mark.parametrize("along", [False, True])
@pytest.mark.parametrize(("mtu", "expected"), [
    (1500, "1500 sent sent 513"), (1280, "1280 sent 513 513"), (9000, "9000 sent sent 513")])
def test_the_budget_follows_the_route(tmp_path, mtu, expected, along):
    if os.geteuid() or subprocess.run(["unshare", "-n", "true"], check=False).returncode:
        pytest.skip("needs root and network namespaces")
    file = tmp_path / "edge.toml"
    host = "10.9.9.7" if along else "10.9.9.1"
    file.write_text(CONFIGURATION.partition("[[upstream]]")[0] + ALONG if along else CONFIGURATION)
    setup = ("ip link add d0 mtu 9000 type veth peer name d1 && ip link set d0 up && ip link set d1 up && "
             "ip addr add 10.9.9.1/24 dev d0 && "
             f"ip route add 10.9.9.7/32 dev d0 mtu {mtu} && exec \"$0\" \"$@\"")
    found = subprocess.run(["unshare", "-n", "sh", "-c", setup, sys.executable, "-c", SCRIPT, str(file), host],
                           cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert (found.stdout.strip(), found.stderr) == (expected, "")


def test_a_failure_does_not_end_the_looks_at_the_mtus(monkeypatch):
    """The users' file of a realm may be gone for a moment when another MTU is found."""
    log, outcomes = [], [ValueError("cannot read users"), None]
    monkeypatch.setattr(worker, "MTU_SECONDS", 0.001)
    monkeypatch.setattr(worker.Worker, "_mtus", lambda _: [1400])

    async def look():
        done = asyncio.Event()

        def configure(*_):
            outcome = outcomes.pop(0)
            if outcome is not None:
                raise outcome
            done.set()

        monkeypatch.setattr(app, "configure", configure)
        one: Any = worker.Worker.__new__(worker.Worker)
        one.config, one.mtus = SimpleNamespace(upstreams=[SimpleNamespace(name="pbx")]), [1500]
        one.proxy = one.decisions = one.audio = None
        one.names = SimpleNamespace(found={})
        one.log = SimpleNamespace(error=lambda event, **fields: log.append((event, fields)),
                                  info=lambda event, **fields: log.append((event, fields)))
        one._on_mtu()
        await asyncio.wait_for(done.wait(), 60)

    asyncio.run(look())
    assert log == [("path MTU not taken over", {"error": "ValueError: cannot read users"}),
                   ("path MTU changed", {"upstreams": {"pbx": 1400}})]
