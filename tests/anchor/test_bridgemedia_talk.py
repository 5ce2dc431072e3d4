"""Who hears whom in a controlled call, before, during and after a whisper and a bridge, judged by tones."""
import pytest

from sipcore.media.ports import PortPool
from tests.anchor.bridges import (
    AGENT,
    CALLER,
    TARGET,
    TONES,
    WHISPER,
    Table,
    goes_on,
    hears,
    pcm,
)
from tests.media.stage import HOST

FRAMES = 25


def test_a_warm_transfer_is_heard_by_whom_it_should() -> None:
    with Table() as table:
        media, caller, agent = table.call()
        caller.say(FRAMES)
        agent.say(FRAMES)
        assert hears(agent.listen(FRAMES), TONES[CALLER])
        assert hears(caller.listen(FRAMES), TONES[AGENT])
        target = table.target(media)
        # The target answers, talks, and is heard by nobody; the whisper is for it alone, and the others go on.
        token = media.play(TARGET, pcm(WHISPER, FRAMES), "PCMA")
        for far in (caller, agent, target):
            far.say(FRAMES)
        assert hears(agent.listen(FRAMES), TONES[CALLER])
        assert hears(caller.listen(FRAMES), TONES[AGENT])
        assert table.await_event("played") == ("played", TARGET, token, True)
        # All of it, but what a busy machine has left out.
        assert hears(target.drain(), WHISPER)
        agreed = media.agreed(CALLER, TARGET)
        assert agreed.outcome == "same"
        media.apply(agreed)
        media.connect(CALLER, TARGET)
        media.release(AGENT)
        agent.drain()
        # Agent and target send every 20 ms: what the caller hears goes on with the very next packet of the target.
        target.say(FRAMES)
        caller.say(FRAMES)
        agent.say(FRAMES)
        assert hears(caller.listen(FRAMES), TONES[TARGET])
        assert hears(target.listen(FRAMES), TONES[CALLER])
        assert agent.drain() == []
        goes_on(caller.heard, missing=0)
        goes_on(target.heard, missing=0)
        assert media.close()[TARGET]["packets"] == 2 * FRAMES


def test_a_failed_target_leaves_no_gap() -> None:
    with Table() as table:
        media, caller, agent = table.call()
        for _ in range(3):
            side = media.free_side()
            far = table.far(side)
            far.told(media.offer_to(side, 0, CALLER))
            caller.say(3)
            agent.say(3)
            media.release(side)
            caller.say(3)
            agent.say(3)
            caller.listen(6)
            agent.listen(6)
        goes_on(caller.heard, missing=0)
        goes_on(agent.heard, missing=0)
        assert [packet[1] & 0x80 for packet in caller.heard] == [0] * 18
        table.await_ports(2)
        media.close()


def test_a_bridge_of_other_numbers() -> None:
    """The target answers with a payload type of its own: the relay replaces it both ways."""
    with Table() as table:
        caller, agent, target = (table.far(side) for side in (CALLER, AGENT, TARGET))
        media = table.open()
        media.offer_from(CALLER, caller.sdp("RTP/AVP 96", "a=rtpmap:96 PCMA/8000"), caller.source, 0)
        agent.told(media.offer_to(AGENT, 0, CALLER))
        media.answer_from(AGENT, agent.sdp("RTP/AVP 97", "a=rtpmap:97 PCMA/8000"), agent.source)
        caller.told(media.answer_to(CALLER, AGENT))
        target.told(media.offer_to(TARGET, 0, CALLER))
        media.answer_from(TARGET, target.sdp("RTP/AVP 98", "a=rtpmap:98 PCMA/8000"), target.source)
        agreed = media.agreed(CALLER, TARGET)
        assert agreed.outcome == "renumber"
        media.apply(agreed)
        media.connect(CALLER, TARGET)
        caller.payload, target.payload = 97, 96
        caller.say(3)
        target.say(3)
        assert [packet[1] & 0x7F for packet in target.listen(3)] == [98] * 3
        assert [packet[1] & 0x7F for packet in caller.listen(3)] == [96] * 3
        # Asked again, both have the same numbers, and nothing is replaced any more.
        media.offer_from(CALLER, caller.sdp("RTP/AVP 96", "a=rtpmap:96 PCMA/8000"), caller.source, 0)
        media.offer_to(TARGET, 0, CALLER)
        media.answer_from(TARGET, target.sdp("RTP/AVP 96", "a=rtpmap:96 PCMA/8000"), target.source)
        media.answer_to(CALLER, TARGET)
        caller.payload = 96
        caller.say(3)
        assert [packet[1] & 0x7F for packet in target.listen(3)] == [96] * 3
        media.close()


def test_g711_of_two_laws_where_a_rule_allows_it() -> None:
    with Table() as table:
        caller, agent, target = (table.far(side) for side in (CALLER, AGENT, TARGET))
        media = table.open()
        media.offer_from(CALLER, caller.sdp("RTP/AVP 8 101"), caller.source, 0)
        agent.told(media.offer_to(AGENT, 0, CALLER))
        media.answer_from(AGENT, agent.sdp("RTP/AVP 8 101"), agent.source)
        caller.told(media.answer_to(CALLER, AGENT))
        # A leg of another call, as an attended transfer brings it.
        media.offer_from(TARGET, target.sdp("RTP/AVP 0 101"), target.source, 0)
        target.told(media.answer_to(TARGET))
        assert media.agreed(CALLER, TARGET).outcome == "none"
        agreed = media.agreed(CALLER, TARGET, transcode=True)
        assert agreed.outcome == "transcode"
        media.apply(agreed)
        media.connect(CALLER, TARGET)
        target.payload, target.voice = 0, pcm(TONES[TARGET], 50, "PCMU")
        caller.say(FRAMES)
        target.say(FRAMES)
        assert hears(caller.listen(FRAMES), TONES[TARGET])
        assert hears(target.listen(FRAMES), TONES[CALLER], "PCMU")
        assert {packet[1] & 0x7F for packet in target.heard} == {0}
        media.close()


