"""Warm transfers: a new INVITE to the target, the whisper for it alone, the bridge, and failures that leave the agent's
call as it was. On wire bytes; the relay is a real one."""
import pytest

from proxy.config import Action, ActionHeader, Extractor, Whisper
from proxy.events import AskExtractors, AskSpeech, CancelTransfer, Extracted
from tests.media.stage import HOST

from .scene import ROUTE, Scene
from .stage import AGENT, CALLER, OTHER, TARGET, TO, TYPE, Stage, sdp


@pytest.fixture
def stage():
    with Stage() as stage:
        yield stage


def finish(stage, one):
    """The caller hangs up, and everybody who is still there answers."""
    stage.hang_up(one, stage.agent, stage.target, stage.second)
    stage.run()


class TestTheInvite:
    def test_it_is_a_call_of_its_own_with_the_callers_codecs(self, stage):
        one, other, invite = stage.begin()
        assert invite.message.uri == TO
        assert invite.message.call_id not in (one.call_id, other.call_id)
        body = invite.message.body.decode()
        assert "RTP/AVP 0 8 101" in body
        assert f"c=IN IP4 {HOST}" in body
        # The agent's number is what the target sees (default).
        assert invite.header("From").startswith("<sip:bot@127.0.0.1>")
        assert stage.caller.names() == []
        assert stage.agent.names() == []
        stage.target.answer(invite, 486)
        stage.run()
        finish(stage, one)

    @pytest.mark.parametrize(("caller_id", "uri"), [("caller", "sip:+4930123@127.0.0.2:5060"),
                                                    ("fixed", "sip:desk@example.com")])
    def test_caller_id(self, stage, caller_id, uri):
        action = stage.warm(caller_id=caller_id, diversion=True,
                            caller_uri="sip:desk@example.com" if caller_id == "fixed" else "")
        one, _, invite = stage.begin(action)
        assert invite.header("From").startswith(f"<{uri}>")
        # RFC 5806: for whom the call came first. The target is trusted, the caller is not.
        assert invite.header("Diversion").startswith("<sip:bot@127.0.0.1>")
        asserted = invite.header("P-Asserted-Identity")
        assert asserted == (f"<{uri}>" if caller_id == "fixed" else None)
        stage.target.answer(invite, 486)
        stage.run()
        finish(stage, one)

    def test_two_extractors_and_a_header_arrive(self, stage):
        action = stage.warm(
            headers=(ActionHeader(name="X-Plan", value="{plan}"),),
            extractors=(Extractor(header="X-Customer-Intent", prompt="Classify"),
                        Extractor(header="X-Caller-Name", prompt="Name?")))
        one, _ = stage.up()
        stage.start(action, plan="gold")
        assert stage.target.names() == []
        stage.services.answer(AskExtractors, extracted=[
            Extracted(name="X-Customer-Intent", value="billing question", source="model", ms=300),
            Extracted(name="X-Caller-Name", value="J\u00fcrgen", source="model", ms=310)])
        stage.run()
        invite = stage.target.take("INVITE")
        assert [invite.header(name) for name in ("X-Plan", "X-Customer-Intent", "X-Caller-Name")] == [
            "gold", "billing question", "J\u00fcrgen"]
        stage.target.answer(invite, 486)
        stage.run()
        record = stage.services.transfer()
        assert {header.name: header.where for header in record.headers} == dict.fromkeys(
            ("X-Plan", "X-Customer-Intent", "X-Caller-Name"), "header")
        finish(stage, one)


