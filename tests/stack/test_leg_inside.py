"""What else happens inside a leg's dialog: challenges, capabilities, OPTIONS, INFO, unknown methods, the size hook."""
from dataclasses import replace

import pytest

from sipcore.base.errors import SipEdgeError
from sipcore.stack.capabilities import ALLOW
from sipcore.stack.legowner import LegSettings
from tests.stack.legs import ANN, EVE, Phone, Scene, sdp


class Credentials:
    """A digest hook that writes down what it was asked."""

    def __init__(self, answers=True):
        self.asked = []
        self.answers = answers

    def __call__(self, leg, request, response, times):
        if times == 2:
            return ()
        self.asked.append((request.method, response.status))
        name = "Authorization" if response.status == 401 else "Proxy-Authorization"
        had = [one for one in request.headers if one[0].endswith("Authorization") and one[0] != name]
        return (*had, (name, f'Digest response="{len(self.asked)}"')) if self.answers else ()


def scene_with(hook=None, fit=None):
    scene = Scene(ann=LegSettings(authenticate=hook, fit=fit, session_expires=0))
    return scene, Phone(scene.link)


def up(scene, phone, headers=()):
    leg = scene.ann.call(EVE)
    scene.run()
    invite = phone.last("INVITE")
    phone.respond(invite, 200, body=sdp(), headers=headers)
    scene.run()
    return leg, invite


# --- challenges, row 15


@pytest.mark.parametrize("status", [401, 407])
def test_a_challenged_invite_is_repeated_in_the_same_dialog_row_15(status):
    hook = Credentials()
    scene, phone = scene_with(hook)
    leg = scene.ann.call(EVE)
    scene.run()
    first = phone.last("INVITE")
    phone.respond(first, status, headers=[("WWW-Authenticate", 'Digest realm="x"')])
    scene.run()
    second = phone.last("INVITE")
    assert (second.call_id, second.from_tag, second.to_tag, second.cseq[0]) == (first.call_id, first.from_tag, "", 2)
    header = "Authorization" if status == 401 else "Proxy-Authorization"
    assert second.header(header) == 'Digest response="1"'
    assert second.body == first.body
    phone.respond(second, 200, body=sdp())
    scene.run()
    assert leg.state == "up"
    assert (phone.last("ACK").header(header), phone.last("ACK").cseq[0]) == ('Digest response="1"', 2)
    assert scene.ann.owner.names == ["answered"]


def test_two_challenges_on_the_way_are_answered_and_a_third_is_told():
    hook = Credentials()
    scene, phone = scene_with(hook)
    scene.ann.call(EVE)
    for status in (407, 401, 407):
        scene.run()
        phone.respond(phone.last("INVITE"), status)
    scene.run()
    third = phone.last("INVITE")
    assert (third.header("Proxy-Authorization"), third.header("Authorization")) == (
        'Digest response="1"', 'Digest response="2"')
    assert hook.asked == [("INVITE", 407), ("INVITE", 401)]
    assert scene.ann.owner.last("failed")[1] == 407


