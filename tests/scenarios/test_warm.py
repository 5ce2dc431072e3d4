"""Warm transfers that the edge runs, with targets that do as they like: section 5 of the requirement, and its row 16.

Whatever becomes of the target, nothing of it reaches the caller's and the agent's call: SIPp ends a side with an error
at the first message that it does not expect.
"""
import pytest

from tests.edge import wait_until
from tests.scenarios.controlled import agent, caller, fragments, identity, refer_to, referring, target
from tests.scenarios.script import Calling, description

USER = "anchored"


def test_a_warm_transfer_that_completes(controlled, records):
    """The target is called with context, the caller stays, the agent is let go after its final NOTIFY was answered."""
    answering = controlled.callee(target().ring().on_cue().accept().expect("ACK").hung_up(), host=4)
    one = controlled.callee(referring("warm", controlled.net, "X-Internal-Secret: 4711").answer("NOTIFY")
                            .expect("NOTIFY").pause(200).reply(200).hung_up())
    calling = caller("X-Account: 4712", "X-Internal-Account: 4713")
    other = controlled.start(calling.on_cue().hang_up(), user=USER)
    controlled.cue(answering, lambda: len(fragments(one)) == 2, "the agent knows that it rings")
    controlled.cue(other, lambda: one.ended, "the agent is let go")
    controlled.finish()
    assert fragments(one) == ["100 Trying", "180 Ringing", "200 OK"]
    invite = answering.received("INVITE")[0]
    assert invite.first_line == f"INVITE sip:warm@{controlled.net}.4:5070 SIP/2.0"
    assert invite.values("X-Customer-Intent") == ["billing question"]
    assert invite.values("X-Account") == ["4712"]
    assert "X-Internal" not in invite.text
    assert f"c=IN IP4 {controlled.net}.1" in invite.text
    assert "sip:anchored@" in invite.values("From")[0], "the target sees the agent's number"
    known = {side.values("Call-ID")[0] for side in (other.seen()[0], one.received("INVITE")[0], invite)}
    assert len(known) == 3
    assert not other.received("REFER")
    assert records()[0]["state"] == "completed"


@pytest.mark.parametrize("status", [486, 404, 503, 603])
def test_a_target_that_refuses(controlled, records, status):
    """The agent is told the status and goes on."""
    refusing = controlled.callee(target().ring().on_cue().refuse(status), host=4)
    one = controlled.callee(referring("warm", controlled.net).answer("NOTIFY").answer("NOTIFY").pause(100).hang_up())
    controlled.start(caller().hung_up(), user=USER)
    controlled.cue(refusing, lambda: len(fragments(one)) == 2, "the agent knows that it rings")
    controlled.finish()
    assert fragments(one)[2].startswith(f"{status} ")
    record = records()[0]
    assert (record["state"], record["status"], record["fell_back"]) == ("failed", status, "return")
    assert f"({status}), the caller stayed with the agent." in record["verdict"]


def test_the_agent_tries_again(controlled):
    """Row 14: each attempt is a call of its own, with a fresh Call-ID and tag."""
    busy = controlled.callee(target().refuse(486), host=4, calls=2)
    again = referring("warm", controlled.net).answer("NOTIFY")
    again.request("REFER", refer_to("warm", controlled.net)).expect(202)
    one = controlled.callee(again.answer("NOTIFY").answer("NOTIFY").hang_up())
    controlled.caller(caller().hung_up(), user=USER)
    assert fragments(one) == ["100 Trying", "486 Busy Here"] * 2
    first, second = (identity(invite) for invite in busy.received("INVITE"))
    assert first[0] != second[0]
    assert first[1] != second[1]


def test_no_answer_within_the_ring_timeout(controlled, records):
    silent = controlled.callee(target().ring().answer("CANCEL").refuse(487), host=4)
    one = controlled.callee(referring("brief", controlled.net).answer("NOTIFY").answer("NOTIFY").hang_up())
    controlled.caller(caller().hung_up(), user=USER)
    assert silent.received("CANCEL")
    assert fragments(one)[2].split()[0] in ("408", "480", "487")
    assert records()[0]["state"] == "failed"


