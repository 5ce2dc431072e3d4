"""Who may do what around controlled calls: limits, draining, unlisted peers, forged tokens, closed methods."""
import pytest

from sipcore.base.trie import Trie
from sipcore.stack.admission import Admission
from sipcore.stack.verdict import Verdict
from tests.endpoints import METHODS, SDP

from .controlled import OUT, Calls, decide, guarded


@pytest.fixture
def calls():
    return Calls()


def test_a_cancel_of_somebody_else_is_not_believed(calls):
    invite = calls.alice.request("INVITE", "sip:100@127.0.0.1", body=SDP)
    calls.run()
    calls.bob.take("INVITE")
    mallory = calls.bench.phone("mallory", "127.0.0.66")
    mallory.cancel(invite)
    calls.run()
    assert mallory.names() == ["481"]
    assert calls.alice.names() == ["100"]


def test_limits_hold_for_controlled_calls(calls):
    first, _ = calls.up("c1"), calls.up("c2")
    calls.alice.request("INVITE", "sip:100@127.0.0.1", call_id="c3")
    calls.run()
    assert calls.alice.take("503").header("Retry-After") == "10"
    assert calls.bench.count("calls_refused") == 1
    calls.end(*first)
    calls.up("c4")
    calls.proxy.configure(guarded(), decide, max_calls=1)
    calls.alice.request("INVITE", "sip:100@127.0.0.1", call_id="c5")
    calls.run()
    assert calls.alice.names() == ["503"]


def test_no_transaction_or_record_left_is_503():
    calls = Calls(transactions=16, dialogs=64)
    for number in range(20):
        calls.alice.request("INVITE", "sip:200@127.0.0.1", call_id=f"f{number}", headers=[("Subject", str(number))])
    calls.run()
    names = calls.alice.names()
    assert "503" in names
    assert calls.bench.count("calls_up") <= 2


def test_draining_begins_nothing_and_ends_what_is_up(calls):
    one, other = calls.up()
    calls.proxy.drain_calls()
    calls.alice.request("INVITE", "sip:100@127.0.0.1", call_id="c2")
    calls.run()
    assert calls.alice.names() == ["503"]
    one.send("INVITE", body=SDP)
    calls.run()
    calls.bob.answer(calls.bob.take("INVITE"), 488)
    calls.run()
    assert calls.alice.names() == ["100", "488"]
    calls.bob.take("ACK")
    calls.end(other, one)
    calls.done()


def test_an_unlisted_peer_inside_a_dialog_passes_by_our_contact_alone():
    calls = Calls(bob=OUT)
    one, other = calls.up()
    good = other.target
    forged = [good.partition(";")[0], good[:-1] + ("0" if good[-1] != "0" else "2"), good + "0",
              good.replace(";t=", ";t=0"), one.target.partition(";")[0] + ";t=" + "0" * 26]
    for target in forged:
        other.target = target
        other.send("BYE")
    calls.run()
    assert (calls.bob.names(), calls.alice.names()) == ([], [])
    assert calls.bench.count("unlisted_dropped") == len(forged)
    other.target = good
    for part, wrong in (("call_id", "another"), ("remote", other.remote[:-1] + "x"), ("local", other.local + "x")):
        right = getattr(other, part)
        setattr(other, part, wrong)
        other.send("INFO")
        setattr(other, part, right)
    calls.run()
    # Whoever has a Contact of ours may hear that there is no such dialog; a tag that cannot be ours gets nothing.
    assert set(calls.bob.names()) <= {"481"}
    assert calls.alice.names() == []
    other.send("INFO")
    calls.run()
    calls.alice.answer(calls.alice.take("INFO"), 200)
    calls.run()
    assert calls.bob.names() == ["200"]
    calls.end(other, one)
    other.send("INFO")
    calls.run()
    assert calls.bob.names() == ["481"]
    assert calls.bench.asked == [("INVITE", "sip:100@127.0.0.1")]
    calls.done()


def test_an_unlisted_peers_messages_are_limited_as_ever():
    calls = Calls(bob=OUT)
    calls.proxy.configure(guarded(unlisted_rate=1, unlisted_burst=5), decide)
    _, other = calls.up()
    for _ in range(20):
        other.send("INFO")
    calls.run()
    assert len(calls.alice.names()) == 5            # 180 and 200 were waited for
    assert calls.bench.count("rate_limited") == 15


def test_methods_that_are_closed_inside_dialogs_are_405(calls):
    admission = Admission([Trie([("127.0.0.0/24", 0)])])
    admission.add_group("allow", METHODS, dialog_methods=("INVITE", "ACK", "BYE"))
    calls.proxy.configure(admission, decide)
    one, other = calls.up()
    one.send("REFER", headers=[("Refer-To", "<sip:x@127.0.0.5>")])
    other.send("INFO")
    one.send("FOO")
    calls.run()
    assert [message.name for message in calls.alice.received()] == ["405", "405"]
    refused = calls.bob.take("405")
    assert refused.header("Allow") == "INVITE, ACK, BYE"
    assert calls.bench.count("method_closed") == 3
    calls.end(one, other)
    calls.done()


def test_a_refer_goes_to_the_dialogs_owner_and_not_to_the_policy(calls):
    one, other = calls.up()
    one.send("REFER", headers=[("Refer-To", "<sip:x@127.0.0.5>")])
    calls.run()
    calls.bob.answer(calls.bob.take("REFER"), 603)
    calls.run()
    assert calls.alice.names() == ["603"]
    assert len(calls.bench.asked) == 1
    calls.end(one, other)


def test_a_method_without_a_number_is_the_policys_to_close(calls):
    one, _ = calls.up()
    asked = []

    def no_foo(request):
        asked.append((request.method, request.in_dialog))
        return Verdict(action=Verdict.REJECT, status=405, headers=b"Allow: BYE\r\n")

    admission = Admission([Trie([("127.0.0.0/24", 0)])])
    admission.add_group("allow", METHODS, dialog_methods=("INVITE", "ACK", "BYE", "FOO"))
    calls.proxy.configure(admission, no_foo)
    one.send("FOO")
    calls.run()
    assert calls.alice.take("405").header("Allow") == "BYE"
    assert asked == [("FOO", True)]
    assert calls.bob.names() == []


def test_a_spiral_of_ours_is_no_dialog_of_ours(calls):
    """A far end whose tags look like ours, on a forwarded call."""
    carol = calls.bench.phone("carol", "127.0.0.4")
    tag = calls.proxy.new_tag()
    calls.alice.request("INVITE", carol.uri)
    calls.run()
    invite = carol.take("INVITE")
    carol.answer(invite, 200, tag=tag)
    calls.run()
    one = calls.alice.caller_dialog(calls.alice.take("100", "200"))
    one.send("ACK")
    one.send("INFO")
    calls.run()
    assert carol.names() == ["ACK", "INFO"]
