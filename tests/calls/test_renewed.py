"""A far end answers a refresh of the session timer with another description than before (RFC 3264 8, RFC 4028 7.4)."""
import pytest

from tests.anchor.bridges import Far
from tests.media.stage import numbers, rtp

from .scene import AGENT, CALLER, Scene, sdp
from .stage import TYPE, Stage

BY_INVITE = [("Supported", "timer"), ("Allow", "INVITE, ACK, BYE, CANCEL"), *TYPE]
EXPIRES = ("Session-Expires", "600;refresher=uac")
MOVED = sdp(AGENT, 5000, version=2)


def up(scene, body=b""):
    """A call whose agent is refreshed by re-INVITE; the caller's dialog, and the refresh."""
    invite = scene.invite()
    scene.agent.answer(invite, 200, body=body or sdp(AGENT), headers=[*BY_INVITE, EXPIRES])
    scene.run()
    scene.agent.take("ACK")
    one = scene.caller.caller_dialog(scene.caller.take("100", "200"))
    one.send("ACK")
    scene.run()
    scene.run(300_000)
    refresh = scene.agent.take("INVITE")
    assert refresh.message.body == invite.message.body
    return one, refresh


def answer(scene, phone, request, body, *headers):
    phone.answer(request, 200, body=body, headers=[*(headers or BY_INVITE), EXPIRES])
    scene.run()


def hang_up(scene, one):
    one.send("BYE")
    scene.run()
    scene.agent.answer(scene.agent.take("BYE"), 200)
    scene.run()
    assert scene.caller.names()[-1:] == ["200"]
    scene.over()


class TestPassing:
    """Media from end to end: the other leg sends to where it was told last."""

    def test_the_other_leg_is_told(self):
        scene = Scene()
        one, refresh = up(scene)
        answer(scene, scene.agent, refresh, MOVED)
        assert scene.agent.names() == ["ACK"]
        told = scene.caller.take("INVITE")
        assert told.message.body == MOVED
        # It says what it said before, with a version of its own: nothing goes back.
        answer(scene, scene.caller, told, sdp(CALLER, version=2), *TYPE)
        assert scene.caller.names() == ["ACK"]
        assert scene.agent.names() == []
        hang_up(scene, one)

    def test_its_own_answer_goes_back_once(self):
        scene = Scene()
        one, refresh = up(scene)
        answer(scene, scene.agent, refresh, MOVED)
        other = sdp(CALLER, 6000, version=2)
        answer(scene, scene.caller, scene.caller.take("INVITE"), other, *TYPE)
        again = scene.agent.take("ACK", "INVITE")
        assert again.message.body == other
        answer(scene, scene.agent, again, sdp(AGENT, 7000, version=3))
        # Two that never agree are not asked for ever.
        assert scene.agent.names() == ["ACK"]
        assert scene.caller.names() == ["ACK"]
        hang_up(scene, one)

    @pytest.mark.parametrize("body", [sdp(AGENT), sdp(AGENT, version=7), b""])
    def test_nothing_new_is_told_to_nobody(self, body):
        scene = Scene()
        one, refresh = up(scene)
        answer(scene, scene.agent, refresh, body)
        assert scene.agent.names() == ["ACK"]
        assert scene.caller.names() == []
        hang_up(scene, one)

    def test_one_that_refuses_it(self):
        scene = Scene()
        one, refresh = up(scene)
        answer(scene, scene.agent, refresh, MOVED)
        scene.caller.answer(scene.caller.take("INVITE"), 488)
        scene.run()
        assert scene.caller.names() == ["ACK"]
        assert scene.agent.names() == ["ACK"]
        hang_up(scene, one)

    def test_one_that_waits_for_an_answer_hears_it_there(self):
        """The caller's hold crosses the refresh: it goes to the agent behind it."""
        scene = Scene()
        one, refresh = up(scene)
        held = sdp(CALLER, version=2, direction="sendonly")
        one.send("INVITE", body=held, headers=TYPE)
        scene.run()
        assert scene.caller.names() == ["100"]
        answer(scene, scene.agent, refresh, MOVED)
        crossed = scene.agent.take("ACK", "INVITE")
        assert crossed.message.body == held
        last = sdp(AGENT, 5000, version=3, direction="recvonly")
        answer(scene, scene.agent, crossed, last)
        assert scene.caller.take("200").message.body == last
        one.send("ACK")
        scene.run()
        assert scene.agent.names() == ["ACK"]
        assert scene.caller.names() == []
        hang_up(scene, one)


