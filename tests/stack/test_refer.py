"""What becomes of a REFER on a proxied call (transfers.md 7): the table of refer.pyx, on wire bytes."""
import json

import pytest

from sipcore.stack.verdict import Verdict
from tests.endpoints import Bench

REFER = [("Refer-To", "<sip:carol@127.0.0.9>")]
OUTCOMES = ("refers_accepted", "refers_refused", "refers_completed", "refers_failed", "refers_unknown")


@pytest.fixture
def bench():
    return Bench(outcome_ms=60_000)


@pytest.fixture
def call(bench):
    return bench.call(bench.phone("alice", "127.0.0.2"), bench.phone("bob", "127.0.0.3"))


def outcomes(bench):
    """(event, outcome or ended, status) of the lines written since."""
    lines = [json.loads(line) for line in bench.proxy.records.journal.take().splitlines()]
    return [(line["event"], line.get("outcome", line.get("ended")), line["status"]) for line in lines]


def counts(bench):
    return tuple(bench.count(name) for name in OUTCOMES)


def send(bench, dialog, other, method, answer=200, **parts):
    """A request and, where answer is given, its answer; the request as it arrived."""
    dialog.send(method, **parts)
    bench.run()
    request = other.phone.take(method)
    if answer:
        other.phone.answer(request, answer)
        bench.run()
        dialog.phone.take(str(answer))
    return request


def notify(bench, dialog, other, line, state="active", event="refer", answer=200):
    return send(bench, dialog, other, "NOTIFY", answer, body=f"SIP/2.0 {line}\r\n".encode() if line else b"", headers=[
        ("Event", event), ("Subscription-State", state), ("Content-Type", "message/sipfrag;version=2.0")])


def test_202_then_notify_100_and_200(bench, call):
    alice, bob = call
    refer = send(bench, alice, bob, "REFER", 202, headers=REFER)
    assert refer.header("Refer-To") == "<sip:carol@127.0.0.9>"
    assert counts(bench) == (1, 0, 0, 0, 0)
    notify(bench, bob, alice, "100 Trying")
    assert outcomes(bench) == []
    notify(bench, bob, alice, "200 OK", "terminated;reason=noresource")
    assert outcomes(bench) == [("transfer", "completed", 200)]
    assert counts(bench) == (1, 0, 1, 0, 0)
    send(bench, alice, bob, "BYE")
    assert outcomes(bench) == [("call", "caller", 200)]
    bench.empty()


@pytest.mark.parametrize("by_callee", [False, True])
@pytest.mark.parametrize(("line", "outcome", "status"), [
    ("486 Busy Here", "failed", 486), ("603 Decline", "failed", 603), ("302 Moved", "failed", 302),
    ("200 OK", "completed", 200), ("204 No Notification", "completed", 204)])
def test_the_final_notify_decides(bench, call, line, outcome, status, by_callee):
    one, other = call[::-1] if by_callee else call
    send(bench, one, other, "REFER", 202, headers=REFER)
    notify(bench, other, one, line, "terminated")
    assert outcomes(bench) == [("transfer", outcome, status)]
    notify(bench, other, one, "200 OK", "terminated")       # whatever follows changes nothing
    assert outcomes(bench) == []


def test_a_notify_may_come_before_the_202(bench, call):
    alice, bob = call
    refer = send(bench, alice, bob, "REFER", 0, headers=REFER)
    notify(bench, bob, alice, "100 Trying")
    bob.phone.answer(refer, 202)
    bench.run()
    alice.phone.take("202")
    assert counts(bench) == (1, 0, 0, 0, 0)
    notify(bench, bob, alice, "200 OK", "terminated")
    assert counts(bench) == (1, 0, 1, 0, 0)


def test_the_final_notify_may_come_before_the_202(bench, call):
    alice, bob = call
    refer = send(bench, alice, bob, "REFER", 0, headers=REFER)
    notify(bench, bob, alice, "200 OK", "terminated")
    assert outcomes(bench) == [("transfer", "completed", 200)]
    bob.phone.answer(refer, 202)
    bench.run()
    alice.phone.take("202")
    assert outcomes(bench) == []


@pytest.mark.parametrize("status", [200, 202, 204])
def test_any_2xx_is_accepted(bench, call, status):
    send(bench, call[0], call[1], "REFER", status, headers=REFER)
    assert counts(bench) == (1, 0, 0, 0, 0)


@pytest.mark.parametrize("status", [302, 401, 403, 405, 481, 501, 603])
def test_a_refusal(bench, call, status):
    send(bench, call[0], call[1], "REFER", status, headers=REFER)
    assert outcomes(bench) == [("transfer", "refused", status)]
    assert counts(bench) == (0, 1, 0, 0, 0)


