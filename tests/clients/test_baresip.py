"""Real phones through a real edge, judged by the tone that each one hears: from end to end, and by way of the edge."""
import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clients.phone import Phone
from tests.edge import EdgeProcess, StartEdge

CONFIGURATION = """
[[listener]]
name = "edge"
bind = "udp:{net}.1:5060"

[[group]]
name = "phones"
addresses = ["127.0.0.1"]

[[refer]]
groups = ["phones"]
users = ["carol"]
"""
ROUTE = """
[[upstream]]
name = "{user}"
targets = [{{ address = "{host}:{port}" }}]

[[route]]
users = ["{user}"]
to = "{user}"
media = "{media}"
"""
MEDIA = """
[[media]]
name = "audio"
bind = "{net}.1"
ports = "20000-20099"

[relay]
quarantine_seconds = 0

[log]
level = "debug"
"""
ELSEWHERE = "203.0.113.9"
TONES = {"alice": 440, "bob": 700, "carol": 1000}


class Call:
    """Three phones and the edge between them."""

    def __init__(self, edge: EdgeProcess, address: str, phones: dict[str, Phone]):
        self.edge, self.address, self.phones = edge, address, phones
        self.anchored = False

    def each_hears_the_other(self, one: str, other: str) -> None:
        for listener, talker in ((one, other), (other, one)):
            others = tuple(tone for name, tone in TONES.items() if name != talker)
            self.phones[listener].hears(TONES[talker], others)

    def audio_of(self, line: dict) -> None:
        """Audio went by way of the edge, in both directions, or there was none of it there."""
        if not self.anchored:
            assert "media" not in line
            return
        for side in ("caller", "callee"):
            figures = line["media"][side]
            # What makes a second of a recording, which counts from its half.
            assert figures["packets"] >= 25
            assert "wrong_source" not in figures


@contextlib.contextmanager
def edge_between(clients: Path, network: str, start_edge: StartEdge, folder: Path, media: str,
                 **more: str) -> Iterator[Call]:
    """The phones and their edge. media: of the routes; more: lines of a phone's configuration."""
    phones: dict[str, Phone] = {}
    text = CONFIGURATION.format(net=network) + (MEDIA.format(net=network) if media == "anchor" else "")
    try:
        for user, tone in TONES.items():
            phones[user] = Phone(clients, folder / user, user, tone, more.get(user, ""))
            host, port = phones[user].address
            text += ROUTE.format(user=user, host=host, port=port, media=media)
        yield Call(start_edge(text), f"{network}.1:5060", phones)
    finally:
        for phone in phones.values():
            phone.close()


@pytest.fixture(params=["pass", "anchor"])
def three(request: pytest.FixtureRequest, clients: Path, network: str, start_edge: StartEdge,
          tmp_path: Path) -> Iterator[Call]:
    with edge_between(clients, network, start_edge, tmp_path, request.param) as call:
        call.anchored = request.param == "anchor"
        yield call


def test_a_call_in_which_each_hears_the_other(three):
    alice, bob = three.phones["alice"], three.phones["bob"]
    alice.do("dial", f"sip:bob@{three.address}")
    alice.expect("CALL_ESTABLISHED")
    bob.expect("CALL_ESTABLISHED")
    three.each_hears_the_other("alice", "bob")
    alice.do("hangup")
    bob.expect("CALL_CLOSED")
    line = three.edge.wait_call_line(event="call", to="bob")
    assert (line["status"], line["ended"]) == (200, "caller")
    assert line["talk_ms"] >= 400
    three.audio_of(line)


def test_a_blind_transfer(three):
    """Bob sends Alice on to Carol: Alice's phone follows the REFER, and hears Carol instead of Bob."""
    alice, bob, carol = (three.phones[name] for name in TONES)
    alice.do("dial", f"sip:bob@{three.address}")
    alice.expect("CALL_ESTABLISHED")
    three.each_hears_the_other("alice", "bob")
    bob.do("transfer", f"sip:carol@{three.address}")
    carol.expect("CALL_ESTABLISHED")
    bob.expect("CALL_CLOSED")
    three.each_hears_the_other("alice", "carol")
    found = three.edge.wait_stats(lambda stats: stats["refers_completed"], "the transfer is complete")
    assert (found["refers"], found["refers_accepted"]) == (1, 1)
    assert three.edge.wait_call_line(event="transfer")["outcome"] == "completed"
    three.audio_of(three.edge.wait_call_line(event="call", to="bob"))
    carol.do("hangup")
    alice.expect("CALL_CLOSED", 2)
    three.audio_of(three.edge.wait_call_line(event="call", to="carol"))
    three.edge.wait_stats(lambda stats: not stats.get("media_ports_used"), "every port is back")


@pytest.fixture
def anchored(request: pytest.FixtureRequest, clients: Path, network: str, start_edge: StartEdge,
             tmp_path: Path) -> Iterator[Call]:
    """Parameter: lines of Alice's configuration."""
    more = getattr(request, "param", "")
    with edge_between(clients, network, start_edge, tmp_path, "anchor", alice=more) as call:
        call.anchored = True
        yield call


def test_hold_and_resume(anchored):
    """Alice holds Bob and resumes: all that each sends then reaches the other again.

    That is judged by the edge's counters: baresip's recording of what it hears ends with the first hold.
    """
    alice, bob = anchored.phones["alice"], anchored.phones["bob"]
    alice.do("dial", f"sip:bob@{anchored.address}")
    alice.expect("CALL_ESTABLISHED")
    anchored.each_hears_the_other("alice", "bob")
    alice.do("hold")
    anchored.edge.wait_stats(lambda stats: stats["media_answers"] == 2, "the hold is answered")
    alice.do("resume")
    before = anchored.edge.wait_stats(lambda stats: stats["media_answers"] == 3, "the resume is answered")
    anchored.edge.wait_stats(lambda stats: stats["rtp_out"] >= before["rtp_out"] + 100, "a second both ways")
    alice.do("hangup")
    bob.expect("CALL_CLOSED")
    line = anchored.edge.wait_call_line(event="call", to="bob")
    anchored.audio_of(line)
    # Neither side alone made that second.
    assert abs(line["media"]["caller"]["packets"] - line["media"]["callee"]["packets"]) < 50


@pytest.mark.parametrize("anchored", [f"net_interface {ELSEWHERE}\n"], indirect=True)
def test_a_phone_that_signals_a_wrong_address(anchored):
    """Alice's description names an address that is not hers, as behind NAT: she is heard, and hears."""
    alice, bob = anchored.phones["alice"], anchored.phones["bob"]
    alice.do("dial", f"sip:bob@{anchored.address}")
    alice.expect("CALL_ESTABLISHED")
    anchored.each_hears_the_other("alice", "bob")
    alice.do("hangup")
    bob.expect("CALL_CLOSED")
    anchored.audio_of(anchored.edge.wait_call_line(event="call", to="bob"))
    sources = {line["side"]: line["as"] for line in anchored.edge.log_lines if line["event"] == "audio source"}
    assert sources["caller"] == "where its SIP came from"
