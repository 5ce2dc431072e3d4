"""Legs: how calls begin and end, for both roles, on wire bytes (RFC 3261 9, 12-15)."""
import pytest

from sipcore.net.loopback import Conditions
from sipcore.stack.leg import Leg
from sipcore.stack.outgoing import BadText
from tests.stack.legs import ANN, BOB, EVE, Scene, sdp


def test_a_call_from_invite_to_bye(scene):
    ours = scene.ann.call(BOB, headers=[("X-Intent", "billing")])
    scene.run()
    theirs = scene.bob.leg
    assert (ours.state, theirs.state, theirs.offered) == ("inviting", "inviting", sdp())
    theirs.ring()
    scene.run()
    assert (ours.state, theirs.state) == ("early", "early")
    theirs.answer(sdp("192.0.2.2"))
    scene.run()
    assert scene.ann.owner.names == ["progress", "answered"]
    assert scene.bob.owner.names == ["established"]
    assert (ours.local_sdp, ours.remote_sdp) == (theirs.remote_sdp, theirs.local_sdp) == (sdp(), sdp("192.0.2.2"))
    assert scene.sent(ANN, "INVITE")[0].header("X-Intent") == "billing"
    theirs.bye([("Reason", 'Q.850;cause=16;text="done"')], "hung up")
    scene.run()
    assert scene.ann.owner.last("ended") == ("ended", "far", 'Q.850;cause=16;text="done"')
    assert scene.bob.owner.last("ended") == ("ended", "us", "hung up")
    assert (scene.methods(ANN), scene.methods(BOB)) == (["INVITE", "ACK"], ["BYE"])
    scene.settle()


@pytest.mark.parametrize(("status", "reason"), [(486, "Busy in a meeting"), (603, "Decline"), (302, "Gone"),
                                                (404, "Nobody"), (500, "Oops")])
def test_a_refusal_arrives_unchanged_row_18(scene, status, reason):
    scene.ann.call(BOB)
    scene.run()
    scene.bob.leg.reject(status, reason, [("Retry-After", "30")])
    scene.run()
    failed = scene.ann.owner.last("failed")
    assert failed[1:3] == (status, reason)
    assert failed[3].header("Retry-After") == "30"
    assert scene.ann.owner.names == ["failed", "ended"]
    assert scene.bob.owner.names == ["ended"]
    scene.settle()


# --- CANCEL


def test_cancel_before_any_response_waits_for_one(scene, phone):
    leg = scene.ann.call(EVE)
    leg.cancel()
    scene.run(200)
    assert phone.methods() == ["INVITE"]
    phone.respond(phone.last("INVITE"), 100, tag="")
    scene.run()
    assert phone.methods() == ["INVITE", "CANCEL"]
    phone.respond(phone.last("CANCEL"), 200, contact=False)
    phone.respond(phone.last("INVITE"), 487)
    scene.run()
    assert phone.methods() == ["INVITE", "CANCEL", "ACK"]
    assert scene.ann.owner.heard == [("ended", "us", "cancelled")]
    scene.settle()


def test_cancel_while_it_rings(scene):
    ours = scene.ann.call(BOB)
    scene.run()
    scene.bob.leg.ring()
    scene.run()
    assert ours.cancel("nobody wants it")
    assert ours.state == "ending"
    scene.run()
    assert scene.ann.owner.heard[1:] == [("ended", "us", "nobody wants it")]
    assert scene.bob.owner.heard == [("cancelled",), ("ended", "far", "cancelled")]
    assert not ours.cancel()
    scene.settle()


def test_cancel_against_a_200_in_flight_row_16(scene, phone):
    leg = scene.ann.call(EVE)
    scene.run()
    phone.respond(phone.last("INVITE"), 180)
    scene.run()
    leg.cancel()
    phone.respond(phone.last("INVITE"), 200, body=sdp())
    scene.run()
    assert phone.methods() == ["INVITE", "CANCEL", "ACK", "BYE"]
    phone.respond(phone.last("INVITE"), 200, body=sdp())
    scene.run()
    assert phone.methods()[-1] == "ACK"
    phone.respond(phone.last("BYE"), 200)
    scene.run()
    assert scene.ann.owner.names == ["progress", "ended"]
    scene.settle()


def test_a_cancel_that_comes_after_our_200_changes_nothing(scene, phone):
    phone.request("INVITE", "sip:192.0.2.1", call_id="in", cseq=1, body=sdp(), branch="z9hG4bKx")
    scene.run()
    scene.ann.leg.answer(sdp())
    phone.request("CANCEL", "sip:192.0.2.1", call_id="in", cseq=1, branch="z9hG4bKx")
    scene.run()
    assert phone.statuses("CANCEL") == [200]
    assert scene.ann.leg.state == "up"
    assert scene.ann.owner.names == []


# --- forks


