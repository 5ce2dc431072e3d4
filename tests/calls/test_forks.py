"""The agent's side forks, and media passes from end to end: each fork that answers is an early dialog of its own to the
caller, as behind a forking proxy (RFC 3261 12.1, 13.2.1, 13.2.2.4; RFC 3262 3)."""
import pytest

from tests.endpoints import build

from .scene import AGENT, CALLER, TARGET, Scene, sdp

TYPE = [("Content-Type", "application/sdp")]
ONE, TWO = sdp(AGENT), sdp(TARGET, 6000)


@pytest.fixture
def scene():
    return Scene()


def early(scene, invite, tag, body, *headers, status=183):
    """What the caller gets when a fork answers provisionally."""
    scene.agent.answer(invite, status, tag=tag, body=body, headers=[*(TYPE if body else ()), *headers])
    scene.run()
    return [one for one in scene.caller.received() if one.name != "100"][-1]


def answered(scene, invite, tag, body):
    """The call is up with that fork: the caller's dialog and the agent's."""
    scene.agent.answer(invite, 200, tag=tag, body=body, headers=TYPE if body else ())
    scene.run()
    assert scene.agent.take("ACK").message.to_tag == tag
    response = scene.caller.take("200")
    one, other = scene.caller.caller_dialog(response), scene.agent.callee_dialog(invite, tag)
    one.send("ACK")
    scene.run()
    return response, one, other


def hang_up(scene, one):
    one.send("BYE")
    scene.run()
    assert scene.caller.names() == ["200"]
    scene.agent.answer(scene.agent.take("BYE"), 200)
    scene.over()


def test_each_fork_is_an_early_dialog_of_its_own(scene):
    invite = scene.invite()
    first, second = early(scene, invite, "one", ONE), early(scene, invite, "two", TWO)
    assert first.message.to_tag != second.message.to_tag
    assert {first.message.to_tag, second.message.to_tag}.isdisjoint({"one", "two"}), "tags of the edge's own"
    assert (first.message.body, second.message.body) == (ONE, TWO)
    again = early(scene, invite, "one", b"", status=180)
    assert again.message.to_tag == first.message.to_tag
    assert early(scene, invite, "two", b"", status=180).message.to_tag == second.message.to_tag


@pytest.mark.parametrize("winner", ["one", "two"])
def test_the_fork_that_answers_is_the_call(scene, winner):
    invite = scene.invite()
    tags = {tag: early(scene, invite, tag, body).message.to_tag for tag, body in (("one", ONE), ("two", TWO))}
    response, one, other = answered(scene, invite, winner, ONE if winner == "one" else TWO)
    assert response.message.to_tag == tags[winner]
    assert response.message.body == (ONE if winner == "one" else TWO)
    loser = "two" if winner == "one" else "one"
    other.send("BYE")
    scene.run()
    assert scene.caller.take("BYE").message.from_tag == tags[winner]
    assert scene.agent.names() == ["200"]
    scene.caller.request("BYE", one.target, call_id=one.call_id, cseq=7, from_=one.local,
                         to=one.remote.replace(tags[winner], tags[loser]))
    scene.run()
    assert scene.caller.names() == ["481"], "the other early dialog has ended with the 2xx"
    scene.over()


def test_a_fork_that_nobody_has_heard_of_answers(scene):
    invite = scene.invite()
    first = early(scene, invite, "one", ONE)
    response, one, _ = answered(scene, invite, "three", TWO)
    assert response.message.to_tag != first.message.to_tag
    assert response.message.body == TWO
    hang_up(scene, one)


def test_a_single_agent_has_one_dialog(scene):
    """Also where its first provisional response has no tag, as some have it."""
    invite = scene.invite()
    message = invite.message
    scene.agent.send(build("SIP/2.0 180 Ringing", [(name, value) for name in ("Via", "From", "To", "Call-ID", "CSeq")
                                                   for value in message.headers(name)]), invite.packet.source)
    scene.run()
    untagged = scene.caller.take("100", "180")
    first = early(scene, invite, "one", b"", status=180)
    second = early(scene, invite, "one", ONE)
    response, one, _ = answered(scene, invite, "one", ONE)
    assert {one.message.to_tag for one in (untagged, first, second)} == {response.message.to_tag}
    hang_up(scene, one)


def test_the_next_address_is_another_fork():
    """A call that failed over after ringing: its second early dialog is none with the first one's description."""
    text = '[[upstream]]\nname = "two"\ntargets = [{address = "127.0.0.3:5060"}, {address = "127.0.0.5:5060"}]\n'
    scene = Scene(text + '[[route]]\nto = "two"\ncontrol = true\n')
    scene.caller.request("INVITE", "sip:bot@127.0.0.1", call_id="call-1", body=sdp(CALLER), headers=TYPE)
    scene.run()
    phones = {"agent": scene.agent, "second": scene.second}
    inboxes = {name: phone.received() for name, phone in phones.items()}
    (first,) = [name for name, found in inboxes.items() if found]
    phones[first].answer(inboxes[first][0], 183, body=ONE, headers=TYPE)
    scene.run()
    rang = scene.caller.take("100", "183")
    phones[first].answer(inboxes[first][0], 503)
    scene.run()
    (other,) = [name for name in phones if name != first]
    invite = phones[other].take("INVITE")
    phones[other].answer(invite, 200, body=TWO, headers=TYPE)
    scene.run()
    response = scene.caller.take("200")
    assert response.message.to_tag != rang.message.to_tag
    assert response.message.body == TWO


