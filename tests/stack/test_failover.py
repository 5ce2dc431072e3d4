"""The serial search over a verdict's targets: 503, transport errors, silence, late answers, and what follows."""
import pytest

from sipcore.net.loopback import Link
from sipcore.stack.verdict import Target, Verdict
from tests.endpoints import Bench

HOSTS = ("127.0.0.11", "127.0.0.12", "127.0.0.13")


def bench_of(count=2, link=None, **fields):
    verdict = Verdict(targets=tuple(Target(host, 5060) for host in HOSTS[:count]), **fields)
    bench = Bench(verdict, link=link)
    alice = bench.phone("alice", "127.0.0.2")
    return bench, alice, *(bench.phone(f"pbx{i}", host) for i, host in enumerate(HOSTS[:count]))


def test_503_goes_on_to_the_next_target():
    bench, alice, one, two = bench_of()
    invite = alice.request("INVITE", "sip:7@example.com")
    bench.run()
    first = one.take("INVITE")
    one.answer(first, 503)
    bench.run()
    second = two.take("INVITE")
    assert one.names() == ["ACK"]
    assert first.message.branch != second.message.branch
    for name in ("From", "To", "Call-ID", "CSeq", "Contact", "Max-Forwards"):
        assert first.header(name) == second.header(name)
    two.answer(second, 180)
    two.answer(second, 486)
    bench.run()
    alice.ack(invite, alice.take("100", "180", "486"))
    assert bench.count("failovers") == 1
    bench.empty()


def test_the_last_503_becomes_500():
    bench, alice, one, two = bench_of()
    invite = alice.request("INVITE", "sip:7@example.com")
    bench.run()
    one.answer(one.take("INVITE"), 503)
    bench.run()
    two.answer(two.take("INVITE"), 503, reason="Service Unavailable")
    bench.run()
    final = alice.take("100", "500")
    alice.ack(invite, final)
    bench.empty()
    assert b'"status":503' in bench.proxy.records.journal.take()


@pytest.mark.parametrize("status", [302, 404, 408, 486, 500, 504, 600, 603])
def test_other_failures_end_the_search(status):
    bench, alice, one, two = bench_of()
    alice.request("INVITE", "sip:7@example.com")
    bench.run()
    one.answer(one.take("INVITE"), status)
    bench.run()
    assert alice.names() == ["100", str(status)]
    assert two.names() == []
    bench.empty()


def test_silence_goes_on_after_try_timeout():
    bench, alice, _one, two = bench_of(try_timeout=1_000)
    start = bench.link.now
    alice.request("INVITE", "sip:7@example.com")
    bench.run(1_000)
    assert [sent.at - start for sent in two.received()] == [1_000]
    bench.run(60_000)
    # Nobody answers: the last target's Timer B decides.
    timeout = next(one for one in alice.received() if one.name == "408")
    assert timeout.at - start == 33_000
    bench.empty()


def test_a_provisional_answer_in_time_keeps_the_target():
    bench, alice, one, two = bench_of()
    alice.request("INVITE", "sip:7@example.com")
    bench.run(1_900)
    one.answer(one.take("INVITE", "INVITE", "INVITE"), 100)
    bench.run(100_000)
    assert two.names() == []
    bench.run(80_000)
    assert one.names() == ["CANCEL"]


def test_a_request_that_is_no_invite_stays_with_a_target_that_was_heard():
    bench, alice, one, two = bench_of()
    alice.request("OPTIONS", "sip:7@example.com")
    bench.run()
    options = one.take("OPTIONS")
    one.answer(options, 100)
    bench.run(10_000)
    assert two.names() == []
    one.answer(options, 200)
    bench.run()
    assert alice.names()[-1] == "200"
    bench.empty()


def test_a_request_that_is_no_invite_goes_on_after_silence():
    bench, alice, _one, two = bench_of()
    alice.request("OPTIONS", "sip:7@example.com")
    bench.run(2_000)
    two.answer(two.take("OPTIONS"), 200)
    bench.run()
    assert alice.names() == ["200"]
    bench.empty()


def test_a_late_2xx_passes_and_the_other_target_is_cancelled():
    bench, alice, one, two = bench_of()
    alice.request("INVITE", "sip:7@example.com")
    bench.run(2_000)
    late = one.received()[0]
    second = two.take("INVITE")
    two.answer(second, 180)
    bench.run()
    one.answer(late, 200)
    bench.run()
    answered = alice.take("100", "180", "200")
    assert answered.message.to_tag == "pbx0-tag"
    two.answer(two.take("CANCEL"), 200)
    two.answer(second, 487)
    alice.caller_dialog(answered).send("ACK")
    bench.run()
    assert two.names() == ["ACK"]
    assert one.names() == ["ACK"]
    assert alice.names() == []
    bench.empty(66_000, dialogs=1)


def test_two_2xx_both_pass():
    bench, alice, one, two = bench_of()
    alice.request("INVITE", "sip:7@example.com")
    bench.run(2_000)
    first, second = one.received()[0], two.take("INVITE")
    two.answer(second, 200)
    one.answer(first, 200)
    bench.run()
    assert [one.message.to_tag for one in alice.received()] == ["", "pbx1-tag", "pbx0-tag"]


