"""Messages that cross on their way: CANCEL against 200, forked and lost answers, full tables, strangers' ACKs."""
import pytest

from sipcore.stack.verdict import Target, Verdict
from tests.endpoints import Bench, sibling


def test_cancel(bench, alice, bob):
    invite = alice.request("INVITE", bob.uri, headers=[("X-Kept", "1")])
    bench.run()
    received = bob.take("INVITE")
    bob.answer(received, 180)
    bench.run()
    alice.take("100", "180")
    alice.cancel(invite)
    bench.run()
    assert alice.take("200").message.cseq == (1, "CANCEL")
    cancel = bob.take("CANCEL")
    assert cancel.message.branch == received.message.branch
    assert cancel.message.uri == received.message.uri
    assert cancel.message.to_tag == ""
    assert [name for name, _ in cancel.message.items()] == [
        "Via", "Max-Forwards", "From", "To", "Call-ID", "CSeq", "Content-Length"]
    bob.answer(cancel, 200)
    bob.answer(received, 487)
    bench.run()
    alice.ack(invite, alice.take("487"))
    assert bob.names() == ["ACK"]
    assert bench.count("cancelled") == 1
    bench.empty()


@pytest.mark.parametrize("reasons", [['SIP;cause=200;text="Call completed elsewhere"'],
                                     ["SIP;cause=200", "Q.850 ;cause=26"]], ids=["one", "two"])
def test_the_reason_of_a_cancel_is_passed_on(bench, alice, bob, reasons):
    """RFC 3326: a phone shows no missed call where another one has answered."""
    invite = alice.request("INVITE", bob.uri)
    bench.run()
    received = bob.take("INVITE")
    bob.answer(received, 180)
    bench.run()
    alice.cancel(invite, ("X-Other", "1"), *(("Reason", reason) for reason in reasons), ("Subject", "x"))
    bench.run()
    cancel = bob.take("CANCEL")
    assert list(cancel.message.headers("Reason")) == reasons
    assert [name for name, _ in cancel.message.items() if name != "Reason"] == [
        "Via", "Max-Forwards", "From", "To", "Call-ID", "CSeq", "Content-Length"]


def test_cancel_again_and_again_is_one_cancel(bench, alice, bob):
    invite = alice.request("INVITE", bob.uri)
    bench.run()
    bob.answer(bob.take("INVITE"), 180)
    bench.run()
    for _ in range(4):
        alice.cancel(invite)
    bench.run()
    assert bob.names() == ["CANCEL"]
    assert alice.names() == ["100", "180", "200", "200", "200", "200"]
    assert bench.count("cancelled") == 1


def test_cancel_before_any_provisional_answer_waits_for_one(bench, alice, bob):
    invite = alice.request("INVITE", bob.uri)
    alice.cancel(invite)
    bench.run(400)
    received = bob.take("INVITE")
    assert alice.names() == ["100", "200"]
    bob.answer(received, 100)
    bench.run()
    assert bob.names() == ["CANCEL"]


def test_cancel_before_any_answer_at_all(bench, alice, bob):
    start = bench.link.now
    invite = alice.request("INVITE", bob.uri)
    alice.cancel(invite)
    bench.run(32_000)
    final = alice.received()[2]
    assert (final.name, final.at - start) == ("487", 32_000)
    bench.empty()


def test_cancel_against_200(bench, alice, bob):
    """transfers.md 7.16: both cross; the 200 passes and the caller says BYE."""
    invite = alice.request("INVITE", bob.uri)
    bench.run()
    received = bob.take("INVITE")
    bob.answer(received, 180)
    bench.run()
    alice.take("100", "180")
    bench.link.accept = lambda packet: not packet.data.startswith(b"CANCEL")
    bob.answer(received, 200)
    bench.run()
    bench.link.accept = None
    alice.cancel(invite)
    bench.run()
    ok, cancelled = alice.received()
    assert (ok.message.cseq[1], cancelled.message.cseq[1]) == ("INVITE", "CANCEL")
    assert bob.names() == []    # the INVITE is answered: there is nothing to cancel
    dialog = alice.caller_dialog(ok)
    dialog.send("ACK")
    dialog.send("BYE")
    bench.run()
    bob.answer(bob.take("ACK", "BYE"), 200)
    bench.run()
    bench.empty()


def test_a_200_that_crosses_our_cancel(bench, alice, bob):
    invite = alice.request("INVITE", bob.uri)
    bench.run()
    received = bob.take("INVITE")
    bob.answer(received, 180)
    bench.run()
    alice.cancel(invite)
    bench.run()
    bob.answer(received, 200)
    bob.answer(bob.take("CANCEL"), 481)
    bench.run()
    assert alice.names() == ["100", "180", "200", "200"]
    bench.run(40_000)
    assert bob.names() == []