class TestTheBridge:
    def test_without_a_whisper_caller_and_target_are_joined_at_once(self, stage):
        one, other, invite = stage.begin()
        stage.target.answer(invite, 180)
        stage.run()
        assert stage.transfer.status.state == "ringing"
        theirs = stage.pick_up(invite)
        assert stage.target.names() == ["ACK"]
        # One step in the relay: neither caller nor target is asked again, and the agent's leg ends.
        assert stage.caller.names() == []
        stage.agent.answer(stage.agent.take("BYE"), 200)
        stage.run()
        record = stage.services.transfer()
        assert (record.state, record.status) == ("completed", 200)
        assert record.verdict == "2001 answered, the caller is connected there."
        assert [leg.role for leg in stage.call.struct().legs] == ["caller", "target"]
        # What is said between them crosses as in any call.
        theirs.send("INVITE", body=sdp(TARGET, version=2, direction="sendonly"), headers=TYPE)
        stage.run()
        assert b"a=sendonly" in stage.caller.take("INVITE").message.body
        stage.hang_up(one, stage.target, stage.caller)
        assert [(leg.role, leg.sip_call_id) for leg in stage.services.call().legs] == [
            ("agent", other.call_id), ("caller", one.call_id), ("target", invite.message.call_id)]

    def test_different_codecs_are_mended_by_one_re_invite(self, stage):
        one, _ = stage.up(answer=sdp(AGENT, payloads="8 101"))
        stage.start(stage.warm())
        invite = stage.target.take("INVITE")
        stage.pick_up(invite, sdp(TARGET, payloads="0 101"))
        caller, target = stage.caller.received(), stage.target.received()
        asked = [message for message in (*caller, *target) if message.name == "INVITE"]
        assert len(asked) == 1
        phone, host = (stage.caller, CALLER) if asked[0] in caller else (stage.target, TARGET)
        chosen = "0 101" if b"RTP/AVP 0" in asked[0].message.body else "8 101"
        version = int(asked[0].message.body.split(b"\r\n")[1].split()[2])
        assert version > 0
        phone.answer(asked[0], 200, body=sdp(host, payloads=chosen, version=2), headers=TYPE)
        stage.run()
        assert stage.services.transfer().state == "completed"
        stage.hang_up(one, stage.agent, stage.target)

    def test_g711_of_two_laws_is_converted_where_the_action_allows_it(self, stage):
        one, _ = stage.up(answer=sdp(AGENT, payloads="8 101"))
        stage.start(stage.warm(transcode=True))
        stage.pick_up(stage.target.take("INVITE"), sdp(TARGET, payloads="0 101"))
        for _ in range(3):
            for phone in (stage.caller, stage.target):
                for message in phone.received():
                    if message.name == "INVITE":
                        phone.answer(message, 488)
            stage.run()
        record = stage.services.transfer()
        assert record.state == "completed"
        assert [step.detail for step in record.steps if step.what == "reinvite"].count("488 Reason") <= 2
        stage.hang_up(one, stage.agent, stage.target)

    def test_an_offer_of_the_callers_that_waits_is_not_what_a_target_is_offered(self, stage):
        one, _ = stage.up()
        one.send("INVITE", headers=TYPE, body=sdp(CALLER, payloads="8", version=2, direction="inactive"))
        stage.run()
        waiting = stage.agent.take("INVITE")
        stage.start(stage.warm())
        invite = stage.target.take("INVITE")
        assert b"RTP/AVP 0 8 101" in invite.message.body
        assert b"inactive" not in invite.message.body
        stage.agent.answer(waiting, 488)
        stage.run()
        assert "488" in stage.caller.names()
        stage.pick_up(invite)
        assert stage.services.transfer().state == "completed"
        stage.hang_up(one, stage.agent, stage.target)

    @pytest.mark.parametrize("gone", [False, True])
    def test_a_hold_that_the_caller_has_not_answered_yet_is_waited_for_and_ended(self, stage, gone):
        one, other = stage.up(answer=sdp(AGENT, payloads="8 101"))
        other.send("INVITE", headers=TYPE, body=sdp(AGENT, payloads="8 101", version=2, direction="sendonly"))
        stage.run()
        waiting = stage.caller.take("INVITE")
        stage.start(stage.warm())
        stage.pick_up(stage.target.take("INVITE"), sdp(TARGET, payloads="8 101"))
        assert stage.transfer.status.state == "bridging"
        if gone:
            other.send("BYE")
            stage.run()
        stage.caller.answer(waiting, 200, body=sdp(CALLER, payloads="8 101", version=2, direction="recvonly"),
                            headers=TYPE)
        stage.run()
        # It was put on hold by the leg that goes: it is asked to speak again.
        asked = next(message for message in stage.caller.received() if message.name == "INVITE")
        assert b"a=sendonly" not in asked.message.body
        stage.caller.answer(asked, 200, body=sdp(CALLER, payloads="8 101", version=3), headers=TYPE)
        stage.run()
        assert stage.services.transfer().state == "completed"
        stage.hang_up(one, stage.agent, stage.target)

    def test_a_caller_that_still_owes_its_answer_is_not_transferred(self, stage):
        stage.caller.request("INVITE", "sip:bot@127.0.0.1")
        stage.run()
        invite = stage.agent.take("INVITE")
        stage.agent.answer(invite, 200, body=sdp(AGENT), headers=TYPE)
        stage.run()
        reply = stage.start(stage.warm())
        assert (reply.status, reply.error) == (409, "the caller has not answered the agent's offer yet")
        one = stage.caller.caller_dialog(stage.caller.take("100", "200"))
        one.send("ACK", headers=TYPE, body=sdp(CALLER))
        stage.run()
        stage.agent.take("ACK")
        assert stage.start(stage.warm()).status == 202
        stage.pick_up(stage.target.take("INVITE"))
        assert stage.services.transfer().state == "completed"
        stage.hang_up(one, stage.agent, stage.target)

    def test_no_common_codec_returns_the_caller(self, stage):
        one, _ = stage.up(answer=sdp(AGENT, payloads="8 101"))
        stage.start(stage.warm())
        invite = stage.target.take("INVITE")
        stage.pick_up(invite, sdp(TARGET, payloads="0 101"))
        for phone in (stage.caller, stage.target):
            for message in phone.received():
                if message.name == "INVITE":
                    phone.answer(message, 488)
        stage.run()
        for phone in (stage.caller, stage.target):
            for message in phone.received():
                if message.name == "INVITE":
                    phone.answer(message, 488)
        stage.run()
        record = stage.services.transfer()
        assert (record.state, record.status, record.fell_back) == ("failed", 488, "return")
        assert stage.call.state == "up"
        finish(stage, one)


