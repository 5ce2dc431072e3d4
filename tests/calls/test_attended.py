"""Attended transfers that the edge runs (transfers.md section 7, row 20): the agent joins its two callers."""
from typing import Any

import pytest

from proxy.policy.headers import escape
from tests.endpoints import Dialog

from .scene import BLIND, ROUTE, RUN_BLIND, Scene, sdp
from .stage import TYPE, Stage


class Two:
    """Two calls of one agent: a caller, and whom the agent talked to before it refers the caller there."""

    def __init__(self, scene: Scene):
        self.scene = scene
        self.caller, self.agent = scene.up()
        self.first: Any = scene.call
        self.human, self.consulting = scene.up(from_="<sip:human@127.0.0.2>;tag=human")
        self.second: Any = next(call for call in scene.calls.all if call is not self.first)

    def refer(self) -> None:
        dialog = self.second.peer.dialog
        value = f"{dialog.call_id};to-tag={dialog.local_tag};from-tag={dialog.remote_tag}"
        self.agent.send("REFER", headers=[("Refer-To", f"<sip:human@127.0.0.2?Replaces={escape(value)}>")])
        self.scene.run()
        accepted, first = self.scene.agent.received()
        assert (accepted.name, first.name) == ("202", "NOTIFY")
        self.scene.agent.answer(first, 200)
        self.scene.run()

    def of(self, received: Any, dialog: Dialog) -> bool:
        return bool(received.message.call_id == dialog.call_id)


@pytest.fixture(params=["anchor", "pass"])
def two(request):
    text = BLIND + RUN_BLIND
    if request.param == "pass":
        scene = Scene(ROUTE + text)
        yield Two(scene)
        scene.over()
        return
    with Stage(text) as stage:
        yield Two(stage)


def invites(scene):
    return [one for one in scene.caller.received() if one.name == "INVITE"]


def test_the_far_ends_are_joined_and_the_agent_is_out(two):
    scene = two.scene
    two.refer()
    (asked,) = invites(scene)
    assert two.of(asked, two.human)
    scene.caller.answer(asked, 200, body=sdp("127.0.0.2", 4444, version=2), headers=TYPE)
    scene.run()
    for more in invites(scene):
        # Where the audio goes from end to end, the caller is told where it goes now.
        assert two.of(more, two.caller)
        assert b"4444" in more.message.body
        scene.caller.answer(more, 200, body=sdp("127.0.0.2", version=2), headers=TYPE)
        scene.run()
    received = scene.agent.received()
    final = next(one for one in received if one.name == "NOTIFY")
    assert final.message.body.startswith(b"SIP/2.0 200")
    scene.agent.answer(final, 200)
    scene.run()
    byes = [one for one in (*received, *scene.agent.received()) if one.name == "BYE"]
    assert {bye.message.call_id for bye in byes} == {two.agent.call_id, two.consulting.call_id}
    for bye in byes:
        scene.agent.answer(bye, 200)
    scene.run()
    record = scene.services.transfer()
    assert (record.mode, record.state) == ("attended", "completed")
    # The two are one call now: what one says is passed to the other.
    assert scene.calls.all.keys() == {two.first}
    two.caller.send("BYE")
    scene.run()
    bye = next(one for one in scene.caller.received() if one.name == "BYE")
    assert two.of(bye, two.human)
    scene.caller.answer(bye, 200)


def test_the_agent_may_hang_up_both_right_after_202(two):
    scene = two.scene
    two.refer()
    two.agent.send("BYE")
    two.consulting.send("BYE")
    scene.run()
    for _ in range(2):
        for asked in invites(scene):
            scene.caller.answer(asked, 200, body=sdp("127.0.0.2", version=2), headers=TYPE)
            scene.run()
    assert scene.services.transfer().state == "completed"
    two.caller.send("BYE")
    scene.run()
    for one in scene.caller.received():
        if one.name == "BYE":
            scene.caller.answer(one, 200)


def test_a_refusal_leaves_both_calls_as_they_were(two):
    scene = two.scene
    two.refer()
    (asked,) = invites(scene)
    scene.caller.answer(asked, 488, reason="No")
    scene.run()
    record = scene.services.transfer()
    assert (record.state, record.status) == ("failed", 488)
    final = next(one for one in scene.agent.received() if one.name == "NOTIFY")
    scene.agent.answer(final, 200)
    assert scene.calls.all.keys() == {two.first, two.second}
    for dialog in (two.caller, two.human):
        dialog.send("BYE")
        scene.run()
        for one in scene.agent.received():
            if one.name == "BYE":
                assert two.of(one, two.agent if dialog is two.caller else two.consulting)
                scene.agent.answer(one, 200)
    scene.run()


def test_the_caller_hangs_up_meanwhile(two):
    scene = two.scene
    two.refer()
    two.caller.send("BYE")
    scene.run()
    assert scene.services.transfer().state == "cancelled"
    for one in scene.caller.received():
        if one.name == "INVITE":
            scene.caller.answer(one, 200, body=sdp("127.0.0.2", version=2), headers=TYPE)
    scene.run()
    two.human.send("BYE")
    scene.run()


def test_who_was_to_be_joined_hangs_up_while_the_caller_is_asked(two):
    """The leg is lent to the first call then: the second one ends all the same, and nothing of it is left."""
    scene = two.scene
    two.refer()
    (asked,) = invites(scene)
    scene.caller.answer(asked, 200, body=sdp("127.0.0.2", payloads="0", version=2), headers=TYPE)
    scene.run()
    if any(said.transfer for said in scene.services.records()):
        # Anchored, nothing more had to be asked.
        two.caller.send("BYE")
        scene.run()
        return
    two.human.send("BYE")
    scene.run()
    assert scene.services.transfer().state == "failed"
    bye = next(one for one in scene.agent.received() if one.name == "BYE")
    assert two.of(bye, two.consulting)
    scene.agent.answer(bye, 200)
    scene.run()
    assert scene.calls.all.keys() == {two.first}
    two.caller.send("BYE")
    scene.run()


def test_who_was_to_be_joined_hangs_up_while_it_is_prepared():
    before = '[[request]]\nname = "crm"\nurl = "http://127.0.0.1:9/"\n'
    text = BLIND.replace('mode = "blind"\n', 'mode = "blind"\nbefore = ["crm"]\n')
    scene = Scene(ROUTE + before + text + RUN_BLIND)
    two = Two(scene)
    two.refer()
    assert two.first.transfer.status.state == "preparing"
    two.human.send("BYE")
    scene.run()
    record = scene.services.transfer()
    assert (record.state, record.status) == ("failed", 480)
    assert "hung up before" in record.verdict
    received = scene.agent.received()
    final = next(one for one in received if one.name == "NOTIFY")
    assert final.message.body.startswith(b"SIP/2.0 480")
    scene.agent.answer(final, 200)
    bye = next(one for one in received if one.name == "BYE")
    assert two.of(bye, two.consulting)
    scene.agent.answer(bye, 200)
    scene.run()
    assert scene.calls.all.keys() == {two.first}
    two.caller.send("BYE")
    scene.over()
