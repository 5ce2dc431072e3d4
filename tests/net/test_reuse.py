"""Connection reuse (RFC 5923): who proves to be whom, requests go to by the connection he opened; nobody else."""
import contextlib
import socket
import threading

import pytest

from sipcore.stack.verdict import Target, Verdict
from sipcore.wire.message import Message
from tests.certificates import Authority
from tests.net.streams import LOCAL, request
from tests.net.streams import running as running_tcp
from tests.net.test_tls import TlsPeer, TlsTarget, contexts, running

PBX = "pbx.example.com"


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def pairs(authority):
    return {"edge": authority.give("edge", "DNS:edge.example.com", "IP:127.0.0.1"),
            "pbx": authority.give("pbx", f"DNS:{PBX}", "DNS:second.example.com", "IP:127.0.0.1"),
            "other": authority.give("other", "DNS:other.example.com")}


@pytest.fixture(scope="module")
def others(authority, tmp_path_factory):
    """Files of authorities: another one alone, and it beside the one that has signed everything."""
    folder = tmp_path_factory.mktemp("others")
    other = Authority(folder).certificate
    both = folder / "both.pem"
    both.write_bytes(other.read_bytes() + authority.certificate.read_bytes())
    return {"other": str(other), "both": str(both)}


@pytest.fixture
def target(pairs):
    """The PBX as a server: where requests go that go by no connection of its own."""
    with contextlib.closing(TlsTarget(pairs["pbx"])) as found:
        yield found


@contextlib.contextmanager
def play(authority, pairs, target, *, client="optional", name=PBX, **options):
    """An edge that answers OPTIONS itself until `edge.to` names the server that all goes to."""
    def verdict(edge):
        if edge.to is None:
            return LOCAL
        return Verdict(targets=(Target("127.0.0.1", target.port, 0, transport="tls", name=edge.to),))

    with running(verdict, tls=contexts(authority, pairs["edge"], client=client), **options) as edge:
        edge.to = None
        yield edge


def join(edge, authority, pair, port, branch="join", alias=";alias"):
    """A connection of a PBX whose first request says by which port of its it stands for."""
    edge.to = None
    peer = TlsPeer(edge, authority, pair=pair).shake()
    assert peer.ask(request(transport="TLS", branch=branch + alias, port=port, call_id=branch)).status == 200
    return peer


def answer(peer):
    """Take a request, and answer it with 299."""
    message = peer.take()
    assert message.method == "MESSAGE"
    lines = [f"{name}: {value}" for name, value in message.items() if name in ("Via", "From", "To", "Call-ID", "CSeq")]
    peer.tls.write("\r\n".join(["SIP/2.0 299 By Your Connection", *lines, "Content-Length: 0"]).encode() + b"\r\n\r\n")
    peer.move()


def ask(edge, authority, to=PBX, by=None, branch="ask"):
    """A request to the PBX: the status, which 299 says came by the connection `by`."""
    edge.to = to
    caller = TlsPeer(edge, authority).shake()
    caller.tls.write(request("MESSAGE", transport="TLS", branch=branch, call_id=branch))
    caller.move()
    if by is not None:
        answer(by)
    return caller.take().status


def test_requests_go_by_the_connection_of_a_peer_that_has_proven_who_it_is(authority, pairs, target):
    with play(authority, pairs, target) as edge:
        pbx = join(edge, authority, pairs["pbx"], target.port)
        assert [ask(edge, authority, by=pbx, branch=f"ask{number}") for number in range(3)] == [299] * 3
        # Each of the certificate's names leads there, and its address where no name is expected.
        assert [ask(edge, authority, to, by=pbx, branch=f"to{to}") for to in ("second.example.com", "")] == [299] * 2
        assert (edge.count("connections_opened"), edge.count("connections_reused")) == (0, 1)


@pytest.mark.parametrize("why", ["no alias", "no certificate", "another port", "another name"])
def test_the_edge_connects_itself_where_nothing_is_proven(authority, pairs, target, why):
    with play(authority, pairs, target) as edge:
        pbx = join(edge, authority, {"no certificate": None, "another name": pairs["other"]}.get(why, pairs["pbx"]),
                   target.port + (why == "another port"), alias="" if why == "no alias" else ";alias")
        assert ask(edge, authority) == 200
        pbx.move()
        assert pbx.into.pending == 0
        assert (edge.count("connections_opened"), edge.count("connections_reused")) == (1, 0)


