"""A worker that stops hangs up on everybody, and what became of calls and transfers is told before it is gone."""
import pytest

from .referring import blind, referred, started
from .scene import ROUTE, Scene
from .stage import Stage


def states(scene):
    return [said.transfer.state for said in scene.services.records() if said.transfer is not None]


def stop(scene):
    scene.proxy.advance(scene.link.now)
    scene.calls.finish()
    scene.run()


def test_both_ends_get_a_bye_and_the_record_follows_their_answers():
    scene = Scene()
    scene.up()
    stop(scene)
    byes = [(phone, phone.take("BYE")) for phone in (scene.caller, scene.agent)]
    assert scene.proxy.busy == 2
    for phone, bye in byes:
        phone.answer(bye, 200)
    scene.run()
    assert scene.proxy.busy == 0
    assert scene.services.call().ended_by == "edge"
    scene.over()


def test_ends_that_answer_nothing_are_not_waited_for():
    scene = Scene()
    scene.up()
    stop(scene)
    assert scene.services.records() == []
    scene.calls.abandon()
    assert scene.calls.all == {}
    assert scene.services.call().state == "ended"
    assert len(scene.services.records()) == 1
    scene.over()


def test_a_call_that_is_still_ringing_is_refused():
    scene = Scene()
    invite = scene.invite()
    scene.agent.answer(invite, 180)
    scene.run()
    stop(scene)
    assert scene.caller.names() == ["100", "180", "503"]
    scene.agent.take("CANCEL")
    scene.calls.abandon()
    assert scene.services.call().status == 503
    scene.over()


@pytest.mark.parametrize("accepted", [False, True])
def test_a_refer_whose_outcome_nobody_will_hear_is_unknown(accepted):
    scene = Scene(ROUTE)
    scene.up()
    scene.start(blind())
    if accepted:
        referred(scene)
    stop(scene)
    scene.calls.abandon()
    assert states(scene) == ["unknown"]
    assert scene.services.call().state == "ended"
    scene.over()


def test_a_target_that_rings_is_cancelled():
    with Stage() as stage:
        _, _, invite = stage.begin()
        stage.target.answer(invite, 180)
        stage.run()
        stop(stage)
        assert stage.target.take("CANCEL")
        stage.target.answer(invite, 487)
        stage.calls.abandon()
        assert states(stage) == ["cancelled"]


def test_a_stopped_transfer_was_told_to_the_agent():
    scene, _, _, _ = started()
    stop(scene)
    assert "BYE" in scene.agent.names()
    scene.calls.abandon()
    scene.over()
