"""The user agent core: two agents over an in-memory link that loses what the test says."""
import random

import pytest

from sipcore.stack.dialog import Dialog, State
from sipcore.stack.outgoing import BadText, Outgoing
from sipcore.stack.useragent import UserAgent
from sipcore.wire.message import Message

from .agents import ANN, BOB, SDP, Log, Pair


@pytest.fixture
def pair():
    return Pair()


def test_a_call_is_set_up_and_ended(pair):
    ours, _ = pair.up()
    assert pair.heard.kinds == ["request", "ack"]
    assert pair.heard.heard[0][1].request.body == SDP
    assert pair.answered.last("response")[2].body == SDP
    assert pair.answered.last("response")[2].header("Content-Type") == "application/sdp"
    pair.ann.request(pair.now, ours.request("BYE"), BOB)
    pair.carry()
    bye = pair.heard.last("request")[1]
    assert (bye.request.method, bye.dialog.state) == ("BYE", State.ENDED)
    pair.answer()
    assert pair.answered.kinds == [200, 200]


def test_the_response_has_the_requests_own_headers_and_a_tag(pair):
    tx = pair.invite(local='"Ann" <sip:ann@192.0.2.1>;p=1')
    pair.answer(180, reason="Klingelt")
    response = pair.answered.last("response")[2]
    request = Message(tx.data)
    assert (response.status, response.reason) == (180, "Klingelt")
    assert (response.header("From"), response.call_id) == (request.header("From"), request.call_id)
    assert response.to_tag == pair.heard.heard[0][1].tag
    assert response.header("Via").startswith(str(request.header("Via")).removesuffix(";rport"))


def test_a_provisional_is_sent_again_and_the_request_reaches_the_handler_once(pair):
    pair.lose = lambda data: data.startswith(b"SIP/2.0 180") and len(pair.statuses(BOB)) == 1
    pair.invite()
    pair.answer(180)
    assert pair.answered.kinds == []
    pair.wait(500)
    assert pair.answered.kinds == [180]
    assert pair.heard.kinds == ["request"]


def test_the_2xx_is_sent_until_its_ack_comes(pair):
    client = pair.invite()
    server = pair.answer(body=SDP)
    assert pair.answered.kinds == [200]
    pair.wait(4_000)    # T1, 2 T1, 4 T1: at 500, 1500 and 3500 ms
    assert pair.statuses(BOB) == [200] * 4
    response = pair.answered.last("response")[2]
    dialog = Dialog.of_response(client.request, response)
    client.ack(pair.now, dialog.ack(1), BOB, dialog.remote_tag)
    pair.carry()
    assert pair.heard.last("ack")[1] is server
    pair.wait(40_000)
    assert pair.statuses(BOB) == [200] * 4
    assert pair.heard.kinds == ["request", "ack"]


def test_a_lost_ack_is_sent_again_for_the_2xx_that_comes_again(pair):
    pair.lose = lambda data: data.startswith(b"ACK") and pair.methods(ANN) == ["INVITE", "ACK"]
    pair.up()
    assert pair.heard.kinds == ["request"]
    pair.wait(500)
    acks = [data for _, data in pair.sent if data.startswith(b"ACK")]
    assert len(acks) == 2
    assert acks[0] == acks[1]
    assert pair.heard.kinds == ["request", "ack"]
    assert pair.answered.kinds == [200]


def test_without_any_ack_the_callee_is_told_after_64_t1(pair):
    pair.lose = lambda data: data.startswith(b"ACK")
    pair.up()
    pair.wait(31_900)
    assert pair.heard.kinds == ["request"]
    pair.wait(200)
    assert pair.heard.kinds == ["request", "unacknowledged"]
    # 500, 1500, 3500, 7500, then every T2.
    assert pair.statuses(BOB) == [200] * 11
    assert pair.bob.live == 0