def test_who_may_begin_nothing_stands_for_nobody(authority, pairs, target):
    # Certificates are good and prove no group: the access list knows 127.0.0.9 alone.
    with play(authority, pairs, target, listed="127.0.0.9/32") as edge:
        pbx = TlsPeer(edge, authority, pair=pairs["pbx"]).shake()
        pbx.tls.write(request(transport="TLS", branch="join;alias", port=target.port))
        pbx.move()
        edge.until(lambda: edge.count("unlisted_dropped") == 1)
        edge.to = PBX
        caller = TlsPeer(edge, authority, source="127.0.0.9").shake()
        assert caller.ask(request("MESSAGE", transport="TLS", branch="ask", call_id="ask")).status == 200
        assert edge.count("connections_reused") == 0


class Asking(TlsTarget):
    """Asks the edge by the connection that it is asked by, as soon as it may."""

    def __init__(self, pair):
        self.asked, self.may = threading.Event(), threading.Event()
        super().__init__(pair)

    def talk(self, tls):
        self.heard = [Message(tls.recv(65536))]
        self.asked.set()
        self.may.wait(60)
        tls.sendall(request(transport="TLS", branch="back", call_id="back", port=self.port))
        answer = tls.recv(65536)
        if answer:
            self.heard.append(Message(answer))


def test_a_target_asks_by_the_connection_that_the_edge_opened(authority, pairs):
    """The edge's Via says so (RFC 5923 7.1), and its access list knows the address."""
    with contextlib.closing(Asking(pairs["pbx"])) as target, play(authority, pairs, target) as edge:
        edge.to = PBX
        caller = TlsPeer(edge, authority).shake()
        caller.tls.write(request("MESSAGE", transport="TLS", branch="ask", call_id="ask"))
        caller.move()
        edge.until(target.asked.is_set)
        edge.to = None
        target.may.set()
        edge.until(lambda: len(target.heard) == 2)
        assert f"SIP/2.0/TLS 127.0.0.1:{edge.address[1]};alias;branch=" in target.heard[0].headers("Via")[0]
        assert (target.heard[1].status, target.heard[1].call_id) == (200, "back")


@contextlib.contextmanager
def asked(authority, pairs, before, after):
    """An edge of whom a server, not on the access list, asks by the connection that it has opened under other settings
    (authorities, groups) than hold now."""
    def settings(ca, groups):
        return {"tls": contexts(authority, pairs["edge"], ca=ca), "groups": groups}

    with contextlib.closing(Asking(pairs["pbx"])) as target, play(
            authority, pairs, target, client="none", listed="127.0.0.9/32") as edge:
        edge.streams.configure(**settings(*before))
        edge.to = PBX
        caller = TlsPeer(edge, authority, source="127.0.0.9").shake()
        caller.tls.write(request("MESSAGE", transport="TLS", branch="ask", call_id="ask"))
        caller.move()
        edge.until(target.asked.is_set)
        edge.to = None
        edge.streams.configure(**settings(*after))
        target.may.set()
        edge.until(lambda: edge.count("unlisted_dropped") + edge.count("answered"))
        assert edge.count("unlisted_dropped") + edge.count("answered") == 1
        yield edge


@pytest.mark.parametrize(("groups", "answered"), [
    ({PBX: 0}, True),
    ({}, False),
    # The certificate has this name, too; but nobody had to prove it.
    ({"second.example.com": 0}, False),
])
def test_what_a_target_had_to_prove_decides_its_group(authority, pairs, groups, answered):
    """Its address is not listed; who it is, is proven as well as by a client certificate."""
    with asked(authority, pairs, (None, groups), (None, groups)) as edge:
        assert edge.count("answered") == answered


@pytest.mark.parametrize(("before", "after", "answered"), [
    # It was checked, and the group has its name now.
    ((None, {}), (None, {PBX: 0}), True),
    ((None, {PBX: 0}), (None, {}), False),
    # Any authority of the system's could have vouched for it.
    (("", {PBX: 0}), ("", {PBX: 0}), False),
    # The one that did is named now.
    (("", {PBX: 0}), (None, {PBX: 0}), True),
    # The operator trusts them now.
    ((None, {PBX: 0}), ("", {PBX: 0}), False),
    # An authority beside it, and in its place.
    ((None, {PBX: 0}), ("both", {PBX: 0}), True),
    (("both", {PBX: 0}), ("other", {PBX: 0}), False),
])
def test_another_configuration_makes_no_proof_of_what_was_none(authority, pairs, others, monkeypatch, before, after,
                                                               answered):
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.certificate))
    with asked(authority, pairs, *((others.get(ca, ca), groups) for ca, groups in (before, after))) as edge:
        assert edge.count("answered") == answered


