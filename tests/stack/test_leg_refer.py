"""REFER on legs, both roles, on wire bytes (RFC 3515, 4488, 5057, 6665, 7614; rows of section 7 of the requirement)."""
import pytest

from sipcore.net.loopback import Conditions
from sipcore.stack.dialog import Dialog
from sipcore.stack.referring import GRACE
from sipcore.wire.message import Message
from tests.stack.legs import ANN, BOB, Scene, sdp

TARGET = "sip:2001@192.0.2.9:5070"


def told(owner):
    """What the owner of a REFER heard."""
    return [event[2:] for event in owner.heard if event[0] == "refer_progress"]


def kinds(owner):
    return [event[0] for event in told(owner)]


def refer(scene, **more):
    """ann refers bob; bob's referral."""
    ours, theirs = scene.up()
    token = ours.refer(TARGET, **more)
    scene.run()
    return ours, theirs, token, scene.bob.owner.last("refer")[1]


def test_accepted_and_completed_are_told_apart_row_1(scene):
    _, _, token, referral = refer(scene, headers=[("X-Intent", "billing")])
    assert (referral.target, referral.referred_by) == (f"<{TARGET}>", "<sip:ann@192.0.2.1>")
    assert referral.request.header("X-Intent") == "billing"
    assert told(scene.ann.owner) == []
    referral.accept()
    scene.run()
    assert told(scene.ann.owner) == [("accepted", 202, "Accepted"), ("progress", 100, "Trying")]
    referral.progress(180)
    scene.run()
    referral.final(486, "Busy in a meeting")
    scene.run()
    assert told(scene.ann.owner)[2:] == [("progress", 180, "Ringing"), ("final", 486, "Busy in a meeting")]
    assert token.outcome == "final"
    notifies = scene.sent(BOB, "NOTIFY")
    assert [n.header("Event") for n in notifies] == [f"refer;id={referral.subscription.refer}"] * 3
    assert [n.header("Subscription-State") for n in notifies] == [
        "active;expires=180", "active;expires=180", "terminated;reason=noresource"]
    assert {n.header("Content-Type") for n in notifies} == {"message/sipfrag;version=2.0"}


def test_202_and_then_nothing_is_unknown_row_2(scene):
    ours, _, _, referral = refer(scene)
    referral.tx.respond(scene.link.now, 202)
    scene.run(31_000)
    assert kinds(scene.ann.owner) == ["accepted"]
    scene.run(2000)
    assert told(scene.ann.owner) == [("accepted", 202, "Accepted"), ("unknown", 0, "no NOTIFY")]
    assert ours.state == "up"


def test_the_referrers_bye_right_after_the_202_leaves_the_referral_row_4(scene):
    ours, theirs, _, referral = refer(scene)
    referral.accept()
    ours.bye()
    scene.run()
    assert scene.bob.owner.last("ended")[1] == "far"
    referral.final(200)
    scene.run(100)
    assert scene.sent(BOB, "NOTIFY")[-1].body == b"SIP/2.0 200 OK\r\n"
    assert kinds(scene.ann.owner) == ["accepted", "progress", "final"]
    assert theirs.state == ours.state == "ended"
    scene.settle()


def test_bye_only_after_the_final_notify_was_answered_row_5(scene):
    _, theirs, _, referral = refer(scene)
    referral.accept()
    scene.run()
    scene.link.accept = lambda packet: not packet.data.startswith(b"NOTIFY")
    referral.final(200)
    theirs.bye()
    scene.run(3000)
    assert scene.methods(BOB)[-1] == "NOTIFY"
    assert "BYE" not in scene.methods(BOB)
    scene.link.accept = None
    scene.run(5000)
    assert scene.methods(BOB)[-2:] == ["NOTIFY", "BYE"]
    assert scene.ann.owner.names[-2:] == ["refer_progress", "ended"]
    scene.settle()


