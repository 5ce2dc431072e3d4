"""SRTP on controlled calls, by the rules of route and upstream."""
import pytest

from sipcore.anchor.sdes import usable
from tests.anchor.bridges import Table
from tests.anchor.secure import CM, NEVER, OFFER, PASS, REQUIRE, crypto, lines, profile

from .scene import AGENT, CALLER, CONFIG, TARGET, sdp
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
