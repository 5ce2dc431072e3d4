"""Controlled calls on an edge: their INVITE and their dialogs are the edge's own, beside calls that are forwarded."""
import gc
import re

import pytest

from sipcore.stack.dialog import Dialog
from sipcore.stack.handler import Handler
from sipcore.stack.outgoing import Outgoing
from tests.endpoints import SDP

from .controlled import ALICE, BOB, Calls


@pytest.fixture
def calls():
    return Calls()


def test_a_call_has_two_dialogs_of_the_edges_own(calls):
    one, other = calls.up()
    assert calls.bench.asked == [("INVITE", "sip:100@127.0.0.1")]
    assert one.call_id != other.call_id
    assert {one.local, one.remote}.isdisjoint({other.local, other.remote})
    assert (one.routes, other.routes) == ([], [])
    token = r"sip:127\.0\.0\.1:5060;t=[0-9a-v]{26}"
    assert re.fullmatch(token, one.target)
    assert re.fullmatch(token, other.target)
    assert one.target != other.target
    assert calls.proxy.statistics()["calls_up"] == 1
    assert calls.proxy.statistics()["controlled_dialogs"] == 2
    calls.end(one, other)
    assert calls.bench.count("calls_ended") == 1
    line = calls.proxy.records.journal.take().decode()
    assert '"ended":"caller"' in line
    assert '"status":200' in line
    assert '"note":"by rule"' in line
    calls.done()


def test_the_callee_may_end_it_too(calls):
    one, other = calls.up()
    calls.end(other, one)
    assert '"ended":"callee"' in calls.proxy.records.journal.take().decode()
    calls.done()


def test_the_handler_sees_verdict_group_and_listener():
    seen = []

    class Look(Handler):
        def on_request(self, tx):
            seen.append((tx.request.method, tx.verdict.control, tx.verdict.upstream, tx.group, tx.listener, tx.source,
                         tx.record.open))
            tx.record.note("looked at")
            tx.record.called(("192.0.2.7", 5070))
            tx.respond(tx.agent.time, 486)

    calls = Calls(handler=Look())
    invite = calls.alice.request("INVITE", "sip:100@127.0.0.1")
    calls.run()
    assert seen == [("INVITE", True, 0, 0, 0, (ALICE, 5060), True)]
    calls.alice.ack(invite, calls.alice.take("100", "486"))
    calls.run()
    line = calls.proxy.records.journal.take().decode()
    assert '"ended":"refused"' in line
    assert '"status":486' in line
    assert '"note":"looked at"' in line
    assert '"callee":"192.0.2.7:5070"' in line
    calls.done()


def test_controlled_and_forwarded_calls_stand_side_by_side(calls):
    carol = calls.bench.phone("carol", "127.0.0.4")
    one, other = calls.up("c1")
    passing, passed = calls.bench.call(calls.alice, carol, call_id="c2")
    assert len(passing.routes) == 1
    assert calls.bench.count("calls_up") == 2
    two, three = calls.up("c3")
    passing.send("INFO")
    calls.run()
    carol.answer(carol.take("INFO"), 200)
    calls.run()
    assert calls.alice.names() == ["200"]
    one.send("INFO", body=b"Signal=1")
    calls.run()
    info = calls.bob.take("INFO")
    assert info.message.call_id == other.call_id
    calls.bob.answer(info, 200)
    calls.run()
    assert calls.alice.names() == ["200"]
    calls.end(one, other)
    calls.end(passed, passing)
    calls.end(three, two)
    calls.done()


def test_a_re_invite_goes_through_and_gets_its_100(calls):
    one, other = calls.up()
    one.send("INVITE", body=SDP)
    calls.run()
    assert calls.alice.names() == ["100"]
    again = calls.bob.take("INVITE")
    calls.bob.answer(again, 200, body=SDP)
    calls.run()
    assert calls.alice.names() == ["200"]
    calls.bob.take("ACK")
    one.send("ACK")
    calls.run()
    calls.end(other, one)
    calls.done()


def test_retransmissions_reach_the_handler_once_and_are_answered(calls):
    invite = calls.alice.request("INVITE", "sip:100@127.0.0.1", body=SDP)
    calls.run()
    calls.alice.send(invite)
    calls.run()
    assert calls.alice.names() == ["100", "100"]
    first = calls.bob.take("INVITE")
    calls.bob.answer(first, 180)
    calls.run()
    calls.alice.names()
    calls.alice.send(invite)
    calls.run()
    assert calls.alice.names() == ["180"]
    calls.bob.answer(first, 200, body=SDP)
    calls.run(600)
    assert calls.alice.names() == ["200", "200"]    # until the ACK comes
    assert calls.bob.names() == ["ACK"]
    calls.bob.answer(first, 200, body=SDP)          # and the callee's 2xx again: its ACK again
    calls.run()
    assert calls.bob.names() == ["ACK"]
    assert calls.alice.names() == []
    assert len(calls.bridge.calls) == 1


def test_a_2xx_that_nobody_acknowledges_is_told_of():
    heard = []

    class Answer(Handler):
        def on_request(self, tx):
            tx.respond(tx.agent.time, 200, headers=[("Contact", tx.agent.contact())])

        def on_unacknowledged(self, tx):
            heard.append(tx.request.method)
            tx.record.end(tx.agent.time, "timeout")

    calls = Calls(handler=Answer())
    calls.alice.request("INVITE", "sip:100@127.0.0.1")
    calls.run(40_000)
    assert heard == ["INVITE"]
    assert calls.alice.names().count("200") > 5
    calls.done()


