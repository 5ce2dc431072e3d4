"""TLS on loopback: what peers are shown, who targets have to be, client certificates, handshakes without end."""
import contextlib
import ctypes
import ctypes.util
import functools
import socket
import ssl
import threading

import pytest

from sipcore.net.tls import TlsContext, read_certificate, validity
from sipcore.stack.verdict import Target, Verdict
from sipcore.wire.message import Message
from tests.certificates import Authority
from tests.net.streams import request
from tests.net.streams import running as running_edge


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def edge_certificate(authority):
    return authority.give("edge", "DNS:edge.example.com", "IP:127.0.0.1")


def contexts(authority, *certificates, client="none", ca=None):
    ca = str(authority.certificate) if ca is None else ca
    return [(TlsContext(server=True, certificates=certificates, ca=ca, client_certificate=client),
             TlsContext(server=False, certificates=certificates[:1], ca=ca))]


running = functools.partial(running_edge, transport="tls")


class TlsPeer:
    """A client of the standard library: memory BIOs, so that the loop of the test can be turned between its steps."""

    def __init__(self, edge, authority, *, name="edge.example.com", pair=None, version=None,
                 source="127.0.0.1"):
        self.edge = edge
        self.context = ssl.create_default_context(cafile=str(authority.certificate))
        if pair:
            self.context.load_cert_chain(*pair)
        if version:
            self.context.minimum_version = self.context.maximum_version = version
        self.into, self.out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = self.context.wrap_bio(self.into, self.out, server_hostname=name)
        self.peer = edge.connect(source)
        self.data = b""

    def move(self):
        """Carry bytes between the socket and the TLS object."""
        if self.out.pending:
            self.peer.sock.send(self.out.read())
        with contextlib.suppress(BlockingIOError):
            data = self.peer.sock.recv(65536)
            if data:
                self.into.write(data)
            else:
                self.into.write_eof()

    def until(self, step):
        """Repeat a step of the TLS object until it has what it wants; its result."""
        found = []

        def again():
            self.move()
            try:
                found.append(step())
            except ssl.SSLWantReadError:
                self.move()
            return found

        self.edge.until(again)
        self.move()
        return found[0]

    def shake(self):
        self.until(self.tls.do_handshake)
        return self

    def take(self):
        data = b""
        while not data.endswith(b"\r\n\r\n"):
            part = self.until(lambda: self.tls.read(65536))
            assert part, "the edge has closed"
            data += part
        return Message(data)

    def ask(self, data):
        self.tls.write(data)
        self.move()
        return self.take()


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_request_is_answered(authority, edge_certificate, version):
    with running(tls=contexts(authority, edge_certificate)) as edge:
        peer = TlsPeer(edge, authority, version=version).shake()
        assert peer.ask(request(transport="TLS")).status == 200
        assert peer.tls.version() == version.name.replace("v1_", "v1.")
        # Several messages in a record, and one message in several.
        peer.tls.write(request(transport="TLS", branch="2", call_id="2") + request(transport="TLS", branch="3")[:99])
        assert peer.take().status == 200
        assert peer.ask(request(transport="TLS", branch="3")[99:]).status == 200


def test_old_versions_are_refused(authority, edge_certificate):
    tls = [(TlsContext(server=True, certificates=[edge_certificate], minimum_version="1.3"), None)]
    with running(tls=tls) as edge, pytest.raises(ssl.SSLError):
        TlsPeer(edge, authority, version=ssl.TLSVersion.TLSv1_2).shake()


@pytest.mark.parametrize("garbage", [b"OPTIONS sip:a SIP/2.0\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n", bytes(200),
                                     b"\x16\x03\x01\x00\x10" + b"\xff" * 16], ids=["SIP", "HTTP", "zeros", "record"])
def test_garbage_for_a_handshake_earns_a_ban_and_a_peer_that_refuses_the_certificate_none(
        authority, edge_certificate, garbage):
    with running(tls=contexts(authority, edge_certificate), listed="127.0.0.1/32") as edge:
        edge.proxy.bans.strikes = 3
        told = []
        edge.proxy.on_ban = lambda host, _: told.append(host)
        for _ in range(4):
            peer = TlsPeer(edge, authority, name="other.example.com", source="127.0.0.9")
            with pytest.raises(ssl.SSLCertVerificationError):
                peer.shake()
            peer.move()
            peer.peer.closed()
        for _ in range(3):
            assert told == []
            junk = edge.connect("127.0.0.9")
            junk.send(garbage)
            junk.closed()
        assert told == ["127.0.0.9"]
        assert edge.count("handshakes_failed") == 7
        assert TlsPeer(edge, authority).shake().ask(request(transport="TLS")).status == 200