class TestFailures:
    @pytest.mark.parametrize(("status", "reason"), [(486, "Busy Here"), (404, "Unknown"), (503, "Out"), (603, "No")])
    def test_row_18_the_status_arrives_unchanged_and_the_agents_call_was_never_touched(self, stage, status, reason):
        one, _, invite = stage.begin()
        stage.target.answer(invite, status, reason=reason)
        stage.run()
        record = stage.services.transfer()
        assert (record.state, record.status, record.reason, record.fell_back) == ("failed", status, reason, "return")
        assert stage.caller.names() == []
        assert stage.agent.names() == []
        finish(stage, one)

    def test_row_14_a_repeated_attempt_has_a_fresh_call_id_and_tag(self, stage):
        one, _, first = stage.begin(stage.warm(targets=(TO, TO), on_failure="next"))
        stage.target.answer(first, 486)
        stage.run()
        acknowledged, second = stage.target.received()
        assert (acknowledged.name, second.name) == ("ACK", "INVITE")
        assert first.message.call_id != second.message.call_id
        assert first.message.from_tag != second.message.from_tag
        stage.target.answer(second, 486)
        stage.run()
        finish(stage, one)

    def test_no_answer_within_the_timeout_goes_on_to_the_next(self, stage):
        one, _, first = stage.begin(stage.warm(targets=(TO, OTHER), on_failure="next", ring_timeout=5.0))
        stage.target.answer(first, 180)
        stage.run(5001)
        assert stage.target.names() == ["CANCEL"]
        second = stage.second.take("INVITE")
        stage.second.answer(second, 200, body=sdp("127.0.0.5"), headers=TYPE)
        stage.run()
        record = stage.services.transfer()
        assert (record.state, record.fell_back, record.target) == ("completed", "next", OTHER)
        stage.hang_up(one, stage.agent, stage.second)

    def test_row_3_one_deadline_for_all_targets(self, stage):
        one, _, first = stage.begin(stage.warm(targets=(TO, OTHER), on_failure="next", ring_timeout=8.0, deadline=10.0))
        stage.target.answer(first, 180)
        stage.run(8001)
        stage.second.answer(stage.second.take("INVITE"), 180)
        stage.run(2000)
        record = stage.services.transfer()
        assert (record.state, record.status) == ("failed", 408)
        assert record.ended - record.began == pytest.approx(10_000, abs=5)
        assert "CANCEL" in stage.second.names()
        finish(stage, one)

    def test_a_target_that_nobody_reaches(self):
        with Stage(unreachable=True) as stage:
            one, _ = stage.up()
            stage.start(stage.warm(targets=("sip:2001@127.0.0.8:5060",)))
            stage.run(100)
            record = stage.services.transfer()
            assert (record.state, record.status) == ("failed", 503)
            finish(stage, one)