def test_the_caller_hangs_up_while_the_target_rings(controlled, records):
    """Row 16: the target is cancelled."""
    ringing = controlled.callee(target().ring().answer("CANCEL").refuse(487), host=4)
    one = controlled.callee(referring("warm", controlled.net).answer("NOTIFY").answer("NOTIFY").hung_up())
    other = controlled.start(caller().on_cue().hang_up(), user=USER)
    controlled.cue(other, lambda: len(fragments(one)) == 2, "the agent knows that it rings")
    controlled.finish()
    assert ringing.received("CANCEL")
    assert not fragments(one)[2].startswith("2")
    assert records()[0]["state"] == "cancelled"


def test_cancel_against_the_targets_200(controlled, records):
    """Row 16: the 200 was on its way already, so that call gets ACK and BYE."""
    controlled.callee(target().ring().answer("CANCEL").accept().expect("ACK").hung_up(), host=4)
    one = controlled.callee(referring("warm", controlled.net).answer("NOTIFY").answer("NOTIFY").hung_up())
    other = controlled.start(caller().on_cue().hang_up(), user=USER)
    controlled.cue(other, lambda: len(fragments(one)) == 2, "the agent knows that it rings")
    controlled.finish()
    assert records()[0]["state"] == "cancelled"


def test_the_agent_hangs_up_while_the_target_rings(controlled, records):
    """Row 4: the transfer goes on without the agent."""
    ringing = controlled.callee(target().ring().on_cue().accept().expect("ACK").hung_up(), host=4)
    leaving = referring("warm", controlled.net).answer("NOTIFY").hang_up().answer("NOTIFY")
    one = controlled.callee(leaving)
    other = controlled.start(caller().on_cue().hang_up(), user=USER)
    controlled.cue(ringing, lambda: one.received("SIP/2.0 200"), "the agent has gone")
    controlled.cue(other, lambda: one.ended, "the agent is told of the end")
    controlled.finish()
    assert fragments(one)[2] == "200 OK"
    assert records()[0]["state"] == "completed"


def test_the_next_target_of_the_list(controlled, records):
    first = controlled.callee(target("first").ring().on_cue().refuse(486), host=4)
    second = controlled.callee(target("second").accept().expect("ACK").hung_up(), host=5)
    one = controlled.callee(referring("list", controlled.net).answer("NOTIFY").answer("NOTIFY").hung_up())
    other = controlled.start(caller().on_cue().hang_up(), user=USER)
    controlled.cue(first, lambda: len(fragments(one)) == 2, "the agent knows that it rings")
    controlled.cue(other, lambda: one.ended, "the agent is let go")
    controlled.finish()
    assert fragments(one) == ["100 Trying", "180 Ringing", "200 OK"]
    assert identity(first.received("INVITE")[0])[0] != identity(second.received("INVITE")[0])[0]
    assert records()[0]["state"] == "completed"


def test_the_end_of_the_list(controlled, records):
    """Section 5, `next`: back to the agent, with the last target's status."""
    controlled.callee(target("first").refuse(486), host=4)
    controlled.callee(target("second").refuse(480), host=5)
    one = controlled.callee(referring("list", controlled.net).answer("NOTIFY").hang_up())
    controlled.caller(caller().hung_up(), user=USER)
    assert fragments(one) == ["100 Trying", "480 Temporarily Unavailable"]
    assert records()[0]["state"] == "failed"


def test_a_blind_transfer_with_a_net(controlled, records):
    """`bridge`: what the caller's server could not do, the edge does by INVITE."""
    reached = controlled.callee(target().accept().expect("ACK").hung_up(), host=4)
    one = controlled.callee(referring("bridge", controlled.net).answer("NOTIFY").hung_up())
    declining = caller().expect("REFER").reply(603)
    other = controlled.start(declining.on_cue().hang_up(), user=USER)
    controlled.cue(other, lambda: one.ended, "the agent is let go")
    controlled.finish()
    assert fragments(one) == ["100 Trying", "200 OK"]
    assert reached.received("INVITE")[0].first_line.startswith(f"INVITE sip:bridge@{controlled.net}.4:5070 ")
    assert records()[0]["state"] == "completed"