def test_the_certificate_follows_the_name_that_is_asked_for(authority, edge_certificate):
    other = authority.give("other", "DNS:other.example.com", "URI:sip:domain.example.com")
    with running(tls=contexts(authority, edge_certificate, other)) as edge:
        for name in ("edge.example.com", "other.example.com"):
            peer = TlsPeer(edge, authority, name=name).shake()
            assert ("DNS", name) in peer.tls.getpeercert()["subjectAltName"]
        with pytest.raises(ssl.SSLCertVerificationError):
            TlsPeer(edge, authority, name="unknown.example.com").shake()


def test_a_client_certificate_proves_a_group(authority, edge_certificate):
    pbx = authority.give("pbx", "DNS:pbx.example.com")
    stranger = authority.give("stranger", "DNS:stranger.example.com")
    tls = contexts(authority, edge_certificate, client="optional")
    with running(listed="", tls=tls, groups={"pbx.example.com": 0}) as edge:
        peer = TlsPeer(edge, authority, pair=pbx).shake()
        assert peer.ask(request(transport="TLS")).status == 200
        for pair in (stranger, None):
            other = TlsPeer(edge, authority, pair=pair).shake()
            before = edge.count("unlisted_dropped")
            other.tls.write(request(transport="TLS", branch="2", call_id="2"))
            other.move()
            edge.until(lambda before=before: edge.count("unlisted_dropped") > before)
        # The rule goes, and with it what the certificate opened.
        edge.streams.configure(**edge.settings | {"groups": {}})
        peer.tls.write(request(transport="TLS", branch="4", call_id="4"))
        peer.move()
        before = edge.count("unlisted_dropped")
        edge.until(lambda: edge.count("unlisted_dropped") > before)


@pytest.mark.parametrize(("ca", "client", "opens"), [
    ("both", "optional", True), ("other", "optional", False), ("both", "none", False)])
def test_a_client_certificate_opens_as_much_as_its_authority_is_trusted(
        authority, edge_certificate, tmp_path, ca, client, opens):
    """Whoever has vouched for it may go from the configuration, and the connection is there still."""
    other, both = Authority(tmp_path).certificate, tmp_path / "both.pem"
    both.write_bytes(other.read_bytes() + authority.certificate.read_bytes())
    with running(listed="", tls=contexts(authority, edge_certificate, client="optional"),
                 groups={"pbx.example.com": 0}) as edge:
        peer = TlsPeer(edge, authority, pair=authority.give("pbx", "DNS:pbx.example.com")).shake()
        assert peer.ask(request(transport="TLS")).status == 200
        tls = contexts(authority, edge_certificate, client=client, ca=str({"both": both, "other": other}[ca]))
        edge.streams.configure(**edge.settings | {"tls": tls})
        peer.tls.write(request(transport="TLS", branch="2", call_id="2"))
        peer.move()
        edge.until(lambda: edge.count("unlisted_dropped") + edge.count("answered") > 1)
        assert edge.count("unlisted_dropped") == (not opens)


@pytest.mark.parametrize("wrong", ["none", "other authority", "ended"])
def test_a_client_certificate_that_is_required(authority, edge_certificate, wrong, tmp_path):
    pair = {"none": lambda: None, "other authority": lambda: Authority(tmp_path).give("pbx", "DNS:pbx.example.com"),
            "ended": lambda: authority.give("ended", "DNS:pbx.example.com", days=-1)}[wrong]()
    with running(tls=contexts(authority, edge_certificate, client="required")) as edge:
        peer = TlsPeer(edge, authority, pair=pair)
        with pytest.raises((ssl.SSLError, AssertionError)):
            peer.shake().ask(request(transport="TLS"))
        assert edge.count("handshakes_failed") == 1
        (_, event, fields), = edge.lines
        assert event == "connection refused"
        assert {"none": "did not return a certificate", "other authority": "certificate refused", "ended": "expired"}[
            wrong] in fields["reason"]


def test_a_new_certificate_is_for_new_connections(authority, edge_certificate):
    renewed = authority.give("renewed", "DNS:edge.example.com", "DNS:renewed.example.com")
    with running(tls=contexts(authority, edge_certificate)) as edge:
        old = TlsPeer(edge, authority).shake()
        edge.streams.configure(**edge.settings | {"tls": contexts(authority, renewed)})
        new = TlsPeer(edge, authority).shake()
        assert ("DNS", "renewed.example.com") in new.tls.getpeercert()["subjectAltName"]
        assert old.ask(request(transport="TLS")).status == 200
        assert new.ask(request(transport="TLS", branch="2", call_id="2")).status == 200