class TestWhoHangsUp:
    def test_row_16_the_caller_while_the_target_rings(self, stage):
        one, _, invite = stage.begin()
        stage.target.answer(invite, 180)
        stage.run()
        one.send("BYE")
        stage.run()
        cancel = stage.target.take("CANCEL")
        stage.target.answer(cancel, 200)
        stage.target.answer(invite, 487)
        stage.agent.answer(stage.agent.take("BYE"), 200)
        stage.run()
        record = stage.services.transfer()
        assert (record.state, record.verdict) == (
            "cancelled", "The caller hung up before 2001 had taken the call, nobody was left to transfer.")

    def test_row_16_cancel_against_a_200_in_flight(self, stage):
        one, _, invite = stage.begin()
        stage.target.answer(invite, 180)
        stage.run()
        one.send("BYE")
        stage.target.answer(invite, 200, body=sdp(TARGET), headers=TYPE)
        stage.run()
        names = stage.target.names()
        assert names[-2:] == ["ACK", "BYE"]
        assert stage.services.transfer().state == "cancelled"

    def test_the_agent_while_the_target_rings(self, stage):
        one, other, invite = stage.begin()
        stage.target.answer(invite, 180)
        other.send("BYE")
        stage.run()
        assert stage.agent.names() == ["200"]
        assert stage.caller.names() == []
        stage.pick_up(invite)
        assert stage.services.transfer().state == "completed"
        stage.hang_up(one, stage.target)

    def test_the_agent_and_then_nobody_answers(self, stage):
        _, other, invite = stage.begin()
        other.send("BYE")
        stage.run()
        stage.target.answer(invite, 486)
        stage.run()
        stage.caller.answer(stage.caller.take("BYE"), 200)
        record = stage.services.transfer()
        assert (record.state, record.fell_back) == ("failed", "end")

    def test_the_target_during_the_whisper(self, stage):
        one, _, invite = stage.begin(stage.warm(whisper=Whisper(text="Hello")))
        theirs = stage.pick_up(invite)
        assert stage.transfer.status.state == "whispering"
        theirs.send("BYE")
        stage.run()
        record = stage.services.transfer()
        assert (record.state, record.fell_back) == ("failed", "return")
        assert record.verdict == "2001 answered and hung up, the caller stayed with the agent."
        finish(stage, one)

    def test_the_api_cancels(self, stage):
        one, _, invite = stage.begin()
        stage.target.answer(invite, 180)
        stage.run()
        reply = stage.calls.obey(CancelTransfer(ask=1, transfer=stage.transfer.id))
        stage.run()
        assert (reply.status, reply.transfers[0].state) == (200, "cancelled")
        assert stage.target.names() == ["CANCEL"]
        assert stage.calls.obey(CancelTransfer(ask=1, transfer=reply.transfers[0].id)).status == 409
        finish(stage, one)


