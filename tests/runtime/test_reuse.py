"""A running edge that reaches a PBX by the connection that the PBX has opened (RFC 5923), as the configuration says."""
import socket
import ssl
from pathlib import Path

import pytest

from sipcore.wire.message import Message
from tests.certificates import Authority
from tests.edge import EdgeProcess
from tests.net.streams import request
from tests.runtime.test_streams import free_port

CONFIGURATION = """
[[listener]]
name = "udp"
bind = "udp:127.0.0.1:{udp}"

[[listener]]
name = "tls"
bind = "tls:127.0.0.1:{tls}"
tls = ["edge"]

[[tls]]
name = "edge"
certificate = "{certificate}"
key = "{key}"
ca = "{ca}"
client_certificate = "optional"

[[group]]
name = "phones"
addresses = ["127.0.0.1"]
methods = ["MESSAGE", "OPTIONS"]

[[upstream]]
name = "pbx"
targets = [{{ address = "127.0.0.1:{pbx}", transport = "tls", server_name = "pbx.example.com" }}]

[[route]]
methods = ["MESSAGE"]
to = "pbx"
"""


SERVED = CONFIGURATION.replace("[[upstream]]", """[[group]]
name = "pbxs"
certificates = ["PBX.example.com"]
methods = ["OPTIONS"]

[[upstream]]""").replace('["127.0.0.1"]', '["127.0.0.2"]')


@pytest.mark.parametrize("ca", ["the configuration's", "the system's"])
def test_a_pbx_asks_by_the_connection_that_the_edge_has_opened_to_it(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ca: str) -> None:
    """No address of it is listed: its certificate says who it is, where the authority is one that was named."""
    authority = Authority(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.certificate))
    certificate, key = authority.give("edge", "DNS:edge.example.com")
    theirs = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    theirs.load_cert_chain(*authority.give("pbx", "DNS:pbx.example.com"))
    text = SERVED
    if ca == "the system's":
        # Another listener asks for certificates; the one that the edge connects from knows no authority of its own.
        text += """
[[listener]]
name = "other"
bind = "tls:127.0.0.3:{tls}"
tls = ["other"]
[[tls]]
name = "other"
certificate = "{certificate}"
key = "{key}"
ca = "{ca}"
client_certificate = "optional"
"""
        text = text.replace('ca = "{ca}"\nclient_certificate = "optional"\n', "", 1)
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(60)
        ports = {"udp": free_port(), "tls": free_port(), "pbx": server.getsockname()[1]}
        with EdgeProcess(tmp_path, text.format(
                **ports, certificate=certificate, key=key, ca=authority.certificate)) as edge, \
                socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as phone:
            phone.bind(("127.0.0.2", 0))
            phone.sendto(request("MESSAGE", transport="UDP", port=phone.getsockname()[1], call_id="ask"),
                         ("127.0.0.1", ports["udp"]))
            plain, _ = server.accept()
            with theirs.wrap_socket(plain, server_side=True) as pbx:
                pbx.settimeout(60)
                assert Message(pbx.recv(65536)).call_id == "ask"
                pbx.sendall(request(to=f"sip:127.0.0.1:{ports['tls']};transport=tls", transport="TLS", branch="back",
                                    port=ports["pbx"], call_id="back"))
                if ca == "the system's":
                    edge.wait_stats(lambda found: found["unlisted_dropped"], "it is counted")
                else:
                    assert (lambda found: (found.status, found.call_id))(Message(pbx.recv(65536))) == (200, "back")


@pytest.mark.parametrize("name", ["pbx.example.com", "other.example.com"])
def test_a_pbx_that_nobody_can_connect_to(tmp_path: Path, name: str) -> None:
    authority = Authority(tmp_path)
    certificate, key = authority.give("edge", "DNS:edge.example.com")
    ports = {"udp": free_port(), "tls": free_port(), "pbx": free_port()}
    ours = ssl.create_default_context(cafile=str(authority.certificate))
    ours.load_cert_chain(*authority.give("pbx", f"DNS:{name}"))
    with EdgeProcess(tmp_path, CONFIGURATION.format(
            **ports, certificate=certificate, key=key, ca=authority.certificate)) as edge:
        plain = socket.create_connection(("127.0.0.1", ports["tls"]), timeout=60)
        with plain, ours.wrap_socket(plain, server_hostname="edge.example.com") as pbx:
            pbx.sendall(request(to=f"sip:127.0.0.1:{ports['tls']};transport=tls", transport="TLS",
                                branch="join;alias", port=ports["pbx"], call_id="join"))
            assert Message(pbx.recv(65536)).status == 200
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as phone:
                phone.settimeout(60)
                phone.bind(("127.0.0.1", 0))
                phone.sendto(request("MESSAGE", transport="UDP", port=phone.getsockname()[1], call_id="ask"),
                             ("127.0.0.1", ports["udp"]))
                if name == "pbx.example.com":
                    asked = Message(pbx.recv(65536))
                    assert (asked.method, asked.call_id) == ("MESSAGE", "ask")
                    lines = [f"{header}: {value}" for header, value in asked.items()
                             if header in ("Via", "From", "To", "Call-ID", "CSeq")]
                    pbx.sendall("\r\n".join(["SIP/2.0 200 OK", *lines, "Content-Length: 0"]).encode() + b"\r\n\r\n")
                    assert Message(phone.recv(65536)).status == 200
                    assert edge.wait_stats(lambda found: found["connections_reused"], "it is counted")[
                        "connections_opened"] == 0
                else:
                    # Whoever stands there with another name is asked nothing.
                    assert Message(phone.recv(65536)).status == 503
                    assert edge.wait_log_line(event="target failed")["reason"] == "Connection refused"
                    pbx.settimeout(0)
                    with pytest.raises(ssl.SSLWantReadError):
                        pbx.recv(65536)
