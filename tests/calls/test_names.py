"""Controlled calls whose ways have names in them: where the INVITE goes, targets of transfers, what follows in their
dialogs."""
import pytest

from proxy.config import Action
from sipcore.base.place import Place
from tests.stack.names import Book, nowhere, reached

from .scene import AGENT, CALLER, CONFIG, ROUTE, TARGET, Scene, sdp
from .stage import OTHER, Stage

NAMED = CONFIG.replace('[{address = "127.0.0.3:5060"}]', '[{address = "agents.example.com"}]')
ALONG = '[[route]]\nto = "request-uri"\ncontrol = true\n'
AGENTS = Place("agents.example.com")


def scene_of(text=ROUTE, base=NAMED, **known):
    scene = Scene(text, base=base)
    book = scene.proxy.naming = Book(**known)
    return scene, book


def tell(scene, book, outcome):
    book.tell(outcome, scene.link.now)
    scene.run()


def call(scene, uri="sip:bot@127.0.0.1"):
    scene.invited = scene.caller.request("INVITE", uri, body=sdp(CALLER), headers=[("Content-Type", "application/sdp")])
    scene.run(300)


def test_a_known_name_waits_for_nothing():
    scene, book = scene_of(agents_example_com=reached(AGENT))
    one, other = scene.up()
    assert book.asked == []
    one.send("BYE")
    scene.run()
    scene.agent.answer(scene.agent.take("BYE"), 200)
    scene.run()
    scene.over()
    assert other


def test_an_unknown_name_is_waited_for():
    scene, book = scene_of()
    call(scene)
    assert scene.agent.names() == []
    assert scene.caller.names() == ["100"]
    assert book.names == ["agents.example.com"]
    tell(scene, book, reached(TARGET, AGENT))
    # One address after the other, as with those of an upstream.
    first = scene.target.take("INVITE")
    assert first.message.uri == "sip:bot@agents.example.com"
    scene.target.answer(first, 503)
    scene.run()
    second = scene.agent.take("INVITE")
    scene.agent.answer(second, 486)
    scene.run()
    scene.caller.ack(scene.invited, scene.caller.take("486"))
    scene.over()


@pytest.mark.parametrize(("status", "reason"), [
    (480, "Temporarily Unavailable - agents.example.com has no address"),
    (503, "Service Unavailable - agents.example.com does not resolve: no answer"),
])
@pytest.mark.parametrize("known", [True, False])
def test_a_name_that_leads_nowhere(status, reason, known):
    scene, book = scene_of()
    if known:
        book.known_places[AGENTS] = nowhere(AGENTS, status)
    call(scene)
    if not known:
        tell(scene, book, status)
    final = scene.caller.received()[-1]
    assert (final.name, final.message.reason) == (str(status), reason)
    scene.caller.ack(scene.invited, final)
    scene.over()


def test_the_caller_gives_up_while_a_name_is_looked_up():
    scene, book = scene_of()
    call(scene)
    scene.caller.cancel(scene.invited)
    scene.run()
    answers = scene.caller.received()
    assert [one.name for one in answers] == ["100", "200", "487"]
    scene.caller.ack(scene.invited, answers[-1])
    tell(scene, book, reached(AGENT))
    assert scene.agent.names() == []
    scene.over()


def test_nobody_answers_in_time():
    scene, _ = scene_of()
    scene.proxy.pending.configure(10, 4_000)
    call(scene)
    scene.run(4_000)
    final = scene.caller.received()[-1]
    assert (final.name, final.message.reason) == (
        "503", "Service Unavailable - agents.example.com does not resolve: no answer in time")
    scene.caller.ack(scene.invited, final)
    scene.over()


def test_along_a_request_uri_with_a_name():
    scene, book = scene_of(ALONG, CONFIG)
    call(scene, "sip:bot@pool.example.com;transport=udp")
    assert [place for place, _ in book.asked] == [Place("pool.example.com", 0, "udp")]
    tell(scene, book, reached(AGENT))
    invite = scene.agent.take("INVITE")
    assert invite.message.uri == "sip:bot@pool.example.com;transport=udp"
    scene.agent.answer(invite, 486)
    scene.run()
    scene.caller.ack(scene.invited, scene.caller.received()[-1])
    scene.over()


def test_a_name_that_leads_back_to_the_edge_is_a_loop():
    scene, book = scene_of(ALONG, CONFIG)
    call(scene, "sip:bot@edge.example.com")
    tell(scene, book, reached("127.0.0.1"))
    final = scene.caller.received()[-1]
    assert final.name == "482"
    scene.caller.ack(scene.invited, final)
    scene.over()


def test_a_contact_with_a_name_is_looked_up_for_what_follows():
    scene, book = scene_of(base=CONFIG)
    scene.agent.contact = "<sip:bot@bot.example.com>"
    one, other = scene.up()
    # The ACK went where the INVITE had gone, and had the name looked up.
    assert book.names == ["bot.example.com"]
    book.known_places[Place("bot.example.com")] = reached(TARGET)
    tell(scene, book, reached(TARGET))
    one.send("BYE")
    scene.run()
    bye = scene.target.take("BYE")
    assert bye.message.uri == "sip:bot@bot.example.com"
    scene.target.answer(bye, 200)
    scene.run()
    scene.over()
    assert other


class TestTargets:
    @pytest.fixture
    def stage(self):
        with Stage() as stage:
            yield stage

    def begin(self, stage, **fields):
        book = stage.proxy.naming = Book()
        one, other = stage.up()
        action = Action(**{"name": "given", "mode": "warm", "targets": ("sip:2001@desk.example.com",), **fields})
        assert stage.start(action).status == 202
        return one, other, book

    def finish(self, stage, one):
        stage.hang_up(one, stage.agent, stage.target, stage.second)
        stage.run()

    def test_a_target_with_a_name_is_looked_up(self, stage):
        one, _, book = self.begin(stage)
        assert book.names == ["desk.example.com"]
        assert stage.target.names() == []
        tell(stage, book, reached(TARGET))
        invite = stage.target.take("INVITE")
        assert invite.message.uri == "sip:2001@desk.example.com"
        assert invite.header("To") == "<sip:2001@desk.example.com>"
        stage.target.answer(invite, 486)
        stage.run()
        assert stage.services.transfer().state == "failed"
        self.finish(stage, one)

    def test_a_target_that_does_not_resolve_leaves_the_next_one(self, stage):
        one, _, book = self.begin(stage, targets=("sip:2001@desk.example.com", OTHER), on_failure="next")
        tell(stage, book, 480)
        invite = stage.second.take("INVITE")
        stage.second.answer(invite, 486)
        stage.run()
        attempts = stage.services.transfer()
        assert attempts.state == "failed"
        assert any("desk.example.com has no address" in step.detail for step in attempts.steps)
        self.finish(stage, one)

    def test_the_ring_timeout_holds_while_a_name_is_looked_up(self, stage):
        one, _, book = self.begin(stage, ring_timeout=2.0)
        stage.run(2_000)
        assert stage.services.transfer().status == 408
        tell(stage, book, reached(TARGET))
        assert stage.target.names() == []
        self.finish(stage, one)

    def test_the_caller_hangs_up_while_a_name_is_looked_up(self, stage):
        one, _, book = self.begin(stage)
        self.finish(stage, one)
        tell(stage, book, reached(TARGET))
        assert stage.target.names() == []
        assert stage.services.transfer().state == "cancelled"