def test_a_late_2xx_passes_after_a_failure_went_back():
    bench, alice, one, two = bench_of()
    invite = alice.request("INVITE", "sip:7@example.com")
    bench.run(2_000)
    late = one.received()[0]
    two.answer(two.take("INVITE"), 486)
    bench.run()
    alice.ack(invite, alice.take("100", "486"))
    bench.run(1_000)
    one.answer(late, 200)
    bench.run()
    assert alice.names() == ["200"]
    assert bench.count("late_answers") == 1
    bench.empty()


@pytest.mark.parametrize("acked", [True, False])
def test_a_silent_target_leaves_nothing_behind_once_the_other_refused(acked):
    """The first target's Timers A and B and the caller's Timers G and H run at the same time."""
    bench, alice, one, two = bench_of()
    invite = alice.request("INVITE", "sip:7@example.com")
    bench.run(2_000)
    two.answer(two.take("INVITE"), 486)
    start = bench.link.now
    bench.run(1_000)
    finals = [one for one in alice.received() if one.name == "486"]
    assert [one.at - start for one in finals] == [0, 500]
    if acked:
        alice.ack(invite, finals[-1])
    bench.run(40_000)
    again = [one for one in alice.received() if one.name == "486"]
    assert len(again) == (0 if acked else 9)
    assert [sent.at - start for sent in one.received()] == [-2_000, -1_500, -500, 1_500, 5_500, 13_500, 29_500]
    bench.empty(66_000)


def test_an_abandoned_target_that_rings_after_the_end_is_cancelled():
    bench, alice, one, two = bench_of()
    invite = alice.request("INVITE", "sip:7@example.com")
    bench.run(2_000)
    late = one.received()[0]
    two.answer(two.take("INVITE"), 486)
    bench.run()
    alice.ack(invite, alice.take("100", "486"))
    one.answer(late, 180)
    bench.run()
    one.answer(one.take("CANCEL"), 200)
    one.answer(late, 487)
    bench.run()
    assert one.names() == ["ACK"]
    assert alice.names() == []
    bench.empty()


def test_a_failure_waits_for_an_abandoned_target_that_rings():
    bench, alice, one, two = bench_of()
    alice.request("INVITE", "sip:7@example.com")
    bench.run(2_000)
    late = one.received()[0]
    one.answer(late, 180)
    two.answer(two.take("INVITE"), 486)
    bench.run(10_000)
    assert alice.names() == ["100", "180"]
    one.answer(late, 200)
    bench.run()
    assert alice.names() == ["200"]


def test_6xx_decides_over_a_later_failure():
    bench, alice, one, two = bench_of()
    alice.request("INVITE", "sip:7@example.com")
    bench.run(2_000)
    late = one.received()[0]
    one.answer(late, 180)
    two.answer(two.take("INVITE"), 603)
    bench.run()
    one.answer(late, 486)
    bench.run()
    assert alice.names() == ["100", "180", "603"]
    bench.empty()


def test_6xx_asks_nobody_else_and_cancels_who_rings():
    """RFC 3261 16.7 step 5."""
    bench, alice, one, two, three = bench_of(3)
    alice.request("INVITE", "sip:7@example.com")
    bench.run(2_000)
    late, ringing = one.received()[0], two.take("INVITE")
    two.answer(ringing, 180)
    one.answer(late, 603)
    bench.run()
    two.take("CANCEL")
    assert alice.names() == ["100", "180"]
    two.answer(ringing, 503)
    bench.run()
    assert alice.names() == ["603"]
    assert three.names() == []
    bench.empty()


def test_6xx_does_not_wait_for_who_has_said_nothing():
    bench, alice, one, two, three = bench_of(3)
    alice.request("INVITE", "sip:7@example.com")
    bench.run(2_000)
    one.answer(one.received()[0], 603)
    bench.run()
    assert alice.names() == ["100", "603"]
    bench.run(60_000)
    assert set(two.names()) == {"INVITE"}
    assert three.names() == []
    bench.empty()


@pytest.mark.parametrize("later", [503, None])
@pytest.mark.parametrize(("status", "name", "value"), [
    (407, "Proxy-Authenticate", 'Digest realm="x", nonce="y"'), (302, "Contact", "<sip:new@127.0.0.9>"),
    (486, "X-Why", "busy"),
])  # fmt: skip
def test_the_best_answer_goes_back_as_it_came(status, name, value, later):
    """RFC 3261 16.7 step 6: of a target that was given up, too, when the others do no better."""
    bench, alice, one, two = bench_of()
    alice.request("INVITE", "sip:7@example.com")
    bench.run(2_000)
    late, other = one.received()[0], two.take("INVITE")
    if later:
        two.answer(other, 180)
        bench.run()
    one.answer(late, status, headers=[(name, value)], tag="first", reason="As It Came")
    bench.run()
    if later:
        two.answer(other, later)
    bench.run(40_000)
    final = [one for one in alice.received() if one.message.status >= 200]
    assert {(one.name, one.message.reason, one.header(name), one.message.to_tag) for one in final} == {
        (str(status), "As It Came", value, "first")}
    bench.empty()


