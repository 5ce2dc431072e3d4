"""The whisper in what the target has agreed to: the caller's codecs were offered, and the target takes one of them."""
import gc
import weakref

import pytest

from proxy.config import Whisper
from proxy.events import AskSpeech, CancelTransfer, ShowTransfer
from sipcore.media.law import converted

from .stage import TARGET, Stage, sdp

SOUND = bytes(range(160)) * 5


@pytest.fixture
def stage():
    with Stage() as stage:
        yield stage


class Playing:
    """What is played to the target, and in which codec."""

    def __init__(self, stage, monkeypatch):
        self.played: list[tuple[str, bytes]] = []
        media = type(stage.call.media)
        play = media.play

        def noted(self_, leg, sound, codec, loop=False):
            self.played.append((codec, sound))
            return play(self_, leg, sound, codec, loop)

        monkeypatch.setattr(media, "play", noted)


def begin(stage, monkeypatch, **fields):
    one, _ = stage.up()
    playing = Playing(stage, monkeypatch)
    assert stage.start(stage.warm(whisper=Whisper(**({"text": "Hello"} | fields)))).status == 202
    return one, stage.target.take("INVITE"), playing.played


def test_a_target_that_takes_the_other_law_hears_it_too(stage, monkeypatch):
    one, invite, played = begin(stage, monkeypatch)
    assert stage.services.answer(AskSpeech, sound=SOUND, frames=5).codec == "PCMU"
    stage.pick_up(invite, sdp(TARGET, payloads="8 101"))
    assert stage.transfer.status.state == "whispering"
    assert played == [("PCMA", converted(SOUND, "PCMA"))]
    stage.hang_up(one, stage.agent, stage.target)


def test_a_target_that_takes_g722_gets_what_was_said_in_that(stage, monkeypatch):
    body = sdp("127.0.0.2", payloads="0 9 101")
    one, _ = stage.up(body=body, answer=sdp("127.0.0.3", payloads="0 9 101"))
    played = Playing(stage, monkeypatch).played
    stage.start(stage.warm(whisper=Whisper(summary="Sum up", fallback="A call", wait=2.0)))
    invite = stage.target.take("INVITE")
    assert stage.services.answer(AskSpeech, sound=SOUND, spoken="Ann wants to cancel").summary == "Sum up"
    stage.pick_up(invite, sdp(TARGET, payloads="9 101"))
    assert stage.transfer.status.state == "whispering"
    # The model is not asked again, and nobody who has answered waits longer than the bound.
    again = stage.services.answer(AskSpeech, sound=SOUND)
    assert (again.codec, again.text, again.summary) == ("G722", "Ann wants to cancel", "")
    assert played == [("G722", SOUND)]
    stage.hang_up(one, stage.agent, stage.target)


def test_it_is_waited_for_no_longer_than_the_bound(stage, monkeypatch):
    one, _ = stage.up(body=sdp("127.0.0.2", payloads="0 9 101"), answer=sdp("127.0.0.3", payloads="0 9 101"))
    stage.start(stage.warm(whisper=Whisper(text="Hello", wait=2.0)))
    invite = stage.target.take("INVITE")
    stage.services.answer(AskSpeech, sound=SOUND, spoken="Hello")
    stage.pick_up(invite, sdp(TARGET, payloads="9 101"))
    stage.run(1999)
    assert stage.transfer.status.state == "whispering"
    stage.run(2)
    assert stage.transfer is None or stage.transfer.status.state != "whispering"
    stage.services.answer(AskSpeech, sound=SOUND)
    stage.hang_up(one, stage.agent, stage.target)


def test_one_that_takes_nothing_it_could_be_played_in_is_in_the_record(stage, monkeypatch):
    body = sdp("127.0.0.2", payloads="0 18 101")
    one, _ = stage.up(body=body, answer=sdp("127.0.0.3", payloads="0 18 101"))
    stage.start(stage.warm(whisper=Whisper(text="Hello")))
    invite = stage.target.take("INVITE")
    stage.services.answer(AskSpeech, sound=SOUND, spoken="Hello")
    stage.pick_up(invite, sdp(TARGET, payloads="18 101"))
    transfer = stage.transfer or stage.call.past[-1]
    assert ("whisper", "the target has agreed to no codec that it could be played in") in [
        (step.what, step.detail) for step in transfer.steps]
    stage.hang_up(one, stage.agent, stage.target)


def test_the_next_target_hears_it_in_its_own_codec(stage, monkeypatch):
    one, _ = stage.up()
    played = Playing(stage, monkeypatch).played
    stage.start(stage.warm(targets=("sip:2001@127.0.0.4:5060", "sip:2002@127.0.0.5:5060"), on_failure="next",
                           whisper=Whisper(text="Hello")))
    invite = stage.target.take("INVITE")
    stage.services.answer(AskSpeech, sound=SOUND, spoken="Hello")
    theirs = stage.pick_up(invite)
    assert [codec for codec, _ in played] == ["PCMU"]
    theirs.send("BYE")
    stage.run()
    second = stage.second.take("INVITE")
    stage.pick_up(second, sdp("127.0.0.5", payloads="8 101"), phone=stage.second, host="127.0.0.5")
    assert [codec for codec, _ in played] == ["PCMU", "PCMA"]
    stage.hang_up(one, stage.agent, stage.second)


def test_a_transfer_that_is_over_is_shown_for_long_and_keeps_neither_sound_nor_call(stage, monkeypatch):
    one, invite, _ = begin(stage, monkeypatch)
    stage.services.answer(AskSpeech, sound=SOUND, spoken="Hello")
    stage.target.answer(invite, 486)
    stage.run()
    identifier = stage.call.past[-1].id
    assert stage.call.past[-1].whispering is None
    transfer = weakref.ref(stage.call.past[-1])
    stage.hang_up(one, stage.agent)
    stage.run(70_000)
    gc.collect()
    assert transfer() is None
    (shown,) = stage.calls.obey(ShowTransfer(ask=1, transfer=identifier)).transfers
    assert (shown.state, shown.status) == ("failed", 486)
    cancelled = stage.calls.obey(CancelTransfer(ask=2, transfer=identifier))
    assert (cancelled.status, cancelled.error) == (409, "the transfer is failed already")
