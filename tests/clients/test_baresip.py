"""Real phones through a real edge, judged by the tone that each one hears: media goes from end to end."""
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clients.phone import Phone
from tests.edge import EdgeProcess

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
"""
TONES = {"alice": 440, "bob": 700, "carol": 1000}
BASE = 25200


class Call:
    """Three phones and the edge between them."""

    def __init__(self, edge: EdgeProcess, address: str, phones: dict[str, Phone]):
        self.edge, self.address, self.phones = edge, address, phones

    def each_hears_the_other(self, one: str, other: str) -> None:
        for listener, talker in ((one, other), (other, one)):
            others = tuple(tone for name, tone in TONES.items() if name != talker)
            self.phones[listener].hears(TONES[talker], others)


@pytest.fixture
def three(clients: Path, network: str, start_edge, tmp_path: Path) -> Iterator[Call]:
    phones: dict[str, Phone] = {}
    text = CONFIGURATION.format(net=network)
    try:
        for number, (user, tone) in enumerate(TONES.items()):
            phones[user] = Phone(clients, tmp_path / user, user, tone, BASE + 10 * number)
            host, port = phones[user].address
            text += ROUTE.format(user=user, host=host, port=port)
        yield Call(start_edge(text), f"{network}.1:5060", phones)
    finally:
        for phone in phones.values():
            phone.close()


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
    carol.do("hangup")
    alice.expect("CALL_CLOSED", 2)