@pytest.mark.parametrize("ca", ["both", "other"])
def test_who_stands_for_a_target_does_so_as_long_as_its_authority_is_named(authority, pairs, target, others, ca):
    with play(authority, pairs, target) as edge:
        pbx = join(edge, authority, pairs["pbx"], target.port)
        assert ask(edge, authority, by=pbx) == 299
        edge.streams.configure(tls=contexts(authority, pairs["edge"], client="optional", ca=others[ca]))
        if ca == "both":
            assert ask(edge, authority, by=pbx, branch="after") == 299
            return
        # The edge connects itself, and is shown a certificate that it does not trust any more.
        assert ask(edge, authority, branch="after") == 503
        assert "certificate refused" in edge.lines[-1][2]["reason"]
        # What is under way goes on, and no new claim is taken.
        edge.to = None
        assert pbx.ask(request(transport="TLS", branch="more;alias", port=target.port, call_id="more")).status == 200
        assert ask(edge, authority, branch="later") == 503
        assert edge.count("connections_reused") == 1


@pytest.mark.parametrize("ca", ["both", "other", ""])
def test_a_connection_to_a_target_serves_as_long_as_its_authority_is_named(authority, pairs, target, others, ca):
    """Another one takes its place, and it is no longer kept alive."""
    with play(authority, pairs, target) as edge:
        assert ask(edge, authority) == 200
        settings = {"tls": contexts(authority, pairs["edge"], ca=others.get(ca, ca))}
        edge.streams.configure(**settings)
        assert ask(edge, authority, branch="after") == (200 if ca == "both" else 503)
        assert edge.count("connections_opened") == (1 if ca == "both" else 2)
        edge.streams.configure(**settings, keepalive=10, idle=300)
        edge.endpoint.wake()
        if ca == "both":
            edge.until(lambda: edge.count("stream_pings") > 1)
        else:
            edge.until(lambda: edge.count("connections") == 0)
            assert edge.count("stream_pings") == 0


def test_over_tcp_alias_means_nothing():
    """Anybody could claim any port of a machine that he shares with others."""
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as server:
        port = server.getsockname()[1]
        verdicts = [LOCAL, Verdict(targets=(Target("127.0.0.1", port, 0, transport="tcp"),))]
        with running_tcp(lambda edge: verdicts[0]) as edge:
            thief, caller = edge.connect(), edge.connect()
            thief.send(request(branch="join;alias", port=port))
            assert b"200 OK" in thief.take()[0]
            verdicts.pop(0)
            caller.send(request("MESSAGE", branch="ask", call_id="ask"))
            edge.until(lambda: edge.count("connections_opened") == 1)
            taken, _ = server.accept()
            with taken:
                edge.turn()
                assert taken.recv(65536).startswith(b"MESSAGE ")
            assert not thief.read()
            assert edge.count("connections_reused") == 0


@pytest.mark.parametrize("how", ["closed", "last word"])
def test_when_it_has_ended_the_edge_connects_itself(authority, pairs, target, how):
    with play(authority, pairs, target) as edge:
        pbx = join(edge, authority, pairs["pbx"], target.port)
        assert ask(edge, authority, by=pbx) == 299
        before = edge.count("connections")
        if how == "closed":
            pbx.peer.close()
        else:
            pbx.peer.sock.shutdown(socket.SHUT_WR)
        edge.until(lambda: edge.count("connections") < before)
        assert ask(edge, authority, branch="after") == 200


def test_a_newer_connection_of_the_same_peer_counts_and_of_another_does_not(authority, pairs, target):
    with play(authority, pairs, target) as edge:
        first = join(edge, authority, pairs["pbx"], target.port, "first")
        assert ask(edge, authority, by=first, branch="one") == 299
        join(edge, authority, pairs["other"], target.port, "thief")
        assert ask(edge, authority, by=first, branch="two") == 299
        second = join(edge, authority, pairs["pbx"], target.port, "second")
        assert ask(edge, authority, by=second, branch="three") == 299
        first.peer.close()
        edge.turn()
        assert ask(edge, authority, by=second, branch="four") == 299
        assert edge.count("connections_opened") == 0


def test_a_claim_for_somebody_else_does_not_keep_him_from_being_reached(authority, pairs, target):
    with play(authority, pairs, target) as edge:
        thief = join(edge, authority, pairs["other"], target.port, "thief")
        join(edge, authority, pairs["pbx"], target.port, "late")
        # The place is taken by who cannot use it: the edge connects itself.
        assert ask(edge, authority) == 200
        thief.move()
        assert thief.into.pending == 0


def test_a_connection_says_once_where_it_leads(authority, pairs, target):
    with play(authority, pairs, target) as edge:
        pbx = join(edge, authority, pairs["pbx"], target.port + 1)
        assert pbx.ask(request(transport="TLS", branch="more;alias", port=target.port, call_id="more")).status == 200
        assert ask(edge, authority) == 200
        assert edge.count("connections_reused") == 0
