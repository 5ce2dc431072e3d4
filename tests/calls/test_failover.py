"""Addresses of an upstream that are tried one after the other: each gets its own request URI, by one listener."""
import pytest

from proxy.config import Action

from .scene import AGENT, CONFIG, SECOND, TARGET, Scene
from .stage import Stage

ONE = 'targets = [{address = "127.0.0.4:5060"}]'
TWO = 'targets = [{address = "127.0.0.4:5060", priority = 1}, {address = "127.0.0.5:5060", priority = 2}]'
BOTH = CONFIG.replace(ONE, TWO)
TEMPLATE = BOTH.replace('name = "pbx"\n', 'name = "pbx"\nuri = "sip:{user}@{host};user=phone"\n')
TO_PBX = '[[route]]\nto = "pbx"\ncontrol = true\n'


class TestTheAgentsAddresses:
    def test_each_gets_its_own_request_uri(self):
        scene = Scene(TO_PBX, base=TEMPLATE)
        scene.caller.request("INVITE", "sip:+4930@127.0.0.1")
        scene.run()
        first = scene.target.take("INVITE")
        assert first.message.uri == f"sip:+4930@{TARGET}:5060;user=phone"
        scene.target.answer(first, 503)
        scene.run()
        second = scene.second.take("INVITE")
        assert second.message.uri == f"sip:+4930@{SECOND}:5060;user=phone"
        assert second.message.call_id != first.message.call_id
        scene.second.answer(second, 486)
        scene.run()
        assert scene.caller.names()[-1] == "486"
        scene.over()


def test_each_address_of_a_transfers_target_gets_its_own_request_uri():
    with Stage(base=TEMPLATE) as stage:
        one, _ = stage.up()
        action = Action(name="given", mode="warm", targets=("tel:+4930",), upstream="pbx")
        assert stage.start(action).status == 202
        first = stage.target.take("INVITE")
        assert first.message.uri == f"sip:+4930@{TARGET}:5060;user=phone"
        stage.target.answer(first, 503)
        stage.run()
        second = stage.second.take("INVITE")
        assert second.message.uri == f"sip:+4930@{SECOND}:5060;user=phone"
        stage.second.answer(second, 486)
        stage.run()
        assert stage.services.transfer().status == 486
        stage.hang_up(one, stage.agent)


def test_the_log_line_names_the_callee():
    scene = Scene()
    scene.proxy.records.journal.enabled = True
    one, _ = scene.up()
    one.send("BYE")
    scene.run()
    scene.agent.answer(scene.agent.take("BYE"), 200)
    scene.over()
    assert f'"callee":"{AGENT}:5060"'.encode() in scene.proxy.records.journal.take()


@pytest.mark.parametrize("to", ["request-uri", "self"])
def test_a_call_that_would_come_back_to_the_edge_is_482(to):
    inside = CONFIG.replace('addresses = ["127.0.0.2"]', 'addresses = ["127.0.0.1", "127.0.0.2"]')
    upstream = '[[upstream]]\nname = "self"\ntargets = [{address = "127.0.0.1:5060"}]\n'
    scene = Scene(f'{upstream}[[route]]\nto = "{to}"\ncontrol = true\n', base=inside)
    scene.caller.request("INVITE", "sip:bot@127.0.0.1:5060")
    scene.run()
    assert scene.caller.names() == ["100", "482"]
    assert scene.proxy.live == 1
    scene.over()