@pytest.mark.parametrize("answers", [True, False])
@pytest.mark.parametrize("method", ["INVITE", "UPDATE", "REFER", "INFO", "BYE"])
def test_challenges_inside_the_dialog_row_15(method, answers):
    hook = Credentials(answers)
    scene, phone = scene_with(hook)
    leg, invite = up(scene, phone)
    done = []
    send = {"INVITE": lambda: leg.reinvite(sdp()), "UPDATE": lambda: leg.update(sdp()), "BYE": leg.bye,
            "REFER": lambda: leg.refer("sip:2001@192.0.2.9", [("X-A", "b")]),
            "INFO": lambda: leg.forward("INFO", body=b"x", done=lambda *more: done.append(more))}[method]
    send()
    scene.run()
    first = phone.last(method)
    phone.respond(first, 401, contact=False)
    scene.run()
    second = phone.last(method)
    assert hook.asked == [(method, 401)]
    if not answers:
        assert second.cseq == first.cseq
        names = scene.ann.owner.names
        assert {"INVITE": "reoffer_done", "UPDATE": "reoffer_done", "REFER": "refer_progress", "BYE": "ended",
                "INFO": "answered"}[method] == names[-1]
        assert method != "INFO" or done[0][0] == 401
        return
    assert (second.call_id, second.from_tag, second.to_tag) == (invite.call_id, invite.from_tag, "phone")
    assert (second.cseq[0], second.header("Authorization")) == (3, 'Digest response="1"')
    assert (second.body, second.header("Refer-To"), second.header("X-A")) == (
        first.body, first.header("Refer-To"), first.header("X-A"))
    phone.respond(second, 202 if method == "REFER" else 200, body=sdp() if method in ("INVITE", "UPDATE") else b"")
    scene.run()
    if method == "INVITE":
        assert (phone.last("ACK").header("Authorization"), phone.last("ACK").cseq[0]) == ('Digest response="1"', 3)
    if method == "REFER":
        phone.inside(invite, "NOTIFY", 1, headers=[("Event", "refer;id=3"), ("Subscription-State", "active")])
        scene.run()
        assert phone.statuses("NOTIFY") == [200]
    assert leg.state == ("ended" if method == "BYE" else "up")


def test_a_notify_that_is_challenged_is_repeated():
    hook = Credentials()
    scene, phone = scene_with(hook)
    leg, invite = up(scene, phone)
    phone.inside(invite, "REFER", 1, headers=[("Refer-To", "<sip:2001@192.0.2.9>")])
    scene.run()
    referral = scene.ann.owner.last("refer")[1]
    referral.accept()
    phone.inside(invite, "BYE", 2)
    scene.run()
    phone.respond(phone.last("NOTIFY"), 407)
    scene.run()
    assert phone.last("NOTIFY").header("Proxy-Authorization") == 'Digest response="1"'
    assert leg.state == "ended"


# --- the size hook


def test_what_does_not_fit_is_made_to_before_it_is_sent():
    def fit(leg, out, to, tcp_failed):
        return replace(out, headers=tuple(one for one in out.headers if one[0] != "X-Big")), False

    scene, phone = scene_with(fit=fit)
    scene.ann.call(EVE, headers=[("X-Big", "b" * 2000), ("X-A", "1")])
    scene.run()
    invite = phone.last("INVITE")
    assert (invite.header("X-Big"), invite.header("X-A")) == (None, "1")
    phone.respond(invite, 200, body=sdp())
    scene.run()
    scene.ann.leg.refer("sip:2001@192.0.2.9", [("X-Big", "b" * 2000)])
    scene.run()
    assert phone.last("REFER").header("X-Big") is None


def test_what_cannot_be_made_to_fit_is_not_sent():
    def fit(leg, out, to, tcp_failed):
        raise SipEdgeError("1,600 of 1,300 bytes")

    scene, phone = scene_with(fit=fit)
    with pytest.raises(SipEdgeError, match="1,600"):
        scene.ann.call(EVE)
    assert scene.ann.agent.live == 0
    scene.run()
    assert phone.got == []


# --- capabilities


def test_what_the_far_end_can_do_is_remembered():
    scene, phone = scene_with()
    leg = scene.ann.call(EVE)
    assert leg.peer_allows("REFER") is None
    scene.run()
    invite = phone.last("INVITE")
    assert invite.headers("Allow") == ALLOW.split(", ")
    phone.respond(invite, 180, headers=[("Allow", "INVITE, ACK"), ("Allow", "refer,BYE"), ("Supported", "TIMER")])
    scene.run()
    assert (leg.peer_allows("REFER"), leg.peer_allows("UPDATE"), leg.peer.supports("timer")) == (True, False, True)
    phone.respond(invite, 200, body=sdp())
    scene.run()
    assert leg.peer_allows("REFER") is True
    phone.inside(invite, "OPTIONS", 1, headers=[("Allow", "INVITE, ACK, BYE")])
    scene.run()
    assert leg.peer_allows("REFER") is False