def test_cancel_ends_both_legs(calls):
    invite = calls.alice.request("INVITE", "sip:100@127.0.0.1", body=SDP)
    calls.run()
    first = calls.bob.take("INVITE")
    calls.bob.answer(first, 180)
    calls.run()
    calls.alice.names()
    calls.alice.cancel(invite)
    calls.run()
    received = calls.alice.received()
    assert [one.name for one in received] == ["200", "487"]
    assert received[0].message.to_tag == received[1].message.to_tag
    calls.alice.cancel(invite)
    calls.run()
    assert calls.alice.take("200").message.to_tag == received[1].message.to_tag
    calls.alice.ack(invite, received[1])
    cancel = calls.bob.take("CANCEL")
    calls.bob.answer(cancel, 200)
    calls.bob.answer(first, 487)
    calls.run()
    assert calls.bob.names() == ["ACK"]
    assert '"ended":"caller"' in calls.proxy.records.journal.take().decode()
    calls.done()


def test_a_merged_request_is_482(calls):
    invite = calls.alice.request("INVITE", "sip:100@127.0.0.1", body=SDP)
    calls.alice.send(invite.replace(b"branch=z9hG4bK", b"branch=z9hG4bKby-another-way"))
    calls.run()
    assert calls.alice.names() == ["100", "482"]
    assert len(calls.bob.names()) == 1
    assert calls.bench.count("calls_up") == 1


def test_an_unknown_extension_that_is_required_is_420():
    calls = Calls(extensions=("timer",))
    calls.alice.request("INVITE", "sip:100@127.0.0.1", headers=[("Require", "timer, sec-agree, 100rel")])
    calls.run()
    refused = calls.alice.take("420")
    assert refused.header("Unsupported") == "sec-agree, 100rel"
    assert calls.bench.count("calls_up") == 0
    calls.done()


def test_a_target_that_cannot_be_reached_is_told_to_the_leg(calls):
    invite = calls.alice.request("INVITE", "sip:100@127.0.0.1", body=SDP)
    calls.run()
    sent = calls.bob.take("INVITE")
    calls.proxy.unreachable(sent.data, calls.bench.link.now)
    calls.run()
    calls.alice.ack(invite, calls.alice.take("100", "503"))
    calls.run()
    calls.done()


def test_no_answer_at_all_is_408(calls):
    invite = calls.alice.request("INVITE", "sip:100@127.0.0.1", body=SDP)
    calls.run(33_000)
    answers = calls.alice.received()
    assert (answers[0].name, answers[1].name) == ("100", "408")
    calls.alice.ack(invite, answers[1])
    calls.run()
    assert set(calls.bob.names()) == {"INVITE"}
    calls.done()


def test_a_handler_that_fails_is_answered_500():
    class Broken(Handler):
        def on_request(self, tx):
            raise RuntimeError("broken")

    calls = Calls(handler=Broken())
    invite = calls.alice.request("INVITE", "sip:100@127.0.0.1")
    calls.run()
    calls.alice.ack(invite, calls.alice.take("100", "500"))
    calls.run()
    assert calls.proxy.take_troubles() == ["on_request: RuntimeError: broken"]
    calls.done()


def test_a_call_that_nobody_keeps_gives_its_place_back():
    class Forget(Handler):
        def on_request(self, tx):
            tx.respond(tx.agent.time, 200, headers=[("Contact", tx.agent.contact())])

    calls = Calls(handler=Forget())
    calls.alice.request("INVITE", "sip:100@127.0.0.1")
    calls.run()
    assert calls.bench.count("calls_up") == 1
    dialog = calls.alice.caller_dialog(calls.alice.take("100", "200"))
    dialog.send("ACK")
    calls.run()
    gc.collect()
    assert calls.bench.count("calls_up") == 0
    dialog.send("BYE")
    calls.run()
    assert calls.alice.names() == ["481"]
    calls.done()


def test_stopping_writes_the_lines_of_controlled_calls(calls):
    one, other = calls.up()
    assert calls.proxy.finish(calls.bench.link.now)
    assert '"ended":"stop"' in calls.proxy.records.journal.take().decode()
    calls.end(one, other)
    assert calls.proxy.records.journal.take() == b""


def test_what_an_owner_sends_reaches_the_far_end_of_its_dialog():
    """The edge begins a call by itself, from one listener, and ends it."""
    heard = []

    class Originate(Handler):
        def on_response(self, tx, response):
            heard.append(response.status)
            if response.status == 200 and response.method == "INVITE":
                dialog = Dialog.of_response(tx.request, response)
                tx.ack(tx.agent.time, dialog.ack(1), (BOB, 5060), dialog.remote_tag)
                tx.agent.request(tx.agent.time, dialog.request("BYE"), (BOB, 5060), self)

    calls = Calls()
    out = Outgoing(method="INVITE", uri="sip:100@127.0.0.3", call_id=calls.proxy.new_call_id(), cseq=1,
                   local="<sip:edge@127.0.0.1>", local_tag=calls.proxy.new_tag(), remote="<sip:100@127.0.0.3>",
                   contact=calls.proxy.contact("edge"))
    calls.proxy.request(calls.bench.link.now, out, (BOB, 5060), Originate())
    calls.run()
    invite = calls.bob.take("INVITE")
    calls.bob.answer(invite, 200)
    calls.run()
    calls.bob.answer(calls.bob.take("ACK", "BYE"), 200)
    calls.run()
    assert heard == [200, 200]
    calls.done()
