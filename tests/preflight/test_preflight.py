"""`sipedge preflight` against peers on loopback: over UDP, TCP and TLS, and where there is nobody."""
import asyncio
import contextlib
import json
import socket
import ssl
import subprocess
import sys
import threading

import pytest

from proxy import load
from proxy import preflight as before
from proxy.cli import DEFAULT
from sipcore.wire.message import Message
from tests.certificates import Authority

SDP = b"v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 0 RTP/AVP 8 0\r\n"
CONFIGURATION = """
[[listener]]
name = "edge"
bind = "udp:127.0.0.1:5060"
{more}
[[group]]
name = "agents"
addresses = ["127.0.0.0/8"]

[[upstream]]
name = "pbx"
targets = [{{ address = "127.0.0.1:5080" }}]

[[headers]]
name = "context"
on = ["INVITE"]
add = [{{ name = "X-Intent", value = "billing question" }}]

[[route]]
to = "pbx"
headers = ["context"]
"""
TLS = """
[[listener]]
name = "secure"
bind = "tls:127.0.0.1:5061"
tls = ["edge"]

[[tls]]
name = "edge"
certificate = "{certificate}"
key = "{key}"
ca = "{ca}"
"""


def answer(request, status="200 OK", lines=b"", body=b""):
    message = Message(request)
    copied = b"".join(f"{name}: {message.header(name)}\r\n".encode() for name in ("Via", "From", "Call-ID", "CSeq"))
    return b"SIP/2.0 %b\r\n%bTo: %b;tag=peer\r\n%bContent-Length: %d\r\n\r\n%b" % (
        status.encode(), copied, (message.header("To") or "").encode(), lines, len(body), body)