def test_a_cancel_is_sent_again_until_it_is_answered(bench, alice, bob):
    invite = alice.request("INVITE", bob.uri)
    bench.run()
    received = bob.take("INVITE")
    bob.answer(received, 180)
    bench.run()
    start = bench.link.now
    alice.cancel(invite)
    bench.run(1_600)
    cancels = bob.received()
    assert [one.at - start for one in cancels] == [0, 500, 1_500]
    bob.answer(cancels[0], 200)
    bench.run(30_000)
    assert bob.names() == []
    bob.answer(received, 487)
    bench.run()
    bench.empty()


def test_no_answer_after_a_cancel_ends_it(bench, alice, bob):
    invite = alice.request("INVITE", bob.uri)
    bench.run()
    bob.answer(bob.take("INVITE"), 180)
    bench.run(50_000)
    alice.cancel(invite)
    start = bench.link.now
    bench.run(33_000)
    final = next(one for one in alice.received() if one.name == "487")
    assert final.at - start == 32_000
    bench.empty()


def test_a_strangers_cancel_is_not_believed(bench, alice, bob):
    invite = alice.request("INVITE", bob.uri)
    bench.run()
    bob.answer(bob.take("INVITE"), 180)
    bench.run()
    mallory = bench.phone("mallory", "127.0.0.66")
    mallory.cancel(invite)
    bench.run()
    assert bob.names() == []
    assert bench.count("stray_cancels") == 1
    assert bench.count("cancelled") == 0


def test_cancel_and_ack_without_an_invite(bench, alice, bob):
    invite = alice.build("INVITE", bob.uri)
    alice.cancel(invite)
    alice.send(alice.build("ACK", bob.uri))
    bench.run()
    assert alice.names() == ["481"]
    assert bob.names() == []
    assert (bench.count("stray_cancels"), bench.count("stray_acks")) == (1, 1)
    assert bench.proxy.live == 0


def test_forked_200s_pass_and_each_dialog_works(bench, alice, bob):
    alice.request("INVITE", bob.uri)
    bench.run()
    invite = bob.take("INVITE")
    for tag in ("one", "two", "three"):
        bob.answer(invite, 180, tag=tag)
    for tag in ("one", "two", "three"):
        bob.answer(invite, 200, tag=tag)
    bench.run()
    answers = [one for one in alice.received() if one.name == "200"]
    assert [one.message.to_tag for one in answers] == ["one", "two", "three"]
    for answer in answers:
        alice.caller_dialog(answer).send("ACK")
    bench.run()
    assert [one.message.to_tag for one in bob.received()] == ["one", "two", "three"]
    assert bench.count("calls_answered") == 1


def test_an_ack_to_a_2xx_that_is_lost_is_asked_for_again(bench, alice, bob):
    alice.request("INVITE", bob.uri)
    bench.run()
    data = bob.answer(bob.take("INVITE"), 200)
    bench.run()
    dialog = alice.caller_dialog(alice.take("100", "200"))
    ack = dialog.request("ACK")
    bench.link.accept = lambda packet: not packet.data.startswith(b"ACK")
    alice.send(ack)
    bench.run(500)
    bench.link.accept = None
    bob.send(data)
    bench.run()
    alice.take("200")
    alice.send(ack)
    bench.run()
    assert bob.names() == ["ACK"]


def test_a_re_invite_is_a_transaction_of_its_own(bench, alice, bob):
    one, other = bench.call(alice, bob)
    invite = one.send("INVITE")
    bench.run()
    received = bob.take("INVITE")
    bob.answer(received, 491)
    bench.run()
    alice.ack(invite, alice.take("100", "491"))
    bench.run()
    assert bob.names() == ["ACK"]
    other.send("INVITE")
    bench.run()
    alice.answer(alice.take("INVITE"), 200)
    bench.run()
    assert bob.names() == ["100", "200"]
    assert bench.count("calls") == 1
    assert bench.count("dialogs") == 1


def test_401_and_407_pass_with_their_challenge(bench, alice, bob):
    for number, (status, name) in enumerate(((401, "WWW-Authenticate"), (407, "Proxy-Authenticate"))):
        invite = alice.request("INVITE", bob.uri, call_id=f"c{number}")
        bench.run()
        bob.answer(bob.take("INVITE"), status, headers=[(name, "Digest realm=\"x\"")])
        bench.run()
        challenge = alice.take("100", str(status))
        assert challenge.header(name) == "Digest realm=\"x\""
        alice.ack(invite, challenge)
        bench.run()
        bob.take("ACK")
        alice.request("INVITE", bob.uri, call_id=f"c{number}", cseq=2, headers=[("Authorization", "Digest x=\"y\"")])
        bench.run()
        again = bob.take("INVITE")
        assert again.header("Authorization") == "Digest x=\"y\""
        bob.answer(again, 486)
        bench.run()
        alice.received(), bob.received()


def test_transactions_full_and_free_again():
    bench = Bench(transactions=16)
    alice, bob = bench.phone("alice", "127.0.0.2"), bench.phone("bob", "127.0.0.3")
    for number in range(20):
        alice.request("OPTIONS", bob.uri, call_id=f"o{number}")
    bench.run()
    assert len(bob.received()) == 16
    refused = alice.received()
    assert [one.name for one in refused] == ["503"] * 4
    assert {one.header("Retry-After") for one in refused} == {"10"}
    assert bench.count("transactions_full") == 4
    bench.run(32_000)           # nobody answered
    assert bench.proxy.live == 16
    bench.run(32_000)
    assert bench.proxy.live == 0
    alice.request("OPTIONS", bob.uri, call_id="after")
    bench.run()
    bob.answer(bob.received()[-1], 200)
    bench.run()
    assert alice.names()[-1] == "200"
    bench.empty()