def test_202_and_silence_is_unknown_after_the_bound(bench, call):
    send(bench, call[0], call[1], "REFER", 202, headers=REFER)
    bench.run(59_999)
    assert outcomes(bench) == []
    bench.run(1)
    assert outcomes(bench) == [("transfer", "unknown", 202)]
    assert counts(bench) == (1, 0, 0, 0, 1)


def test_no_answer_at_all_is_unknown_after_the_bound(bench, call):
    alice, _bob = call
    alice.send("REFER", headers=REFER)
    bench.run(32_000)
    bench.phone("x", "127.0.0.8").send(b"\r\n\r\n")         # whatever came last has no say in it
    bench.run(27_999)
    assert counts(bench) == (0, 0, 0, 0, 0)
    bench.run(1)
    assert outcomes(bench) == [("transfer", "unknown", 0)]


def test_a_notify_after_a_refer_that_nobody_answered(bench, call):
    alice, bob = call
    alice.send("REFER", headers=REFER)
    bench.run(33_000)
    bob.phone.received()
    alice.phone.received()
    notify(bench, bob, alice, "200 OK", "terminated")
    assert outcomes(bench) == [("transfer", "completed", 200)]


def test_the_referrer_says_bye_right_after_the_202(bench, call):
    """transfers.md 7.4: legal; the transfer goes on."""
    alice, bob = call
    send(bench, alice, bob, "REFER", 202, headers=REFER)
    send(bench, alice, bob, "BYE")
    assert outcomes(bench) == [("call", "caller", 200)]
    assert bench.count("dialogs") == 1
    notify(bench, bob, alice, "100 Trying")
    notify(bench, bob, alice, "200 OK", "terminated")
    assert outcomes(bench) == [("transfer", "completed", 200)]
    bench.empty()


def test_the_referrer_says_bye_and_nobody_notifies(bench, call):
    alice, bob = call
    send(bench, alice, bob, "REFER", 202, headers=REFER)
    send(bench, alice, bob, "BYE")
    bench.run(60_000)
    assert outcomes(bench) == [("call", "caller", 200), ("transfer", "unknown", 202)]
    bench.empty()


def test_the_referees_bye_makes_the_outcome_unknown(bench, call):
    """transfers.md 7.6"""
    alice, bob = call
    send(bench, alice, bob, "REFER", 202, headers=REFER)
    send(bench, bob, alice, "BYE")
    assert outcomes(bench) == [("transfer", "unknown", 202), ("call", "callee", 200)]
    notify(bench, bob, alice, "200 OK", "terminated", answer=481)   # late: it passes, and changes nothing
    assert outcomes(bench) == []
    bench.empty()


def test_a_terminated_subscription_without_a_final_status_is_unknown(bench, call):
    alice, bob = call
    send(bench, alice, bob, "REFER", 202, headers=REFER)
    notify(bench, bob, alice, "", "terminated;reason=timeout")
    assert outcomes(bench) == [("transfer", "unknown", 202)]


@pytest.mark.parametrize(("event", "body", "state"), [
    ("dialog", "200 OK", "terminated"), ("refer;id=99", "200 OK", "terminated"), ("referx", "200 OK", "terminated"),
    ("refer;id=x", "200 OK", "terminated"), ("refer", "2000 OK", "active"), ("refer", "99 x", "active"),
    ("refer", "20x OK", "active"), ("refer", "", "active")])
def test_notifies_that_say_nothing_of_it(bench, call, event, body, state):
    alice, bob = call
    send(bench, alice, bob, "REFER", 202, headers=REFER)
    if body == "2000 OK":
        notify(bench, bob, alice, body, state, event)       # three digits are the status
        assert counts(bench)[2] == 1
        return
    notify(bench, bob, alice, body, state, event)
    assert counts(bench) == (1, 0, 0, 0, 0)


def test_the_referrers_own_notify_says_nothing_of_it(bench, call):
    alice, bob = call
    send(bench, alice, bob, "REFER", 202, headers=REFER)
    notify(bench, alice, bob, "200 OK", "terminated")
    assert counts(bench) == (1, 0, 0, 0, 0)


def test_two_refers_are_told_apart_by_their_id(bench, call):
    alice, bob = call
    first = send(bench, alice, bob, "REFER", 202, headers=REFER)
    second = send(bench, alice, bob, "REFER", 202, headers=REFER)
    notify(bench, bob, alice, "200 OK", "terminated", f"refer;id={second.message.cseq[0]}")
    notify(bench, bob, alice, "486 Busy", "terminated", f"Refer ; id={first.message.cseq[0]}")
    assert outcomes(bench) == [("transfer", "completed", 200), ("transfer", "failed", 486)]


