"""What the services process can ask of a worker's calls, the request before a call is routed, limits, and the end."""
import msgspec
import pytest

from proxy.config import Action
from proxy.events import (
    AskRequests,
    HangUp,
    ListCalls,
    ListUpstreams,
    SavedActions,
    SetVariables,
    ShowCall,
    ShowTransfer,
    StartTransfer,
    worker_of,
)

from .referring import BY_REFER, TO, agent_refers, blind
from .scene import AGENT, CONFIG, ROUTE, Scene, sdp

PRECALL = '[[request]]\nname = "crm"\nurl = "http://127.0.0.1:1/"\ntimeout = 2.0\n' + ROUTE + 'precall = "crm"\n'


def called(scene, number):
    """A call that rings at the agent."""
    invite = scene.invite()
    scene.agent.answer(invite, 180)
    scene.run()
    return invite


class TestCommands:
    def test_calls_are_listed_in_the_order_they_began_page_by_page(self):
        scene = Scene()
        for number in range(5):
            called(scene, number)
            scene.run(10)
        first = scene.calls.obey(ListCalls(ask=7, limit=3))
        assert (first.ask, len(first.calls), first.more) == (7, 3, True)
        second = scene.calls.obey(ListCalls(ask=8, after=first.calls[-1].id, limit=3))
        assert (len(second.calls), second.more) == (2, False)
        began = [call.began for call in (*first.calls, *second.calls)]
        assert began == sorted(began)
        assert {call.state for call in first.calls} == {"ringing"}
        assert scene.calls.obey(ListUpstreams(ask=9)).upstreams == {"agent": 5, "pbx": 0}
        scene.calls.finish()
        scene.over(600_000)

    def test_one_is_shown_with_its_legs(self):
        scene = Scene()
        one, _ = scene.up()
        (call,) = scene.calls.obey(ShowCall(ask=1, call=scene.call.id)).calls
        assert worker_of(call.id) == 0
        assert (call.state, call.caller, call.called) == ("up", "sip:+4930123@127.0.0.2:5060", "sip:bot@127.0.0.1")
        assert [(leg.role, leg.address, leg.group, leg.upstream) for leg in call.legs] == [
            ("caller", "127.0.0.2:5060", "callers", ""), ("agent", "127.0.0.3:5060", "agents", "agent")]
        assert call.legs[0].sip_call_id == one.call_id
        one.send("BYE")
        scene.over()
        assert scene.calls.obey(ShowCall(ask=1, call=call.id)).status == 404
        # Nobody is there any more; the record says who was.
        kept = scene.services.call()
        assert {(leg.role, leg.address, leg.sip_call_id) for leg in kept.legs} == {
            (leg.role, leg.address, leg.sip_call_id) for leg in call.legs}
        assert {leg.state for leg in kept.legs} == {"ended"}

    def test_hanging_up_ends_both_legs(self):
        scene = Scene()
        scene.up()
        assert scene.calls.obey(HangUp(ask=1, call=scene.call.id)).status == 202
        scene.run()
        for phone in (scene.caller, scene.agent):
            phone.answer(phone.take("BYE"), 200)
        scene.over()
        assert scene.services.call().ended_by == "api"
        assert b'"ended":"stop"' in scene.proxy.records.journal.take()

    def test_hanging_up_on_a_call_that_rings(self):
        scene = Scene()
        invite = called(scene, 1)
        scene.calls.obey(HangUp(ask=1, call=scene.call.id))
        scene.run()
        assert scene.caller.names() == ["100", "180", "503"]
        scene.agent.answer(scene.agent.take("CANCEL"), 200)
        scene.agent.answer(invite, 487)
        scene.over()

    def test_hanging_up_ends_a_transfer_too(self):
        scene = Scene()
        scene.up()
        scene.start(blind())
        scene.calls.obey(HangUp(ask=1, call=scene.call.id))
        scene.over()
        assert scene.services.transfer().state in ("cancelled", "unknown")

    def test_variables_are_set_and_taken_away(self):
        scene = Scene()
        one, _ = scene.up()
        name = scene.call.id
        reply = scene.calls.obey(SetVariables(ask=1, call=name, variables={"plan": "gold", "x": "1"}))
        assert reply.calls[0].variables["plan"] == "gold"
        reply = scene.calls.obey(SetVariables(ask=1, call=name, variables={"x": None}))
        assert "x" not in reply.calls[0].variables
        reply = scene.calls.obey(SetVariables(ask=1, call=name, variables={"call_id": "forged"}))
        assert (reply.status, reply.field) == (422, "variables.call_id")
        assert scene.call.variables["call_id"] == one.call_id
        one.send("BYE")
        scene.over()

    @pytest.mark.parametrize("data", [b"", b"\xc1", msgspec.msgpack.encode({"name": "x"}),
                                      msgspec.msgpack.encode({"name": "x", "mode": "cold"})])
    def test_an_action_that_cannot_be_read(self, data):
        scene = Scene()
        one, _ = scene.up()
        reply = scene.calls.obey(StartTransfer(ask=1, call=scene.call.id, action=data))
        assert (reply.status, reply.field) == (422, "action")
        one.send("BYE")
        scene.over()

    def test_what_does_not_exist(self):
        scene = Scene()
        for command in (HangUp(ask=3, call="no"), SetVariables(ask=3, call="no", variables={}),
                        StartTransfer(ask=3, call="no", action=b""), ShowTransfer(ask=3, transfer="no")):
            reply = scene.calls.obey(command)
            assert (reply.ask, reply.status) == (3, 404)

    def test_a_saved_action_is_named_by_a_refer(self):
        # The rule names an action of the file; the saved one of another name is there for the API and for rules.
        scene = Scene()
        saved = Action(name="desk", mode="blind", targets=(TO,))
        assert scene.calls.obey(SavedActions(ask=1, actions=[msgspec.msgpack.encode(saved)])).status == 200
        assert scene.calls.action("desk") == saved
        assert scene.calls.obey(SavedActions(ask=1, actions=[b"\xc1"])).status == 422
        assert scene.calls.action("desk") == saved
        assert scene.calls.obey(SavedActions(ask=1, actions=[])).status == 200
        assert scene.calls.action("desk") is None

    def test_a_refer_during_a_transfer_is_told_to_come_again(self):
        scene = Scene(BY_REFER)
        one, other = scene.up()
        scene.start(blind())
        agent_refers(scene, other)
        assert scene.agent.names() == ["491"]
        one.send("BYE")
        scene.over()