def test_early_media_of_a_targets_forks_reaches_nobody(controlled):
    """Caller and agent go on; the first 200 is the target, the other one is ended."""
    forks = target()
    for fork, port in (("x", "40002"), ("y", "40004")):
        forks.ring(183, body=description(port=port), fork=fork).on_cue()
    forks.accept(fork="y").expect("ACK").accept(fork="x").expect("ACK").hung_up().hung_up()
    both = controlled.callee(forks, host=4)
    told = referring("warm", controlled.net).answer("NOTIFY").answer("NOTIFY").answer("NOTIFY")
    one = controlled.callee(told.hung_up())
    other = controlled.start(caller().on_cue().hang_up(), user=USER)
    for count in (2, 3):
        controlled.cue(both, lambda count=count: len(fragments(one)) == count, "the agent is told of the fork")
    controlled.cue(other, lambda: one.ended, "the agent is let go")
    controlled.finish()
    assert fragments(one) == ["100 Trying", "183 Session Progress", "183 Session Progress", "200 OK"]
    assert [bye.values("To")[0][-1] for bye in both.received("BYE")] == ["x", "y"]


def test_an_attended_transfer_across_the_legs(controlled, records):
    """Row 20: Replaces names a dialog of the agent's with the edge; caller and target are joined, the agent is let go
    in both of its calls."""
    joined = target().accept().expect("ACK").expect("INVITE", keep="again")
    joined.reply(200, body=description(2), to="again", once=False).expect("ACK")
    consulted = controlled.callee(joined.hung_up(), host=4)
    consulting = Calling("consulting", "agent").invite().established().hung_up()
    second = controlled.start(consulting, user="consulted", host=6)
    wait_until(lambda: second.received("SIP/2.0 200") and consulted.received("ACK"), "the consultation is up")
    answer = second.received("SIP/2.0 200")[0]
    call_id = answer.values("Call-ID")[0].replace("@", "%40")
    own, edges = (answer.values(name)[0].partition(";tag=")[2] for name in ("From", "To"))
    replaces = f"{call_id}%3Bto-tag%3D{edges}%3Bfrom-tag%3D{own}"
    joining = agent().request("REFER", refer_to("warm", controlled.net, query=f"?Replaces={replaces}")).expect(202)
    one = controlled.callee(joining.answer("NOTIFY").answer("NOTIFY").hung_up())
    other = controlled.start(caller().on_cue().hang_up(), user=USER)
    controlled.cue(other, lambda: one.ended and second.ended and len(consulted.received("ACK")) == 2, "they are joined")
    controlled.finish()
    assert fragments(one) == ["100 Trying", "200 OK"]
    assert not other.received("REFER")
    first, again = (message.text.partition("\no=")[2].split()[:3] for message in consulted.received("INVITE"))
    assert first[:2] == again[:2], "the same session"
    assert int(again[2]) == int(first[2]) + 1


def test_the_target_hangs_up_during_the_whisper(controlled, records):
    """It never had the caller: the agent is told, and goes on."""
    controlled.callee(target().accept().expect("ACK").pause(500).hang_up(), host=4)
    one = controlled.callee(referring("whisper", controlled.net).answer("NOTIFY").hang_up())
    controlled.caller(caller().hung_up(), user=USER)
    assert not fragments(one)[1].startswith("2")
    assert records()[0]["state"] == "failed"


def test_the_caller_hangs_up_during_the_whisper(controlled, records):
    hearing = controlled.callee(target().accept().expect("ACK").hung_up(), host=4)
    one = controlled.callee(referring("whisper", controlled.net).answer("NOTIFY").hung_up())
    other = controlled.start(caller().on_cue().hang_up(), user=USER)
    controlled.cue(other, lambda: hearing.received("ACK"), "the target hears the whisper")
    controlled.finish()
    assert not fragments(one)[1].startswith("2")
    assert records()[0]["state"] == "cancelled"