def test_a_third_refer_at_a_time_passes_unfollowed(bench, call):
    alice, bob = call
    for _ in range(3):
        send(bench, alice, bob, "REFER", 202, headers=REFER)
    assert counts(bench) == (2, 0, 0, 0, 0)
    assert bench.count("refers") == 3


def test_a_refer_without_a_rule_gets_603():
    def decide(request):
        return Verdict(action=Verdict.REJECT, status=603, note="no rule") if request.method == "REFER" else Verdict()

    bench = Bench(decide=decide)
    alice, bob = bench.call(bench.phone("alice", "127.0.0.2"), bench.phone("bob", "127.0.0.3"))
    alice.send("REFER", headers=REFER)
    bench.run()
    assert alice.phone.names() == ["603"]
    assert bench.proxy.take_troubles() == ["REFER refused with 603: no rule; Call-ID c1"]
    assert bob.phone.names() == []
    assert counts(bench) == (0, 1, 0, 0, 0)
    assert outcomes(bench) == []


def test_a_refer_to_the_edge_itself_does_not_loop(bench, call):
    alice, bob = call
    alice.target = "sip:bob@127.0.0.1:5060"
    alice.send("REFER", headers=REFER)
    bench.run()
    assert alice.phone.names()[-1] in ("482", "405")
    assert bob.phone.names() == []


def test_headers_of_the_verdict_go_onto_the_refer():
    replaced = (("Refer-To", b"<sip:carol@127.0.0.9?X-Id=7>"),)

    def decide(request):
        assert request.in_dialog == (request.method == "REFER")
        if request.method == "REFER":
            assert request.header("r") == "<sip:carol@127.0.0.9?Replaces=a%40b%3Bto-tag%3D1>"
            return Verdict(insert=b"X-Customer-Intent: billing\r\n", replace=replaced)
        return Verdict()

    bench = Bench(decide=decide)
    alice, bob = bench.call(bench.phone("alice", "127.0.0.2"), bench.phone("bob", "127.0.0.3"))
    refer = send(bench, alice, bob, "REFER", 202, headers=[("r", "<sip:carol@127.0.0.9?Replaces=a%40b%3Bto-tag%3D1>")])
    assert refer.header("X-Customer-Intent") == "billing"
    assert refer.header("Refer-To") == "<sip:carol@127.0.0.9?X-Id=7>"
    assert b"\r\nr: <sip:carol" in refer.data


def test_a_late_answer_of_a_refer_tells_nothing_to_the_next_calls_record(bench, call):
    alice, bob = call
    refer = send(bench, alice, bob, "REFER", 0, headers=REFER)
    send(bench, bob, alice, "BYE")
    assert [event for event, *_ in outcomes(bench)] == ["transfer", "call"]
    again, other = bench.call(alice.phone, bob.phone, call_id="next")   # gets the record that is free now
    again.cseq = alice.cseq - 1
    send(bench, again, other, "REFER", 0, headers=REFER)
    bob.phone.answer(refer, 403)
    bench.run()
    alice.phone.take("403")
    assert outcomes(bench) == []


def test_each_refer_has_a_bound_of_its_own(bench, call):
    """A later REFER does not prolong the wait for an earlier one's outcome."""
    one, other = call
    first = send(bench, one, other, "REFER", 202, headers=REFER)
    bench.run(40_000)
    send(bench, one, other, "REFER", 202, headers=REFER)
    bench.run(20_000)
    (line,) = [json.loads(line) for line in bench.proxy.records.journal.take().splitlines()]
    assert (line["cseq"], line["outcome"]) == (first.message.cseq[0], "unknown")
    bench.run(40_000)
    assert outcomes(bench) == [("transfer", "unknown", 202)]


def test_the_line_says_where_to_how_big_and_what_the_policy_noted():
    verdict = Verdict(budget=1300, note="X-A left out: no {caller} \"é\"")
    bench = Bench(decide=lambda request: verdict if request.method == "REFER" else Verdict())
    one, other = bench.call(bench.phone("alice", "127.0.0.2"), bench.phone("bob", "127.0.0.3"))
    refer = send(bench, one, other, "REFER", 603, headers=[("Refer-To", "<sip:carol@127.0.0.9?X-A=secret>")])
    (line,) = [json.loads(line) for line in bench.proxy.records.journal.take().splitlines()]
    assert {key: line[key] for key in ("outcome", "target", "size", "budget", "note")} == {
        "outcome": "refused", "target": "sip:carol@127.0.0.9", "size": len(refer.data), "budget": 1300,
        "note": verdict.note}
