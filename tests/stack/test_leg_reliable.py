"""Reliable provisional responses on legs, both roles, on wire bytes (RFC 3262, RFC 6337)."""
import pytest

from tests.stack.legs import ANN, BOB, EVE, done, sdp

NEW, ANSWER = sdp("192.0.2.1", 2), sdp("192.0.2.2", 2)


def test_a_reliable_answer_and_a_2xx_without_one(scene):
    ours = scene.ann.call(BOB)
    scene.run()
    theirs = scene.bob.leg
    token = theirs.ring(183, sdp("192.0.2.2"))
    assert token is not None
    assert theirs.answer()
    assert theirs.state == "early"
    scene.run()
    assert theirs.state == "up"
    provisional = next(m for m in scene.sent(BOB) if m.status == 183)
    assert (provisional.header("Require"), provisional.header("RSeq")) == ("100rel", "1")
    assert scene.sent(ANN, "PRACK")[0].header("RAck") == "1 1 INVITE"
    assert scene.sent(BOB)[-1].status == 200
    assert (ours.remote_sdp, theirs.local_sdp, theirs.remote_sdp) == (sdp("192.0.2.2"), sdp("192.0.2.2"), sdp())
    assert scene.methods(ANN) == ["INVITE", "PRACK", "ACK"]
    ours.bye()
    scene.settle()


def test_reliable_responses_wait_for_each_other_and_survive_loss(scene):
    dropped: list[object] = []

    def accept(packet):
        if packet.data.startswith((b"PRACK", b"SIP/2.0 18")) and len(dropped) < 3:
            dropped.append(packet)
            return False
        return True

    scene.link.accept = accept
    scene.ann.call(BOB)
    scene.run()
    theirs = scene.bob.leg
    theirs.ring(183, sdp("192.0.2.2"))
    theirs.ring(180, reliable=True)
    theirs.ring(182, reliable=True)
    theirs.answer()
    scene.run(10_000)
    assert [event[1].status for event in scene.ann.owner.heard if event[0] == "progress"] == [183, 180, 182]
    assert [m.header("RAck") for m in scene.sent(ANN, "PRACK")][-1] == "3 1 INVITE"
    assert theirs.state == "up"


def test_an_offer_in_a_reliable_response_is_answered_in_prack(scene):
    ours = scene.ann.call(BOB, b"")
    scene.run()
    theirs = scene.bob.leg
    token = theirs.ring(183, sdp("192.0.2.2"))
    scene.run(3000)
    assert scene.ann.owner.names == ["progress", "offer"]
    exchange = scene.ann.owner.last("offer")[1]
    assert (exchange.method, exchange.body) == ("PRACK", sdp("192.0.2.2"))
    assert scene.methods(ANN) == ["INVITE"]
    exchange.accept(sdp())
    scene.run()
    assert done(scene.bob.owner) == [(200, "OK", sdp())]
    assert scene.bob.owner.last("reoffer_done")[1] is token
    theirs.answer()
    scene.run()
    assert (ours.remote_sdp, theirs.remote_sdp) == (sdp("192.0.2.2"), sdp())
    assert scene.ann.owner.names[-1] == "answered"
    assert ours.state == "up"


def test_an_offer_in_a_prack(scene, phone):
    phone.request("INVITE", "sip:192.0.2.1", call_id="in", cseq=1, body=sdp(), headers=[("Require", "100rel")])
    scene.run()
    leg = scene.ann.leg
    assert leg.ring(183, sdp("192.0.2.1")) is not None
    scene.run()
    tag = leg.dialog.local_tag
    phone.request("PRACK", "sip:192.0.2.1", call_id="in", cseq=2, to_tag=tag, body=NEW,
                  headers=[("RAck", "1 1 INVITE")])
    scene.run()
    exchange = scene.ann.owner.last("offer")[1]
    assert (exchange.method, exchange.body) == ("PRACK", NEW)
    exchange.accept(ANSWER)
    scene.run()
    assert phone.statuses("PRACK") == [200]
    assert (leg.remote_sdp, leg.local_sdp) == (NEW, ANSWER)


@pytest.mark.parametrize("rack", ["2 1 INVITE", "1 2 INVITE", "1 1 BYE", "nonsense", ""])
def test_a_prack_for_nothing_is_481(scene, phone, rack):
    phone.request("INVITE", "sip:192.0.2.1", call_id="in", cseq=1, body=sdp(), headers=[("Supported", "100rel")])
    scene.run()
    leg = scene.ann.leg
    leg.ring(183, sdp())
    phone.request("PRACK", "sip:192.0.2.1", call_id="in", cseq=2, to_tag=leg.dialog.local_tag, headers=[("RAck", rack)])
    scene.run()
    assert phone.statuses("PRACK") == [481]
    leg.reject(486)
    scene.run()
    phone.request("PRACK", "sip:192.0.2.1", call_id="in", cseq=3, to_tag=leg.dialog.local_tag,
                  headers=[("RAck", "1 1 INVITE")])
    scene.run()
    assert phone.statuses("PRACK") == [481, 481]