class TestBeforeTheCall:
    def test_it_is_routed_when_the_answer_has_come(self):
        scene = Scene(PRECALL)
        scene.caller.request("INVITE", "sip:bot@127.0.0.1", body=sdp("127.0.0.2"),
                             headers=[("Content-Type", "application/sdp")])
        scene.run(500)
        assert scene.caller.names() == ["100"]
        assert scene.agent.names() == []
        question = scene.services.answer(AskRequests, values={"results": {"name": "Ann"}})
        assert (question.names, question.call.state) == (["crm"], "asking")
        scene.run()
        scene.agent.take("INVITE")
        assert scene.call.variables["results"] == {"name": "Ann"}
        scene.calls.finish()
        scene.over(600_000)

    def test_it_is_routed_without_an_answer_at_the_deadline(self):
        scene = Scene(PRECALL)
        scene.caller.request("INVITE", "sip:bot@127.0.0.1")
        scene.run(1999)
        assert scene.agent.names() == []
        scene.run(2)
        scene.agent.take("INVITE")
        scene.services.answer(AskRequests, values={"results": {"late": "1"}})
        assert "results" not in scene.call.variables_now()
        scene.calls.finish()
        scene.over(600_000)

    def test_the_caller_may_give_up_meanwhile(self):
        scene = Scene(PRECALL)
        invite = scene.caller.request("INVITE", "sip:bot@127.0.0.1")
        scene.run()
        scene.caller.cancel(invite)
        scene.run()
        assert "487" in scene.caller.names()
        scene.services.answer(AskRequests)
        scene.run()
        assert scene.agent.names() == []
        scene.over()


def test_limits_hold_for_controlled_calls():
    scene = Scene(base=CONFIG.replace('name = "agent"\n', 'name = "agent"\nmax_calls = 2\n'))
    for number in range(2):
        called(scene, number)
    scene.caller.received()
    scene.caller.request("INVITE", "sip:bot@127.0.0.1", call_id="third")
    scene.run()
    assert scene.caller.names() == ["503"]
    assert len(scene.calls.all) == 2
    scene.calls.finish()
    scene.over(600_000)


def test_the_end_hangs_up_on_everybody():
    scene = Scene()
    scene.up()
    called(scene, 2)
    scene.calls.finish()
    scene.run()
    assert "503" in scene.caller.names()
    assert {"BYE", "CANCEL"} <= set(scene.agent.names())
    scene.over(600_000)
    assert {record.call.ended_by for record in scene.services.records()} == {"edge"}


def test_texts_of_strangers_are_printable_in_records():
    scene = Scene()
    invite = scene.invite(from_="<sip:a\u202eb@127.0.0.2>;tag=x")
    scene.agent.answer(invite, 486, reason="B\u202eusy")
    scene.over(600_000)
    record = scene.services.call()
    assert (record.caller, record.reason) == ("sip:a?b@127.0.0.2", "B?usy")


def test_the_agent_that_called_may_transfer_whom_it_called():
    """The roles are those of the transfer: who refers is the agent."""
    text = ('[[route]]\nto = "agent"\ncontrol = true\n[[transfer]]\nname = "blind"\nmode = "blind"\n'
            '[[refer]]\naction = "run"\ntransfer = "blind"\n')
    scene = Scene(text)
    one, other = scene.up()
    one.send("REFER", headers=[("Refer-To", f"<{TO}>")])
    scene.run()
    assert scene.caller.names()[0] == "202"
    refer = scene.agent.take("REFER")
    assert refer.message.call_id == other.call_id
    assert refer.packet.to[0] == AGENT
    one.send("BYE")
    scene.over()
