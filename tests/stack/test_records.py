"""What is remembered of a dialog: how calls end, limits, the log line, and that a record tells of one call only."""
import json

import pytest

from sipcore.stack.verdict import Target, Verdict
from tests.endpoints import Bench


def pair(bench):
    return bench.phone("alice", "127.0.0.2"), bench.phone("bob", "127.0.0.3")


def lines(bench):
    return [json.loads(line) for line in bench.proxy.records.journal.take().splitlines()]


def bye(dialog, other, status=200):
    data = dialog.send("BYE")
    dialog.phone.link.run()
    request = other.phone.take("BYE")
    other.phone.answer(request, status)
    dialog.phone.link.run()
    dialog.phone.take(str(status))
    return data


def test_a_record_fits_its_256_bytes():
    assert Bench().proxy.records.record_size() <= 256


@pytest.mark.parametrize("by", ["caller", "callee"])
def test_a_call_leaves_one_line(by):
    bench = Bench()
    alice, bob = pair(bench)
    alice.request("INVITE", "sip:bob@127.0.0.3")
    bench.run(200)
    invite = bob.take("INVITE")
    bob.answer(invite, 180)
    bench.run(3_000)
    bob.answer(invite, 200)
    bench.run(60_000)
    one = alice.caller_dialog(alice.take("100", "180", "200"))
    other = bob.callee_dialog(invite)
    one.send("ACK")
    bench.run()
    bob.take("ACK")
    bye(*((one, other) if by == "caller" else (other, one)))
    (line,) = lines(bench)
    assert {key: line[key] for key in ("event", "call_id", "from", "to", "caller", "callee", "status", "ended")} == {
        "event": "call", "call_id": "c1", "from": "alice", "to": "bob", "caller": "127.0.0.2:5060",
        "callee": "127.0.0.3:5060", "status": 200, "ended": by}
    assert (line["ring_ms"], line["talk_ms"], line["total_ms"]) == (200, 60_000, 63_200)
    assert bench.count("calls_ended") == 1
    bench.empty()


@pytest.mark.parametrize(("status", "ended"), [(486, "refused"), (408, "timeout"), (603, "refused")])
def test_a_failed_call(status, ended):
    bench = Bench()
    alice, bob = pair(bench)
    alice.request("INVITE", bob.uri)
    bench.run()
    bob.answer(bob.take("INVITE"), status)
    bench.run()
    (line,) = lines(bench)
    assert (line["status"], line["ended"]) == (status, ended)
    assert bench.count("calls_failed") == 1
    bench.empty()


def test_a_cancelled_call():
    bench = Bench()
    alice, bob = pair(bench)
    invite = alice.request("INVITE", bob.uri)
    bench.run()
    received = bob.take("INVITE")
    bob.answer(received, 180)
    bench.run()
    alice.cancel(invite)
    bench.run()
    bob.answer(received, 487)
    bench.run()
    assert [(line["status"], line["ended"]) for line in lines(bench)] == [(487, "caller")]
    bench.empty()


def test_nobody_answers():
    bench = Bench()
    alice, bob = pair(bench)
    alice.request("INVITE", bob.uri)
    bench.run(32_000)
    assert [(line["status"], line["ended"]) for line in lines(bench)] == [(408, "timeout")]
    bench.empty()


def test_a_bye_that_nobody_answers_ends_the_call_too():
    bench = Bench()
    alice, bob = pair(bench)
    one, _other = bench.call(alice, bob)
    one.send("BYE")
    bench.run(32_000)
    assert [line["ended"] for line in lines(bench)] == ["caller"]
    assert "408" not in alice.names()
    bench.empty()


@pytest.mark.parametrize("status", [401, 407])
def test_a_challenged_bye_does_not_end_the_call(status):
    bench = Bench()
    alice, bob = pair(bench)
    one, other = bench.call(alice, bob)
    bye(one, other, status)
    assert lines(bench) == []
    assert bench.count("dialogs") == 1
    bye(one, other)
    assert [line["ended"] for line in lines(bench)] == ["caller"]
    bench.empty()


