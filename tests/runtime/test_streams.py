"""Streams of a running edge, by real processes: SIPp over TCP, openssl over TLS, and a certificate that changes."""
import contextlib
import os
import shutil
import signal
import socket
import ssl
import subprocess
import time
from pathlib import Path

import pytest

from sipcore.wire.message import Message
from tests.certificates import Authority
from tests.edge import EdgeProcess, wait_until
from tests.net.streams import request

BASIC = Path(__file__).resolve().parents[1] / "scenarios" / "basic"
CONFIGURATION = """
[[listener]]
name = "udp"
bind = "udp:127.0.0.1:{port}"
[[listener]]
name = "tcp"
bind = "tcp:127.0.0.1:{port}"
[[listener]]
name = "tls"
bind = "tls:127.0.0.1:{tls}"
tls = ["edge"]
[[tls]]
name = "edge"
certificate = "edge.pem"
key = "edge.key"
ca = "ca.pem"
client_certificate = "optional"
[[group]]
name = "phones"
addresses = ["127.0.0.1"]
certificates = ["phone.example.com"]
rate = 0
[[upstream]]
name = "pbx"
targets = [{{ address = "127.0.0.1:{pbx}", transport = "tcp" }}]
[[route]]
to = "pbx"
[streams]
connections = 64
per_source = 40
"""


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return sock.getsockname()[1]


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    authority = Authority(tmp_path_factory.mktemp("edge"))
    authority.give("edge", "DNS:edge.example.com", "IP:127.0.0.1")
    return authority


@pytest.fixture(scope="module")
def ports():
    return {"port": free_port(), "tls": free_port(), "pbx": free_port()}


@pytest.fixture(scope="module")
def edge(authority, ports):
    with EdgeProcess(authority.folder, CONFIGURATION.format(**ports)) as running:
        yield running


def scenario(work, side):
    """A side of the basic call, by any transport."""
    text = (BASIC / f"{side}.xml").read_text().replace("SIP/2.0/UDP", "SIP/2.0/[transport]")
    file = work / f"{side}.xml"
    file.write_text(text.replace("[local_port]>", "[local_port];transport=[transport]>"))
    return str(file)


@contextlib.contextmanager
def sipp(work, side, port, *more):
    """A running SIPp, and the file with what it shows; killed at the end, if it runs still."""
    command = shutil.which("sipp")
    if command is None:
        pytest.skip("sipp is not installed (Debian package sip-tester)")
    screen = work / f"{side}.screen"
    with screen.open("wb") as out:
        process = subprocess.Popen(
            [command, "-sf", scenario(work, side), "-t", "t1", "-i", "127.0.0.1", "-p", str(port), "-m", "50", "-r",
             "50", "-s", "2000", "-timeout", "100", "-timeout_error", "-nostdin", *more], cwd=work,
            stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT)
    try:
        yield process, screen
    finally:
        process.kill()
        process.wait(60)


def test_calls_over_tcp(edge, ports, tmp_path):
    with contextlib.ExitStack() as stack:
        stack.enter_context(sipp(tmp_path, "callee", ports["pbx"]))
        wait_until(lambda: f":{ports['pbx']:04X} 00000000:0000 0A" in Path("/proc/net/tcp").read_text(), "sipp listens")
        caller, screen = stack.enter_context(
            sipp(tmp_path, "caller", free_port(), f"127.0.0.1:{ports['port']}"))
        assert caller.wait(120) == 0, screen.read_text()
    found = edge.wait_stats(lambda stats: stats["calls_ended"] >= 50, "all calls have ended")
    # One connection for all calls, each way.
    assert found["connections_opened"] == 1
    assert found["retransmissions_out"] == 0


def s_client(authority, ports, *more):
    return subprocess.run(
        ["openssl", "s_client", "-connect", f"127.0.0.1:{ports['tls']}", "-CAfile", str(authority.certificate),
         "-verify_return_error", "-verify_hostname", "edge.example.com", *map(str, more)], input="", text=True,
        capture_output=True, timeout=60, check=False)


