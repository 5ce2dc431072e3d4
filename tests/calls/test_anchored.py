"""Plain controlled calls whose audio goes through the edge: each leg has a description of its own, and an alarm tells
of an end that sends nothing (transfers.md section 7, row 17)."""
import json
import select
import time

import pytest

from sipcore.wire.sdp import Sdp
from tests.anchor.bridges import Table
from tests.media.stage import HOST, PATIENCE

from .scene import AGENT, CALLER, sdp
from .stage import TYPE, Stage


@pytest.fixture
def stage():
    with Stage() as stage:
        yield stage


def audio(body):
    """(address, port, direction) of the description's audio."""
    text = body.decode()
    address = next(line[9:] for line in text.splitlines() if line.startswith("c=IN IP4 "))
    port = next(int(line.split()[1]) for line in text.splitlines() if line.startswith("m=audio "))
    direction = next((word for word in ("sendonly", "recvonly", "inactive") if f"a={word}" in text), "sendrecv")
    assert Sdp(body)
    return address, port, direction


def test_each_leg_is_told_another_port_of_the_edge(stage):
    invite = stage.invite()
    offered = audio(invite.message.body)
    stage.agent.answer(invite, 200, body=sdp(AGENT), headers=TYPE)
    stage.run()
    answered = stage.caller.received()[-1]
    told = audio(answered.message.body)
    assert (offered[0], told[0]) == (HOST, HOST)
    assert offered[1] != told[1]
    one = stage.caller.caller_dialog(answered)
    one.send("ACK")
    stage.run()
    stage.hang_up(one, stage.agent)


def test_the_calls_line_says_what_the_audio_was_like(stage):
    one, _, invite = stage.begin()
    stage.pick_up(invite, sdp("127.0.0.4", payloads="0 101"))
    stage.hang_up(one, stage.agent, stage.target)
    lines = [json.loads(line) for line in stage.proxy.records.journal.take().splitlines()]
    (line,) = [line for line in lines if line["event"] == "call"]
    silent = {"packets": 0, "octets": 0}
    assert line["media"] == {"codec": "PCMU", "caller": silent, "callee": silent, "target": silent}
    assert set(stage.services.call().audio) == {"caller", "agent", "target"}


def test_early_media_and_then_an_answer(stage):
    invite = stage.invite()
    stage.agent.answer(invite, 183, body=sdp(AGENT), headers=TYPE)
    stage.run()
    early = stage.caller.take("100", "183")
    stage.agent.answer(invite, 200, body=sdp(AGENT), headers=TYPE)
    stage.run()
    final = stage.caller.take("200")
    assert audio(early.message.body) == audio(final.message.body)
    one = stage.caller.caller_dialog(final)
    one.send("ACK")
    stage.run()
    stage.hang_up(one, stage.agent)


def test_hold_and_resume(stage):
    one, other = stage.up()
    for direction, seen in (("sendonly", "recvonly"), ("sendrecv", "sendrecv")):
        one.send("INVITE", body=sdp(CALLER, version=5, direction=direction), headers=TYPE)
        stage.run()
        asked = stage.agent.received()[-1]
        assert asked.name == "INVITE"
        assert audio(asked.message.body)[2] == direction
        stage.agent.answer(asked, 200, body=sdp(AGENT, version=5, direction=seen), headers=TYPE)
        stage.run()
        answered = stage.caller.received()[-1]
        assert (answered.name, audio(answered.message.body)[2]) == ("200", seen)
        one.send("ACK", cseq=answered.message.cseq[0])
        stage.run()
    assert other.call_id
    stage.hang_up(one, stage.agent)


def test_an_invite_without_an_offer(stage):
    invite = stage.invite(body=b"")
    stage.agent.answer(invite, 200, body=sdp(AGENT), headers=TYPE)
    stage.run()
    answered = stage.caller.received()[-1]
    assert audio(answered.message.body)[0] == HOST
    one = stage.caller.caller_dialog(answered)
    one.send("ACK", body=sdp(CALLER), headers=TYPE)
    stage.run()
    assert audio(stage.agent.take("ACK").message.body)[0] == HOST
    stage.hang_up(one, stage.agent)


