"""Real phones through a real edge, judged by the tone that each one hears: from end to end, and by way of the edge."""
import contextlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from sipcore.media import offload_program
from sipcore.media.recording import STATIC
from tests.clients.phone import Phone
from tests.edge import EdgeProcess, StartEdge, wait_until
from tests.media.tones import decode, share
from tests.runtime.test_keeping import datagrams

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
{peer}

[[route]]
users = ["{user}"]
to = "{user}"
media = "{media}"
{rules}
"""
MEDIA = """
[[media]]
name = "audio"
bind = "{net}.1"
ports = "20000-20099"

[relay]
quarantine_seconds = 0
offload = {offload}

[log]
level = "debug"
"""
ELSEWHERE = "203.0.113.9"
TONES = {"alice": 440, "bob": 700, "carol": 1000}


class Call:
    """Three phones and the edge between them."""

    def __init__(self, edge: EdgeProcess, address: str, phones: dict[str, Phone]):
        self.edge, self.address, self.phones = edge, address, phones
        self.media = "pass"

    def each_hears_the_other(self, one: str, other: str) -> None:
        for listener, talker in ((one, other), (other, one)):
            others = tuple(tone for name, tone in TONES.items() if name != talker)
            self.phones[listener].hears(TONES[talker], others)

    def audio_of(self, line: dict) -> None:
        """Audio went by way of the edge, in both directions, or there was none of it there."""
        if self.media == "pass":
            assert "media" not in line
            return
        if self.media == "kernel":
            assert self.edge.wait_stats(lambda stats: stats["media_offloads"] >= 2, "the kernel has had both ways")
        for side in ("caller", "callee"):
            figures = line["media"][side]
            # What makes a second of a recording, which counts from its half.
            assert figures["packets"] >= 25
            assert "wrong_source" not in figures


@contextlib.contextmanager
def edge_between(clients: Path, network: str, start_edge: StartEdge, folder: Path, media: str,
                 rules: str = "", peer: str = "", srtp: dict[str, str] | None = None, **more: str) -> Iterator[Call]:
    """The phones and their edge. media: of the routes, or "kernel": anchored, and passed on there; rules: of the
    routes; peer: lines of the upstreams; srtp: of phones that have it; more: lines of a phone's configuration."""
    phones: dict[str, Phone] = {}
    text = CONFIGURATION.format(net=network)
    if media != "pass":
        text += MEDIA.format(net=network, offload="true" if media == "kernel" else "false")
    try:
        for user, tone in TONES.items():
            phones[user] = Phone(clients, folder / user, user, tone, more.get(user, ""),
                                 srtp=(srtp or {}).get(user, ""))
            host, port = phones[user].address
            text += ROUTE.format(user=user, host=host, port=port, media="pass" if media == "pass" else "anchor",
                                 rules=rules, peer=peer)
        call = Call(start_edge(text), f"{network}.1:5060", phones)
        call.media = media
        yield call
    finally:
        for phone in phones.values():
            phone.close()


@pytest.fixture(params=["pass", "anchor", pytest.param("kernel", marks=pytest.mark.skipif(
    bool(offload_program.problem()), reason=offload_program.problem() or "-"))])
def three(request: pytest.FixtureRequest, clients: Path, network: str, start_edge: StartEdge,
          tmp_path: Path) -> Iterator[Call]:
    with edge_between(clients, network, start_edge, tmp_path, request.param) as call:
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
        yield call


