"""Targets that are names, over TCP and TLS: a real name server, SIPp, and a server with a certificate."""
import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from sipcore.wire.message import Message
from tests.certificates import TLS, Authority
from tests.edge import SLOW_TIMERS, UDP_AND_TCP, StartEdge
from tests.net.nameservers import Unbound
from tests.net.streams import request
from tests.net.test_tls import TlsTarget
from tests.scenarios.conftest import LONG, Stage
from tests.scenarios.sipp import MEDIA_PORT

CONFIGURATION = UDP_AND_TCP + LONG + SLOW_TIMERS + """
[[group]]
name = "callers"
addresses = ["{net}.2"]
methods = ["INVITE", "MESSAGE"]

[[upstream]]
name = "pbx"
targets = [{{ address = "{target}", transport = "{transport}" }}]
size_policy = ["tcp", "drop", "refuse"]

[[route]]
methods = ["INVITE", "MESSAGE"]
to = "pbx"
headers = ["long"]

[dns]
servers = ["{server}"]
"""


def text(net: str, server: Unbound, target: str, transport: str, more: str = "") -> str:
    return CONFIGURATION.format(net=net, server=server.address, target=target, transport=transport,
                                filling="x" * 60) + more


@pytest.fixture
def names(network: str) -> Iterator[Unbound]:
    """`pbx.test` has two servers by TCP, and nobody is at the first one."""
    with Unbound(f"pbx.test. 60 IN A {network}.3", "_sip._tcp.pbx.test. 60 IN SRV 10 0 5079 pbx.test.",
                 "_sip._tcp.pbx.test. 60 IN SRV 20 0 5070 pbx.test.") as server:
        yield server


def test_a_target_by_tcp_is_found_and_the_next_server_tried(network: str, names: Unbound, start_edge: StartEdge,
                                                            tmp_path: Path) -> None:
    edge = start_edge(text(network, names, "pbx.test", "tcp"))
    stage = Stage(network, edge, tmp_path)
    with contextlib.closing(stage):
        callee = stage.callee("basic/callee", transport="t1")
        caller = stage.caller("basic/caller", user="someone")
        invite, = callee.received("INVITE")
        assert invite.first_line == "INVITE sip:someone@pbx.test SIP/2.0"
        assert invite.values("Via")[0].startswith("SIP/2.0/TCP ")
        assert not caller.received("SIP/2.0 503")
        assert edge.stats()["failovers"] == 1
        failed = edge.wait_log_line(event="target failed")
        assert (failed["target"], failed["reason"]) == (f"{network}.3:5079", "Connection refused")


@pytest.mark.parametrize("listens", [True, False], ids=["by TCP", "nobody at TCP"])
def test_the_size_step_by_tcp_goes_where_the_name_leads(network: str, names: Unbound, start_edge: StartEdge,
                                                        tmp_path: Path, listens: bool) -> None:
    edge = start_edge(text(network, names, "pbx.test:5070", "udp"))
    stage = Stage(network, edge, tmp_path)
    with contextlib.closing(stage):
        by_udp = stage.callee("basic/callee", media_port=MEDIA_PORT + 10)
        by_tcp = stage.callee("basic/callee", transport="t1") if listens else None
        stage.start("big/caller", user="big")
        if listens:
            stage.start("basic/caller", user="small", port=5081, media_port=MEDIA_PORT + 10)
        stage.finish()
        small, = by_udp.received("INVITE")
        assert small.values("Via")[0].startswith("SIP/2.0/UDP ")
        assert small.size <= 1300
        if by_tcp is not None:
            big, = by_tcp.received("INVITE")
            assert big.size > 1300
            assert big.values("X-Long-1") == ["x" * 60]
            assert (small.values("X-Long-1"), small.first_line) == (
                ["x" * 60], "INVITE sip:small@pbx.test:5070 SIP/2.0")
        else:
            assert small.values("X-Long-1") == []
        assert edge.stats()["oversize_refused"] == 0


@pytest.mark.parametrize(("name", "status", "reason"), [
    ("DNS:pbx.test", 200, ""),
    ("DNS:server.test", 503, "certificate is for server.test, not for pbx.test"),
], ids=["its own name", "that of its server"])
def test_a_target_by_tls_proves_the_name_that_was_asked_for(network: str, start_edge: StartEdge, tmp_path: Path,
                                                            name: str, status: int, reason: str) -> None:
    """RFC 5922 4: wherever SRV leads, the certificate carries the domain."""
    authority = Authority(tmp_path)
    certificate, key = authority.give("edge", f"IP:{network}.1")
    with contextlib.closing(TlsTarget(authority.give("pbx", name))) as target, Unbound(
            f"_sips._tcp.pbx.test. 60 IN SRV 10 0 {target.port} server.test.",
            "server.test. 60 IN A 127.0.0.1") as server:
        edge = start_edge(text(network, server, "pbx.test", "tls", TLS.format(
            net=network, certificate=certificate, key=key, ca=authority.certificate)))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as phone:
            phone.settimeout(60)
            phone.bind((f"{network}.2", 0))
            phone.sendto(request("MESSAGE", transport="UDP", port=phone.getsockname()[1]).replace(
                b"UDP 127.0.0.1:", f"UDP {network}.2:".encode()), (f"{network}.1", 5060))
            answer = Message(phone.recv(65536))
            while answer.status < 200:
                answer = Message(phone.recv(65536))
        assert answer.status == status
        assert target.names == ["pbx.test"]
        # With its connection; the server waits for more by it.
        edge.stop()
        said = [line["reason"] for line in edge.log_lines if line["event"] == "target failed"]
        assert said == ([reason] if reason else [])
