"""SRTP on controlled calls, by the rules of route and upstream."""
import pytest

from sipcore.anchor.sdes import usable
from tests.anchor.bridges import Table
from tests.anchor.secure import CM, NEVER, OFFER, PASS, REQUIRE, crypto, lines, profile

from .scene import AGENT, CALLER, CONFIG, SECOND, TARGET, sdp
from .stage import TYPE, Stage

KEY = bytes(range(30))
SECURE = CONFIG.replace('name = "pbx"\n', 'name = "pbx"\nsrtp = "require"\n')


def over_srtp(body: bytes, proto: str = "RTP/SAVP", tag: int = 1) -> bytes:
    """A description with a key."""
    return body.replace(b"RTP/AVP", proto.encode()) + crypto(tag, CM, KEY).encode() + b"\r\n"


def stage_of(caller: int = PASS, agent: int = PASS) -> Stage:
    return Stage(base=SECURE, table=Table(srtp=(caller, agent)))


def test_a_secure_caller_is_answered_and_transferred_to_a_secure_target():
    with stage_of() as stage:
        stage.caller.request("INVITE", "sip:bot@127.0.0.1", body=over_srtp(sdp(CALLER), tag=5), headers=TYPE)
        stage.run()
        invite = stage.agent.take("INVITE")
        assert (profile(invite.message.body), lines(invite.message.body)) == ("RTP/AVP", [])
        stage.agent.answer(invite, 200, body=sdp(AGENT), headers=TYPE)
        stage.run()
        answer = stage.caller.take("100", "200")
        assert profile(answer.message.body) == "RTP/SAVP"
        assert [(tag, suite) for tag, suite, _ in usable(answer.message.body)] == [(5, CM)]
        one = stage.caller.caller_dialog(answer)
        one.send("ACK")
        stage.run()
        assert stage.start(stage.warm()).status == 202
        offer = stage.target.take("INVITE")
        assert profile(offer.message.body) == "RTP/SAVP"
        (_, suite, key), = usable(offer.message.body)
        assert suite == CM
        assert key not in (KEY, usable(answer.message.body)[0][2])
        stage.pick_up(offer, over_srtp(sdp(TARGET)))
        media = stage.call.media.media
        assert (media.srtp(0), media.srtp(1)) == (CM, "")
        stage.hang_up(one, stage.agent, stage.target)


@pytest.mark.parametrize(("caller", "body", "status"), [
    (NEVER, over_srtp(sdp(CALLER)), "488"),
    (REQUIRE, sdp(CALLER), "488"),
    (REQUIRE, over_srtp(sdp(CALLER), "RTP/AVP"), "100"),
    (NEVER, over_srtp(sdp(CALLER), "RTP/AVP"), "100"),
])
def test_a_caller_that_the_rule_does_not_allow_is_refused(caller, body, status):
    with stage_of(caller) as stage:
        stage.caller.request("INVITE", "sip:bot@127.0.0.1", body=body, headers=TYPE)
        stage.run()
        refused = stage.caller.received()[-1]
        assert refused.name == status
        if status == "488":
            assert "SRTP" in (refused.header("Warning") or "")
        else:
            stage.agent.answer(stage.agent.take("INVITE"), 486)
            stage.run()


def test_an_agent_that_answers_without_its_key_fails_the_call():
    with stage_of(agent=REQUIRE) as stage:
        invite = stage.invite()
        assert profile(invite.message.body) == "RTP/SAVP"
        stage.agent.answer(invite, 200, body=sdp(AGENT), headers=TYPE)
        stage.run()
        assert stage.caller.received()[-1].name in ("488", "500", "502")
        assert "BYE" in [received.name for received in stage.agent.received()]


def test_srtp_beside_rtp_is_taken_by_an_agent_that_can():
    with stage_of(agent=OFFER) as stage:
        invite = stage.invite()
        assert (profile(invite.message.body), len(lines(invite.message.body))) == ("RTP/AVP", 1)
        stage.agent.answer(invite, 200, body=over_srtp(sdp(AGENT), "RTP/AVP"), headers=TYPE)
        stage.run()
        answered = stage.caller.take("100", "200")
        assert lines(answered.message.body) == []
        one = stage.caller.caller_dialog(answered)
        one.send("ACK")
        stage.run()
        assert (stage.call.media.media.srtp(0), stage.call.media.media.srtp(1)) == ("", CM)
        stage.hang_up(one, stage.agent)


@pytest.mark.parametrize("status", [415, 488, 606])
def test_an_agent_that_refuses_srtp_beside_rtp_is_offered_it_alone(status: int):
    with stage_of(agent=OFFER) as stage:
        said: list[tuple[str, dict]] = []
        stage.calls.log = lambda level, event, **fields: said.append((event, fields))
        first = stage.invite()
        stage.agent.answer(first, status)
        stage.run()
        second = stage.agent.take("ACK", "INVITE")
        assert (profile(second.message.body), len(lines(second.message.body))) == ("RTP/SAVP", 1)
        assert (second.message.call_id, second.message.cseq[0]) == (
            first.message.call_id, first.message.cseq[0] + 1), "RFC 3261 21.4.26, 8.1.3.5"
        assert said == [("srtp refused, offered otherwise", {
            "call_id": "call-1", "peer": "127.0.0.3:5060", "upstream": "agent", "status": status,
            "profile": "RTP/SAVP"})]
        stage.agent.answer(second, 200, body=over_srtp(sdp(AGENT)), headers=TYPE)
        stage.run()
        one = stage.caller.caller_dialog(stage.caller.take("100", "200"))
        one.send("ACK")
        stage.run()
        assert (stage.call.media.media.srtp(0), stage.call.media.media.srtp(1)) == ("", CM)
        assert stage.table.anchor.statistics()["srtp_retold"] == 1
        stage.hang_up(one, stage.agent)


