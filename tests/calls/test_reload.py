"""Another configuration while controlled calls are in progress: each stays in its group, and at its upstream."""
import json

import pytest

from proxy import app
from proxy.events import ListUpstreams
from tests.authorizing import parameters

from .challenging import TRUNK, challenge
from .referring import BY_REFER, TO, agent_refers
from .scene import CONFIG, ROUTE, RUN_BLIND, Scene, config_of, sdp
from .test_registration import REGISTRATION, Registering

TELLING = BY_REFER + '[[transfer.headers]]\nname = "X-Told"\nvalue = "{X-Internal-Key}"\nmissing = "omit"\n'
CALLERS = '[[group]]\nname = "callers"\naddresses = ["127.0.0.2"]\n'
TRUSTED = CALLERS + "trusted = true\n"
FIRST = '[[group]]\nname = "first"\naddresses = ["127.0.0.9"]\n'


@pytest.mark.parametrize(("before", "after", "told"), [
    (CONFIG, CONFIG.replace(CALLERS, FIRST + "trusted = true\n" + CALLERS), False),
    (CONFIG.replace(CALLERS, FIRST + TRUSTED), CONFIG.replace(CALLERS, TRUSTED), True),
    (CONFIG.replace(CALLERS, "") + TRUSTED, CONFIG.replace(CALLERS, ""), False),
    (CONFIG.replace(CALLERS, TRUSTED), CONFIG.replace(CALLERS, FIRST + "trusted = true\n"), False),
], ids=["a trusted group comes first", "the first group goes", "its group goes", "a trusted one takes its place"])
def test_only_callers_of_trusted_groups_tell_internal_headers(before, after, told):
    scene = Scene(TELLING, base=before)
    _, other = scene.up(headers=[("X-Internal-Key", "s")])
    app.configure(scene.proxy, config_of(TELLING, after))
    agent_refers(scene, other)
    scene.agent.received()
    assert scene.caller.take("REFER").header("X-Told") == ("s" if told else None)


def test_a_callers_refer_follows_the_rule_of_its_group():
    text = BY_REFER.replace(RUN_BLIND, RUN_BLIND.replace("agents", "callers"))
    scene = Scene(text, base=CONFIG.replace(CALLERS, FIRST + CALLERS))
    one, _ = scene.up()
    app.configure(scene.proxy, config_of(text))
    one.send("REFER", headers=[("Refer-To", f"<{TO}>")])
    scene.run()
    assert scene.caller.names()[0] == "202"


def swapped(base):
    """The first two upstreams, the other way round."""
    start, first, second, *rest = base.split("[[upstream]]")
    return "[[upstream]]".join((start, second, first, *rest))


def test_calls_count_for_their_upstream_and_the_line_names_it():
    scene = Scene()
    one, _ = scene.up()
    app.configure(scene.proxy, config_of(ROUTE, swapped(CONFIG).replace(CALLERS, FIRST)))
    assert scene.calls.obey(ListUpstreams(ask=1)).upstreams == {"pbx": 0, "agent": 1}
    one.send("BYE")
    scene.run()
    scene.agent.answer(scene.agent.take("BYE"), 200)
    scene.over()
    (line,) = map(json.loads, scene.proxy.records.journal.take().splitlines())
    assert (line["group"], line["upstream"]) == ("callers", "agent")


class TestTwoAccountsAtOneAddress:
    TWIN = TRUNK.replace('[[upstream]]\nname = "pbx"', (
        '[[upstream]]\nname = "twin"\ntargets = [{address = "127.0.0.3:5060"}]\n'
        'credentials = [{realm = "trunk", user = "other", secret_env = "TEST_SECRET"}]\n'
        '[[upstream]]\nname = "pbx"'))

    @pytest.fixture(autouse=True)
    def _secret(self, monkeypatch):
        monkeypatch.setenv("TEST_SECRET", "secret")

    def test_a_call_answers_challenges_by_its_own(self):
        scene = Scene(base=self.TWIN)
        invite = scene.invite(body=sdp("127.0.0.2"))
        app.configure(scene.proxy, config_of(ROUTE, swapped(self.TWIN)))
        scene.agent.answer(invite, 407, headers=challenge())
        scene.run()
        again = scene.agent.take("ACK", "INVITE")
        assert parameters(again.header("Proxy-Authorization") or "")["username"] == "edge"

    def test_so_does_a_registration(self):
        edge = Registering(base=self.TWIN)
        request = edge.asked()
        app.configure(edge.proxy, config_of(REGISTRATION + ROUTE, swapped(self.TWIN)))
        edge.agent.answer(request, 401, headers=challenge(status=401))
        edge.run()
        assert parameters(edge.agent.take("REGISTER").header("Authorization") or "")["username"] == "edge"


def test_a_call_that_is_asked_about_may_have_lost_its_group():
    """What was let pass is not refused by those that are in no group, unless it has to be made smaller."""
    text = ('[[request]]\nname = "crm"\nurl = "http://127.0.0.1:1/"\ntimeout = 2.0\n' + ROUTE + 'precall = "crm"\n')
    for padding, heard in (("x", "100"), (1500 * "x", "500")):
        scene = Scene(text)
        scene.caller.request("INVITE", "sip:bot@127.0.0.1", headers=[("X-Padding", padding)])
        scene.run()
        app.configure(scene.proxy, config_of(text, CONFIG.replace(CALLERS, "")))
        scene.services.answer(values={})
        scene.run()
        assert scene.caller.names()[-1] == heard
        assert scene.agent.names() == ["INVITE"] * (heard == "100")
