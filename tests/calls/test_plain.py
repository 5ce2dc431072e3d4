"""Plain controlled calls: what passes between the two legs, and what each end is told, on wire bytes."""
import gc

import pytest

from proxy.calls.call import Call
from sipcore.stack.dialog import Dialog
from sipcore.stack.leg import Leg
from sipcore.stack.outgoing import Outgoing
from sipcore.stack.uac import ClientTransaction
from sipcore.stack.uas import ServerTransaction
from sipcore.wire.message import Message

from .scene import AGENT, CALLER, CONFIG, Scene, sdp

TALKATIVE = CONFIG.replace('name = "callers"', 'name = "callers"\ndialog_methods = ["BYE", "INFO", "MESSAGE"]')


@pytest.fixture
def scene():
    return Scene()


def test_a_call_is_two_calls(scene):
    one, other = scene.up()
    assert (scene.call.state, scene.call.status) == ("up", 200)
    assert one.call_id != other.call_id
    one.send("BYE")
    scene.run()
    assert scene.caller.names() == ["200"]
    bye = scene.agent.take("BYE")
    scene.agent.answer(bye, 200)
    scene.run()
    scene.over()
    assert scene.services.events() == ["call.started", "call.answered", "call.ended"]
    record = scene.services.call()
    assert (record.ended_by, record.status, record.caller) == ("caller", 200, "sip:+4930123@127.0.0.2:5060")
    assert b'"ended":"caller"' in scene.proxy.records.journal.take()


def test_the_agent_ends_it(scene):
    _, other = scene.up()
    other.send("BYE")
    scene.run()
    assert scene.agent.names() == ["200"]
    scene.caller.answer(scene.caller.take("BYE"), 200)
    scene.over()
    assert scene.services.call().ended_by == "agent"
    assert b'"ended":"callee"' in scene.proxy.records.journal.take()


def test_bodies_cross_unchanged_where_media_passes(scene):
    invite = scene.invite()
    assert invite.message.body == sdp(CALLER)
    scene.agent.answer(invite, 183, body=sdp(AGENT), headers=[("Content-Type", "application/sdp")])
    scene.run()
    assert scene.caller.take("100", "183").message.body == sdp(AGENT)
    scene.agent.answer(invite, 200, body=sdp(AGENT), headers=[("Content-Type", "application/sdp")])
    scene.run()
    assert scene.caller.take("200").message.body == sdp(AGENT)


@pytest.mark.parametrize(("status", "reason"), [(486, "Busy Here"), (603, "Decline"), (404, "No Such Bot"),
                                                (503, "Maintenance")])
def test_row_18_a_failure_arrives_unchanged(scene, status, reason):
    invite = scene.invite()
    scene.agent.answer(invite, status, reason=reason, headers=[("Retry-After", "17")])
    scene.run()
    refused = scene.caller.take("100", str(status))
    assert refused.message.reason == reason
    assert refused.header("Retry-After") == "17"
    scene.caller.ack(scene.invited, refused)
    scene.over()
    record = scene.services.call()
    assert (record.status, record.reason, record.ended_by) == (status, reason, "agent")


@pytest.mark.parametrize("status", [300, 302, 485])
def test_where_else_to_call_reaches_the_caller(scene, status):
    """RFC 3261 8.1.3.4, 21.4.23: the edge follows no redirection itself; the caller may."""
    contacts = ['"Desk" <sip:desk@192.0.2.7>;q=0.9', "<sip:mobile@192.0.2.8>"]
    invite = scene.invite()
    scene.agent.answer(invite, status, headers=[("Contact", contact) for contact in contacts])
    scene.run()
    answer = scene.caller.take("100", str(status))
    assert list(answer.message.headers("Contact")) == contacts
    scene.caller.ack(scene.invited, answer)
    scene.over()


def test_another_refusal_names_no_place(scene):
    invite = scene.invite()
    scene.agent.answer(invite, 486, headers=[("Contact", "<sip:desk@192.0.2.7>")])
    scene.run()
    answer = scene.caller.take("100", "486")
    assert answer.header("Contact") is None
    scene.caller.ack(scene.invited, answer)
    scene.over()