def test_openssl_verifies_the_edge(edge, authority, ports):
    for version in ("-tls1_2", "-tls1_3"):
        found = s_client(authority, ports, version)
        assert found.returncode == 0, found.stderr
        assert "Verify return code: 0 (ok)" in found.stdout
    assert s_client(authority, ports, "-tls1_1", "-cipher", "DEFAULT@SECLEVEL=0").returncode != 0


def test_a_certificate_of_another_authority_is_refused_and_logged(edge, authority, ports, tmp_path):
    before = edge.stats()["handshakes_failed"]
    certificate, key = Authority(tmp_path).give("phone", "DNS:phone.example.com")
    s_client(authority, ports, "-cert", certificate, "-key", key)
    edge.wait_stats(lambda stats: stats["handshakes_failed"] > before, "the handshake has failed")
    wait_until(lambda: [line for line in edge.log_lines if line.get("reason", "").startswith("certificate refused: ")],
               "a log line says which check failed")


def connected(authority, ports, pair=None, source="127.0.0.1"):
    context = ssl.create_default_context(cafile=str(authority.certificate))
    if pair:
        context.load_cert_chain(*pair)
    plain = socket.create_connection(("127.0.0.1", ports["tls"]), timeout=60, source_address=(source, 0))
    return context.wrap_socket(plain, server_hostname="edge.example.com")


def ask(tls, **options):
    tls.sendall(request(transport="TLS", **options))
    return Message(tls.recv(65536)).status


def test_a_certificate_opens_what_its_address_does_not(edge, authority, ports):
    phone = authority.give("phone", "DNS:phone.example.com")
    with connected(authority, ports, phone, source="127.0.0.9") as tls:
        assert ask(tls, to=f"sip:127.0.0.1:{ports['tls']};transport=tls") == 200


def test_a_reload_changes_the_certificate_and_keeps_connections(edge, authority, ports):
    to = f"sip:127.0.0.1:{ports['tls']};transport=tls"
    with connected(authority, ports) as old:
        assert ask(old, to=to) == 200
        authority.give("edge", "DNS:edge.example.com", "DNS:new.example.com")
        os.kill(edge.pid, signal.SIGHUP)

        def changed():
            with connected(authority, ports) as new:
                return ("DNS", "new.example.com") in new.getpeercert()["subjectAltName"]

        wait_until(changed, "the new certificate is shown")
        assert ask(old, to=to, branch="2", call_id="2") == 200


def reload(edge):
    """Have the files read again; the worker follows them."""
    epoch = 1 + max(line["epoch"] for line in edge.log_lines if line["event"] == "worker ready")
    os.kill(edge.pid, signal.SIGHUP)
    edge.wait_log_line(event="worker ready", epoch=epoch)


@pytest.fixture
def alone(tmp_path):
    """An edge that one phone is connected to, and its socket."""
    port = free_port()
    text = (f'[[listener]]\nname = "tcp"\nbind = "tcp:127.0.0.1:{port}"\n[[group]]\nname = "phones"\n'
            'addresses = ["127.0.0.1"]\n')
    with EdgeProcess(tmp_path, text) as edge, socket.create_connection(("127.0.0.1", port)) as phone:
        edge.wait_stats(lambda stats: stats["connections"] == 1, "the phone is connected")
        yield edge, phone


def test_a_shorter_silence_ends_connections_that_are_there(alone):
    """Also where nothing comes that wakes the edge."""
    edge, phone = alone
    edge.file.write_text(f"{edge.file.read_text()}\n[streams]\nidle_timeout = 1\n")
    reload(edge)
    phone.settimeout(60)
    assert phone.recv(1) == b""


def test_who_is_taken_off_the_access_list_is_counted_among_the_others(alone):
    edge, _ = alone
    named = edge.file.read_text()
    edge.file.write_text(named.replace('["127.0.0.1"]', '["192.0.2.1"]'))
    reload(edge)
    edge.wait_stats(lambda stats: stats["connections_unlisted"] == 1, "it is a stranger's now")
    edge.file.write_text(named)
    reload(edge)
    edge.wait_stats(lambda stats: stats["connections_unlisted"] == 0, "it is a phone's again")


