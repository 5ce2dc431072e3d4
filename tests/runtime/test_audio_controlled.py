"""The audio of controlled calls beside that of proxied ones, on the relay of one worker."""
import select
import time
from pathlib import Path

import pytest

from proxy.audio import Audio
from proxy.load import check
from tests.anchor.bench import sdp
from tests.anchor.bridges import Told
from tests.media.stage import HOST, PATIENCE, Phone, rtp

CONFIGURATION = f"""
[[listener]]
name = "local"
bind = "udp:127.0.0.1:5060"

[[media]]
name = "local"
bind = "{HOST}"
ports = "20000-20099"

[[group]]
name = "phones"
addresses = ["127.0.0.0/8"]

[[upstream]]
name = "pbx"
targets = [{{ address = "127.0.0.9:5060" }}]

[[route]]
to = "pbx"
media = "anchor"
"""


def test_what_the_relay_says_of_a_controlled_call_goes_to_its_owner(tmp_path: Path) -> None:
    audio = Audio(check(CONFIGURATION, tmp_path / "edge.toml"))
    phones = [Phone("127.0.0.2"), Phone("127.0.0.3")]
    told = Told()
    try:
        media = audio.bridges.open(1, told)
        media.offer_from(0, sdp(*phones[0].address), ("127.0.0.2", 5060), 0)
        media.offer_to(1, 0, 0)
        media.connect(0, 1)
        media.answer_from(1, sdp(*phones[1].address), ("127.0.0.3", 5060))
        port = int(media.answer_to(0, 1).split(b"m=audio ")[1].split()[0])
        phones[0].send(rtp(1, payload_type=0), (HOST, port))
        assert phones[1].receive() == rtp(1, payload_type=0)
        assert audio.statistics()["bridge_calls_up"] == 1
        deadline = time.monotonic() + PATIENCE
        while not told.events and time.monotonic() < deadline:
            select.select([audio.relay.fileno()], [], [], 0.1)
            assert list(audio.take_events()) == []
        assert told.events == [("source", 0, phones[0].address, 3)]
        assert audio.bridges.find(0) is media
        assert audio.anchor.owner(0) is None
        media.close()
        assert audio.statistics()["bridge_calls_up"] == 0
    finally:
        for phone in phones:
            phone.close()
        audio.stop()


@pytest.mark.parametrize(("why", "said"), [
    ("", "relay.offload: cannot put it at lo: Invalid argument; the relay passes all audio on by itself"),
    ("the supervisor says it", "")])
def test_audio_without_the_program_at_the_interfaces_says_so(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch, why: str, said: str) -> None:
    def refused(addresses: list[str], pairs: int) -> None:
        raise OSError(22, "cannot put it at lo: Invalid argument")

    monkeypatch.setattr("proxy.audio.Program", refused)
    monkeypatch.setattr("proxy.audio.problem", lambda: why)
    audio = Audio(check(CONFIGURATION + "\n[relay]\noffload = true\n", tmp_path / "edge.toml"))
    try:
        assert audio.trouble == said
    finally:
        audio.stop()