class Peer:
    """Answers each OPTIONS that comes; asked holds them. tls: (certificate, key), by which it speaks TLS."""

    def __init__(self, transport, *, tls=None, **parts):
        self.parts = parts
        self.asked = []
        self.tls = None
        if tls is not None:
            self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.tls.load_cert_chain(*tls)
        self.socket = socket.socket(type=socket.SOCK_DGRAM if transport == "udp" else socket.SOCK_STREAM)
        self.socket.bind(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        if transport != "udp":
            self.socket.listen(8)
        self.thread = threading.Thread(target=self._datagrams if transport == "udp" else self._connections, daemon=True)
        self.thread.start()

    def _datagrams(self):
        with contextlib.suppress(OSError):
            while True:
                data, source = self.socket.recvfrom(65536)
                if not data:
                    return      # shut down
                self.asked.append(data)
                self.socket.sendto(answer(data, **self.parts), source)

    def _connections(self):
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self.socket.accept()
                threading.Thread(target=self._talk, args=(connection,), daemon=True).start()

    def _talk(self, connection):
        with contextlib.suppress(OSError):
            if self.tls is not None:
                connection = self.tls.wrap_socket(connection, server_side=True)
            with connection:
                while data := connection.recv(65536):
                    self.asked.append(data)
                    connection.sendall(answer(data, **self.parts))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()


def preflight(uri, file=None, seconds=30.0):
    return asyncio.run(before.preflight(uri, load.load(file or DEFAULT), as_configured=file is not None,
                                        seconds=seconds))


def command(*arguments):
    """(exit status, what it prints)"""
    done = subprocess.run([sys.executable, "-m", "proxy", "preflight", *map(str, arguments)], capture_output=True,
                          text=True, timeout=120)
    assert done.stderr == ""
    return done.returncode, done.stdout


def verdicts(report):
    return {word.about: word.verdict for word in report.words}


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_a_peer_that_answers(transport):
    lines = "Allow: INVITE, ACK, BYE, refer\r\nSupported: replaces, timer\r\nServer: Box\u202e 2\r\n" \
            "Content-Type: application/sdp\r\n"
    with Peer(transport, lines=lines.encode(), body=SDP) as peer:
        report = preflight(f"sip:2001@127.0.0.1:{peer.port};transport={transport}")
    assert report.good
    assert verdicts(report) == {"warm": "yes", "blind": "yes", "attended": "yes", "tls": "open"}
    found = report.answers[0]
    assert (found.address, found.status) == (f"{transport}:127.0.0.1:{peer.port}", 200)
    assert found.allow == ("INVITE", "ACK", "BYE", "REFER")
    assert found.codecs == ("PCMA/8000", "PCMU/8000")
    # What a stranger sends turns nothing around on a terminal.
    assert found.server == "Box? 2"
    asked = Message(peer.asked[0])
    assert (asked.method, asked.uri) == ("OPTIONS", f"sip:2001@127.0.0.1:{peer.port};transport={transport}")
    assert asked.header("Accept") == "application/sdp"


def test_a_peer_without_refer_that_asks_for_a_password():
    lines = b'Allow: INVITE\r\nWWW-Authenticate: Digest realm="pbx", nonce="1", algorithm=SHA-256\r\n'
    with Peer("udp", status="401 Unauthorized", lines=lines) as peer:
        report = preflight(f"sip:2001@127.0.0.1:{peer.port}")
    assert report.good
    assert verdicts(report) == {"password": "open", "warm": "yes", "blind": "no", "attended": "open", "tls": "open"}
    assert "realm pbx" in report.words[0].text


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_nobody_listens(transport):
    with socket.socket(type=socket.SOCK_DGRAM if transport == "udp" else socket.SOCK_STREAM) as kept:
        kept.bind(("127.0.0.1", 0))
        port = kept.getsockname()[1]
        if transport == "udp":
            kept.close()
        report = preflight(f"sip:127.0.0.1:{port};transport={transport}")
    assert not report.good
    assert verdicts(report)["reach"] == "no"
    assert "no answer" not in report.answers[0].fault


def test_somebody_who_does_not_answer():
    with socket.socket(type=socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        report = preflight(f"sip:127.0.0.1:{silent.getsockname()[1]}", seconds=0.3)
    assert (report.good, report.answers[0].fault) == (False, "no answer within 0.3 s")


@pytest.mark.parametrize(("uri", "said"), [
    ("2001", "no URI"), ("tel:+12025550188", "its upstream"), ("sip:2001@no such host", "no URI"),
])
def test_what_cannot_be_asked(uri, said):
    report = preflight(uri)
    assert (report.good, report.answers) == (False, ())
    assert said in report.fault


def test_sizes_are_those_of_the_configuration(tmp_path):
    file = tmp_path / "edge.toml"
    file.write_text(CONFIGURATION.format(more=""))
    with Peer("udp") as peer:
        report = preflight(f"sip:2001@127.0.0.1:{peer.port}", file)
    # The upstream's budget is unknown, 1,300 bytes; on the way there the kernel knows more, and 1,500 is the usual.
    assert len(report.sizes) == 1
    assert report.sizes[0].startswith("route[0] INVITE to pbx: ")
    assert "of 1,300 bytes with X-Intent" in report.sizes[0]


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("certificates"))


def secured(folder, authority, own):
    file = folder / "edge.toml"
    file.write_text(CONFIGURATION.format(more=TLS.format(
        certificate=own[0], key=own[1], ca=authority.certificate)))
    return file


@pytest.mark.parametrize(("names", "days", "good"), [
    (("IP:127.0.0.1",), 30, True),
    (("DNS:other.example.com",), 30, False),
    (("IP:127.0.0.1",), -1, False),
])
def test_certificates(tmp_path, authority, names, days, good):
    pair = authority.give("peer", *names, days=days)
    file = secured(tmp_path, authority, authority.give("edge", "DNS:edge.example.com"))
    with Peer("tls", tls=pair, lines=b"Allow: INVITE, REFER\r\n") as peer:
        report = preflight(f"sips:2001@127.0.0.1:{peer.port}", file)
    found = report.answers[0]
    assert found.address == f"tls:127.0.0.1:{peer.port}"
    assert found.certificate.names == (names[0].partition(":")[2],)
    assert (report.good, verdicts(report)["tls"]) == ((True, "yes") if good else (False, "no"))
    if not good:
        assert "certificate" in found.fault
        # Nothing was sent to whoever it is.
        assert peer.asked == []


def test_a_configuration_without_tls_says_so(tmp_path):
    file = tmp_path / "edge.toml"
    file.write_text(CONFIGURATION.format(more=""))
    report = preflight("sips:2001@127.0.0.1:5061", file)
    assert not report.good
    assert "no listener" in report.fault


def test_the_command():
    with Peer("udp", lines=b"Allow: INVITE, REFER\r\n") as peer:
        uri = f"sip:2001@127.0.0.1:{peer.port}"
        status, text = command("--json", uri)
        assert (status, json.loads(text)["good"], json.loads(text)["uri"]) == (0, True, uri)
        status, text = command(uri)
    assert status == 0
    assert text.splitlines()[0] == uri
    assert "yes  Blind transfer of callers that come from it: it takes REFER." in text.splitlines()
    status, text = command("tel:+12025550188")
    assert (status, text.splitlines()[0]) == (1, "tel:+12025550188")
