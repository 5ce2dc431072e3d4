"""REFER from the agent's leg, run by the edge or passed through. Rows are those of transfers.md section 7."""
from typing import Any

import pytest

from proxy.policy.headers import escape
from sipcore.wire.message import Message

from .referring import BY_REFER, TO, agent_refers, both_end, passed_on, referred, sipfrag_of
from .scene import BLIND, CONFIG, FORWARD, ROUTE, RUN_BLIND, Scene, notify


class TestByTheAgentsRefer:
    def test_202_comes_at_once_and_the_notifys_tell_the_outcome(self):
        scene = Scene(BY_REFER)
        one, other = scene.up()
        agent_refers(scene, other)
        accepted, first = scene.agent.received()
        assert (accepted.name, sipfrag_of(first)) == ("202", "SIP/2.0 100 Trying")
        scene.agent.answer(first, 200)
        refer = referred(scene)
        assert refer.header("Refer-To") == f"<{TO}>"
        passed_on(scene, one, 180, "Ringing")
        # Row 5: the agent hears the outcome, and answers it, before its BYE.
        passed_on(scene, one, 200, "OK")
        both_end(scene)
        scene.over()
        assert scene.services.transfer().started_by == "refer"

    def test_row_1_a_202_is_not_success(self):
        scene = Scene(BY_REFER)
        one, other = scene.up()
        agent_refers(scene, other)
        scene.agent.answer(scene.agent.received()[1], 200)
        referred(scene)
        scene.run(5000)
        assert scene.transfer.status.state == "accepted"
        assert scene.transfer.accepted
        assert scene.agent.names() == []
        passed_on(scene, one, 404, "Not Found")
        both_end(scene)
        record = scene.services.transfer()
        assert (record.accepted, record.state, record.status) == (True, "failed", 404)
        scene.over()

    def test_row_2_silence_after_202_is_unknown(self):
        scene = Scene(BY_REFER)
        _, other = scene.up()
        agent_refers(scene, other)
        scene.agent.answer(scene.agent.received()[1], 200)
        referred(scene)
        scene.run(100_000)
        record = scene.services.transfer()
        assert (record.state, record.accepted, record.fell_back) == ("unknown", True, "end")
        assert "never said what came of it" in record.verdict
        scene.over()

    def test_the_outcome_is_promised_for_as_long_as_it_may_take(self):
        scene = Scene(BY_REFER.replace('mode = "blind"\n', 'mode = "blind"\ndeadline = 900\n')
                      + "[timers]\nrefer_outcome = 900\n")
        one, other = scene.up()
        agent_refers(scene, other)
        first = scene.agent.received()[1]
        assert first.header("Subscription-State") == "active;expires=906"
        scene.agent.answer(first, 200)
        referred(scene)
        passed_on(scene, one, 180, "Ringing")
        # Longer than any usual subscription lasts.
        scene.run(600_000)
        assert scene.agent.names() == []
        passed_on(scene, one, 200, "OK")
        both_end(scene)
        scene.over()

    def test_each_answer_is_a_step_of_the_record(self):
        scene = Scene(BY_REFER)
        one, other = scene.up()
        agent_refers(scene, other)
        scene.agent.answer(scene.agent.received()[1], 200)
        referred(scene)
        for status, reason in ((100, "Trying"), (180, "Ringing"), (183, "Session Progress"), (200, "OK")):
            notify(one, status, reason)
            scene.run(1000)
        record = scene.services.transfer()
        assert record.codes == [202, 100, 180, 183, 200]
        assert [(step.what, step.detail) for step in record.steps] == [
            ("preparing", ""), ("prepared", ""), ("refer", TO), ("refer_accepted", "202 Reason"),
            ("notify_progress", "100 Trying"), ("notify_progress", "180 Ringing"),
            ("notify_progress", "183 Session Progress"), ("notify_final_ok", "200 OK"), ("completed", "200 OK")]
        assert [step.at for step in record.steps[4:]] == [
            record.steps[4].at + 1000 * n for n in (0, 1, 2, 3, 3)]
        scene.over()

    def test_row_4_the_referrers_bye_right_after_202(self):
        scene = Scene(BY_REFER)
        one, other = scene.up()
        agent_refers(scene, other)
        scene.agent.answer(scene.agent.received()[1], 200)
        other.send("BYE")
        scene.run()
        assert scene.agent.names() == ["200"]
        referred(scene)
        # Nobody has hung up on the caller.
        assert scene.call.caller is not None
        notify(one, 200)
        scene.run()
        received = scene.caller.received()
        assert [message.name for message in received] == ["200", "BYE"]
        scene.caller.answer(received[1], 200)
        scene.over()
        record = scene.services.transfer()
        assert (record.state, record.status) == ("completed", 200)

    def test_row_6_a_notify_before_the_answer_to_the_refer(self):
        scene = Scene(BY_REFER)
        one, other = scene.up()
        agent_refers(scene, other)
        scene.agent.answer(scene.agent.received()[1], 200)
        scene.run()
        refer = scene.caller.take("REFER")
        notify(one, 100, "Trying")
        scene.run()
        scene.caller.answer(refer, 202)
        notify(one, 200, "OK")
        scene.run()
        assert scene.services.transfer().state == "completed"
        assert sipfrag_of(scene.agent.received()[-1]) == "SIP/2.0 200 OK"
        scene.over()

    def test_row_6_the_referees_bye_without_a_final_notify_is_unknown(self):
        scene = Scene(BY_REFER)
        one, other = scene.up()
        agent_refers(scene, other)
        scene.agent.answer(scene.agent.received()[1], 200)
        referred(scene)
        one.send("BYE")
        scene.run(10_000)
        record = scene.services.transfer()
        assert record.state == "unknown"
        assert "hung up without saying" in record.verdict
        final = next(message for message in scene.agent.received() if message.name == "NOTIFY")
        assert not sipfrag_of(final).startswith("SIP/2.0 2")
        # A late NOTIFY of a subscription that was there is answered 200.
        scene.caller.received()
        notify(one, 200, "OK")
        scene.run()
        assert scene.caller.names()[:1] == ["200"]
        scene.over()

    def test_row_7_no_rule_is_603_and_a_loop_is_refused(self):
        scene = Scene(ROUTE + BLIND)
        one, other = scene.up()
        agent_refers(scene, other)
        assert scene.agent.names() == ["603"]
        one.send("BYE")
        scene.over()
        scene = Scene(BY_REFER)
        one, other = scene.up()
        agent_refers(scene, other, "<sip:2001@127.0.0.1:5060>")
        refused = scene.agent.take("482")
        assert refused.message.reason == "Loop Detected"
        assert scene.caller.names() == []
        one.send("BYE")
        scene.over()

    @pytest.mark.parametrize("uri", ["sip:+49%2030;phone-context=x@192.0.2.30:5090;transport=udp",
                                     "sip:a%40b@[2001:db8::1]", "tel:+4930123"])
    def test_row_8_a_full_uri_stays_untouched(self, uri):
        scene = Scene(BY_REFER)
        one, other = scene.up()
        agent_refers(scene, other, f"<{uri}>")
        scene.run()
        assert scene.caller.take("REFER").header("Refer-To") == f"<{uri}>"
        one.send("BYE")
        scene.over()

    def test_row_9_two_record_routes(self):
        scene = Scene(BY_REFER)
        routes = ["<sip:127.0.0.7;lr;r2=on>", "<sip:127.0.0.7:5080;lr;r2=on>"]
        hop = scene.link.open("127.0.0.7")
        one, other = scene.up(headers=[("Record-Route", route) for route in routes])
        # What the proxies would do with the ACK that takes their way.
        scene.caller.send(one.request("ACK"))
        agent_refers(scene, other)
        scene.run()
        (packet,) = [packet for packet in hop.inbox if packet.data.startswith(b"REFER")]
        refer = Message(packet.data)
        assert refer.headers("Route") == routes
        assert refer.uri == "sip:+4930123@127.0.0.2:5060"
        other.send("BYE")
        scene.over()

    def test_row_10_context_headers_arrive_and_internal_ones_do_not(self):
        action = ('[[transfer]]\nname = "blind"\nmode = "blind"\nheaders = [{name = "X-Plan", value = "{X-Plan} at '
                  '{from_phone_number}"}, {name = "X-Key", value = "{X-Internal-Key}"}, '
                  '{name = "X-Gone", value = "{nope}"}]\n')
        scene = Scene(ROUTE + action + RUN_BLIND)
        one, other = scene.up(headers=[("X-Plan", "gold"), ("X-Internal-Key", "k")])
        agent_refers(scene, other, headers=[("X-Internal-Secret", "s")])
        scene.run()
        refer = scene.caller.take("REFER")
        assert refer.header("X-Plan") == "gold at +4930123"
        assert b"X-Internal" not in refer.data
        assert refer.header("X-Gone") is None
        sent = {header.name: (header.where, header.why) for header in scene.transfer.headers}
        assert sent["X-Key"] == ("left out", "no {X-Internal-Key}")
        assert sent["X-Gone"] == ("left out", "no {nope}")
        one.send("BYE")
        scene.over()

    def test_row_13_odd_headers_and_methods_are_answered(self):
        scene = Scene(BY_REFER)
        one, other = scene.up()
        agent_refers(scene, other, headers=[("Frobnicate", "a;b=c, <d>")])
        assert scene.agent.received()[0].name == "202"
        agent_refers(scene, other, target="<http://192.0.2.30>")
        assert scene.agent.received()[0].name in ("416", "491")
        one.send("BYE")
        scene.over()