def test_options_is_answered_with_what_we_can():
    scene, phone = scene_with()
    _, invite = up(scene, phone)
    phone.inside(invite, "OPTIONS", 1)
    scene.run()
    answer = phone.got[-1]
    assert (answer.status, answer.header("Allow"), answer.header("Accept")) == (200, ALLOW, "application/sdp")
    assert "replaces" in answer.headers("Supported")
    assert scene.ann.owner.count("message") == 0


@pytest.mark.parametrize(("method", "status"), [("INFO", 405), ("MESSAGE", 405), ("PUBLISH", 405), ("ODD", 501)])
@pytest.mark.parametrize("owner_answers", [True, False])
def test_what_the_owner_leaves_is_answered(method, status, owner_answers):
    scene, phone = scene_with()
    if owner_answers:
        scene.ann.owner.do["message"] = lambda leg, tx: tx.respond(leg.agent.time, 200)
    leg, invite = up(scene, phone)
    phone.inside(invite, method, 1, body=b"x")
    scene.run()
    assert phone.statuses(method) == [200 if owner_answers else status]
    assert phone.got[-1].header("Allow") == (ALLOW if status == 405 and not owner_answers else None)
    assert scene.ann.owner.last("message")[1].request.body == b"x"
    assert leg.state == "up"


def test_an_unknown_extension_inside_the_dialog_is_refused():
    scene, phone = scene_with()
    _, invite = up(scene, phone)
    phone.inside(invite, "INFO", 1, headers=[("Require", "nonsense")])
    scene.run()
    assert (phone.statuses("INFO"), phone.got[-1].header("Unsupported")) == ([420], "nonsense")


@pytest.mark.parametrize(("how", "expected"), [(200, (200, "Whatever")), (415, (415, "Whatever")),
                                               (0, (408, "Request Timeout"))])
def test_info_goes_on_and_its_answer_comes_back(how, expected):
    scene, phone = scene_with()
    leg, _ = up(scene, phone)
    done = []
    assert leg.forward("INFO", [("Info-Package", "dtmf")], b"Signal=5", lambda *more: done.append(more),
                       "application/dtmf-relay")
    scene.run()
    info = phone.last("INFO")
    assert (info.header("Content-Type"), info.body, info.header("Contact")) == (
        "application/dtmf-relay", b"Signal=5", None)
    if how:
        phone.respond(info, how)
    scene.run(40_000)
    assert [one[:2] for one in done] == [expected]
    assert leg.state == "up"
    leg.bye()
    assert not leg.forward("INFO")


def test_a_request_of_another_dialog_is_481():
    scene, phone = scene_with()
    _, invite = up(scene, phone)
    phone.inside(invite, "INFO", 1, tag="somebody")
    scene.run()
    assert phone.statuses("INFO") == [481]


def test_commands_that_come_too_late_harm_nothing():
    scene, phone = scene_with()
    leg, invite = up(scene, phone)
    phone.inside(invite, "BYE", 1)
    scene.run()
    sent = len(scene.sent(ANN))
    assert (leg.cancel(), leg.ring(), leg.answer(sdp()), leg.reject(486), leg.reinvite(sdp()), leg.update(sdp()),
            leg.bye(), leg.refer("sip:a@b"), leg.forward("INFO"), leg.invite("sip:a@b", EVE, local="", remote="")) == (
        False, None, False, False, None, None, False, None, False, False)
    scene.run()
    assert len(scene.sent(ANN)) == sent
    assert scene.ann.owner.count("ended") == 1


def test_a_leg_that_never_called_ends_at_once():
    scene, _ = scene_with()
    from sipcore.stack.leg import Leg
    leg = Leg.outgoing(scene.ann.agent, scene.ann.owner)
    leg.bye(reason="not needed")
    assert scene.ann.owner.heard == [("ended", "us", "not needed")]
    assert leg.state == "ended"
