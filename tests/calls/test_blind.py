"""Blind transfers by the API: REFER in the caller's dialog, and what is told to whoever asked, on wire bytes."""
import json

import pytest

from proxy.events import CancelTransfer

from .referring import TO, blind, both_end, started
from .scene import Scene, notify


class TestByTheApi:
    def test_the_refer_goes_out_in_the_callers_dialog(self):
        _, one, _, refer = started()
        assert refer.header("Refer-To") == f"<{TO}>"
        assert refer.message.call_id == one.call_id
        assert refer.message.from_tag in one.remote
        assert refer.message.to_tag in one.local
        assert refer.header("Contact") is not None
        assert refer.header("Referred-By") is not None

    def test_its_end_is_a_line_of_the_call_log(self):
        scene, one, _, _ = started()
        notify(one, 486, "Busy Here")
        scene.run()
        lines = [json.loads(line) for line in scene.proxy.records.journal.take().splitlines()]
        (line,) = [line for line in lines if line["event"] == "transfer"]
        assert line.pop("time").startswith("1970-01-01T")
        record = scene.services.transfer()
        assert line == {"event": "transfer", "call_id": one.call_id, "call": record.call, "transfer": record.id,
                        "mode": "blind", "action": record.action, "by": "api", "target": TO, "outcome": "failed",
                        "status": 486, "verdict": record.verdict}

    def test_it_is_completed_by_the_final_notify_alone(self):
        scene, one, _, _ = started()
        notify(one, 100, "Trying")
        notify(one, 180, "Ringing")
        scene.run()
        assert scene.caller.names() == ["200", "200"]
        assert scene.transfer.status.state == "accepted"
        notify(one, 200, "OK")
        scene.run()
        received = scene.caller.received()
        # Row 5: the BYE comes after the answer to the final NOTIFY.
        assert [message.name for message in received] == ["200", "BYE"]
        assert received[0].message.cseq[1] == "NOTIFY"
        scene.caller.answer(received[1], 200)
        scene.agent.answer(scene.agent.take("BYE"), 200)
        scene.over()
        record = scene.services.transfer()
        assert (record.state, record.accepted, record.status, record.codes) == ("completed", True, 200,
                                                                               [202, 100, 180, 200])
        assert record.verdict == (
            "The caller's server accepted the REFER, 2001 answered (200), the caller is connected there.")
        assert [name for name in scene.services.events() if name.startswith("transfer")] == [
            "transfer.preparing", "transfer.referring", "transfer.accepted", "transfer.completed"]

    @pytest.mark.parametrize(("on_failure", "fell_back"), [("", "end"), ("end", "end"), ("return", "return")])
    def test_a_busy_target(self, on_failure, fell_back):
        scene, one, _, _ = started(blind(on_failure=on_failure))
        notify(one, 486, "Busy Here")
        scene.run()
        if fell_back == "end":
            both_end(scene)
        else:
            assert scene.caller.names() == ["200"]
            assert scene.agent.names() == []
            assert scene.call.state == "up"
            one.send("BYE")
            scene.run()
            scene.agent.answer(scene.agent.take("BYE"), 200)
        record = scene.services.transfer()
        scene.over()
        assert (record.state, record.status, record.reason, record.fell_back) == ("failed", 486, "Busy Here", fell_back)
        assert "was busy (486)" in record.verdict

    @pytest.mark.parametrize(("status", "reason"), [(603, "Decline"), (405, "Method Not Allowed"), (420, "Bad Ext")])
    def test_a_refused_refer_returns_the_caller(self, status, reason):
        scene = Scene()
        one, _ = scene.up()
        scene.start(blind(on_failure="return"))
        scene.caller.answer(scene.caller.take("REFER"), status, reason=reason)
        scene.run()
        record = scene.services.transfer()
        assert (record.state, record.accepted, record.status, record.reason) == ("failed", False, status, reason)
        assert scene.call.state == "up"
        one.send("BYE")
        scene.over()

    def test_the_next_target_of_a_list(self):
        scene, one, _, first = started(blind(targets=(TO, "sip:2002@192.0.2.30"), on_failure="next"))
        notify(one, 486, number=f";id={first.message.cseq[0]}")
        scene.run()
        answered, second = scene.caller.received()
        assert (answered.name, second.header("Refer-To")) == ("200", "<sip:2002@192.0.2.30>")
        scene.caller.answer(second, 202)
        scene.run()
        notify(one, 200, number=f";id={second.message.cseq[0]}")
        scene.run()
        both_end(scene)
        record = scene.services.transfer()
        assert (record.state, record.fell_back, record.target) == ("completed", "next", "sip:2002@192.0.2.30")
        scene.over()

    def test_a_server_that_takes_no_refer_is_known_beforehand(self):
        scene = Scene()
        one, _ = scene.up(headers=[("Allow", "INVITE, ACK, BYE, CANCEL")])
        reply = scene.start(blind())
        assert reply.status == 409
        assert "does not allow REFER" in reply.error
        assert scene.caller.names() == []
        one.send("BYE")
        scene.over()

    def test_a_refer_cannot_be_called_back(self):
        scene, one, _, _ = started()
        reply = scene.calls.obey(CancelTransfer(ask=2, transfer=scene.transfer.id))
        assert (reply.status, reply.transfers[0].state) == (409, "accepted")
        notify(one, 200)
        scene.run()
        both_end(scene)
        scene.over()

    def test_one_transfer_at_a_time_and_none_without_a_call(self):
        scene, one, _, _ = started()
        assert scene.start(blind()).status == 409
        notify(one, 486)
        scene.run()
        both_end(scene)
        scene.run()
        scene.over()

    @pytest.mark.parametrize(("target", "status", "words"), [
        ("sips:2001@192.0.2.30", 422, "TLS"), ("sip:2001@127.0.0.1:5060", 422, "edge itself"),
        ("internal-1", 422, "bare"),
        ("http://x", 422, "sip:, sips: or tel:"), ("sip:2001@192.0.2.30\r\nX: 1", 422, "printable")])
    def test_a_target_that_cannot_work_is_refused_before_a_packet_leaves(self, target, status, words):
        scene = Scene()
        one, _ = scene.up()
        reply = scene.start(blind(targets=()), target)
        assert (reply.status, reply.field) == (status, "target")
        assert words in reply.error
        assert scene.caller.names() == []
        one.send("BYE")
        scene.over()
