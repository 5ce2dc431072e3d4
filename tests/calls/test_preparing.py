"""What a transfer waits for before anything is sent, and for how long (transfers.md sections 3 and 7)."""
import pytest

from proxy.config import ActionHeader, Extractor
from proxy.events import AskExtractors, AskRequests, Extracted, ShowTransfer

from .referring import agent_refers, blind
from .scene import ROUTE, RUN_BLIND, Scene


class TestPreparing:
    ACTION = ('[[request]]\nname = "crm"\nurl = "http://127.0.0.1:1/"\n[model]\nurl = "http://127.0.0.1:1/v1"\n'
              'model = "m"\n[[transfer]]\nname = "blind"\nmode = "blind"\nbefore = ["crm"]\n'
              'deadline = 20.0\nring_timeout = 15.0\n'
              'headers = [{name = "X-Plan", value = "{results.data.plan}"}]\n'
              'extractors = [{header = "X-Intent", prompt = "Why?", deadline = 3.0, fallback = "unclear"}]\n')

    def begun(self):
        scene = Scene(ROUTE + self.ACTION + RUN_BLIND)
        one, other = scene.up()
        agent_refers(scene, other)
        accepted, first = scene.agent.received()
        assert accepted.name == "202"
        scene.agent.answer(first, 200)
        scene.run()
        assert [type(question) for question, _ in scene.services.asked] == [AskRequests, AskExtractors]
        assert scene.caller.names() == []
        return scene, one, other

    def test_it_waits_for_requests_and_extractors_asked_at_once(self):
        scene, one, _ = self.begun()
        scene.services.answer(AskExtractors, extracted=[
            Extracted(name="X-Intent", value="billing question", source="model", ms=420)])
        scene.run()
        assert scene.caller.names() == []
        scene.services.answer(AskRequests, values={"results": {"data": {"plan": "gold"}}})
        scene.run()
        refer = scene.caller.take("REFER")
        assert (refer.header("X-Plan"), refer.header("X-Intent")) == ("gold", "billing question")
        one.send("BYE")
        scene.over()
        assert scene.services.transfer().extracted[0].source == "model"

    def test_row_3_late_answers_delay_nothing_and_change_nothing(self):
        scene, one, _ = self.begun()
        scene.run(2999)
        assert scene.caller.names() == []
        scene.run(2)
        refer = scene.caller.take("REFER")
        assert refer.header("X-Intent") == "unclear"
        assert refer.header("X-Plan") is None
        scene.services.answer(AskExtractors, extracted=[Extracted(name="X-Intent", value="x", source="model", ms=1)])
        scene.run()
        assert [one.source for one in scene.transfer.extracted] == ["fallback"]
        assert scene.calls.counters["services_late"] == 1
        one.send("BYE")
        scene.over()

    @pytest.mark.parametrize("gone", [False, True])
    def test_a_request_that_nobody_answers_has_its_fallback(self, gone):
        text = ('[[request]]\nname = "crm"\nurl = "http://127.0.0.1:1/"\nfallback = \'{"plan": "none", "a": 1}\'\n'
                '[[request]]\nname = "erp"\nurl = "http://127.0.0.1:1/"\nfallback = \'{"a": 2}\'\n')
        scene = Scene(f'{ROUTE}precall = "erp"\n{text}')
        scene.caller.request("INVITE", "sip:bot@127.0.0.1", call_id="c")
        scene.run()
        self.nobody(scene, gone)
        assert scene.call.variables_now()["results"] == {"a": 2}
        scene.agent.answer(scene.agent.take("INVITE"), 200)
        scene.run()
        one = scene.caller.caller_dialog(scene.caller.take("100", "200"))
        one.send("ACK")
        scene.run()
        scene.start(blind(before=("crm", "erp"), headers=(
            ActionHeader(name="X-Plan", value="{results.crm.plan} {results.data.a} {results.a}"),)))
        self.nobody(scene, gone)
        assert scene.caller.take("REFER").header("X-Plan") == "none 2 2"
        one.send("BYE")
        scene.over()

    def nobody(self, scene: Scene, gone: bool) -> None:
        """The services process is gone, which the worker's end of the link says; or says nothing."""
        if gone:
            scene.services.answer(AskRequests, error="the services process ended")
        scene.run(3100 * (not gone))
        scene.services.asked.clear()

    def test_row_3_the_deadline_of_the_transfer_ends_it_wherever_it_is(self):
        scene, _, _ = self.begun()
        scene.run(3100)
        scene.caller.answer(scene.caller.take("REFER"), 202)
        scene.run(16_000)
        assert scene.transfer.status.state == "accepted"
        scene.run(1000)
        record = scene.services.transfer()
        assert record.state == "unknown"
        assert record.ended - record.began == pytest.approx(20_000, abs=5)
        scene.over()

    def test_the_caller_hangs_up_meanwhile(self):
        scene, one, _ = self.begun()
        one.send("BYE")
        scene.run()
        record = scene.services.transfer()
        assert (record.state, record.status) == ("cancelled", 487)
        assert scene.calls.obey(ShowTransfer(ask=1, transfer=record.id)).transfers[0].state == "cancelled"
        scene.over()
        assert scene.services.asked != []
        scene.services.answer(AskRequests)
        scene.run()

    def test_a_header_that_must_be_there_fails_the_transfer_and_not_the_call(self):
        scene = Scene()
        one, _ = scene.up()
        scene.start(blind(headers=(ActionHeader(name="X-Plan", value="{plan}", missing="fail"),), on_failure="return"))
        record = scene.services.transfer()
        assert (record.state, record.status) == ("failed", 400)
        assert scene.caller.names() == []
        one.send("BYE")
        scene.over()

    def test_injection_through_a_variable_is_impossible(self):
        scene = Scene()
        one, _ = scene.up()
        reply = scene.start(blind(headers=(ActionHeader(name="X-Plan", value="{plan}"),)),
                            plan="gold\r\nX-Evil: 1")
        assert reply.status in (202, 422)
        for received in scene.caller.received():
            assert b"X-Evil" not in received.data
        one.send("BYE")
        scene.over()


def test_extractors_without_a_model_take_their_fallbacks():
    scene = Scene()
    one, _ = scene.up()
    scene.start(blind(extractors=(Extractor(header="X-A", prompt="?", fallback="none"),)))
    scene.services.answer(AskExtractors, error="no model")
    scene.run()
    assert scene.caller.take("REFER").header("X-A") == "none"
    one.send("BYE")
    scene.over()