RELIABLE = [*TYPE, ("Require", "100rel"), ("RSeq", "1")]


def test_an_early_description_that_is_no_offer(stage):
    """In an unreliable response to an INVITE without an offer it is none (RFC 3261 13.2.1); that of the 2xx is."""
    invite = stage.invite(body=b"", headers=[("Supported", "100rel")])
    stage.agent.answer(invite, 183, body=sdp(AGENT), headers=TYPE)
    stage.run()
    assert stage.caller.take("100", "183").message.body == b""
    stage.agent.answer(invite, 200, body=sdp(AGENT), headers=TYPE)
    answer_late(stage)


def test_an_early_offer_to_a_caller_without_reliable_responses(stage):
    """The agent is not asked for any; one that sends it all the same is answered with the caller's ACK."""
    invite = stage.invite(body=b"")
    assert "100rel" not in (invite.message.header("Supported") or "")
    stage.agent.answer(invite, 183, body=sdp(AGENT), headers=RELIABLE)
    stage.run()
    stage.caller.received()
    stage.agent.answer(invite, 200)
    stage.run()
    answered = stage.caller.received()[-1]
    assert audio(answered.message.body)[0] == HOST
    one = stage.caller.caller_dialog(answered)
    one.send("ACK", body=sdp(CALLER), headers=TYPE)
    stage.run()
    prack = stage.agent.take("ACK", "PRACK")
    assert audio(prack.message.body)[0] == HOST
    stage.agent.answer(prack, 200)
    stage.run()
    hold(stage, one)


def test_what_was_agreed_on_early_comes_again_with_the_answer(stage):
    """A description in the 2xx is no second offer then."""
    invite = stage.invite(body=b"", headers=[("Supported", "100rel")])
    stage.agent.answer(invite, 183, body=sdp(AGENT), headers=RELIABLE)
    stage.run()
    early = stage.caller.take("100", "183")
    one = stage.caller.caller_dialog(early)
    one.send("PRACK", headers=[("RAck", f"{early.header('RSeq')} 1 INVITE"), *TYPE], body=sdp(CALLER))
    stage.run()
    stage.agent.answer(stage.agent.take("PRACK"), 200)
    stage.run()
    stage.caller.received()
    stage.agent.answer(invite, 200, body=sdp(AGENT), headers=TYPE)
    stage.run()
    assert stage.caller.take("200").message.body == b""
    one.send("ACK", cseq=1)
    stage.run()
    stage.agent.received()
    hold(stage, one)


def answer_late(stage):
    """The 2xx has the offer, the caller's ACK the answer, and the call goes on from there."""
    stage.run()
    answered = stage.caller.received()[-1]
    assert audio(answered.message.body)[0] == HOST
    one = stage.caller.caller_dialog(answered)
    one.send("ACK", body=sdp(CALLER), headers=TYPE)
    stage.run()
    assert audio(stage.agent.take("ACK").message.body)[0] == HOST
    hold(stage, one)


def hold(stage, one):
    """No offer waits any more: the next one crosses."""
    one.send("INVITE", body=sdp(CALLER, version=5, direction="sendonly"), headers=TYPE)
    stage.run()
    assert audio(stage.agent.take("INVITE").message.body)[2] == "sendonly"
    stage.hang_up(one, stage.agent)