def test_a_handshake_has_to_end(authority, edge_certificate):
    with running(tls=contexts(authority, edge_certificate), handshake=1000) as edge:
        silent, junk = edge.connect(), edge.connect()
        junk.send(b"OPTIONS sip:a SIP/2.0\r\n\r\n")
        junk.closed()
        silent.closed()
        assert edge.count("handshakes_failed") == 2
        assert edge.count("connections_slow") == 1


class TlsTarget:
    """A server in a thread: takes a connection, answers every request with 200, and no empty lines."""

    def __init__(self, pair, *, ca=None):
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(*pair)
        if ca:
            self.context.load_verify_locations(ca)
            self.context.verify_mode = ssl.CERT_REQUIRED
        self.sock = socket.create_server(("127.0.0.1", 0))
        self.port = self.sock.getsockname()[1]
        self.names: list[str | None] = []
        self.context.sni_callback = lambda _, name, __: self.names.append(name)
        self.shown: list = []
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def _serve(self):
        with contextlib.suppress(OSError):
            while True:
                plain, _ = self.sock.accept()
                with contextlib.suppress(OSError), self.context.wrap_socket(plain, server_side=True) as tls:
                    self.shown.append(tls.getpeercert())
                    self.talk(tls)

    def talk(self, tls):
        while data := tls.recv(65536):
            if not data.strip():
                continue
            message = Message(data)
            lines = [f"{name}: {value}" for name, value in message.items()
                     if name in ("Via", "From", "To", "Call-ID", "CSeq")]
            tls.sendall("\r\n".join(["SIP/2.0 200 OK", *lines, "Content-Length: 0"]).encode() + b"\r\n\r\n")

    def close(self):
        self.sock.shutdown(socket.SHUT_RDWR)
        self.sock.close()
        self.thread.join(60)
        assert not self.thread.is_alive()


@pytest.mark.parametrize(("names", "expected", "status", "reason"), [
    (["DNS:pbx.example.com"], "pbx.example.com", 200, ""),
    (["URI:sip:example.com", "DNS:pbx.example.com"], "example.com", 200, ""),
    (["IP:127.0.0.1"], "", 200, ""),
    (["DNS:other.example.com"], "pbx.example.com", 503, "certificate is for other.example.com, not for "
                                                        "pbx.example.com"),
    (["DNS:*.example.com"], "pbx.example.com", 503, "not for pbx.example.com"),
    (["IP:127.0.0.9"], "", 503, "certificate is for 127.0.0.9, not for 127.0.0.1"),
    ("ended", "pbx.example.com", 503, "certificate has expired"),
    ("stranger", "pbx.example.com", 503, "certificate refused"),
], ids=str)
def test_a_target_has_to_be_who_was_meant(authority, edge_certificate, tmp_path, names, expected, status, reason):
    if names == "ended":
        pair = authority.give("target", "DNS:pbx.example.com", days=-1)
    elif names == "stranger":
        pair = Authority(tmp_path).give("target", "DNS:pbx.example.com")
    else:
        pair = authority.give("target", *names)
    target = TlsTarget(pair)
    verdict = Verdict(targets=(Target("127.0.0.1", target.port, 0, transport="tls", name=expected),))
    try:
        with running(verdict, tls=contexts(authority, edge_certificate)) as edge:
            peer = TlsPeer(edge, authority).shake()
            # A proxied 503 becomes 500 (RFC 3261 16.7); this one is the edge's own.
            assert peer.ask(request("MESSAGE", transport="TLS")).status == status
            assert target.names == [expected or None]
            if reason:
                (_, event, fields), = edge.lines
                assert event == "target failed"
                assert reason in fields["reason"]
            else:
                assert edge.lines == []
    finally:
        target.close()


def test_the_edge_shows_its_own_certificate_to_targets(authority, edge_certificate):
    target = TlsTarget(authority.give("target", "DNS:pbx.example.com"), ca=str(authority.certificate))
    verdict = Verdict(targets=(Target("127.0.0.1", target.port, 0, transport="tls", name="pbx.example.com"),))
    try:
        with running(verdict, tls=contexts(authority, edge_certificate)) as edge:
            peer = TlsPeer(edge, authority).shake()
            assert peer.ask(request("MESSAGE", transport="TLS")).status == 200
            assert ("DNS", "edge.example.com") in target.shown[0]["subjectAltName"]
    finally:
        target.close()