def test_the_caller_cancels(scene):
    invite = scene.invite()
    scene.agent.answer(invite, 180)
    scene.run()
    scene.caller.take("100", "180")
    scene.caller.cancel(scene.invited)
    scene.run()
    answered = scene.caller.received()
    assert [one.name for one in answered] == ["200", "487"]
    scene.caller.ack(scene.invited, answered[1])
    cancel = scene.agent.take("CANCEL")
    scene.agent.answer(cancel, 200)
    scene.agent.answer(invite, 487)
    scene.over()
    assert (scene.services.call().ended_by, scene.services.call().status) == ("caller", 487)


def test_a_cancel_that_crosses_a_200_is_acknowledged_and_ended(scene):
    invite = scene.invite()
    scene.agent.answer(invite, 180)
    scene.run()
    scene.caller.take("100", "180")
    scene.caller.cancel(scene.invited)
    scene.agent.answer(invite, 200, body=sdp(AGENT), headers=[("Content-Type", "application/sdp")])
    scene.run()
    names = scene.agent.names()
    assert names[-2:] == ["ACK", "BYE"]
    scene.over()


def test_hold_and_resume_cross_both_ways(scene):
    one, other = scene.up()
    for here, there, host in ((one, other, CALLER), (other, one, AGENT)):
        body = sdp(host, version=2, direction="sendonly")
        here.send("INVITE", body=body, headers=[("Content-Type", "application/sdp")])
        scene.run()
        invite = there.phone.take("INVITE")
        assert invite.message.body == body
        there.phone.answer(invite, 200, body=sdp("127.9.9.9"), headers=[("Content-Type", "application/sdp")])
        scene.run()
        there.phone.take("ACK")
        answered = here.phone.take("100", "200")
        assert answered.message.body == sdp("127.9.9.9")
        here.send("ACK", cseq=answered.message.cseq[0])
        scene.run()
    one.send("BYE")
    scene.over()


def test_a_reinvite_without_an_offer_asks_the_other_side_for_one(scene):
    one, _ = scene.up()
    one.send("INVITE")
    scene.run()
    invite = scene.agent.take("INVITE")
    assert invite.message.body == b""
    scene.agent.answer(invite, 200, body=sdp(AGENT, version=3), headers=[("Content-Type", "application/sdp")])
    scene.run()
    assert scene.agent.names() == []
    answered = scene.caller.take("100", "200")
    assert answered.message.body == sdp(AGENT, version=3)
    one.send("ACK", cseq=answered.message.cseq[0], body=sdp(CALLER, version=4),
             headers=[("Content-Type", "application/sdp")])
    scene.run()
    assert scene.agent.take("ACK").message.body == sdp(CALLER, version=4)
    one.send("BYE")
    scene.over()


def test_an_invite_without_an_offer(scene):
    invite = scene.invite(body=b"")
    assert invite.message.body == b""
    scene.agent.answer(invite, 200, body=sdp(AGENT), headers=[("Content-Type", "application/sdp")])
    scene.run()
    assert scene.agent.names() == []
    answered = scene.caller.take("100", "200")
    assert answered.message.body == sdp(AGENT)
    one = scene.caller.caller_dialog(answered)
    one.send("ACK", body=sdp(CALLER), headers=[("Content-Type", "application/sdp")])
    scene.run()
    assert scene.agent.take("ACK").message.body == sdp(CALLER)
    one.send("BYE")
    scene.over()


def test_a_refused_reinvite_leaves_the_call_as_it_was(scene):
    one, _ = scene.up()
    one.send("INVITE", body=sdp(CALLER, version=2), headers=[("Content-Type", "application/sdp")])
    scene.run()
    scene.agent.answer(scene.agent.take("INVITE"), 488, reason="Not Here")
    scene.run()
    scene.agent.take("ACK")
    refused = scene.caller.take("100", "488")
    assert refused.message.reason == "Not Here"
    scene.caller.send(one.request("ACK", cseq=refused.message.cseq[0]))
    one.send("BYE")
    scene.over()