def test_an_agent_that_says_it_has_no_srtp_gets_none():
    with stage_of(agent=OFFER) as stage:
        stage.agent.answer(stage.invite(), 488, body=sdp(AGENT), headers=TYPE)
        stage.run()
        second = stage.agent.take("ACK", "INVITE")
        assert (profile(second.message.body), lines(second.message.body)) == ("RTP/AVP", [])
        stage.agent.answer(second, 200, body=sdp(AGENT), headers=TYPE)
        stage.run()
        one = stage.caller.caller_dialog(stage.caller.take("100", "200"))
        one.send("ACK")
        stage.run()
        stage.agent.take("ACK")
        # Nor with a re-INVITE, which would be refused again.
        one.send("INVITE", body=sdp(CALLER, version=2, direction="sendonly"), headers=TYPE)
        stage.run()
        held = stage.agent.take("INVITE")
        assert (profile(held.message.body), lines(held.message.body)) == ("RTP/AVP", [])
        stage.agent.answer(held, 200, body=sdp(AGENT, version=2, direction="recvonly"), headers=TYPE)
        stage.run()
        one.send("ACK")
        stage.hang_up(one, stage.agent)


@pytest.mark.parametrize(("mode", "tries"), [(PASS, 1), (NEVER, 1), (OFFER, 2), (REQUIRE, 1)])
def test_a_refusal_is_asked_about_once_at_most(mode: int, tries: int):
    with stage_of(agent=mode) as stage:
        invites = [stage.invite()]
        while invites[-1].name == "INVITE":
            stage.agent.answer(invites[-1], 488)
            stage.run()
            invites.append(stage.agent.received()[-1])
        assert [one.name for one in invites] == ["INVITE"] * tries + ["ACK"]
        assert stage.caller.names() == ["100", "488"]


def test_a_target_that_refuses_srtp_beside_rtp():
    base = CONFIG.replace('name = "pbx"\n', 'name = "pbx"\nsrtp = "offer"\n')
    with Stage(base=base) as stage:
        one, _, invite = stage.begin()
        assert profile(invite.message.body) == "RTP/AVP"
        stage.target.answer(invite, 488)
        stage.run()
        second = stage.target.take("ACK", "INVITE")
        assert profile(second.message.body) == "RTP/SAVP"
        stage.pick_up(second, over_srtp(sdp(TARGET)))
        record = stage.services.transfer()
        assert record.state == "completed"
        assert [step.detail for step in record.steps if step.what == "srtp"] == [
            "488 Reason: offered in another profile"]
        stage.hang_up(one, stage.agent, stage.target)


class TestFailover:
    """Each address is offered what the rule says first, and in another way what it refuses."""

    BASE = CONFIG.replace('[{address = "127.0.0.3:5060"}]', '[{address = "127.0.0.3:5060", priority = 1}, '
                                                            '{address = "127.0.0.5:5060", priority = 2}]')

    @pytest.mark.parametrize("could", [False, True], ids=["SRTP alone", "RTP alone"])
    @pytest.mark.parametrize("early", [False, True], ids=["refused", "rang first"])
    def test_the_next_address_of_an_agent(self, could: bool, early: bool):
        with Stage(base=self.BASE, table=Table(srtp=(PASS, OFFER))) as stage:
            first = stage.invite()
            stage.agent.answer(first, 488, body=sdp(AGENT) if could else b"", headers=TYPE if could else [])
            stage.run()
            other = stage.agent.take("ACK", "INVITE")
            if early:
                body = sdp(AGENT) if could else over_srtp(sdp(AGENT))
                stage.agent.answer(other, 183, body=body, headers=TYPE)
                stage.run()
            stage.agent.answer(other, 503)
            stage.run()
            second = stage.second.take("INVITE")
            assert second.message.call_id != first.message.call_id
            assert (profile(second.message.body), len(lines(second.message.body))) == ("RTP/AVP", 1)
            if not early:
                stage.second.answer(second, 488)
                stage.run()
                second = stage.second.take("ACK", "INVITE")
                assert (profile(second.message.body), len(lines(second.message.body))) == ("RTP/SAVP", 1)
            stage.second.answer(second, 200, headers=TYPE,
                                body=over_srtp(sdp(SECOND), profile(second.message.body)))
            stage.run()
            one = stage.caller.caller_dialog(stage.caller.received()[-1])
            one.send("ACK")
            stage.run()
            assert (stage.call.media.media.srtp(0), stage.call.media.media.srtp(1)) == ("", CM)
            stage.hang_up(one, stage.second)

    def test_the_next_address_of_a_target(self):
        base = CONFIG.replace('name = "pbx"\n', 'name = "pbx"\nsrtp = "offer"\n').replace(
            '[{address = "127.0.0.4:5060"}]', '[{address = "127.0.0.4:5060", priority = 1}, '
                                              '{address = "127.0.0.5:5060", priority = 2}]')
        with Stage(base=base) as stage:
            one, _ = stage.up()
            assert stage.start(stage.warm(targets=("2001",), upstream="pbx")).status == 202
            stage.target.answer(stage.target.take("INVITE"), 488)
            stage.run()
            stage.target.answer(stage.target.take("ACK", "INVITE"), 503)
            stage.run()
            invite = stage.second.take("INVITE")
            assert (profile(invite.message.body), len(lines(invite.message.body))) == ("RTP/AVP", 1)
            stage.pick_up(invite, over_srtp(sdp(SECOND), "RTP/AVP"), stage.second)
            record = stage.services.transfer()
            assert record.state == "completed"
            assert [step.detail for step in record.steps if step.what == "srtp"] == [
                "488 Reason: offered in another profile"]
            stage.hang_up(one, stage.agent, stage.second)