def test_who_is_denied_loses_its_connection(alone):
    edge, phone = alone
    edge.file.write_text(f'{edge.file.read_text()}\n[[group]]\nname = "denied"\naction = "deny"\n'
                         'addresses = ["127.0.0.0/31"]\n')
    reload(edge)
    assert edge.wait_stats(lambda stats: stats["connections_accepted"] == 1, "it is looked at")["connections"] == 1
    edge.file.write_text(edge.file.read_text().replace('["127.0.0.0/31"]', '["127.0.0.1"]').replace(
        'addresses = ["127.0.0.1"]', 'addresses = ["192.0.2.1"]', 1))
    reload(edge)
    phone.settimeout(20)  # who is in no group at all may be silent for 32 s
    assert phone.recv(1) == b""
    assert edge.wait_stats(lambda stats: not stats["connections"], "nobody is left")["connections_unlisted"] == 0


def test_an_authority_that_is_taken_out_of_its_file_vouches_for_nobody_any_more(edge, authority, ports, tmp_path):
    to = f"sip:127.0.0.1:{ports['tls']};transport=tls"
    named = authority.certificate.read_bytes()
    with connected(authority, ports, authority.give("phone", "DNS:phone.example.com"), source="127.0.0.9") as tls:
        assert ask(tls, to=to, branch="in", call_id="in") == 200
        authority.certificate.write_bytes(Authority(tmp_path).certificate.read_bytes())
        try:
            reload(edge)
            before = edge.stats()["unlisted_dropped"]
            tls.sendall(request(transport="TLS", to=to, branch="out", call_id="out"))
            edge.wait_stats(lambda stats: stats["unlisted_dropped"] > before, "it is a stranger now")
        finally:
            authority.certificate.write_bytes(named)
            reload(edge)
        assert ask(tls, to=to, branch="again", call_id="again") == 200


def test_renegotiation_is_refused(edge, authority, ports):
    """What a client could make the edge compute over and over."""
    with subprocess.Popen(
            ["openssl", "s_client", "-connect", f"127.0.0.1:{ports['tls']}", "-CAfile", str(authority.certificate),
             "-tls1_2", "-legacy_renegotiation"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True) as client:
        out, _ = client.communicate("R\n" * 3, timeout=60)
    assert "RENEGOTIATING" in out
    assert "no renegotiation" in out
    assert client.returncode != 0
    with connected(authority, ports) as tls:
        assert ask(tls, to=f"sip:127.0.0.1:{ports['tls']};transport=tls") == 200


def test_handshakes_that_stop_half_way_leave_room_for_others(edge, authority, ports):
    before = edge.stats()
    context = ssl.create_default_context(cafile=str(authority.certificate))
    into, out = ssl.MemoryBIO(), ssl.MemoryBIO()
    hello = context.wrap_bio(into, out, server_hostname="edge.example.com")
    with pytest.raises(ssl.SSLWantReadError):
        hello.do_handshake()
    data = out.read()
    held = []
    try:
        for number in range(60):
            held.append(socket.create_connection(("127.0.0.1", ports["tls"]), source_address=("127.0.0.8", 0)))
            # Some send half of their first message, the others wait with the second one.
            held[-1].sendall(data[:len(data) // 2] if number % 2 else data)
        edge.wait_stats(lambda stats: stats["connections_refused"] >= before["connections_refused"] + 20,
                        "too many of one source")
        with connected(authority, ports) as tls:
            assert ask(tls, to=f"sip:127.0.0.1:{ports['tls']};transport=tls", branch="half", call_id="half") == 200
    finally:
        for sock in held:
            sock.close()
    edge.wait_stats(lambda stats: stats["handshakes_failed"] >= before["handshakes_failed"] + 30, "they are over")


def test_strangers_that_send_nothing_and_too_many_leave_room_for_others(edge, ports):
    silent = [socket.create_connection(("127.0.0.1", ports["port"]), source_address=("127.0.0.8", 0))
              for _ in range(60)]
    try:
        edge.wait_stats(lambda stats: stats["connections_refused"] >= 20, "too many of one source")
        with socket.create_connection(("127.0.0.1", ports["port"]), timeout=60) as peer:
            begun = time.monotonic()
            peer.sendall(request(to=f"sip:127.0.0.1:{ports['port']}", branch="9", call_id="9"))
            assert Message(peer.recv(65536)).status == 200
            assert time.monotonic() - begun < 20
    finally:
        for sock in silent:
            sock.close()