@pytest.mark.parametrize("method", ["INFO", "MESSAGE"])
def test_info_and_message_cross(method):
    scene = Scene(base=TALKATIVE)
    one, _ = scene.up()
    one.send(method, body=b"Signal=5\r\n", headers=[("Content-Type", "application/dtmf-relay"), ("X-Hop", "1")])
    scene.run()
    got = scene.agent.take(method)
    assert (got.message.body, got.header("Content-Type")) == (b"Signal=5\r\n", "application/dtmf-relay")
    scene.agent.answer(got, 415, reason="What Is This")
    scene.run()
    assert scene.caller.take("415").message.reason == "What Is This"
    one.send("BYE")
    scene.over()


def test_max_forwards_goes_down_and_ends(scene):
    assert scene.invite(max_forwards=9).header("Max-Forwards") == "8"
    scene.over(600_000)


def test_the_agent_is_silent(scene):
    scene.invite()
    scene.run(40_000)
    assert [name for name in scene.caller.names() if name != "100"] != []
    scene.over()


def test_odd_headers_cross_and_internal_ones_do_not():
    scene = Scene()
    invite = scene.invite(headers=[("X-Ticket", "7"), ("X-Internal-Key", "s"), ("x-internal-b", "s"),
                                   ("P-Asserted-Identity", "<sip:x@y>"), ("Foo-Bar", "a, b;c")])
    assert invite.header("X-Ticket") == "7"
    assert invite.header("Foo-Bar") == "a, b;c"
    for name in ("X-Internal-Key", "x-internal-b", "P-Asserted-Identity"):
        assert invite.header(name) is None
    scene.over(600_000)


def test_nothing_of_a_call_waits_for_its_transactions(scene):
    """The edge's INVITE lingers for 64*T1, because its 2xx may come again, but as bytes alone."""
    def alive():
        kinds = (Call, Leg, Dialog, Message, Outgoing, ClientTransaction, ServerTransaction)
        return [thing for thing in gc.get_objects() if isinstance(thing, kinds)]

    gc.collect()
    gc.disable()
    try:
        before = len(alive())
        invite = scene.invite()
        answer = {"body": sdp(AGENT), "headers": [("Content-Type", "application/sdp")]}
        scene.agent.answer(invite, 200, **answer)
        scene.run()
        one = scene.caller.caller_dialog(scene.caller.take("100", "200"))
        one.send("ACK")
        one.send("BYE")
        scene.run()
        scene.agent.answer(scene.agent.take("ACK", "BYE"), 200)
        scene.run()
        scene.caller.received()
        assert len(alive()) == before
    finally:
        gc.enable()
    assert scene.proxy.live
    scene.agent.answer(invite, 200, **answer)
    scene.run()
    assert scene.agent.names() == ["ACK"]
    scene.agent.answer(invite, 200, tag="another", **answer)
    scene.agent.answer(invite, 200, tag="third", **answer)
    scene.agent.answer(invite, 200, tag="another", **answer)
    scene.run()
    sent = [(one.name, one.message.to_tag) for one in scene.agent.received()]
    assert sent == [("ACK", "another"), ("BYE", "another"), ("ACK", "third"), ("BYE", "third"), ("ACK", "another")]


def test_a_call_leaves_nothing_to_the_garbage_collector(scene):
    def one_call():
        one, _ = scene.up()
        one.send("BYE")
        scene.run()
        scene.agent.answer(scene.agent.received()[-1], 200)
        scene.over()
        scene.caller.received()

    one_call()
    gc.collect()
    gc.disable()
    try:
        one_call()
        gc.set_debug(gc.DEBUG_SAVEALL)
        gc.collect()
        left = [thing for thing in gc.garbage if isinstance(thing, (Call, Leg, Dialog))]
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()
    assert left == []
