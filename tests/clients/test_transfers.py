"""Transfers that the edge runs between real phones, judged by what each one hears before, during and after.

Alice calls, Bob is the agent, Carol the human who takes over. Each has a tone of its own, and the whisper another one.
"""
import array
import contextlib
import math
import re
import signal
import subprocess
import sys
import wave
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.api import Api
from tests.clients.phone import Phone
from tests.edge import ROOT, START_SECONDS, EdgeProcess, StartEdge, wait_until
from tests.runtime.test_keeping import datagrams

CONFIGURATION = """
[[listener]]
name = "edge"
bind = "udp:{net}.1:5060"

[[media]]
name = "audio"
bind = "{net}.1"
ports = "20000-20099"

[relay]
quarantine_seconds = 0

[api]
bind = "{net}.1:8080"

[[group]]
name = "phones"
addresses = ["127.0.0.1"]

[[upstream]]
name = "bob"
targets = [{{ address = "127.0.0.1:{bob}" }}]

[[route]]
users = ["bob"]
to = "bob"
control = true
media = "anchor"

[[transfer]]
name = "hand-over"
mode = "{mode}"
on_failure = "return"
ring_timeout = 10
{more}

[[refer]]
groups = ["phones"]
users = ["carol"]
action = "run"
transfer = "hand-over"
"""
TONES = {"alice": 440, "bob": 700, "carol": 1000, "whisper": 1300}
WHISPER_SECONDS = 10


class Handover:
    """Alice and Bob talk; Carol is there."""

    def __init__(self, edge: EdgeProcess, net: str, phones: dict[str, Phone]):
        self.edge, self.phones, self.api = edge, phones, Api(net)
        wait_until(self.api.is_ready, "the API answers", START_SECONDS)
        alice, bob = phones["alice"], phones["bob"]
        alice.do("dial", f"sip:bob@{net}.1:5060")
        alice.expect("CALL_ESTABLISHED")
        bob.expect("CALL_ESTABLISHED")
        self.hear(alice="bob", bob="alice")

    def hear(self, **heard: str) -> None:
        """Each of these hears that tone and no other one, all of them at the same time."""
        def judge(listener: str, talker: str) -> None:
            self.phones[listener].hears(TONES[talker], tuple(tone for name, tone in TONES.items() if name != talker))

        with ThreadPoolExecutor(len(heard)) as pool:
            list(pool.map(judge, heard.keys(), heard.values()))

    @property
    def target(self) -> str:
        host, port = self.phones["carol"].address
        return f"sip:carol@{host}:{port}"

    def refer(self) -> None:
        """Bob's phone sends REFER."""
        self.phones["bob"].do("transfer", self.target)

    def start(self) -> None:
        """Bob's program asks the API."""
        call, = self.api.get("/v1/calls")["calls"]
        self.api.post(f"/v1/calls/{call['id']}/transfer", {"action": "hand-over", "target": self.target})

    @property
    def call_id(self) -> str:
        """Of the caller's leg."""
        call, = self.api.get("/v1/calls")["calls"]
        return str(next(leg["sip_call_id"] for leg in call["legs"] if leg["role"] == "caller"))

    @contextlib.contextmanager
    def kept(self, command: str, file: Path, *more: str) -> Iterator[subprocess.Popen[str]]:
        """`sipedge capture`, or `record`, of the call; killed where the test does not see its end."""
        with subprocess.Popen(
                [sys.executable, "-m", "proxy", command, "-c", str(self.edge.file), "--call-id", self.call_id,
                 "--output", str(file), *more], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                text=True) as process:
            try:
                yield process
            finally:
                process.kill()

    def passed_on(self, file: Path, talker: str, listener: str) -> tuple[list[bytes], list[bytes]]:
        """Of a capture, the audio that came in from one phone, and what went out to another."""
        def ports(user: str) -> range:
            # A phone's audio comes to one of the even ports behind its port of SIP.
            base = self.phones[user].address[1]
            return range(base + 4, base + 10, 2)

        found = datagrams(file)
        return ([packet for (_, port), _, packet in found if port in ports(talker)],
                [packet for _, (_, port), packet in found if port in ports(listener)])

    def outcome(self) -> dict:
        """The record of the transfer."""
        wait_until(lambda: self.api.get("/v1/records/transfers")["records"], "the transfer is recorded")
        found: dict = self.api.get("/v1/records/transfers")["records"][0]
        return found


@contextlib.contextmanager
def handover(clients: Path, net: str, start_edge: StartEdge, folder: Path, mode: str, more: str = "",
             answers: bool = True, srtp: str = "") -> Iterator[Handover]:
    """answers: whether Carol does. srtp: her phone's `mediaenc`. CAROL in more: her port."""
    phones: dict[str, Phone] = {}
    try:
        for name in ("alice", "bob", "carol"):
            phones[name] = Phone(clients, folder / name, name, TONES[name], answers=answers or name != "carol",
                                 srtp=srtp if name == "carol" else "")
        edge = start_edge(CONFIGURATION.format(net=net, bob=phones["bob"].address[1], mode=mode,
                                               more=more.replace("CAROL", str(phones["carol"].address[1]))))
        yield Handover(edge, net, phones)
        phones["alice"].do("hangup")
        edge.wait_stats(lambda stats: not stats.get("media_ports_used"), "every port is back")
    finally:
        for phone in phones.values():
            phone.close()