def test_a_target_without_tls_is_passed_over_for_sips():
    verdict = Verdict(targets=(Target("127.0.0.11", 5060), Target("127.0.0.12", 5060)))
    bench = Bench(verdict)
    alice = bench.phone("alice", "127.0.0.2")
    alice.request("INVITE", "sips:7@example.com")
    bench.run()
    assert alice.names() == ["480"]


def test_a_late_503_of_an_abandoned_target_starts_no_further_one():
    bench, alice, one, two, three = bench_of(3)
    alice.request("INVITE", "sip:7@example.com")
    bench.run(2_000)
    one.answer(one.received()[0], 503)
    bench.run()
    assert three.names() == []
    two.answer(two.take("INVITE"), 200)
    bench.run(60_000)
    assert three.names() == []
    assert alice.names() == ["100", "200"]


def test_transport_errors_go_on_at_once():
    bench, alice, one, two = bench_of(link=Link(unreachable=True))
    bench.link.close(one.port)
    start = bench.link.now
    alice.request("INVITE", "sip:7@example.com")
    bench.run()
    second = two.take("INVITE")
    assert second.at == start
    two.answer(second, 180)
    bench.run(100_000)      # nothing may spin meanwhile: the link would notice
    two.answer(second, 200)
    bench.run()
    assert alice.names() == ["100", "180", "200"]
    assert bench.count("transport_errors") == 1


def test_transport_errors_of_all_targets_give_503():
    bench, alice, one, two = bench_of(link=Link(unreachable=True))
    bench.link.close(one.port)
    bench.link.close(two.port)
    invite = alice.request("INVITE", "sip:7@example.com")
    bench.run()
    final = alice.received()[-1]
    assert (final.name, final.message.reason) == ("503", "Service Unavailable - target unreachable")
    assert final.headers("Via") == ["SIP/2.0/UDP 127.0.0.2:5060;branch=z9hG4bK-alice-1;rport=5060;received=127.0.0.2"]
    assert final.message.to_tag
    alice.ack(invite, final)
    bench.empty(33_000)


def test_a_transport_error_after_a_provisional_answer_means_nothing():
    bench, alice, one, two = bench_of()
    alice.request("INVITE", "sip:7@example.com")
    bench.run()
    invite = one.take("INVITE")
    one.answer(invite, 180)
    bench.run()
    bench.proxy.unreachable(invite.data, bench.link.now)
    bench.run()
    assert two.names() == []
    assert alice.names() == ["100", "180"]


def test_cancel_stops_the_search():
    bench, alice, one, two = bench_of()
    invite = alice.request("INVITE", "sip:7@example.com")
    bench.run()
    alice.cancel(invite)
    bench.run(5_000)
    assert two.names() == []
    late = one.received()[0]
    one.answer(late, 180)
    bench.run()
    one.answer(one.take("CANCEL"), 200)
    one.answer(late, 487)
    bench.run()
    assert alice.names() == ["100", "200", "180", "487"]
    bench.empty()


def test_what_became_of_an_old_attempt_is_not_another_calls_business():
    """A head of a search that is over is another transaction's soon: cancelling the search must spare that."""
    bench, alice, one, two, three = bench_of(3)
    alice.request("INVITE", "sip:7@example.com", call_id="first")
    bench.run()
    one.answer(one.take("INVITE"), 503)
    bench.run()
    two.answer(two.take("INVITE"), 503)
    bench.run()
    ringing = three.take("INVITE")
    three.answer(ringing, 180)
    bench.run(40_000)           # the heads of both refused attempts are free again
    one.received()
    calls = []
    for number in range(4):
        alice.request("INVITE", "sip:7@example.com", call_id=f"other{number}")
        bench.run()
        calls.append(one.take("INVITE"))
        one.answer(calls[-1], 180)
        bench.run()
    three.answer(ringing, 200)
    bench.run(1_000)
    assert one.names() == []


def test_ring_timeout_is_timer_c_of_the_verdict():
    bench, alice, one, _two = bench_of(ring_timeout=20_000)
    alice.request("INVITE", "sip:7@example.com")
    bench.run()
    invite = one.take("INVITE")
    one.answer(invite, 180)
    bench.run(19_999)
    assert one.names() == []
    bench.run(1)
    one.answer(one.take("CANCEL"), 200)
    one.answer(invite, 487)
    bench.run()
    assert alice.names() == ["100", "180", "408"]
    bench.empty()


def test_ring_timeout_with_one_target():
    bench, alice, one = bench_of(1, ring_timeout=20_000)
    alice.request("INVITE", "sip:7@example.com")
    bench.run()
    one.answer(one.take("INVITE"), 180)
    bench.run(20_000)
    assert one.names() == ["CANCEL"]
