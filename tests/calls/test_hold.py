"""Warm with hold audio for the caller (section 5), in RTP: who hears what before, during and after."""
import select
import socket
import time
from collections.abc import Collection

import pytest

from proxy.events import AskSpeech, CancelTransfer
from sipcore.wire.sdp import Sdp
from tests.endpoints import Received
from tests.media.stage import PATIENCE

from .stage import AGENT, CALLER, TARGET, TYPE, Stage, sdp

SOUND = bytes(range(160)) * 5
FRAMES = {SOUND[at:at + 160] for at in range(0, len(SOUND), 160)}


class Voice:
    """One end's audio: a socket, and where the edge told it to send."""

    def __init__(self, host: str, mark: int) -> None:
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.bind((host, 0))
        self.sdp = sdp(host, self.sock.getsockname()[1])
        self.speech = bytes([mark]) * 160
        self.to = ("", 0)
        self.sent = 0

    def told(self, message: Received) -> None:
        (media,) = Sdp(message.message.body).media
        self.to = media.connection, media.port

    def say(self) -> None:
        self.sent += 1
        head = b"\x80\x00" + self.sent.to_bytes(2, "big") + (160 * self.sent).to_bytes(4, "big") + self.speech[:4]
        self.sock.sendto(head + self.speech, self.to)

    def heard(self) -> list[bytes]:
        """Payloads that have arrived."""
        found = []
        while select.select([self.sock], [], [], 0)[0]:
            packet = self.sock.recv(2048)
            if packet[1] & 127 == 0:
                found.append(packet[12:])
        return found


class Talk:
    """A call of two voices that is up."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.caller, self.agent = Voice(CALLER, 0x11), Voice(AGENT, 0x22)
        self.target = Voice(TARGET, 0x33)
        invite = stage.invite(body=self.caller.sdp)
        self.agent.told(invite)
        stage.agent.answer(invite, 200, body=self.agent.sdp, headers=TYPE)
        stage.run()
        stage.agent.take("ACK")
        answered = stage.caller.take("100", "200")
        self.caller.told(answered)
        self.one = stage.caller.caller_dialog(answered)
        self.one.send("ACK")
        stage.run()

    def until(self, by: Voice, at: Voice, wanted: set[bytes], never: Collection[bytes] = ()) -> None:
        """`by` speaks until `at` has heard one of the wanted; nothing of `never` reaches it from the first of them on.
        """
        until = time.monotonic() + PATIENCE
        while True:
            by.say()
            select.select([at.sock], [], [], 0.02)
            heard = at.heard()
            if wanted & set(heard):
                first = next(i for i, one in enumerate(heard) if one in wanted)
                assert not set(never) & set(heard[first:])
                return
            assert time.monotonic() < until, "never heard"

    def close(self) -> None:
        for voice in (self.caller, self.agent, self.target):
            voice.sock.close()


@pytest.fixture
def talk():
    with Stage() as stage:
        talk = Talk(stage)
        yield talk
        talk.close()


def begin(talk, **fields):
    """The transfer with its hold sound there; the INVITE at the target."""
    stage = talk.stage
    talk.until(talk.agent, talk.caller, {talk.agent.speech})
    assert stage.start(stage.warm(hold="audio", hold_file="hold.wav", **fields)).status == 202
    asked = stage.services.answer(AskSpeech, sound=SOUND, frames=5)
    assert (asked.file, asked.codec) == ("hold.wav", "PCMU")
    stage.run()
    return stage.target.take("INVITE")


def test_the_caller_hears_it_and_nobody_hears_the_caller(talk):
    invite = begin(talk)
    talk.until(talk.agent, talk.caller, FRAMES, {talk.agent.speech})
    talk.agent.heard()
    for _ in range(10):
        talk.caller.say()
    # Twice the whole sound: it goes round, and with it the packets above have long been through the relay.
    heard: list[bytes] = []
    until = time.monotonic() + PATIENCE
    while len(heard) < 10:
        select.select([talk.caller.sock], [], [], 0.1)
        heard += talk.caller.heard()
        assert time.monotonic() < until
    assert set(heard) <= FRAMES
    assert talk.agent.heard() == []
    talk.target.told(invite)
    theirs = talk.stage.pick_up(invite, talk.target.sdp)
    talk.until(talk.target, talk.caller, {talk.target.speech}, FRAMES | {talk.agent.speech})
    talk.until(talk.caller, talk.target, {talk.caller.speech}, FRAMES)
    talk.stage.hang_up(talk.one, talk.stage.agent, talk.stage.target)
    assert theirs.call_id == invite.message.call_id


def test_after_a_failure_both_hear_each_other_again(talk):
    invite = begin(talk)
    talk.until(talk.agent, talk.caller, FRAMES, {talk.agent.speech})
    talk.stage.target.answer(invite, 486)
    talk.stage.run()
    assert talk.stage.services.transfer().fell_back == "return"
    talk.until(talk.agent, talk.caller, {talk.agent.speech}, FRAMES)
    talk.until(talk.caller, talk.agent, {talk.caller.speech})
    talk.stage.hang_up(talk.one, talk.stage.agent, talk.stage.target)


def test_after_it_was_cancelled_too(talk):
    invite = begin(talk)
    talk.until(talk.agent, talk.caller, FRAMES, {talk.agent.speech})
    stage = talk.stage
    stage.calls.obey(CancelTransfer(ask=2, transfer=stage.transfer.id))
    stage.run()
    talk.until(talk.agent, talk.caller, {talk.agent.speech}, FRAMES)
    stage.target.answer(invite, 487)
    stage.run()
    stage.hang_up(talk.one, stage.agent, stage.target)


def test_without_it_the_agent_is_heard_until_the_bridge(talk):
    stage = talk.stage
    talk.until(talk.agent, talk.caller, {talk.agent.speech})
    assert stage.start(stage.warm()).status == 202
    invite = stage.target.take("INVITE")
    talk.until(talk.agent, talk.caller, {talk.agent.speech})
    talk.until(talk.caller, talk.agent, {talk.caller.speech})
    talk.target.told(invite)
    stage.pick_up(invite, talk.target.sdp)
    talk.until(talk.target, talk.caller, {talk.target.speech}, {talk.agent.speech})
    stage.hang_up(talk.one, stage.agent, stage.target)