class TestPassedThrough:
    def test_the_far_ends_status_is_relayed_and_its_notifys(self):
        scene = Scene(ROUTE + FORWARD)
        one, other = scene.up()
        agent_refers(scene, other, headers=[("X-Reason", "billing")])
        assert scene.agent.names() == []
        refer = scene.caller.take("REFER")
        assert (refer.header("Refer-To"), refer.header("X-Reason")) == (f"<{TO}>", "billing")
        scene.caller.answer(refer, 202)
        scene.run()
        accepted, first = scene.agent.received()
        assert (accepted.name, first.name) == ("202", "NOTIFY")
        scene.agent.answer(first, 200)
        passed_on(scene, one, 486, "Busy Here")
        assert scene.call.state == "up"
        assert scene.call.passed == {}
        one.send("BYE")
        scene.over()

    def test_another_2xx_comes_back_as_it_is_and_the_outcome_is_promised_as_long_as_it_is_waited_for(self):
        scene = Scene(ROUTE + FORWARD + "[timers]\nrefer_outcome = 900\n")
        one, other = scene.up()
        agent_refers(scene, other)
        scene.caller.answer(scene.caller.take("REFER"), 200)
        scene.run()
        accepted, first = scene.agent.received()
        assert (accepted.name, first.header("Subscription-State")) == ("200", "active;expires=906")
        scene.agent.answer(first, 200)
        one.send("BYE")
        scene.over()

    def test_a_refusal_comes_back_as_it_is(self):
        scene = Scene(ROUTE + FORWARD)
        one, other = scene.up()
        agent_refers(scene, other)
        scene.caller.answer(scene.caller.take("REFER"), 488, reason="Rather Not")
        scene.run()
        assert scene.agent.take("488").message.reason == "Rather Not"
        one.send("BYE")
        scene.over()

    @pytest.mark.parametrize(("agent", "caller", "kept"), [
        (True, True, True), (True, False, False), (False, True, False), (False, False, False)])
    def test_row_10_internal_headers_pass_between_trusted_peers_alone(self, agent, caller, kept):
        base = CONFIG
        for trusted, host in ((caller, "127.0.0.2"), (agent, "127.0.0.3")):
            listed = f'addresses = ["{host}"]\n'
            base = base.replace(listed, f"{listed}trusted = {str(trusted).lower()}\n")
        scene = Scene(ROUTE + FORWARD, base=base)
        one, other = scene.up()
        agent_refers(scene, other, "<sip:9@192.0.2.9?X-Internal-Key=k&X-A=1>", headers=[("X-INTERNAL-Key", "s")])
        refer = scene.caller.take("REFER")
        assert (refer.header("X-Internal-Key") == "s") is kept
        assert refer.header("Refer-To") == "<sip:9@192.0.2.9?X-A=1>"
        one.send("BYE")
        scene.over()

    def test_row_20_an_unknown_dialog_in_replaces_passes_unchanged(self):
        scene = Scene(ROUTE + FORWARD)
        one, other = scene.up()
        value = "<sip:9@192.0.2.9?Replaces=a%40b%3Bto-tag%3D1%3Bfrom-tag%3D2&X-A=1>"
        agent_refers(scene, other, value)
        assert scene.caller.take("REFER").header("Refer-To") == value
        one.send("BYE")
        scene.over()

    def test_row_20_a_dialog_of_ours_in_replaces_becomes_what_the_target_knows(self):
        scene = Scene(ROUTE + FORWARD)
        one, other = scene.up()
        first_call = scene.call
        two, another = scene.up()
        second: Any = next(call for call in scene.calls.all if call is not first_call)
        # The agent joins its two callers: it names the dialog that it has with us for the second.
        ours = second.peer.dialog
        replaces = f"{another.call_id};to-tag={ours.local_tag};from-tag={ours.remote_tag}"
        agent_refers(scene, other, f"<sip:x@192.0.2.8?Replaces={escape(replaces)}>")
        refers = [one for one in scene.caller.received() if one.name == "REFER"]
        theirs = second.caller.dialog
        wanted = f"{theirs.call_id};to-tag={theirs.remote_tag};from-tag={theirs.local_tag}"
        assert refers[0].header("Refer-To") == f"<sip:x@192.0.2.8?Replaces={escape(wanted)}>"
        assert theirs.call_id == two.call_id
        one.send("BYE")
        two.send("BYE")
        scene.over()


@pytest.mark.parametrize(("status", "state"), [(200, "completed"), (486, "failed")])
def test_rows_2_6_and_19_the_final_notify_behind_the_bye_that_was_sent_after_it(status, state):
    scene = Scene(BY_REFER)
    one, other = scene.up()
    agent_refers(scene, other)
    scene.agent.answer(scene.agent.received()[1], 200)
    referred(scene)
    one.cseq += 1
    number = one.cseq
    one.send("BYE")
    scene.run(1000)
    assert scene.caller.names() == ["200"]
    assert scene.transfer is not None
    one.cseq = number - 1
    notify(one, status)
    scene.run()
    assert scene.caller.names() == ["200"]
    final = scene.agent.take("NOTIFY")
    assert sipfrag_of(final) == f"SIP/2.0 {status} Reason"
    scene.agent.answer(final, 200)
    scene.run()
    assert [scene.agent.answer(bye, 200) for bye in scene.agent.received() if bye.name == "BYE"]
    assert scene.services.transfer().state == state
    # Again, or unknown: what is answered by rule.
    notify(one, status, number=";id=77")
    scene.run()
    assert scene.caller.names() == ["481"]
    scene.over()