def test_hold_audio_for_the_caller_until_the_bridge() -> None:
    with Table() as table:
        media, caller, agent = table.call()
        agent.say(FRAMES)
        assert hears(caller.listen(FRAMES), TONES[AGENT])
        target = table.target(media)
        media.hear({AGENT: [TARGET], TARGET: [AGENT]})
        token = media.play(CALLER, pcm(WHISPER, 50), "PCMA", loop=True)
        for _ in range(60):
            caller.say()
            caller.listen(1)
        # The loop has begun again, and the two others talk meanwhile.
        assert hears(caller.heard[-FRAMES:], WHISPER)
        agent.say(FRAMES)
        target.say(FRAMES)
        assert hears(agent.listen(FRAMES), TONES[TARGET])
        assert hears(target.listen(FRAMES), TONES[AGENT])
        media.connect(CALLER, TARGET)
        assert table.await_event("played") == ("played", CALLER, token, False)
        caller.drain()
        target.say(FRAMES)
        assert hears(caller.listen(FRAMES), TONES[TARGET])
        goes_on(caller.heard, missing=0)
        assert agent.drain() == []
        media.close()


def test_a_stranger_is_not_heard_and_hears_nothing() -> None:
    with Table() as table:
        media, caller, agent = table.call()
        target = table.target(media)
        caller.say()
        agent.say()
        target.say()
        caller.listen(1)
        agent.listen(1)
        stranger = table.far(3)
        for far in (caller, agent, target):
            stranger.edge = far.edge
            stranger.say(5)
        session = 0
        for side in (CALLER, AGENT, TARGET):
            table.counted(session, side, wrong_source=5)
        # Nor does the agent get in where the target is, or after it has gone.
        agent.edge, old = target.edge, agent.edge
        agent.say()
        table.counted(session, TARGET, wrong_source=6)
        media.connect(CALLER, TARGET)
        media.release(AGENT)
        agent.edge = old
        agent.say()
        target.say()
        assert caller.listen(1)[0][12:] != agent.voice[160:320]
        assert stranger.drain() == caller.drain() == target.drain() == []
        figures = media.close()
        assert figures[TARGET]["wrong_source"] == 6


@pytest.mark.parametrize("spoke_last", [AGENT, TARGET])
def test_the_gap_at_the_callers_ear_is_one_packet_at_most(spoke_last: int) -> None:
    """Agent and target send all the time; between two packets the caller is bridged from one to the other."""
    with Table() as table:
        media, caller, agent = table.call()
        target = table.target(media)
        for at in range(60):
            first, second = (target, agent) if spoke_last == AGENT else (agent, target)
            first.say()
            if at == 29:
                table.counted(0, first.side, packets=30)
                media.connect(CALLER, TARGET)
            second.say()
            caller.say()
            target.listen(at >= 29)
        # 60 packet times: one of them may have had the agent's packet and the target's, or neither.
        caller.listen(59)
        goes_on(caller.heard, missing=0)
        assert len({packet[1] & 0x80 for packet in caller.heard[1:]}) == 2
        assert len(caller.drain()) <= 2
        media.close()


def test_two_sections_and_their_sides() -> None:
    with Table() as table:
        caller, agent = table.far(CALLER), table.far(AGENT)
        others = table.far(CALLER, "127.0.0.6"), table.far(AGENT, "127.0.0.7")
        media = table.open()
        both = [far.sdp("RTP/AVP 8", f"m=audio {other.phone.address[1]} RTP/AVP 8",
                        f"c=IN IP4 {other.phone.address[0]}")
                for far, other in zip((caller, agent), others, strict=True)]
        media.offer_from(CALLER, both[0], caller.source, 0)
        offer = media.offer_to(AGENT, 0, CALLER)
        media.connect(CALLER, AGENT)
        media.answer_from(AGENT, both[1], agent.source)
        answer = media.answer_to(CALLER, AGENT)
        for section, (one, other) in enumerate(((caller, agent), others)):
            one.told(answer, section)
            other.told(offer, section)
            one.say()
            other.say()
            assert other.listen(1)[0][12:] == one.voice[:160]
            assert one.listen(1)[0][12:] == other.voice[:160]
        assert table.ports == 4
        media.close()


def test_a_leg_over_ipv6() -> None:
    pools = PortPool(HOST, 20000, 20099, quarantine=0), PortPool("::1", 20000, 20099, quarantine=0)
    with Table(*pools, pools_of=((0,), (1,))) as table:
        caller, agent = table.far(CALLER), table.far(AGENT, "::1")
        media = table.open()
        media.offer_from(CALLER, caller.sdp(), caller.source, 0)
        offer = media.offer_to(AGENT, 1, CALLER)
        assert b"c=IN IP6 ::1\r\n" in offer
        assert b" IN IP6 ::1\r\ns=" in offer
        agent.told(offer)
        media.answer_from(AGENT, agent.sdp().replace(b"IP4", b"IP6"), agent.source)
        caller.told(media.answer_to(CALLER, AGENT))
        media.connect(CALLER, AGENT)
        caller.say()
        agent.say()
        assert agent.listen(1)[0][12:] == caller.voice[:160]
        assert caller.listen(1)[0][12:] == agent.voice[:160]
        media.close()