def test_the_first_of_forked_answers_is_taken_and_others_are_ended(scene, phone):
    leg = scene.ann.call(EVE)
    scene.run()
    invite = phone.last("INVITE")
    phone.respond(invite, 180, tag="one")
    phone.respond(invite, 183, tag="two", body=sdp("192.0.2.52"))
    phone.respond(invite, 183, tag="three", body=sdp("192.0.2.53"))
    scene.run()
    assert scene.ann.owner.count("progress") == 3
    assert len(scene.ann.agent.dialogs) == 3
    phone.respond(invite, 200, tag="two", body=sdp("192.0.2.52"))
    phone.respond(invite, 200, tag="one", body=sdp("192.0.2.51"))
    phone.respond(invite, 200, tag="four", body=sdp("192.0.2.54"))
    scene.run()
    assert (leg.state, leg.dialog.remote_tag, leg.remote_sdp) == ("up", "two", sdp("192.0.2.52"))
    assert [dialog.remote_tag for dialog in scene.ann.agent.dialogs.values()] == ["two"]
    sent = [(m.method, m.to_tag) for m in phone.got if m.is_request][1:]
    assert sent == [("ACK", "two"), ("ACK", "one"), ("BYE", "one"), ("ACK", "four"), ("BYE", "four")]
    assert scene.ann.owner.count("answered") == 1


def test_more_forks_than_anybody_needs_are_not_kept(scene, phone):
    scene.ann.call(EVE)
    scene.run()
    for number in range(100):
        phone.respond(phone.last("INVITE"), 180, tag=f"t{number}")
    scene.run()
    assert len(scene.ann.agent.dialogs) == 32


def test_a_2xx_without_a_usable_contact_is_ended(scene, phone):
    scene.ann.call(EVE)
    scene.run()
    phone.respond(phone.last("INVITE"), 200, body=sdp(), contact=False, headers=[("Contact", "nonsense")])
    scene.run()
    assert phone.methods() == ["INVITE", "ACK", "BYE"]
    assert scene.ann.owner.names == ["failed", "ended"]
    assert scene.ann.owner.last("failed")[1] == 502


# --- 2xx and ACK


@pytest.mark.parametrize("lost", [1, 3])
def test_a_lost_ack_is_sent_again_with_the_2xx(scene, lost):
    left = [lost]

    def accept(packet):
        if packet.data.startswith(b"ACK") and left[0]:
            left[0] -= 1
            return False
        return True

    scene.link.accept = accept
    scene.ann.call(BOB)
    scene.run()
    scene.bob.leg.answer(sdp())
    scene.run(10_000)
    assert scene.bob.owner.names == ["established"]
    assert scene.methods(ANN) == ["INVITE", *["ACK"] * (lost + 1)]
    assert scene.statuses(BOB) == [200] * (lost + 1)


def test_a_2xx_that_is_never_acknowledged_ends_in_bye(scene):
    scene.link.accept = lambda packet: not packet.data.startswith(b"ACK")
    scene.ann.call(BOB)
    scene.run()
    scene.bob.leg.answer(sdp())
    scene.run(33_000)
    assert scene.bob.owner.heard == [("established", None), ("ended", "timeout", "no ACK")]
    assert scene.ann.owner.names == ["answered", "ended"]
    assert scene.methods(BOB) == ["BYE"]
    scene.settle()


def test_a_bye_of_the_callee_waits_for_the_ack(scene):
    scene.link.accept = lambda packet: not packet.data.startswith(b"ACK")
    scene.ann.call(BOB)
    scene.run()
    scene.bob.leg.answer(sdp())
    scene.bob.leg.bye()
    scene.run(1000)
    assert (scene.methods(BOB), scene.bob.leg.state) == ([], "ending")
    scene.link.accept = None
    scene.run(2000)
    assert scene.methods(BOB) == ["BYE"]
    assert scene.bob.owner.heard == [("ended", "us", "")]
    scene.settle()


def test_a_bye_that_nobody_answers_ends_the_leg_all_the_same(scene):
    ours, _ = scene.up()
    scene.link.accept = lambda packet: not packet.data.startswith(b"BYE")
    ours.bye()
    scene.run(20_000)
    assert ours.state == "ending"
    scene.run(20_000)
    assert scene.ann.owner.heard[-1] == ("ended", "us", "")


def test_both_hang_up_at_once(scene):
    scene.link.conditions = Conditions(delay=20)
    ours, theirs = scene.ann.call(BOB), None
    scene.run(50)
    theirs = scene.bob.leg
    theirs.answer(sdp())
    scene.run(100)
    ours.bye()
    theirs.bye()
    scene.run(100)
    assert scene.ann.owner.count("ended") == scene.bob.owner.count("ended") == 1
    scene.settle()


def test_a_bye_to_the_early_dialog_takes_the_call_back(scene, phone):
    phone.request("INVITE", "sip:192.0.2.1", call_id="in", cseq=1, body=sdp())
    scene.run()
    scene.ann.leg.ring()
    phone.request("BYE", "sip:192.0.2.1", call_id="in", cseq=2, to_tag=scene.ann.leg.dialog.local_tag)
    scene.run()
    assert (phone.statuses("BYE"), phone.statuses("INVITE")) == ([200], [180, 487])
    assert scene.ann.owner.names == ["cancelled", "ended"]