def write_tone(path: Path, tone: int, seconds: int) -> None:
    with wave.open(str(path), "wb") as sound:
        sound.setparams((1, 2, 8000, 0, "NONE", ""))
        sound.writeframes(array.array("h", (int(9000 * math.sin(2 * math.pi * tone * number / 8000))
                                            for number in range(8000 * seconds))).tobytes())


def test_a_warm_transfer_with_a_whisper(clients, network, start_edge, tmp_path):
    """Carol alone hears the whisper while Alice and Bob go on; then Alice and Carol talk, and Bob is gone."""
    write_tone(tmp_path / "whisper.wav", TONES["whisper"], WHISPER_SECONDS)
    whisper = f'whisper = {{ file = "{tmp_path}/whisper.wav" }}'
    with handover(clients, network, start_edge, tmp_path, "warm", whisper) as call:
        alice, bob, carol = (call.phones[name] for name in ("alice", "bob", "carol"))
        call.refer()
        carol.expect("CALL_ESTABLISHED")
        call.hear(alice="bob", bob="alice", carol="whisper")
        assert not [event for event in bob.events if event.get("type") == "CALL_CLOSED"]
        bob.expect("CALL_CLOSED")
        call.hear(alice="carol", carol="alice")
        assert call.outcome()["state"] == "completed"
        assert not [event for event in alice.events if event.get("type") in ("CALL_CLOSED", "CALL_INCOMING")]
        alice.do("hangup")
        carol.expect("CALL_CLOSED")


def pitch(samples: NDArray[np.int16], rate: int) -> int:
    """Hz of the strongest tone."""
    strength = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    return round(int(strength[1:].argmax() + 1) * rate / len(samples))


def keys_in(capture: Path) -> list[bytes]:
    return re.findall(rb"a=crypto:\d+ \S+ inline:([^|\s]+)", capture.read_bytes())


def test_a_warm_transfer_to_a_human_who_requires_srtp(clients, network, start_edge, tmp_path):
    """Alice's phone is a plain one. What is recorded is in the clear, and no key is in what is captured."""
    peer = '[[upstream]]\nname = "carol"\ntargets = [{ address = "127.0.0.1:CAROL" }]\nsrtp = "require"'
    with handover(clients, network, start_edge, tmp_path, "warm", peer, srtp="srtp-mand") as call:
        with call.kept("capture", tmp_path / "call.pcap") as capture:
            call.edge.wait_log_line(event="capturing", call_id=call.call_id)
            call.refer()
            call.phones["carol"].expect("CALL_ESTABLISHED")
            call.phones["bob"].expect("CALL_CLOSED")
            call.hear(alice="carol", carol="alice")
            with call.kept("record", tmp_path / "call.wav", "--seconds", "4") as record:
                out, _ = record.communicate(timeout=120)
            assert record.returncode == 0, out
            # The edge's INVITE to Carol, and her answer; then her phone says its key once more, and is answered.
            wait_until(lambda: len(keys_in(tmp_path / "call.pcap")) >= 2, "offer and answer are in the capture")
            call.phones["carol"].do("hold")
            wait_until(lambda: len(keys_in(tmp_path / "call.pcap")) >= 4, "and the ones of her hold")
            call.phones["alice"].do("hangup")
            out, _ = capture.communicate(timeout=120)
        assert capture.returncode == 0, out
        assert call.outcome()["state"] == "completed"
        with wave.open(str(tmp_path / "call.wav")) as sound:
            rate = sound.getframerate()
            both = np.frombuffer(sound.readframes(sound.getnframes()), np.int16).reshape(-1, 2)[rate:2 * rate]
        assert [pitch(both[:, side], rate) for side in (0, 1)] == [TONES["alice"], TONES["carol"]]
        assert set(b"".join(keys_in(tmp_path / "call.pcap"))) == {ord("A")}


def test_a_blind_transfer(clients, network, start_edge, tmp_path):
    """Alice's phone is told to call Carol, and does: both old legs end, and the audio is theirs alone."""
    with handover(clients, network, start_edge, tmp_path, "blind") as call:
        call.refer()
        call.phones["carol"].expect("CALL_ESTABLISHED")
        call.phones["bob"].expect("CALL_CLOSED")
        call.hear(alice="carol", carol="alice")
        assert call.outcome()["state"] == "completed"
        call.edge.wait_stats(lambda stats: not stats["media_ports_used"], "the edge is out of the call")


@pytest.mark.parametrize("mode", ["warm", "blind"])
def test_a_human_who_does_not_take_the_call(clients, network, start_edge, tmp_path, mode):
    """Carol declines: between Alice and Bob not a word was lost.

    The API starts it: this phone hangs up by itself when a transfer of its own has failed. What counts is that the edge
    sends on each packet that comes; when one comes is the phones' business, and the machine's.
    """
    with handover(clients, network, start_edge, tmp_path, mode, answers=False) as call:
        carol = call.phones["carol"]
        with call.kept("capture", tmp_path / "call.pcap") as capture:
            call.edge.wait_log_line(event="capturing", call_id=call.call_id)
            call.hear(alice="bob", bob="alice")
            call.start()
            carol.expect("CALL_INCOMING")
            carol.do("hangup")
            found = call.outcome()
            assert (found["state"], found["status"], found["fell_back"]) == ("failed", 486, "return")
            call.hear(alice="bob", bob="alice")
            capture.send_signal(signal.SIGINT)
            out, _ = capture.communicate(timeout=120)
        assert capture.returncode == 0, out
        for talker, listener in (("alice", "bob"), ("bob", "alice")):
            came, went = call.passed_on(tmp_path / "call.pcap", talker, listener)
            assert len(came) > 50
            assert went == came