def sent_to_each(call: Call, file: Path) -> dict[str, NDArray[np.float64]]:
    """A second of the sound that leaves the edge towards Alice and Bob, or more, as `sipedge capture` has it."""
    call_id = next(line["call_id"] for line in call.edge.log_lines if line.get("event") == "audio source")
    heard: dict[str, list[NDArray[np.float64]]] = {"alice": [], "bob": []}

    def enough() -> bool:
        subprocess.run([sys.executable, "-m", "proxy", "capture", "-c", call.edge.file, "--call-id", call_id,
                        "--output", file, "--seconds", "1.5"], check=True, capture_output=True, timeout=120)
        for (host, _), (_, port), packet in datagrams(file):
            for user, packets in heard.items():
                # A phone's audio comes to one of the even ports behind its port of SIP.
                base = call.phones[user].address[1]
                if f"{host}:5060" == call.address and port in range(base + 4, base + 10, 2):
                    packets.append(decode(STATIC[packet[1] & 0x7F], packet[12:]))
        return all(len(packets) >= 50 for packets in heard.values())

    wait_until(enough, "audio for both")
    return {user: np.concatenate(packets) for user, packets in heard.items()}


def shares(samples: NDArray[np.float64]) -> dict[str, float]:
    """Of each phone's tone, in the mean over tenths of a second: a phone that was late leaves frames out, and the sine
    jumps there."""
    tenths = samples[:len(samples) // 800 * 800].reshape(-1, 800)
    return {user: float(np.mean([share(tenth, tone) for tenth in tenths])) for user, tone in TONES.items()}


def test_hold_and_resume(anchored, tmp_path):
    """Alice holds Bob and resumes: each is sent the other's tone again, and nothing beside it.

    That is judged by the packets that leave the edge: baresip's recording of what it hears ends with the first hold.
    """
    alice, bob = anchored.phones["alice"], anchored.phones["bob"]
    alice.do("dial", f"sip:bob@{anchored.address}")
    alice.expect("CALL_ESTABLISHED")
    anchored.each_hears_the_other("alice", "bob")
    alice.do("hold")
    anchored.edge.wait_stats(lambda stats: stats["media_answers"] == 2, "the hold is answered")
    alice.do("resume")
    anchored.edge.wait_stats(lambda stats: stats["media_answers"] == 3, "the resume is answered")
    heard = sent_to_each(anchored, tmp_path / "resumed.pcap")
    for user, talker, own in (("alice", "bob", "alice"), ("bob", "alice", "bob")):
        found = shares(heard[user])
        assert found[talker] > 0.8
        assert max(found[own], found["carol"]) < 0.05
    alice.do("hangup")
    bob.expect("CALL_CLOSED")
    line = anchored.edge.wait_call_line(event="call", to="bob")
    anchored.audio_of(line)


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


@pytest.mark.parametrize(("control", "caller", "callee", "phones"), [
    (False, "offer", "never", {"alice": "srtp-mand"}),
    (True, "require", "never", {"alice": "srtp-mand"}),
    (False, "pass", "require", {"bob": "srtp-mand"}),
    (True, "require", "offer", {"alice": "srtp-mand", "bob": "srtp"}),
    # Refuses keys beside plain RTP, and takes what it is offered then.
    (True, "pass", "offer", {"bob": "srtp-mand"}),
])
def test_a_secure_phone_and_a_plain_one_hear_each_other(clients, network, start_edge, tmp_path, control, caller, callee,
                                                        phones):
    """The edge is an end of SRTP: of one phone's, or of both, with keys of its own on each side."""
    rules = f'srtp = "{caller}"\n' + ("control = true\n" if control else "")
    with edge_between(clients, network, start_edge, tmp_path, "anchor", rules=rules, peer=f'srtp = "{callee}"',
                      srtp=phones) as call:
        alice, bob = call.phones["alice"], call.phones["bob"]
        alice.do("dial", f"sip:bob@{call.address}")
        alice.expect("CALL_ESTABLISHED")
        bob.expect("CALL_ESTABLISHED")
        call.each_hears_the_other("alice", "bob")
        found = call.edge.wait_stats(lambda stats: stats["rtp_out"] >= 50, "audio")
        # baresip opens the way through a NAT with a plain packet or two, before it has keys.
        assert found["srtp_unauthentic"] <= 4
        assert found["srtp_replayed"] == 0
        alice.do("hangup")
        bob.expect("CALL_CLOSED")
        call.edge.wait_stats(lambda stats: not stats.get("media_ports_used"), "every port is back")
