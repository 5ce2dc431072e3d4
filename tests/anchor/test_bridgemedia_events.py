"""What the owner of a controlled call is told: keys, silence, sources, sounds that have ended; and never of others."""
import struct

import pytest

from sipcore.media.relay import CLOSED, LATCHED
from tests.anchor.bridges import AGENT, CALLER, TARGET, WHISPER, Table, pcm
from tests.media.stage import rtp


def press(far, event: int, ms: int = 100) -> None:
    """One telephone event (RFC 4733), and its end three times."""
    for ends, duration in ((0, 80), (0x80, 8 * ms), (0x80, 8 * ms), (0x80, 8 * ms)):
        far.phone.send(rtp(far.sequence, far.timestamp, ssrc=far.ssrc, payload_type=101,
                           payload=struct.pack(">BBH", event, ends | 10, duration)), far.edge)
        far.sequence += 1
    far.timestamp += 8 * ms


def test_keys_by_side() -> None:
    with Table() as table:
        media, caller, _ = table.call()
        target = table.target(media)
        press(target, 1)
        assert table.await_event("digit") == ("digit", TARGET, "1", 100)
        press(caller, 11, 60)
        assert table.await_event("digit") == ("digit", CALLER, "#", 60)
        assert table.await_event("source", TARGET) == ("source", TARGET, target.phone.address, 3)
        media.close()


def test_keys_of_a_leg_that_numbers_its_events_otherwise() -> None:
    """A far end sends by the numbers that it was told (RFC 3264 5.1)."""
    with Table() as table:
        caller, agent = table.far(CALLER), table.far(AGENT)
        media = table.open()
        media.offer_from(CALLER, caller.sdp("RTP/AVP 8 101"), caller.source, 0)
        agent.told(media.offer_to(AGENT, 0, CALLER))
        answer = agent.sdp("RTP/AVP 8 100", "a=rtpmap:100 telephone-event/8000")
        media.answer_from(AGENT, answer, agent.source)
        caller.told(media.answer_to(CALLER, AGENT))
        press(agent, 5)
        assert table.await_event("digit") == ("digit", AGENT, "5", 100)
        press(caller, 6)
        caller.phone.send(rtp(caller.sequence, 80_000, payload_type=100,
                              payload=struct.pack(">BBH", 7, 0x8A, 800)), caller.edge)
        assert table.await_event("digit") == ("digit", CALLER, "7", 100)
        assert not [event for event in table.told.events if event[0] == "digit"]
        media.close()


def test_silence_and_its_end() -> None:
    with Table(silence_ms=500, timeout_ms=2000, watch_ms=20) as table:
        media, caller, agent = table.call()
        caller.say()
        assert table.await_event("silent", AGENT)[2] >= 500
        agent.say()
        assert table.await_event("heard", AGENT)[2] >= 500
        assert table.await_event("timeout")[1] >= 2000
        media.close()


def test_one_that_holds_is_not_missed() -> None:
    with Table(silence_ms=400, watch_ms=20) as table:
        media, caller, agent = table.call()
        media.offer_from(AGENT, agent.sdp("RTP/AVP 8 0 101", "a=inactive"), agent.source, 0)
        media.offer_to(CALLER, 0, AGENT)
        media.answer_from(CALLER, caller.sdp("RTP/AVP 8 0 101", "a=inactive"), caller.source)
        media.answer_to(AGENT, CALLER)
        # A target beside them is, which tells how long nobody was.
        target = table.target(media)
        table.told.events.clear()
        assert table.await_event("silent")[1] == TARGET
        target.say()
        table.await_event("heard", TARGET)
        table.await_event("silent", TARGET)
        assert {event[1] for event in table.told.events if event[0] == "silent"} <= {TARGET}
        media.close()


def test_sounds_end_in_their_order() -> None:
    with Table() as table:
        media, caller, agent = table.call()
        first = media.play(CALLER, pcm(WHISPER, 50), "PCMA", loop=True)
        second = media.play(CALLER, pcm(WHISPER, 50), "PCMA", loop=True)
        other = media.play(AGENT, pcm(WHISPER, 1), "PCMA")
        assert 0 < first < second < other
        assert table.await_event("played", CALLER) == ("played", CALLER, first, False)
        assert table.await_event("played", AGENT) == ("played", AGENT, other, True)
        media.stop_playing(CALLER)
        assert table.await_event("played", CALLER) == ("played", CALLER, second, False)
        media.stop_playing(CALLER)
        agent.say()
        caller.drain()
        media.close()


def test_what_cannot_be_played() -> None:
    with Table(places=1) as table:
        media, _, _ = table.call()
        assert media.play(TARGET, pcm(WHISPER, 1), "PCMA") == 0
        assert media.play(CALLER, pcm(WHISPER, 1), "G722") == 0
        assert media.play(CALLER, pcm(WHISPER, 9), "PCMA", loop=True) > 0
        assert media.play(AGENT, pcm(WHISPER, 1), "PCMA") == 0
        with pytest.raises(ValueError, match="no whole frames"):
            media.play(CALLER, b"x", "PCMA")
        media.close()


def test_nothing_is_said_of_a_leg_that_has_gone() -> None:
    with Table() as table:
        media, _, _ = table.call()
        target = table.target(media)
        media.play(TARGET, pcm(WHISPER, 50), "PCMA", loop=True)
        press(target, 1)
        table.counted(0, TARGET, packets=4)
        media.release(TARGET)
        # Another one is on that side before the relay's events are looked at.
        assert media.free_side() == TARGET
        second = table.target(media)
        press(second, 2)
        assert table.await_event("digit") == ("digit", TARGET, "2", 100)
        assert [event for event in table.told.events if event[0] == "played" or event[:2] == ("digit", TARGET)] == []
        token = media.play(TARGET, pcm(WHISPER, 1), "PCMA")
        assert table.await_event("played") == ("played", TARGET, token, True)
        assert media.close()[TARGET]["packets"] == 4


def test_a_call_without_an_owner() -> None:
    with Table() as table:
        media, caller, agent = table.call()
        media.owner = None
        caller.say()
        agent.listen(1)
        table.turn()
        assert table.told.events == []
        media.close()


def test_sessions_of_others_are_not_of_here() -> None:
    with Table() as table:
        media, _, _ = table.call()
        assert table.bridges.find(0) is media
        assert table.bridges.find(1) is None
        assert not table.bridges.take(LATCHED, 1, 0, 3, ("192.0.2.1", 4000))
        media.close()
        assert table.bridges.find(0) is None
        assert not table.bridges.take(CLOSED, 0, 0, 0, None)


def test_figures() -> None:
    with Table() as table:
        media, caller, agent = table.call()
        caller.say(10)
        caller.sequence += 5
        caller.say(10)
        agent.say(20)
        agent.listen(20)
        caller.listen(20)
        figures = media.close()
        one, other = figures[CALLER], figures[AGENT]
        assert (one["codec"], one["packets"], one["octets"], one["lost"]) == ("PCMA", 20, 20 * 172, 5)
        assert other["lost"] == 0
        assert 1 < one["mos"] < other["mos"] <= 4.5
        assert "wrong_source" not in one