def test_forks_answer_with_2xx_of_their_own(pair):
    client = pair.invite()
    server = pair.answer()
    response = pair.answered.last("response")[2]
    other = response.data.replace(response.to_tag.encode(), b"another")
    pair.ann.feed(other, BOB, pair.now)
    assert [event[2].to_tag for event in pair.answered.heard] == [server.tag, "another"]
    client.ack(pair.now, Dialog.of_response(client.request, Message(other)).ack(1), BOB, "another")
    pair.carry()
    assert "ack" not in pair.heard.kinds
    pair.ann.feed(other, BOB, pair.now)
    pair.carry()
    assert pair.answered.kinds == [200, 200]
    assert pair.methods(ANN) == ["INVITE", "ACK", "ACK"]


def test_a_merged_request_is_482(pair):
    tx = pair.invite()
    again = tx.data.replace(Message(tx.data).branch.encode(), b"z9hG4bKanotherway")
    pair.bob.feed(again, ("192.0.2.3", 5060), pair.now)
    (_, host, _, data), = pair.bob.drain()
    assert (host, Message(data).status) == ("192.0.2.3", 482)
    assert pair.heard.kinds == ["request"]
    pair.bob.feed(tx.data.replace(b"CSeq: 1 ", b"CSeq: 2 ").replace(b"z9hG4bK", b"z9hG4bKx"), ANN, pair.now)
    assert pair.heard.kinds == ["request", "request"]


def test_the_same_request_is_no_merge_once_the_first_is_forgotten(pair):
    tx = pair.invite()
    pair.answer(486)
    pair.wait(70_000)
    assert pair.bob.live == 0
    pair.bob.feed(tx.data, ANN, pair.now)
    assert pair.heard.kinds == ["request", "request"]


def test_cancel_while_it_rings(pair):
    client = pair.invite()
    pair.answer(180)
    assert client.cancel(pair.now)
    pair.carry()
    assert pair.heard.kinds == ["request", "cancel"]
    assert pair.answered.kinds == [180, 487]
    assert pair.statuses(BOB) == [180, 200, 487]
    tags = {Message(data).to_tag for source, data in pair.sent if source == BOB}
    assert tags == {pair.heard.heard[0][1].tag}
    assert pair.heard.heard[0][1].cancelled
    assert not pair.heard.heard[0][1].respond(pair.now, 200)
    assert pair.methods(ANN) == ["INVITE", "CANCEL", "ACK"]


def test_cancel_waits_for_a_provisional_answer(pair):
    client = pair.invite()
    assert client.cancel(pair.now)
    pair.carry()
    assert pair.methods(ANN) == ["INVITE"]
    pair.answer(180)
    assert pair.methods(ANN) == ["INVITE", "CANCEL", "ACK"]
    assert pair.answered.kinds == [180, 487]


def test_cancel_that_crosses_the_2xx(pair):
    client = pair.invite()
    pair.answer(180)
    server = pair.heard.last("request")[1]
    server.respond(pair.now, 200, headers=[("Contact", pair.bob.contact("bob"))])
    crossing = pair.bob.drain()
    assert client.cancel(pair.now)
    pair.carry()
    assert pair.statuses(BOB)[-1] == 200
    assert pair.heard.kinds == ["request"]
    pair.ann.feed(crossing[0][3], BOB, pair.now)
    dialog = Dialog.of_response(client.request, pair.answered.last("response")[2])
    client.ack(pair.now, dialog.ack(1), BOB, dialog.remote_tag)
    pair.carry()
    assert pair.heard.kinds == ["request", "ack"]
    assert not client.cancel(pair.now)


def test_a_strangers_cancel_is_481(pair):
    tx = pair.invite()
    cancel = tx.data.split(b"\r\n\r\n")[0].replace(b"INVITE", b"CANCEL") + b"\r\n\r\n"
    cancel = cancel.replace(b"Content-Length: %d" % len(SDP), b"Content-Length: 0")
    pair.bob.feed(cancel, ("192.0.2.66", 5060), pair.now)
    pair.bob.feed(cancel.replace(b"z9hG4bK", b"z9hG4bKnone"), ANN, pair.now)
    assert [Message(data).status for _, _, _, data in pair.bob.drain()] == [481, 481]
    assert pair.heard.kinds == ["request"]