def test_the_owner_hears_the_final_notify_after_it_was_answered_row_5(scene):
    ours, _, _, referral = refer(scene)
    scene.ann.owner.do["refer_progress"] = (
        lambda leg, token, kind, status, reason: kind == "final" and leg.bye())
    referral.accept()
    scene.run()
    referral.final(200)
    scene.run()
    after = scene.sent(ANN)[-2:]
    assert (after[0].status, after[0].method, after[1].method) == (200, "NOTIFY", "BYE")
    assert ours.state == "ended"


def late_notify(scene, ours, cseq, event):
    """A NOTIFY from bob's address into ann's dialog."""
    dialog = ours.dialog
    back = Dialog(call_id=dialog.call_id, local_tag=dialog.remote_tag, remote_tag=dialog.local_tag, local=dialog.remote,
                  remote=dialog.local, target="sip:192.0.2.1", route=(), contact="<sip:192.0.2.2>", uac=False,
                  local_cseq=cseq)
    out = back.request("NOTIFY", headers=[("Event", event), ("Subscription-State", "terminated;reason=noresource")],
                       body=b"SIP/2.0 200 OK\r\n", content_type="message/sipfrag")
    data = out.render(b"Via: SIP/2.0/UDP 192.0.2.2:5060;branch=z9hG4bKlate%d\r\n" % cseq)
    scene.link.send(BOB, ANN, data)
    before = len(scene.sent(ANN))
    scene.run()
    return scene.sent(ANN)[before].status


def test_a_late_notify_is_200_for_a_while_and_an_unknown_one_481_row_6(scene):
    ours, theirs, token, referral = refer(scene)
    referral.accept()
    scene.run()
    theirs.bye()
    scene.run()
    assert kinds(scene.ann.owner)[-1] == "progress"
    scene.run(GRACE)
    assert told(scene.ann.owner)[-1] == ("unknown", 0, "the far end hung up")
    assert scene.ann.owner.names[-2:] == ["ended", "refer_progress"]
    known = f"refer;id={token.known_by[0]}"
    assert late_notify(scene, ours, 100, known) == 200
    assert late_notify(scene, ours, 101, "refer;id=77") == 481
    assert late_notify(scene, ours, 102, "presence") == 481
    scene.run(31_000)
    assert late_notify(scene, ours, 103, "refer") == 200
    scene.run(40_000)
    assert late_notify(scene, ours, 104, known) == 481
    assert kinds(scene.ann.owner).count("unknown") == 1


def test_a_refer_waits_for_the_ack_to_our_200(scene):
    scene.ann.call(BOB)
    scene.run()
    scene.link.accept = lambda packet: not packet.data.startswith(b"ACK")
    answered = scene.bob.leg
    answered.answer(sdp("192.0.2.2"))
    assert answered.refer(TARGET) is not None
    scene.run(400)
    assert "REFER" not in scene.methods(BOB)
    scene.link.accept = None
    scene.run(300)
    assert scene.methods(BOB).count("REFER") == 1
    assert scene.ann.owner.last("refer")[1].target == f"<{TARGET}>"


def test_a_refer_that_waits_for_an_ack_that_never_comes(scene):
    scene.ann.call(BOB)
    scene.run()
    scene.link.accept = lambda packet: not packet.data.startswith(b"ACK")
    answered = scene.bob.leg
    answered.answer(sdp("192.0.2.2"))
    answered.refer(TARGET)
    scene.run(40_000)
    assert told(scene.bob.owner) == [("unknown", 0, "the far end hung up")]
    scene.settle()