def test_transactions_full_in_the_middle_of_a_search():
    verdict = Verdict(targets=(Target("127.0.0.11"), Target("127.0.0.12")))
    bench = Bench(verdict, transactions=17)
    alice, one, two = (bench.phone(name, host) for name, host in (
        ("alice", "127.0.0.2"), ("one", "127.0.0.11"), ("two", "127.0.0.12")))
    for number in range(9):
        alice.request("INVITE", "sip:x@example.com", call_id=f"c{number}")
    bench.run()
    assert alice.names().count("503") == 1      # its own head, and none for its target
    invites = one.received()
    assert len(invites) == 8
    assert bench.proxy.live == 16
    for invite in invites:
        one.answer(invite, 503)
    bench.run()
    second = two.received()
    assert len(second) == 1
    assert alice.names() == ["500"] * 7
    bench.empty()


def test_no_message_memory_sends_nothing_and_keeps_nothing():
    bench = Bench(memory=1 << 20, transactions=4_096, dialogs=4_096)
    alice, bob = bench.phone("alice", "127.0.0.2"), bench.phone("bob", "127.0.0.3")
    body = b"x" * 900
    for number in range(600):
        alice.request("INVITE", bob.uri, call_id=f"c{number}", body=body)
        bench.run()
    forwarded = bob.received()
    answers = alice.names()
    assert 400 < len(forwarded) < 520
    assert answers.count("100") == len(forwarded)
    assert answers.count("503") == 600 - len(forwarded)
    assert bench.count("buffers_full") == 600 - len(forwarded)
    assert bench.proxy.live == len(forwarded)
    bench.run(30_000)
    bench.empty()


def test_small_messages_in_medium_buffers_go_back_where_they_came_from():
    bench = Bench(memory=1 << 20, transactions=4_096)
    alice, bob = bench.phone("alice", "127.0.0.2"), bench.phone("bob", "127.0.0.3")
    alice.request("INVITE", bob.uri, body=b"x" * 900)       # the only chunk is one of medium buffers now
    bench.run()
    invite = bob.take("INVITE")
    bob.answer(invite, 180)
    bench.run()
    assert bench.proxy.pool.live == (0, 2, 0)
    bob.answer(invite, 486)
    alice.send(alice.build("OPTIONS", "sip:a@127.0.0.3"))
    bench.run()
    assert bench.proxy.pool.live == (0, 3, 0)
    bench.empty()


@pytest.mark.parametrize("method", ["INVITE", "OPTIONS"])
def test_the_ack_of_a_refused_re_invite_ends_here(bench, alice, bob, method):
    """It has the token of its dialog as the ACK to a 2xx has (RFC 3261 17.1.1.3)."""
    one, _ = bench.call(alice, bob)
    data = one.request(method, headers=[("Proxy-Require", "x")])
    alice.send(data)
    bench.run(1_600)
    answers = alice.received()
    assert {answer.name for answer in answers} == {"420"}
    # Timer G: at 500 and 1,500 ms once more, for an INVITE.
    assert len(answers) == (3 if method == "INVITE" else 1)
    if method == "INVITE":
        alice.send(sibling(data, "ACK", answers[0].header("To")))
    bench.run(60_000)
    assert alice.names() == []
    assert bob.names() == []
    bench.empty(dialogs=1)


def test_100_to_a_request_that_is_no_invite_comes_again_with_it(bench, alice, bob):
    """RFC 4320 4.1, RFC 3261 17.2.2: in Proceeding a repetition is answered with the last provisional response."""
    data = alice.request("OPTIONS", bob.uri)
    bench.run(10_000)
    assert alice.names() == ["100"]
    alice.send(data)
    bench.run()
    assert alice.names() == ["100"]


def test_a_response_to_another_cancel_of_a_head_used_again():
    """Heads come back quickly where few are used: what is late for the old one must not meet the new one."""
    bench = Bench(transactions=16)
    alice, bob = bench.phone("alice", "127.0.0.2"), bench.phone("bob", "127.0.0.3")
    old: list[bytes] = []
    for number in range(40):
        invite = alice.request("INVITE", bob.uri, call_id=f"c{number}")
        bench.run()
        received = bob.received()[-1]
        for data in old:
            bob.send(data)
        bench.run()
        assert set(alice.names()) == {"100"}
        old = [bob.answer(received, 180)]
        bench.run()
        alice.cancel(invite)
        bench.run()
        cancel = bob.take("CANCEL")
        old += [bob.answer(cancel, 200), bob.answer(received, 487)]
        bench.run()
        alice.ack(invite, alice.received()[-1])
        bench.run(33_000)
        bob.received()
    bench.empty()