def test_the_agent_hangs_up_during_the_whisper(controlled, records):
    """Row 4: the caller waits for the end of it, and is joined with the target."""
    hearing = controlled.callee(target().accept().expect("ACK").hung_up(), host=4)
    one = controlled.callee(referring("whisper", controlled.net).on_cue().hang_up().answer("NOTIFY"))
    other = controlled.start(caller().on_cue().hang_up(), user=USER)
    controlled.cue(one, lambda: hearing.received("ACK"), "the target hears the whisper")
    controlled.cue(other, lambda: one.ended, "the agent is told of the end")
    controlled.finish()
    assert records()[0]["state"] == "completed"
    assert fragments(one) == ["100 Trying", "200 OK"]


def test_a_target_that_is_not_there(controlled, records):
    """Nobody at that address: the status says so at once, and the agent goes on."""
    one = controlled.callee(referring("warm", controlled.net, host=9).answer("NOTIFY").hang_up())
    controlled.caller(caller().hung_up(), user=USER)
    record = records()[0]
    assert (record["state"], record["status"], record["fell_back"]) == ("failed", 503, "return")
    assert fragments(one) == ["100 Trying", "503 Service Unavailable"]


def test_nobody_has_common_codecs(controlled, records):
    """Row 17: a target that chooses a codec that the caller never had is no target."""
    strange = target().accept(body=description(codecs=(("18", "G729"),)))
    strange.expect("ACK").hung_up()
    controlled.callee(strange, host=4)
    one = controlled.callee(referring("warm", controlled.net).answer("NOTIFY").hang_up())
    controlled.caller(caller().hung_up(), user=USER)
    assert fragments(one)[1].startswith("488 ")
    assert records()[0]["state"] == "failed"


def up(api, side) -> dict:
    """The call of a side, as soon as it is up."""
    def found() -> list[dict]:
        known = {call_id for message in side.seen()[:1] for call_id in message.values("Call-ID")}
        return [call for call in api.get("/v1/calls")["calls"]
                if call["state"] == "up" and known & {leg["sip_call_id"] for leg in call["legs"]}]

    wait_until(found, "the call is up")
    return found()[0]


def test_a_transfer_that_the_api_starts(controlled, api, records):
    """The same as by REFER, and the agent hears of it only by its BYE."""
    answering = controlled.callee(target().ring().accept().expect("ACK").hung_up(), host=4)
    controlled.callee(agent().hung_up())
    call = up(api, controlled.start(caller("X-Account: 4712").hung_up(), user=USER))
    started = api.post(f"/v1/calls/{call['id']}/transfer", {
        "action": "warm", "target": f"sip:direct@{controlled.net}.4:5070", "variables": {"X-Account": "4713"}})
    record = records()[0]
    assert (record["id"], record["state"], record["started_by"]) == (started["id"], "completed", "api")
    api.delete(f"/v1/calls/{call['id']}")
    controlled.finish()
    invite = answering.received("INVITE")[0]
    assert invite.first_line == f"INVITE sip:direct@{controlled.net}.4:5070 SIP/2.0"
    assert invite.values("X-Account") == ["4713"]


def test_a_transfer_that_the_api_cancels(controlled, api, records):
    controlled.callee(target().ring().answer("CANCEL").refuse(487), host=4)
    one = controlled.callee(referring("warm", controlled.net).answer("NOTIFY").answer("NOTIFY").hang_up())
    other = controlled.start(caller().hung_up(), user=USER)
    wait_until(lambda: len(one.received("NOTIFY")) == 2, "the target rings")
    api.delete(f"/v1/transfers/{up(api, other)['transfer']}")
    controlled.finish()
    assert fragments(one)[2].startswith("487 ")
    assert records()[0]["state"] == "cancelled"


def test_a_blind_transfer_that_the_api_starts(controlled, api, records):
    controlled.callee(agent().hung_up())
    following = caller().expect("REFER").reply(202).notify(100).expect(200).notify(200).expect(200).hung_up()
    call = up(api, controlled.start(following, user="agent"))
    api.post(f"/v1/calls/{call['id']}/transfer", {"action": "blind", "target": f"sip:2001@{controlled.net}.4:5070"})
    controlled.finish()
    assert records()[0]["state"] == "completed"