def test_a_final_notify_right_after_bye_is_heard_row_6(scene):
    ours, theirs, token, referral = refer(scene)
    referral.accept()
    scene.run()
    theirs.bye()
    scene.run(GRACE // 2)
    assert late_notify(scene, ours, 100, f"refer;id={token.known_by[0]}") == 200
    scene.run(GRACE)
    assert told(scene.ann.owner)[-1][:2] == ("final", 200)
    assert kinds(scene.ann.owner).count("unknown") == 0


def test_a_notify_before_the_answer_to_refer_row_6(scene):
    _, _, _, referral = refer(scene)
    scene.link.accept = lambda packet: not packet.data.startswith(b"SIP/2.0 202")
    referral.accept()
    scene.run()
    assert kinds(scene.ann.owner) == ["accepted", "progress"]
    referral.final(200)
    scene.run()
    scene.link.accept = None
    scene.run(300)
    assert kinds(scene.ann.owner) == ["accepted", "progress", "final"]
    assert 202 in [m.status for m in scene.sent(BOB) if not m.is_request]


@pytest.mark.parametrize(("status", "reason"), [(603, "Decline"), (420, "Bad Extension"), (405, "Not for you"),
                                                (500, "Oops"), (302, "Moved"), (603, "No transfers today")])
def test_a_refused_refer_keeps_its_status_row_18(scene, status, reason):
    ours, _, _, referral = refer(scene)
    referral.reject(status, reason)
    scene.run()
    assert told(scene.ann.owner) == [("refused", status, reason)]
    assert ours.state == "up"
    assert ours.peer_allows("REFER") is (status != 405)
    ours.bye()
    scene.settle()


def test_a_refer_that_nobody_answers_is_refused_with_408(scene):
    ours, _ = scene.up()
    scene.link.accept = lambda packet: b"REFER" not in packet.data[:10]
    ours.refer(TARGET)
    scene.run(40_000)
    assert told(scene.ann.owner) == [("refused", 408, "Request Timeout")]
    assert ours.state == "up"


def test_a_peer_without_the_call_ends_it(scene):
    ours, _, _, referral = refer(scene)
    referral.reject(481)
    scene.run()
    assert scene.ann.owner.names[-2:] == ["refer_progress", "ended"]
    assert ours.state == "ended"


def test_refer_sub_false_brings_no_notify_rfc_4488(scene):
    _, _, _, referral = refer(scene, headers=[("Refer-Sub", "false")])
    referral.accept()
    referral.final(200)
    scene.run(1000)
    assert scene.sent(BOB, "NOTIFY") == []
    answer = [m for m in scene.sent(BOB) if not m.is_request and m.method == "REFER"][-1]
    assert answer.header("Refer-Sub") == "false"
    assert told(scene.ann.owner) == [("accepted", 202, "Accepted"), ("unknown", 0, "no subscription")]


def test_an_explicit_subscription_is_refused_and_none_is_taken_rfc_7614(scene):
    ours, _ = scene.up()
    ours.refer(TARGET, [("Require", "explicitsub")])
    scene.run()
    assert told(scene.ann.owner)[-1][:2] == ("refused", 420)
    assert scene.sent(BOB)[-1].header("Unsupported") == "explicitsub"
    ours.refer(TARGET, [("Require", "nosub")])
    scene.run()
    scene.bob.owner.last("refer")[1].accept()
    scene.run(1000)
    assert scene.sent(BOB, "NOTIFY") == []


def test_the_subscription_ends_in_time_and_is_renewed_rfc_6665(scene):
    ours, _, _, referral = refer(scene, wait_ms=100_000)
    referral.accept(expires=30)
    scene.run(21_000)
    renewal = scene.sent(ANN, "SUBSCRIBE")[0]
    assert renewal.header("Event") == f"refer;id={referral.subscription.refer}"
    assert int(renewal.header("Expires")) >= 79
    scene.run(60_000)
    assert kinds(scene.ann.owner) == ["accepted", "progress", "progress"]
    scene.run(20_000)
    assert told(scene.ann.owner)[-1][0] == "unknown"
    assert scene.sent(BOB, "NOTIFY")[-1].header("Subscription-State") == "terminated;reason=timeout"
    referral.final(200)
    scene.run()
    assert scene.sent(BOB, "NOTIFY")[-1].header("Subscription-State") == "terminated;reason=timeout"
    ours.bye()
    scene.settle()


def test_the_referrer_may_unsubscribe_and_the_transfer_goes_on(scene):
    ours, _, token, referral = refer(scene)
    referral.accept()
    scene.run()
    ours.forward("SUBSCRIBE", [("Event", f"refer;id={token.known_by[0]}"), ("Expires", "0")])
    scene.run()
    assert scene.sent(BOB, "NOTIFY")[-1].header("Subscription-State") == "terminated;reason=timeout"
    assert told(scene.ann.owner)[-1] == ("unknown", 100, "subscription terminated")
    ours.forward("SUBSCRIBE", [("Event", "presence")])
    scene.run()
    assert [m.status for m in scene.sent(BOB) if not m.is_request][-1] == 489
    assert ours.state == "up"


def test_a_refer_to_that_cannot_be_read_is_refused_before_the_owner_hears(scene):
    ours, _ = scene.up()
    for target, status in (("mailto:a@b.example", 416), ("<urn:service:sos>", 416), ("<sip:", 400)):
        ours.refer(target)
        scene.run()
        assert told(scene.ann.owner)[-1][:2] == ("refused", status)
    assert scene.bob.owner.count("refer") == 0


def test_a_full_uri_stays_untouched_row_8(scene):
    ours, _ = scene.up()
    value = '"2001 %3A" <sip:+1%40x@pbx.example.com:5070;user=phone?X-A=b%20c&Replaces=1%3Bto-tag%3D2>'
    ours.refer(value)
    scene.run()
    referral = scene.bob.owner.last("refer")[1]
    assert referral.target == value
    assert (referral.to.uri, dict(referral.to.headers)["X-A"]) == ("sip:+1%40x@pbx.example.com:5070;user=phone", "b c")
    referral.reject(603)


def test_two_refers_at_once_are_told_apart(scene):
    ours, _, first, one = refer(scene)
    second = ours.refer("sip:2002@192.0.2.9")
    scene.run()
    two = scene.bob.owner.last("refer")[1]
    one.accept()
    two.accept()
    scene.run()
    two.final(200)
    one.final(404)
    scene.run()
    ends = {event[1]: event[2:] for event in scene.ann.owner.heard if event[0] == "refer_progress"}
    assert ends == {first: ("final", 404, "Not Found"), second: ("final", 200, "OK")}


def test_a_call_that_ends_answers_a_refer_that_waits(scene):
    ours, _, _, referral = refer(scene)
    ours.bye()
    scene.run()
    assert told(scene.ann.owner) == [("refused", 487, "Request Terminated")]
    assert referral.accept() is False
    scene.settle()


def test_only_a_call_that_is_up_takes_refer(scene):
    leg = scene.ann.call(BOB)
    scene.run()
    assert leg.refer(TARGET) is None
    assert isinstance(scene.sent(ANN)[0], Message)
    scene.bob.leg.reject(486)
    scene.settle()


@pytest.mark.parametrize("seed", range(8))
def test_a_transfer_survives_a_bad_network(seed):
    scene = Scene(seed, Conditions(delay=20, jitter=60, loss=0.2, duplicate=0.1))
    scene.bob.take = lambda leg: leg.ring()
    ours = scene.ann.call(BOB)
    scene.run(32_000)
    scene.bob.leg.answer()
    scene.run(32_000)
    scene.bob.owner.do["refer"] = lambda leg, referral: referral.accept()
    token = ours.refer(TARGET)
    scene.run(32_000)
    referral = scene.bob.owner.last("refer")[1]
    referral.progress(180)
    scene.run(10_000)
    referral.final(200)
    scene.bob.leg.bye()
    scene.run(64_000)
    assert kinds(scene.ann.owner)[0] == "accepted"
    assert told(scene.ann.owner)[-1] == ("final", 200, "OK")
    assert token.outcome == "final"
    assert scene.bob.owner.count("refer") == 1
    scene.settle()