class TestTheWhisper:
    SOUND = bytes(160 * 10)

    def test_it_is_prepared_while_the_target_rings_and_played_when_it_answers(self, stage):
        action = stage.warm(whisper=Whisper(text="Call about {plan}", longest=5.0))
        one, _, invite = stage.begin(action, plan="gold")
        question = stage.services.answer(AskSpeech, sound=self.SOUND, frames=10)
        assert (question.text, question.codec) == ("Call about gold", "PCMU")
        stage.pick_up(invite)
        assert stage.transfer.status.state == "whispering"
        assert stage.agent.names() == []
        # The relay's own clock plays it, and says when it has.
        stage.await_played()
        assert stage.services.transfer().state == "completed"
        stage.hang_up(one, stage.agent, stage.target)

    def test_an_answered_target_waits_no_longer_than_its_bound(self, stage):
        one, _, invite = stage.begin(stage.warm(whisper=Whisper(summary="Sum up", wait=2.0)))
        stage.pick_up(invite)
        stage.run(1999)
        assert stage.transfer.status.state == "whispering"
        stage.run(2)
        assert stage.services.transfer().state == "completed"
        stage.services.answer(AskSpeech, sound=self.SOUND)
        stage.run()
        stage.hang_up(one, stage.agent, stage.target)

    @pytest.mark.parametrize(("key", "state"), [("1", "completed"), ("2", "failed")])
    def test_accept_and_decline_by_key(self, stage, key, state):
        one, _, invite = stage.begin(stage.warm(whisper=Whisper(text="Press 1", accept="1", decline="2")))
        stage.services.answer(AskSpeech, error="no speech")
        theirs = stage.pick_up(invite)
        stage.target.received()
        assert stage.transfer.status.state == "whispering"
        theirs.send("INFO", body=f"Signal={key}\r\nDuration=160\r\n".encode(),
                    headers=[("Content-Type", "application/dtmf-relay")])
        stage.run()
        assert "200" in stage.target.names()
        record = stage.services.transfer()
        assert record.state == state
        if state == "failed":
            assert (record.status, record.verdict) == (603, "2001 declined by key, the caller stayed with the agent.")
        stage.hang_up(one, stage.agent, stage.target)

    def test_no_key_within_its_time(self, stage):
        one, _, invite = stage.begin(stage.warm(whisper=Whisper(text="Press 1", accept="1", answer_within=3.0)))
        stage.services.answer(AskSpeech, error="no speech")
        stage.pick_up(invite)
        stage.run(3001)
        record = stage.services.transfer()
        assert (record.state, record.status) == ("failed", 480)
        stage.hang_up(one, stage.agent, stage.target)


class TestBlindWithABridge:
    def test_a_refused_refer_is_tried_by_invite(self, stage):
        one, _ = stage.up()
        stage.start(stage.warm(mode="blind", on_failure="bridge"))
        stage.caller.answer(stage.caller.take("REFER"), 603)
        stage.run()
        stage.pick_up(stage.target.take("INVITE"))
        record = stage.services.transfer()
        assert (record.state, record.fell_back, record.mode) == ("completed", "bridge", "blind")
        stage.hang_up(one, stage.agent, stage.target)


def test_warm_is_refused_where_the_media_passes():
    scene = Scene(ROUTE)
    one, _ = scene.up()
    reply = scene.start(Action(name="given", mode="warm", targets=(TO,)))
    assert reply.status == 409
    assert 'media = "pass"' in reply.error
    one.send("BYE")
    scene.over()