def test_another_forks_early_offer_leaves_nothing_behind(stage):
    """Only the first fork's is passed on, where the INVITE had none: no offer may wait for ever after that."""
    invite = stage.invite(body=b"", headers=[("Supported", "100rel")])
    stage.agent.answer(invite, 183, tag="one", body=sdp(AGENT), headers=[*TYPE, ("Require", "100rel"), ("RSeq", "1")])
    stage.run()
    early = stage.caller.take("100", "183")
    one = stage.caller.caller_dialog(early)
    one.send("PRACK", headers=[("RAck", f"{early.header('RSeq')} 1 INVITE"), *TYPE], body=sdp(CALLER))
    stage.run()
    stage.agent.answer(stage.agent.take("PRACK"), 200)
    stage.run()
    assert stage.caller.names() == ["200"]
    stage.agent.answer(invite, 183, tag="two", body=sdp(AGENT, 6000),
                       headers=[*TYPE, ("Require", "100rel"), ("RSeq", "1")])
    stage.run()
    assert stage.caller.take("183").message.body == b""
    stage.agent.received()
    stage.agent.answer(invite, 200, tag="one")
    stage.run()
    assert stage.caller.names() == ["200"]
    one.send("ACK", cseq=1)
    stage.run()
    stage.agent.received()
    one.send("INVITE", body=sdp(CALLER, version=5, direction="sendonly"), headers=TYPE)
    stage.run()
    assert stage.agent.take("INVITE").message.body
    stage.hang_up(one, stage.agent)


def test_a_reinvite_without_an_offer(stage):
    one, _ = stage.up()
    one.send("INVITE")
    stage.run()
    asked = stage.agent.received()[-1]
    assert (asked.name, asked.message.body) == ("INVITE", b"")
    stage.agent.answer(asked, 200, body=sdp(AGENT, version=3), headers=TYPE)
    stage.run()
    answered = stage.caller.received()[-1]
    assert audio(answered.message.body)[0] == HOST
    one.send("ACK", cseq=answered.message.cseq[0], body=sdp(CALLER, version=4), headers=TYPE)
    stage.run()
    assert audio(stage.agent.take("ACK").message.body)[0] == HOST
    stage.hang_up(one, stage.agent)


def test_a_refused_reinvite_leaves_the_audio_as_it_was(stage):
    one, other = stage.up()
    before = stage.call.media.media.descriptions(0)
    one.send("INVITE", body=sdp(CALLER, port=4444, version=2), headers=TYPE)
    stage.run()
    stage.agent.answer(stage.agent.received()[-1], 488)
    stage.run()
    assert stage.caller.received()[-1].name == "488"
    assert stage.call.media.media.descriptions(0) == before
    assert stage.call.media.media.pending(0) == stage.call.media.media.pending(1) == ""
    other.send("INVITE", body=sdp(AGENT, version=2), headers=TYPE)
    stage.run()
    assert stage.caller.received()[-1].name == "INVITE"
    stage.hang_up(one, stage.agent)


@pytest.mark.parametrize("body", [
    b"v=0\r\no=- 1 1 IN IP4 127.0.0.2\r\ns=-\r\nc=IN IP4 127.0.0.2\r\nt=0 0\r\nm=audio 4000 RTP/SAVP 0\r\n"
    b"a=crypto:1 F8_128_HMAC_SHA1_80 inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz\r\n",
    b"not a description\r\n"])
def test_what_cannot_be_anchored_is_488(stage, body):
    stage.caller.request("INVITE", "sip:bot@127.0.0.1", body=body, headers=TYPE)
    stage.run()
    refused = stage.caller.received()[-1]
    assert refused.name == "488"
    assert refused.header("Warning") is not None
    assert stage.agent.names() == []


def test_the_agents_failure_gives_every_port_back(stage):
    invite = stage.invite()
    stage.agent.answer(invite, 486)
    stage.run()
    assert stage.caller.received()[-1].name == "486"


def test_row_17_an_end_that_sends_nothing_is_told():
    with Stage(table=Table(silence_ms=300)) as stage:
        lines = []
        stage.calls.log = lambda level, event, **fields: lines.append((level, event, fields))
        one, _ = stage.up()
        until = time.monotonic() + PATIENCE
        while "call.silent" not in stage.services.events():
            assert time.monotonic() < until
            select.select([stage.table.relay.fileno()], [], [], 0.1)
            stage.take_audio()
        said = next(said for said in stage.services.said if getattr(said, "name", "") == "call.silent")
        assert said.detail["side"] in ("caller", "agent")
        assert said.detail["ms"] >= 300
        level, event, fields = lines[0]
        assert (level, event) == ("warning", "no audio")
        assert fields == {"call_id": "call-1", "side": said.detail["side"], "seconds": said.detail["ms"] / 1000}
        stage.hang_up(one, stage.agent)