def test_each_fork_has_reliable_responses_of_its_own(scene):
    """RFC 3262 3: RSeq counts within a dialog of the caller's; a PRACK is for its own fork."""
    invite = scene.invite(headers=[("Supported", "100rel")])
    first, second = early(scene, invite, "one", ONE), early(scene, invite, "two", TWO)
    assert [one.header("Require") for one in (first, second)] == ["100rel", "100rel"]
    dialogs = [scene.caller.caller_dialog(one) for one in (first, second)]
    for got, dialog in ((second, dialogs[1]), (first, dialogs[0])):
        dialog.send("PRACK", headers=[("RAck", f"{got.header('RSeq')} 1 INVITE")])
        scene.run()
        assert scene.caller.names() == ["200"]
        dialog.send("PRACK", headers=[("RAck", f"{got.header('RSeq')} 1 INVITE")])
        scene.run()
        assert scene.caller.names() == ["481"], "acknowledged already"
    third = early(scene, invite, "two", ONE, status=180)
    assert int(third.header("RSeq") or 0) == int(second.header("RSeq") or 0) + 1
    dialogs[1].send("PRACK", headers=[("RAck", f"{third.header('RSeq')} 1 INVITE")])
    scene.run()
    assert scene.caller.names() == ["200"]
    answered(scene, invite, "two", TWO)
    hang_up(scene, dialogs[1])


def test_a_fork_s_answer_waits_for_its_own_prack_alone(scene):
    invite = scene.invite(headers=[("Supported", "100rel")])
    first, second = early(scene, invite, "one", ONE), early(scene, invite, "two", TWO)
    scene.agent.answer(invite, 200, tag="two", body=TWO, headers=TYPE)
    scene.run()
    assert scene.caller.names() == []
    scene.caller.caller_dialog(second).send("PRACK", headers=[("RAck", f"{second.header('RSeq')} 1 INVITE")])
    scene.run()
    response = scene.caller.received()
    assert [one.name for one in response] == ["200", "200"]
    assert response[-1].message.to_tag == second.message.to_tag
    one = scene.caller.caller_dialog(response[-1])
    one.send("ACK")
    scene.run(40_000)
    assert first.header("RSeq")
    assert scene.caller.names() == [], "nothing is sent again for the fork that lost"
    assert scene.call.state == "up"


def test_a_cancelled_call_ends_every_fork(scene):
    invite = scene.invite()
    got = [early(scene, invite, tag, body) for tag, body in (("one", ONE), ("two", TWO))]
    scene.caller.cancel(scene.invited)
    scene.run()
    refused = scene.caller.received()
    assert sorted(one.name for one in refused) == ["200", "487"]
    scene.caller.ack(scene.invited, next(one for one in refused if one.name == "487"))
    scene.run()
    cancel = scene.agent.take("CANCEL")
    scene.agent.answer(cancel, 200)
    scene.agent.answer(invite, 487, tag="one")
    scene.run()
    for one in got:
        scene.caller.caller_dialog(one).send("UPDATE")
    scene.run()
    assert scene.caller.names() == ["481", "481"]
    scene.agent.received()
    scene.over()


@pytest.mark.parametrize("left", ["one", "two"])
def test_a_bye_to_an_early_dialog_ends_that_fork_alone(scene, left):
    """RFC 3261 15: as a caller sends that wants no second early dialog; the call goes on with the other."""
    invite = scene.invite()
    got = {tag: early(scene, invite, tag, body) for tag, body in (("one", ONE), ("two", TWO))}
    scene.caller.caller_dialog(got[left]).send("BYE")
    scene.run()
    assert scene.caller.names() == ["200"]
    assert scene.agent.names() == []
    scene.agent.answer(invite, 180, tag=left)
    scene.run()
    assert scene.caller.names() == [], "nothing more is said there"
    winner = "two" if left == "one" else "one"
    response, one, _ = answered(scene, invite, winner, TWO if left == "one" else ONE)
    assert response.message.to_tag == got[winner].message.to_tag
    hang_up(scene, one)