def test_what_is_wrong_with_files(authority, edge_certificate, tmp_path):
    certificate, key = edge_certificate
    other = authority.give("another", "DNS:another.example.com")
    nothing = tmp_path / "nothing.pem"
    nothing.write_text("nothing")
    for pair, ca, text in (
            ((str(tmp_path / "missing"), key), "", "missing: no certificate"), ((str(nothing), key), "", "nothing.pem"),
            ((certificate, str(nothing)), "", "no private key"), ((certificate, other[1]), "", "fit"),
            ((certificate, key), str(nothing), "no certificates of authorities")):
        with pytest.raises(ValueError, match=text):
            TlsContext(server=True, certificates=[pair], ca=ca, client_certificate="optional" if ca else "none")


def test_a_key_with_a_password_is_refused_and_nobody_is_asked(authority, edge_certificate, tmp_path):
    from tests.certificates import run

    locked = tmp_path / "locked.key"
    run("ec", "-in", edge_certificate[1], "-aes128", "-passout", "pass:secret", "-out", locked)
    with pytest.raises(ValueError, match="without a password"):
        TlsContext(server=True, certificates=[(edge_certificate[0], str(locked))])


def test_names_and_dates_of_a_file(authority):
    file, _ = authority.give("dated", "DNS:a.example.com", "URI:sip:example.com", "IP:192.0.2.1")
    found = read_certificate(file)
    assert (found.names, found.uris, found.addresses) == (("a.example.com",), ("sip:example.com",), ("192.0.2.1",))
    begins, ends = validity(file)
    assert (ends - begins).days == 30


class KeyUpdates:
    """A client of TLS 1.3 that can change its keys, which the standard library's cannot: OpenSSL by ctypes."""

    def __init__(self, edge):
        ssl_name, crypto_name = ctypes.util.find_library("ssl"), ctypes.util.find_library("crypto")
        assert ssl_name is not None
        assert crypto_name is not None
        self.ssl, self.crypto = ctypes.CDLL(ssl_name), ctypes.CDLL(crypto_name)
        for library, name in ((self.ssl, "TLS_client_method"), (self.ssl, "SSL_CTX_new"), (self.ssl, "SSL_new"),
                              (self.crypto, "BIO_new"), (self.crypto, "BIO_s_mem")):
            getattr(library, name).restype = ctypes.c_void_p
        pointer = ctypes.c_void_p
        self.context = pointer(self.ssl.SSL_CTX_new(pointer(self.ssl.TLS_client_method())))
        self.into, self.out = (pointer(self.crypto.BIO_new(pointer(self.crypto.BIO_s_mem()))) for _ in range(2))
        self.tls = pointer(self.ssl.SSL_new(self.context))
        self.ssl.SSL_set_bio(self.tls, self.into, self.out)
        self.ssl.SSL_set_connect_state(self.tls)
        self.peer = edge.connect()
        edge.until(self._shake)
        self.peer.sock.sendall(self.said())

    def _shake(self):
        done = self.ssl.SSL_do_handshake(self.tls) == 1
        if not done:
            self.peer.sock.sendall(self.said())
            with contextlib.suppress(BlockingIOError):
                data = self.peer.sock.recv(65536)
                self.crypto.BIO_write(self.into, data, len(data))
        return done

    def said(self):
        room = ctypes.create_string_buffer(65536)
        count = self.crypto.BIO_read(self.out, room, len(room))
        return room.raw[:max(count, 0)]

    def update(self):
        assert self.ssl.SSL_key_update(self.tls, 0) == self.ssl.SSL_do_handshake(self.tls) == 1
        return self.said()

    def message(self, data):
        assert self.ssl.SSL_write(self.tls, data, len(data)) == len(data)
        return self.said()

    def close(self):
        self.ssl.SSL_free(self.tls)
        self.ssl.SSL_CTX_free(self.context)


def test_a_storm_of_new_keys_is_taken_a_buffer_at_a_time(authority, edge_certificate):
    """RFC 8446 4.6.3: each costs as much as a message, and a read that took all would leave no time for anybody."""
    with running(tls=contexts(authority, edge_certificate)) as edge:
        client = KeyUpdates(edge)
        edge.until(lambda: edge.count("connections") == 1)
        client.peer.sock.sendall(b"".join(client.update() for _ in range(8000)) + client.message(
            request(transport="TLS")))
        edge.turn(1)
        assert edge.count("stream_messages_in") == 0
        edge.until(lambda: edge.count("stream_messages_in") == 1)
        client.close()