def test_hostile_bytes_stay_inside_their_json_strings():
    bench = Bench()
    alice, bob = pair(bench)
    call_id = "x\"{}\\u000a[\"]<b>@h"
    sender = "\"\u2028 {}\\\x01\" <sip:a%22%0d%0a%00@h>;tag=1"
    alice.request("INVITE", "sip:bob@127.0.0.3", call_id=call_id, from_=sender)
    bench.run()
    bob.answer(bob.take("INVITE"), 486)
    bench.run()
    text = bench.proxy.records.journal.take()
    assert text.isascii()
    assert text.count(b"\n") == 1
    line = json.loads(text)
    assert line["call_id"] == call_id
    assert line["from"] == "a%22%0d%0a%00"


def test_long_identifiers_are_cut():
    bench = Bench()
    alice, bob = pair(bench)
    alice.request("INVITE", f"sip:{'t' * 500}@127.0.0.3", call_id="\\" * 3_000)
    bench.run()
    bob.answer(bob.take("INVITE"), 486)
    bench.run()
    (line,) = lines(bench)
    assert line["call_id"] == "\\" * 56
    assert line["to"] == "t" * 25


def test_the_journal_is_bounded_and_counts_what_it_drops():
    bench = Bench()
    alice, bob = pair(bench)
    for number in range(4_000):
        invite = alice.request("INVITE", bob.uri, call_id=f"\"{number:060}")
        bench.run()
        bob.answer(bob.received()[-1], 486)
        bench.run()
        alice.ack(invite, alice.received()[-1])
        bench.run(33_000 if number % 200 == 199 else 0)
    assert bench.count("journal_dropped") > 0
    assert bench.proxy.records.journal.waiting <= 1 << 20
    for line in bench.proxy.records.journal.take().splitlines():
        json.loads(line)


def test_max_calls_of_an_upstream():
    bench = Bench(Verdict(targets=(Target("127.0.0.3", 5060),), upstream=3, max_calls=2))
    alice, bob = pair(bench)
    calls = [bench.call(alice, bob, call_id=f"c{number}") for number in range(2)]
    assert bench.proxy.calls(3) == 2
    alice.request("INVITE", bob.uri, call_id="third")
    bench.run()
    refused = alice.take("503")
    assert refused.message.reason == "Service Unavailable - concurrent call limit"
    assert refused.header("Retry-After") == "10"
    assert bob.names() == []
    bye(*calls[0])
    assert bench.proxy.calls(3) == 1
    calls[0] = bench.call(alice, bob, call_id="fourth")
    for call in calls:
        bye(*call)
    assert bench.proxy.calls(3) == 0
    assert bench.count("calls_refused") == 1
    bench.empty()


def test_max_duration_ends_the_record_and_not_the_call():
    bench = Bench(Verdict(upstream=1, max_duration=600))
    alice, bob = pair(bench)
    one, other = bench.call(alice, bob)
    bench.run(599_999)
    assert lines(bench) == []
    bench.run(1)
    assert [(line["ended"], line["talk_ms"]) for line in lines(bench)] == [("duration", 600_000)]
    assert bench.count("calls_expired") == 1
    assert bench.proxy.calls(1) == 0
    bye(one, other)             # the token is still good
    bench.empty()


def test_records_full():
    bench = Bench(dialogs=16)
    alice, bob = pair(bench)
    calls = [bench.call(alice, bob, call_id=f"c{number}") for number in range(16)]
    alice.request("INVITE", bob.uri, call_id="more")
    bench.run()
    assert alice.take("503").header("Retry-After") == "10"
    assert bench.count("records_full") == 1
    bye(*calls[3])
    calls[3] = bench.call(alice, bob, call_id="again")
    for call in calls:
        bye(*call)
    bench.empty()


def test_finish_writes_the_calls_that_are_up():
    bench = Bench()
    alice, bob = pair(bench)
    bench.call(alice, bob)
    alice.request("INVITE", bob.uri, call_id="trying")
    bench.run()
    bench.proxy.finish(bench.link.now + 1_000)
    assert {(line["call_id"], line["ended"], line["status"]) for line in lines(bench)} == {
        ("c1", "stop", 200), ("trying", "stop", 0)}


def test_finish_loses_no_line_when_the_journal_is_full():
    bench = Bench(transactions=8192, dialogs=4096)
    alice, bob = pair(bench)
    for number in range(4_000):
        alice.request("INVITE", bob.uri, call_id=f"{number}" + '"' * 50)
    bench.run()
    bench.proxy.records.journal.take()
    found, rounds = 0, 0
    while not bench.proxy.finish(bench.link.now):
        taken = bench.proxy.records.journal.take()
        assert taken
        found += taken.count(b"\n")
        rounds += 1
        assert rounds < 100
    found += bench.proxy.records.journal.take().count(b"\n")
    assert found == 4_000
    assert rounds > 0
    assert bench.proxy.records.journal.dropped == 0