def test_no_answer_at_all(pair):
    pair.lose = lambda data: True
    pair.invite()
    pair.wait(31_900)
    assert pair.answered.kinds == []
    pair.wait(200)
    assert pair.answered.kinds == ["timeout"]
    assert not pair.answered.heard[0][2]
    assert pair.methods(ANN) == ["INVITE"] * 7      # 0, 500, 1500, 3500, 7500, 15500, 31500 ms


def test_an_unreachable_peer_is_told_at_once(pair):
    pair.lose = lambda data: True
    tx = pair.invite()
    pair.ann.unreachable(tx.data, pair.now)
    assert pair.answered.kinds == ["timeout"]
    assert pair.answered.heard[0][2]


def test_endless_ringing_is_cancelled(pair):
    pair.invite()
    pair.answer(180)
    pair.wait(180_500)
    assert pair.answered.kinds == [180, 487]


def test_requests_inside_unknown_dialogs_are_481(pair):
    ours, theirs = pair.up()
    pair.bob.remove(theirs)
    pair.ann.request(pair.now, ours.request("INFO"), BOB)
    pair.carry()
    assert pair.answered.kinds == [200, 481]
    assert pair.heard.kinds == ["request", "ack"]


def test_old_requests_inside_a_dialog_are_500(pair):
    ours, _ = pair.up()
    old = ours.request("INFO")
    pair.ann.request(pair.now, ours.request("INFO"), BOB)
    pair.carry()
    pair.answer()
    pair.ann.request(pair.now, old, BOB)
    pair.carry()
    assert pair.answered.kinds == [200, 200, 500]


def test_reinvites_that_meet_are_491_on_both_sides_however_often_they_come(pair):
    ours, theirs = pair.up()
    pair.lose = lambda data: data.startswith(b"SIP/2.0 491") and pair.statuses(BOB).count(491) < 2
    pair.bob.request(pair.now, theirs.request("INVITE", body=SDP), ANN)
    pair.ann.request(pair.now, ours.request("INVITE", body=SDP), BOB)
    pair.carry()
    pair.wait(5_000)
    assert pair.answered.kinds == [200, 491]
    assert pair.heard.kinds == ["request", "ack", 491]
    ours.answered(pair.answered.last("response")[2])
    pair.ann.request(pair.now, ours.request("INVITE", body=SDP), BOB)
    theirs.answered(pair.heard.last("response")[2])
    pair.carry()
    assert pair.heard.kinds[-1] == "request"


def test_a_reinvite_refreshes_the_target_when_it_is_accepted(pair):
    ours, theirs = pair.up()
    pair.ann.request(pair.now, ours.request("INVITE", body=SDP), BOB)
    pair.carry()
    ours.contact = "<sip:moved@192.0.2.1>"
    pair.answer(488)
    assert theirs.target == "sip:ann@192.0.2.1:5060"
    ours.answered(pair.answered.last("response")[2])
    pair.ann.request(pair.now, ours.request("INVITE", body=SDP), BOB)
    pair.carry()
    pair.answer(200)
    assert theirs.target == "sip:moved@192.0.2.1"


def test_unknown_extensions_are_420(pair):
    pair.invite(headers=(("Require", "100rel, x-none"),))
    response = pair.answered.last("response")[2]
    assert (response.status, response.headers("Unsupported")) == (420, ["100rel", "x-none"])
    assert pair.heard.kinds == []