def test_a_fork_that_answers_after_its_bye_is_no_call(scene):
    """A phone beyond a forking proxy does not know yet that the caller does not want it; the others are taken back."""
    invite = scene.invite()
    got = {tag: early(scene, invite, tag, body) for tag, body in (("one", ONE), ("two", TWO))}
    scene.caller.caller_dialog(got["one"]).send("BYE")
    scene.run()
    assert scene.caller.names() == ["200"]
    scene.agent.answer(invite, 200, tag="one", body=ONE, headers=TYPE)
    scene.run()
    refused = scene.caller.take("487")
    assert refused.message.to_tag != got["one"].message.to_tag
    scene.caller.ack(scene.invited, refused)
    ack, bye = scene.agent.received()
    assert (ack.name, bye.name) == ("ACK", "BYE")
    scene.agent.answer(bye, 200)
    scene.run()
    call = scene.services.call()
    assert (call.state, call.status, call.ended_by) == ("ended", 487, "caller")
    scene.over()


def test_a_bye_to_the_last_early_dialog_ends_the_call(scene):
    invite = scene.invite()
    got = [early(scene, invite, tag, body) for tag, body in (("one", ONE), ("two", TWO))]
    for one in got:
        scene.caller.caller_dialog(one).send("BYE")
        scene.run()
    refused = scene.caller.received()
    assert sorted(one.name for one in refused) == ["200", "200", "487"]
    scene.caller.ack(scene.invited, next(one for one in refused if one.name == "487"))
    scene.run()
    scene.agent.answer(scene.agent.take("CANCEL"), 200)
    scene.agent.answer(invite, 487, tag="one")
    scene.run()
    scene.agent.received()
    scene.over()


def test_without_an_offer_in_the_invite_only_the_first_forks_is_passed_on(scene):
    """Both offer reliably; there is one answer."""
    invite = scene.invite(body=b"", headers=[("Supported", "100rel")])
    more = [("Require", "100rel"), ("RSeq", "1")]
    first, second = (early(scene, invite, tag, body, *more) for tag, body in (("one", ONE), ("two", TWO)))
    assert (first.message.body, second.message.body) == (ONE, b"")
    assert first.message.to_tag != second.message.to_tag


def test_forks_without_end_are_bounded(scene):
    invite = scene.invite()
    tags = set()
    for number in range(40):
        scene.agent.answer(invite, 183, tag=f"fork{number}", body=ONE, headers=TYPE)
        scene.run()
        tags |= {one.message.to_tag for one in scene.caller.received() if one.name == "183"}
    assert len(tags) == 32
    assert len(scene.proxy.dialogs) <= 64
    response, one, _ = answered(scene, invite, "fork39", TWO)
    assert response.message.to_tag not in tags, "in a dialog that has a description already, this one would not count"
    hang_up(scene, one)


def test_an_answer_that_came_early_is_repeated_for_who_may_have_missed_it(scene):
    """RFC 3261 13.2.1: the agent's reliable 183 was an unreliable one for a caller without 100rel, whose 2xx has to
    have the answer although the agent's own has none."""
    invite = scene.invite()
    scene.agent.answer(invite, 183, body=ONE, headers=[*TYPE, ("Require", "100rel"), ("RSeq", "1")])
    scene.run()
    scene.agent.answer(scene.agent.take("PRACK"), 200)
    scene.run()
    assert scene.caller.take("100", "183").header("Require") is None
    response, one, _ = answered(scene, invite, "bot-tag", b"")
    assert response.message.body == ONE
    hang_up(scene, one)


def test_a_caller_that_knows_one_early_dialog_keeps_it(scene):
    """It acknowledges nothing of the second fork, as there are phones that do: that fork alone falls silent."""
    invite = scene.invite(headers=[("Supported", "100rel")])
    first, second = early(scene, invite, "one", ONE), early(scene, invite, "two", TWO)
    dialog = scene.caller.caller_dialog(first)
    dialog.send("PRACK", headers=[("RAck", f"{first.header('RSeq')} 1 INVITE")])
    scene.run(33_000)
    again = [one for one in scene.caller.received() if one.name != "200"]
    assert {one.message.to_tag for one in again} == {second.message.to_tag}
    assert {one.name for one in again} == {"183"}
    scene.agent.answer(invite, 180, tag="two")
    scene.run(33_000)
    # Once a minute it is said that the call goes on (RFC 3261 13.3.1.1).
    assert {one.message.to_tag for one in scene.caller.received()} == {first.message.to_tag}
    response, _, _ = answered(scene, invite, "one", ONE)
    assert response.message.to_tag == first.message.to_tag
    hang_up(scene, dialog)


def test_a_caller_that_acknowledges_no_fork_is_refused(scene):
    invite = scene.invite(headers=[("Supported", "100rel")])
    for tag, body in (("one", ONE), ("two", TWO)):
        early(scene, invite, tag, body)
    scene.run(33_000)
    refused = scene.caller.received()[-1]
    assert refused.name == "504"
    scene.caller.ack(scene.invited, refused)
    scene.run()
    scene.agent.answer(scene.agent.received()[0], 200)
    scene.agent.answer(invite, 487, tag="one")
    scene.run()
    scene.agent.received()
    scene.over()
