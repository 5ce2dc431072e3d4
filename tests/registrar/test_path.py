"""Real phones that register at a real registrar through the edge: calls for them come back along their Path."""
import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.certificates import TLS, Authority
from tests.clients.phone import Phone
from tests.clients.test_baresip import TONES
from tests.edge import UDP_AND_TCP, EdgeProcess, StartEdge
from tests.registrar.kamailio import Kamailio
from tests.scenarios.sipp import Sipp

CONFIGURATION = UDP_AND_TCP + """
[[group]]
name = "phones"
addresses = ["127.0.0.1"]
methods = ["REGISTER", "INVITE"]

[[group]]
name = "pbx"
addresses = ["{net}.3"]

[[upstream]]
name = "pbx"
targets = [{{ address = "{net}.3" }}]

[[route]]
groups = ["phones"]
methods = ["REGISTER", "INVITE"]
to = "pbx"
nat = true

[[route]]
groups = ["pbx"]
to = "request-uri"
""" + TLS
WAYS = {"udp": "5060", "tcp": "5060;transport=tcp", "tls": "5061;transport=tls"}


@pytest.fixture
def kamailio(network: str, authority: Authority, tmp_path: Path) -> Iterator[Kamailio]:
    with Kamailio(f"{network}.3", tmp_path / "kamailio", authority) as running:
        yield running


@pytest.fixture
def edge(network: str, authority: Authority, start_edge: StartEdge) -> EdgeProcess:
    certificate, key = authority.give("edge", f"IP:{network}.1", f"DNS:{network}.1")
    return start_edge(CONFIGURATION.format(net=network, certificate=certificate, key=key, ca=authority.certificate))


def phone(clients: Path, folder: Path, network: str, user: str, transport: str) -> Phone:
    """A phone that knows the edge as its outbound proxy, and the registrar by a name that nobody looks up."""
    account = (f"<sip:{user}@trunk.example>;auth_user={user};auth_pass=secret;answermode=auto;regint=600;"
               f'outbound="sip:{network}.1:{WAYS[transport]}"')
    return Phone(clients, folder / user, user, TONES[user], account=account)


@pytest.mark.parametrize("transport", WAYS)
def test_a_call_at_the_registrar_reaches_the_phone(network, edge, kamailio, clients, tmp_path, transport):
    with contextlib.closing(phone(clients, tmp_path, network, "alice", transport)) as alice:
        kept, = kamailio.wait_kept(1)
        assert kept.startswith("alice udp ")
        assert "<sip:alice-" in kept
        assert "expires=600" in kept
        caller = Sipp("basic/caller", (f"{network}.2", 5080), tmp_path, remote=(f"{network}.3", 5060), user="alice")
        caller.finish()
        alice.expect("CALL_CLOSED")
        line = edge.wait_call_line(event="call", group="pbx")
        assert (line["status"], line["ended"]) == (200, "caller")
        assert line["callee"].startswith("127.0.0.1:")
        if transport != "udp":
            # Along the connection that the phone has opened; to the port where it listens nobody has connected.
            found = edge.wait_stats(lambda stats: stats["stream_messages_out"] >= 5, "401, 200, INVITE, ACK and BYE")
            assert found["connections_opened"] == 0


def test_two_phones_of_one_registrar_hear_each_other(network, edge, kamailio, clients, tmp_path):
    """The call passes the edge twice: to the registrar, and from there to the phone."""
    with contextlib.closing(phone(clients, tmp_path, network, "alice", "tls")) as alice, \
            contextlib.closing(phone(clients, tmp_path, network, "bob", "udp")) as bob:
        kamailio.wait_kept(2)
        alice.do("dial", "sip:bob@trunk.example")
        alice.expect("CALL_ESTABLISHED")
        bob.expect("CALL_ESTABLISHED")
        alice.hears(TONES["bob"], (TONES["alice"],))
        bob.hears(TONES["alice"], (TONES["bob"],))
        bob.do("hangup")
        alice.expect("CALL_CLOSED")
        found = {(line["group"], line["ended"]) for line in (
            edge.wait_call_line(event="call", group="phones"), edge.wait_call_line(event="call", group="pbx"))}
        assert found == {("phones", "callee"), ("pbx", "callee")}
        assert edge.stats()["loops"] == 0