def test_the_default_handler_answers_501():
    agent = UserAgent(transactions=16)
    agent.add_listener(*BOB)
    pair = Pair()
    tx = pair.ann.request(0, Outgoing(method="OPTIONS", uri="sip:192.0.2.9", call_id="x", cseq=1, local="<sip:a@b>",
                                      local_tag="t", remote="<sip:b@c>"), ("192.0.2.9", 5060))
    agent.feed(tx.data, ANN, 0)
    assert Message(agent.drain()[0][3]).status == 501


def test_the_answer_to_a_malformed_request_depends_on_nothing_that_came_before(pair):
    good = pair.invite().data
    pair.carry()
    bad = good.replace(b"z9hG4bK", b"old").replace(b"From: <", b'From: "<')
    answers = []
    for tag in (b";tag=one", b";tag=another"):
        pair.bob.feed(good.replace(b";tag=", tag), ANN, pair.now)
        pair.bob.drain()
        pair.bob.feed(bad, ANN, pair.now)
        answers.append(pair.bob.drain()[0][3])
    assert answers[0].startswith(b"SIP/2.0 400 ")
    assert answers[0] == answers[1]


def test_a_mistake_of_a_handler_is_500_and_told(pair):
    def fails(tx):
        raise RuntimeError("oops")

    pair.heard.on_request = fails
    tx = pair.ann.request(pair.now, Outgoing(method="OPTIONS", uri="sip:192.0.2.2", call_id="x", cseq=1,
                                             local="<sip:a@b>", local_tag="t", remote="<sip:b@c>"), BOB)
    pair.bob.feed(tx.data, ANN, pair.now)
    assert Message(pair.bob.drain()[0][3]).status == 500
    assert pair.bob.take_troubles() == ["on_request: RuntimeError: oops"]


def test_a_response_that_would_break_the_message_is_not_sent(pair):
    pair.invite()
    tx = pair.heard.last("request")[1]
    with pytest.raises(BadText):
        tx.respond(pair.now, 200, headers=[("X-A", "b\r\nEvil: 1")])
    with pytest.raises(ValueError, match="reason"):
        tx.respond(pair.now, 200, "OK\r\nEvil: 1")
    with pytest.raises(ValueError, match="status"):
        tx.respond(pair.now, 99)
    assert pair.bob.drain() == []
    assert tx.waiting


def test_a_request_that_would_break_the_message_leaves_nothing_behind(pair):
    with pytest.raises(BadText):
        pair.invite(uri="sip:bob@192.0.2.2\r\nEvil: 1")
    assert pair.ann.live == 0
    with pytest.raises(ValueError, match="ACK"):
        pair.invite(method="ACK")


def test_nothing_is_left_after_everything_has_ended(pair):
    ours, _ = pair.up()
    pair.ann.request(pair.now, ours.request("BYE"), BOB)
    pair.carry()
    pair.answer()
    pair.wait(70_000)
    for agent in pair.agents.values():
        assert agent.live == 0
        assert agent.deadline() is None


class Caller(Log):
    """Acknowledges each 2xx at once."""

    def on_response(self, tx, response):
        super().on_response(tx, response)
        if response.status >= 200:
            dialog = Dialog.of_response(tx.request, response)
            tx.ack(tx.agent.time, dialog.ack(1), BOB, dialog.remote_tag)


class Callee(Log):
    """Rings, and answers when the test says so."""

    def on_request(self, tx):
        super().on_request(tx)
        tx.respond(tx.agent.time, 180)


@pytest.mark.parametrize("seed", range(20))
def test_a_call_survives_a_network_that_loses_a_third(pair, seed):
    dice = random.Random(seed)
    pair.lose = lambda data: dice.random() < 0.33
    pair.ann.handler, pair.bob.handler = caller, callee = Caller(), Callee()
    pair.invite()
    pair.wait(20_000)
    callee.last("request")[1].respond(pair.now, 200, headers=[("Contact", pair.bob.contact("bob"))])
    pair.carry()
    pair.wait(32_000)
    assert callee.kinds == ["request", "ack"]
    assert [kind for kind in caller.kinds if kind >= 200] == [200]