class TestAnchored:
    """Audio by way of the edge: the relay follows at once."""

    @staticmethod
    def voice(stage: Stage, side: int, far: Far, heard_at: Far) -> None:
        """What one says is heard where the other one is now."""
        [(_, where)] = stage.call.media.media.places()
        far.edge = where[side]
        packet = rtp(far.sequence, far.timestamp, ssrc=far.ssrc, payload_type=0)
        far.sequence += 1
        far.phone.send(packet, far.edge)
        assert numbers(heard_at.phone.receive())[0] == numbers(packet)[0]

    def test_only_the_relay_has_to_know_that_it_has_moved(self):
        with Stage() as stage:
            caller, agent, moved = stage.table.far(0, CALLER), stage.table.far(1, AGENT), stage.table.far(1, AGENT)
            invite = stage.invite(body=caller.sdp("RTP/AVP 0"))
            stage.agent.answer(invite, 200, body=agent.sdp("RTP/AVP 0"), headers=[*BY_INVITE, EXPIRES])
            stage.run()
            stage.agent.take("ACK")
            one = stage.caller.caller_dialog(stage.caller.take("100", "200"))
            one.send("ACK")
            stage.run()
            self.voice(stage, 0, caller, agent)
            stage.run(300_000)
            answer(stage, stage.agent, stage.agent.take("INVITE"), moved.sdp("RTP/AVP 0", version=2))
            assert stage.agent.names() == ["ACK"]
            assert stage.caller.names() == []
            self.voice(stage, 0, caller, moved)
            self.voice(stage, 1, moved, caller)
            media = stage.call.media.media
            assert (media.pending(0), media.pending(1)) == ("", "")
            stage.hang_up(one, stage.agent)

    def test_another_codec_is_told(self):
        with Stage() as stage:
            one, refresh = up(stage, sdp(AGENT, payloads="0 8"))
            answer(stage, stage.agent, refresh, sdp(AGENT, payloads="8", version=2))
            told = stage.caller.take("INVITE")
            assert b"RTP/AVP 8\r\n" in told.message.body
            assert AGENT.encode() not in told.message.body
            answer(stage, stage.caller, told, sdp(CALLER, payloads="8", version=2), *TYPE)
            assert stage.caller.names() == ["ACK"]
            again = stage.agent.take("ACK", "INVITE")
            assert b"RTP/AVP 8\r\n" in again.message.body
            answer(stage, stage.agent, again, sdp(AGENT, payloads="8", version=3))
            assert stage.agent.names() == ["ACK"]
            media = stage.call.media.media
            assert (media.pending(0), media.pending(1)) == ("", "")
            assert media.codecs(0) == media.codecs(1) == ("PCMA",)
            stage.hang_up(one, stage.agent)

    @pytest.mark.parametrize("how", ["refused", "no sense"])
    def test_what_nobody_takes_changes_nothing_else(self, how):
        with Stage() as stage:
            one, refresh = up(stage, sdp(AGENT, payloads="0 8"))
            body = sdp(AGENT, payloads="8", version=2)
            answer(stage, stage.agent, refresh, body if how == "refused" else body.replace(b"IN IP4", b"IN IP9"))
            assert stage.agent.names() == ["ACK"]
            if how == "refused":
                stage.caller.answer(stage.caller.take("INVITE"), 488)
                stage.run()
            stage.caller.received()
            media = stage.call.media.media
            assert (media.pending(0), media.pending(1)) == ("", "")
            stage.hang_up(one, stage.agent)
