"""A far end that floods its dialog: every request is answered, what is kept has a bound, and the call goes on."""
import pytest

from sipcore.stack.leg import MOST_FORWARDED, MOST_REFERRINGS
from sipcore.stack.received import MOST_REFERRALS

from .referring import BY_REFER, TO, blind
from .scene import AGENT, CONFIG, FORWARD, ROUTE, Scene, sdp

TALKATIVE = CONFIG.replace('name = "callers"', 'name = "callers"\ndialog_methods = ["BYE", "INFO", "MESSAGE"]')


def end(scene, one):
    one.send("BYE")
    scene.run()
    for bye in scene.agent.received():
        if bye.name == "BYE":
            scene.agent.answer(bye, 200)
    scene.over()


@pytest.mark.parametrize("method", ["INFO", "MESSAGE"])
def test_requests_that_nobody_answers(method):
    scene = Scene(base=TALKATIVE)
    one, _ = scene.up()
    for _ in range(MOST_FORWARDED + 20):
        one.send(method, headers=[("Content-Type", "text/plain")], body=b"x")
    scene.run()
    names = scene.caller.names()
    assert names == ["500"] * 20
    assert len(scene.agent.received()) == MOST_FORWARDED
    scene.run(40_000)
    assert scene.caller.names().count("408") == MOST_FORWARDED
    scene.agent.received()
    one.send(method, headers=[("Content-Type", "text/plain")], body=b"x")
    scene.run()
    scene.agent.answer(scene.agent.take(method), 200)
    scene.run()
    assert scene.caller.names() == ["200"]
    end(scene, one)


def test_refers_that_are_passed_on_and_never_answered():
    scene = Scene(ROUTE + FORWARD)
    one, other = scene.up()
    for _ in range(50):
        other.send("REFER", headers=[("Refer-To", f"<{TO}>")])
    scene.run()
    assert scene.agent.names() == ["491"] * (50 - MOST_REFERRALS)
    assert len(scene.caller.received()) == MOST_REFERRALS
    end(scene, one)


def test_refers_that_are_refused_as_fast_as_they_come():
    scene = Scene(ROUTE + FORWARD)
    one, other = scene.up()
    for number in range(MOST_REFERRINGS + 5):
        other.send("REFER", headers=[("Refer-To", f"<{TO}>")])
        scene.run()
        if number < MOST_REFERRINGS:
            scene.caller.answer(scene.caller.take("REFER"), 486)
            scene.run()
            assert scene.agent.names() == ["486"]
        else:
            assert scene.agent.names() == ["503"]
    end(scene, one)


def test_a_refer_while_a_transfer_runs_is_refused_and_changes_nothing():
    scene = Scene(BY_REFER)
    one, other = scene.up()
    assert scene.start(blind()).status == 202
    scene.caller.answer(scene.caller.take("REFER"), 202)
    other.send("REFER", headers=[("Refer-To", f"<{TO}>")])
    scene.run()
    assert scene.agent.names() == ["491"]
    second = scene.start(blind())
    assert (second.status, second.error) == (409, f"transfer {scene.transfer.id} is accepted")
    assert scene.transfer.status.state == "accepted"
    end(scene, one)
    assert [record.transfer.state for record in scene.services.records() if record.transfer] == ["unknown"]


def test_re_invites_without_end_are_crossed_one_at_a_time():
    scene = Scene()
    one, _ = scene.up()
    for version in range(2, 30):
        one.send("INVITE", headers=[("Content-Type", "application/sdp")], body=sdp("127.0.0.2", version=version))
    scene.run()
    names = scene.caller.names()
    assert names.count("500") == 27
    (invite,) = scene.agent.received()
    scene.agent.answer(invite, 200, body=sdp(AGENT), headers=[("Content-Type", "application/sdp")])
    scene.run()
    assert scene.agent.names() == ["ACK"]
    scene.run(33_000)
    # The flood's 2xx was never acknowledged: the leg is ended.
    assert "BYE" in scene.agent.names()
    scene.over()


def test_a_call_has_no_end_of_transfers():
    scene = Scene(ROUTE)
    one, _ = scene.up()
    scene.call.transfers = 100
    reply = scene.start(blind())
    assert (reply.status, reply.error) == (409, "the call has had 100 transfers")
    end(scene, one)