def test_a_callee_that_sends_bye_before_it_answers_is_taken_at_its_word(scene, phone):
    scene.ann.call(EVE)
    scene.run()
    invite = phone.last("INVITE")
    phone.respond(invite, 180)
    scene.run()
    phone.inside(invite, "BYE", 1)
    scene.run()
    assert phone.statuses("BYE") == [200]
    assert phone.methods()[-1] == "CANCEL"
    assert scene.ann.owner.last("failed")[1:3] == (487, "Request Terminated")
    phone.respond(invite, 487)
    scene.run()
    assert scene.ann.owner.names[-1] == "ended"


# --- what is asked of an INVITE


@pytest.mark.parametrize(("max_forwards", "status"), [(0, 483), (1, 0), (70, 0)])
def test_an_invite_with_no_hop_left_goes_no_further(scene, phone, max_forwards, status):
    phone.request("INVITE", "sip:192.0.2.1", call_id="in", cseq=1, body=sdp(), max_forwards=max_forwards)
    scene.run()
    if status:
        assert scene.sent(ANN)[-1].status == status
        assert scene.ann.legs == []
        return
    assert scene.ann.leg.max_forwards == max_forwards


def test_max_forwards_goes_on_and_ends_a_loop(scene):
    scene.ann.call(BOB, max_forwards=3)
    assert Leg.outgoing(scene.ann.agent, scene.ann.owner).invite(
        "sip:a@b", BOB, local="<sip:a@b>", remote="<sip:c@d>", max_forwards=-1) is False
    assert scene.ann.owner.heard == [("failed", 483, "Too Many Hops", None), ("ended", "error", "483 Too Many Hops")]
    scene.run()
    assert scene.sent(ANN, "INVITE")[0].header("Max-Forwards") == "3"
    assert scene.bob.leg.max_forwards == 3


def test_an_invite_without_contact_is_refused(scene, phone):
    phone.request("INVITE", "sip:192.0.2.1", call_id="in", cseq=1, contact=False)
    scene.run()
    assert phone.statuses() == [400]
    assert scene.ann.legs == []


def test_an_unknown_extension_is_refused(scene, phone):
    phone.request("INVITE", "sip:192.0.2.1", call_id="in", cseq=1, headers=[("Require", "timer, precondition, 100rel")])
    scene.run()
    assert phone.statuses() == [420]
    assert phone.got[-1].header("Unsupported") == "precondition"


def test_text_that_would_break_a_message_changes_nothing(scene):
    evil = [("X-A", "b\r\nEvil: 1")]
    leg = Leg.outgoing(scene.ann.agent, scene.ann.owner)
    with pytest.raises(BadText):
        leg.invite("sip:a@b", BOB, local="<sip:a@b>", remote="<sip:c@d>", headers=evil)
    assert (leg.state, scene.ann.agent.live) == ("new", 0)
    ours, theirs = scene.ann.call(BOB), None
    scene.run()
    theirs = scene.bob.leg
    for command in (lambda: theirs.ring(183, b"", evil), lambda: theirs.answer(sdp(), evil),
                    lambda: theirs.reject(486, "", evil)):
        with pytest.raises(BadText):
            command()
        assert theirs.state == "inviting"
    theirs.answer(sdp())
    scene.run()
    for bad in (lambda: ours.bye(evil), lambda: ours.refer("sip:a@b", evil), lambda: ours.reinvite(sdp(), evil),
                lambda: ours.forward("INFO", evil), lambda: ours.refer("sip:a@b>\r\nEvil: <1")):
        with pytest.raises(BadText):
            bad()
        assert ours.state == "up"
    ours.bye()
    scene.settle()


def test_ringing_is_told_again_each_minute(scene):
    scene.ann.call(BOB)
    scene.run()
    scene.bob.leg.ring()
    scene.run(130_000)
    assert scene.statuses(BOB) == [180, 180, 180]
    assert scene.bob.leg.answer(sdp())
    scene.run(100_000)
    assert scene.statuses(BOB) == [180, 180, 180, 200]


@pytest.mark.parametrize("seed", range(12))
def test_calls_survive_a_bad_network(seed):
    scene = Scene(seed, Conditions(delay=20, jitter=60, loss=0.2, duplicate=0.1))
    scene.bob.take = lambda leg: leg.ring()
    ours = scene.ann.call(BOB)
    scene.run(32_000)
    theirs = scene.bob.leg
    assert theirs.answer(sdp())
    scene.run(32_000)
    assert (ours.state, theirs.state) == ("up", "up")
    assert (scene.ann.owner.count("answered"), scene.bob.owner.count("established")) == (1, 1)
    ours.bye()
    scene.run(32_000)
    assert ours.state == theirs.state == "ended"
    scene.settle()


def test_answers_of_forks_without_end_are_not_all_ended(scene, phone):
    scene.ann.call(EVE)
    scene.run()
    invite = phone.last("INVITE")
    for number in range(100):
        phone.respond(invite, 200, body=sdp(), tag=f"fork{number}")
        scene.run()
    assert 30 <= phone.methods().count("BYE") <= 33
    assert scene.ann.leg.state == "up"