def test_an_invite_that_requires_100rel_gets_nothing_unreliable(scene, phone):
    phone.request("INVITE", "sip:192.0.2.1", call_id="in", cseq=1, body=sdp(), headers=[("Require", "100rel")])
    scene.run()
    assert scene.ann.leg.ring() is not None
    scene.run()
    assert phone.got[-1].header("RSeq") == "1"
    scene.run(33_000)
    assert phone.statuses()[-1] == 504
    resent = [m for m in phone.got if m.status == 180]
    assert 6 <= len(resent) <= 8
    assert scene.ann.owner.heard == [("ended", "timeout", "no PRACK")]


def test_without_100rel_nothing_is_reliable(scene, phone):
    phone.request("INVITE", "sip:192.0.2.1", call_id="in", cseq=1, body=sdp())
    scene.run()
    assert scene.ann.leg.ring(183, sdp(), reliable=True) is None
    scene.run()
    assert (phone.statuses(), phone.got[-1].header("RSeq")) == ([183], None)


def test_reliable_responses_are_taken_once_and_in_order(scene, phone):
    scene.ann.call(EVE)
    scene.run()
    invite = phone.last("INVITE")
    for tag, rseq in (("one", 7), ("one", 7), ("one", 9), ("two", 30), ("one", 8)):
        phone.respond(invite, 183, tag=tag, headers=[("Require", "100rel"), ("RSeq", str(rseq))])
        scene.run()
    assert [m.header("RAck") for m in phone.got if m.is_request and m.method == "PRACK"] == [
        "7 1 INVITE", "30 1 INVITE", "8 1 INVITE"]
    assert scene.ann.owner.count("progress") == 3


def test_an_update_in_an_early_dialog(scene):
    ours = scene.ann.call(BOB)
    scene.run()
    theirs = scene.bob.leg
    theirs.ring(183, sdp("192.0.2.2"))
    assert ours.update(NEW) is None
    scene.run()
    token = ours.update(NEW)
    scene.run()
    scene.bob.owner.last("offer")[1].accept(ANSWER)
    scene.run()
    assert scene.ann.owner.last("reoffer_done")[1:3] == (token, 200)
    theirs.answer()
    scene.run()
    assert (ours.state, ours.local_sdp, ours.remote_sdp) == ("up", NEW, ANSWER)


def test_early_media_that_is_no_answer_counts_where_the_2xx_has_none(scene, phone):
    leg = scene.ann.call(EVE)
    scene.run()
    phone.respond(phone.last("INVITE"), 183, body=sdp("192.0.2.3"))
    scene.run()
    assert leg.remote_sdp == b""
    phone.respond(phone.last("INVITE"), 200)
    scene.run()
    assert leg.remote_sdp == sdp("192.0.2.3")


def test_forks_that_offer_reliably_and_the_second_one_answers(scene, phone):
    leg = scene.ann.call(EVE, b"")
    scene.run()
    invite = phone.last("INVITE")
    for number, tag in enumerate(("one", "two")):
        phone.respond(invite, 183, tag=tag, headers=[("Require", "100rel"), ("RSeq", "1")],
                      body=sdp(f"192.0.2.{50 + number}"))
        scene.run()
    assert scene.ann.owner.count("offer") == 1
    first = scene.ann.owner.last("offer")[1]
    phone.respond(invite, 200, tag="two")
    scene.run()
    assert not first.accept(sdp())
    exchange = scene.ann.owner.last("offer")[1]
    assert (exchange.method, exchange.body) == ("ACK", sdp("192.0.2.51"))
    exchange.accept(sdp())
    scene.run()
    assert (phone.last("ACK").body, leg.remote_sdp) == (sdp(), sdp("192.0.2.51"))


def test_an_offer_of_another_fork_has_to_wait(scene, phone):
    scene.ann.call(EVE)
    scene.run()
    invite = phone.last("INVITE")
    for tag in ("one", "two"):
        phone.respond(invite, 183, tag=tag, headers=[("Require", "100rel"), ("RSeq", "1")], body=sdp("192.0.2.3"))
    scene.run()
    phone.inside(invite, "UPDATE", 1, tag="two", body=NEW)
    scene.run()
    assert (phone.statuses("UPDATE"), phone.got[-1].header("Retry-After")) == ([500], "5")
    phone.inside(invite, "UPDATE", 1, tag="one", body=NEW)
    scene.run()
    assert scene.ann.owner.last("offer")[1].body == NEW