def test_a_repeated_200_tells_nothing_to_the_next_calls_record():
    bench = Bench(dialogs=16)
    alice, bob = pair(bench)
    alice.request("INVITE", bob.uri)
    bench.run()
    invite = bob.take("INVITE")
    answer = bob.answer(invite, 200)
    bench.run()
    one, other = alice.caller_dialog(alice.take("100", "200")), bob.callee_dialog(invite)
    bye(one, other)
    alice.request("INVITE", bob.uri, call_id="next")    # gets the record that is free now
    bench.run()
    following = bob.take("INVITE")
    bob.send(answer)
    bench.run()
    assert bench.count("calls_answered") == 1
    bob.answer(following, 486)
    bench.run()
    assert [(line["call_id"], line["ended"]) for line in lines(bench)] == [("c1", "caller"), ("next", "refused")]


@pytest.mark.parametrize("answer", [200, 486, 487])
def test_a_bye_in_one_early_dialog_leaves_the_call_to_the_others(answer):
    """RFC 3261 15: the caller leaves one early dialog of a forked call; the INVITE goes on."""
    bench = Bench()
    alice, bob = pair(bench)
    alice.request("INVITE", bob.uri)
    bench.run()
    invite = bob.take("INVITE")
    bob.answer(invite, 183, tag="left")
    bob.answer(invite, 180, tag="stays")
    bench.run()
    bye(alice.caller_dialog(alice.received()[1]), bob.callee_dialog(invite, "left"))
    assert lines(bench) == []
    assert bench.count("dialogs") == 1
    bob.answer(invite, answer, tag="stays")
    bench.run()
    if answer == 200:
        one, other = alice.caller_dialog(alice.received()[-1]), bob.callee_dialog(invite, "stays")
        assert (bench.count("calls_up"), bench.count("dialogs")) == (1, 1)
        bye(other, one)
    assert [line["ended"] for line in lines(bench)] == [{200: "callee", 486: "refused", 487: "caller"}[answer]]
    assert (bench.count("calls_up"), bench.count("dialogs")) == (0, 0)


def test_a_200_that_crosses_the_bye_of_its_early_dialog_ends_the_call():
    bench = Bench()
    alice, bob = pair(bench)
    alice.request("INVITE", bob.uri)
    bench.run()
    invite = bob.take("INVITE")
    bob.answer(invite, 180)
    bench.run()
    early = alice.caller_dialog(alice.take("100", "180"))
    bye(early, bob.callee_dialog(invite))
    bob.answer(invite, 200)
    bench.run()
    alice.take("200")
    (line,) = lines(bench)
    assert (line["ended"], line["status"]) == ("caller", 200)
    assert (bench.count("calls_answered"), bench.count("calls_ended"), bench.count("dialogs")) == (1, 1, 0)
    bench.empty()


def test_in_dialog_requests_pass_after_the_record_is_gone():
    bench = Bench()
    alice, bob = pair(bench)
    one, other = bench.call(alice, bob)
    bye(one, other)
    other.send("NOTIFY", headers=[("Event", "refer"), ("Subscription-State", "terminated")])
    bench.run()
    alice.answer(alice.take("NOTIFY"), 200)
    bench.run()
    assert bob.names() == ["200"]


def test_a_late_answer_after_the_record_is_gone_passes():
    bench = Bench()
    alice, bob = pair(bench)
    alice.request("INVITE", bob.uri)
    bench.run()
    invite = bob.take("INVITE")
    bob.answer(invite, 486)
    bob.answer(invite, 200)
    bench.run()
    assert alice.names() == ["100", "486"]


def test_names_of_groups_and_upstreams_are_in_the_line():
    bench = Bench(Verdict(upstream=0))
    alice, bob = pair(bench)
    bench.proxy.records.set_names(["agents \"one\""], ["p\u00fcbx" * 100])
    alice.request("INVITE", bob.uri)
    bench.run()
    bob.answer(bob.take("INVITE"), 486)
    bench.run()
    (line,) = lines(bench)
    assert line["group"] == "agents \"one\""
    assert line["upstream"].startswith("p\\xfcbx")


