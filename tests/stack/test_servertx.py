"""The server machines through the link: Timers G, H, I, J, L with their times, each transition of the table."""
import pytest

from tests.endpoints import Bench


def test_100_comes_at_once_and_after_the_invite(bench, alice, bob):
    alice.request("INVITE", bob.uri, headers=[("Timestamp", "54")])
    bench.run()
    trying = alice.take("100")
    assert trying.message.to_tag == ""
    assert trying.header("Timestamp") == "54"
    order = [packet.to[0] for packet in bench.link.sent]
    assert order.index("127.0.0.3") < order.index("127.0.0.2")


def test_trying_answers_100_again_and_does_not_forward_again(bench, alice, bob):
    invite = alice.request("INVITE", bob.uri)
    bench.run(100)
    alice.send(invite)
    bench.run()
    assert alice.names() == ["100", "100"]
    assert bob.names() == ["INVITE"]
    assert bench.count("retransmissions_in") == 1
    assert bench.asked == [("INVITE", bob.uri)]


def test_proceeding_sends_the_last_provisional_response_again(bench, alice, bob):
    invite = alice.request("INVITE", bob.uri)
    bench.run()
    received = bob.take("INVITE")
    bob.answer(received, 180)
    bob.answer(received, 183)
    bench.run()
    alice.send(invite)
    bench.run()
    assert alice.names() == ["100", "180", "183", "183"]


def test_timers_g_and_h(bench, alice, bob):
    alice.request("INVITE", bob.uri)
    bench.run()
    bob.answer(bob.take("INVITE"), 486)
    start = bench.link.now
    bench.run(40_000)
    busy = [one for one in alice.received() if one.name == "486"]
    assert [one.at - start for one in busy] == [0, 500, 1500, 3500, 7500, 11500, 15500, 19500, 23500, 27500, 31500]
    assert len({one.data for one in busy}) == 1
    bench.empty()


def test_completed_sends_the_final_response_again_when_the_request_comes_again(bench, alice, bob):
    invite = alice.request("INVITE", bob.uri)
    bench.run()
    bob.answer(bob.take("INVITE"), 404)
    bench.run(100)
    alice.send(invite)
    bench.run()
    assert alice.names() == ["100", "404", "404"]


def test_confirmed_absorbs_everything_until_timer_i(bench, alice, bob):
    invite = alice.request("INVITE", bob.uri)
    bench.run()
    bob.answer(bob.take("INVITE"), 404)
    bench.run()
    final = alice.take("100", "404")
    bob.take("ACK")
    alice.ack(invite, final)
    bench.run(400)
    alice.ack(invite, final)
    alice.send(invite)
    bench.run(20_000)
    assert alice.names() == []
    assert bob.names() == []
    assert bench.count("stray_acks") == 0
    bench.empty(15_000)


def test_a_lost_ack_brings_the_final_response_again(bench, alice, bob):
    invite = alice.request("INVITE", bob.uri)
    bench.run()
    bob.answer(bob.take("INVITE"), 404)
    bench.run()
    final = alice.take("100", "404")
    bench.link.accept = lambda packet: not packet.data.startswith(b"ACK ")
    alice.ack(invite, final)
    bench.run(500)
    bench.link.accept = None
    again = alice.take("404")
    assert again.data == final.data
    alice.ack(invite, again)
    bench.run(10_000)
    assert alice.names() == []


def test_an_ack_of_another_host_ends_no_repetition(bench, alice, bob):
    """Timer G goes on until the INVITE's own sender has acknowledged."""
    invite = alice.request("INVITE", bob.uri)
    bench.run()
    bob.answer(bob.take("INVITE"), 486)
    bench.run()
    refused = alice.take("100", "486")
    carol = bench.phone("carol", "127.0.0.4")
    carol.ack(invite, refused)
    bench.run(500)
    assert alice.names() == ["486"]
    alice.ack(invite, refused)
    bench.run(60_000)
    assert alice.names() == []


def test_accepted_absorbs_the_request_and_passes_the_ack(bench, alice, bob):
    invite = alice.request("INVITE", bob.uri)
    bench.run()
    bob.answer(bob.take("INVITE"), 200)
    bench.run()
    dialog = alice.caller_dialog(alice.take("100", "200"))
    alice.send(invite)
    dialog.send("ACK")
    bench.run()
    assert alice.names() == []
    assert bob.names() == ["ACK"]
    bench.run(32_000)           # Timer L
    assert bench.proxy.live == 0


def test_the_same_ack_again_gets_the_same_branch(bench, alice, bob):
    alice.request("INVITE", bob.uri)
    bench.run()
    bob.answer(bob.take("INVITE"), 200)
    bench.run()
    dialog = alice.caller_dialog(alice.take("100", "200"))
    ack = dialog.send("ACK")
    alice.send(ack)
    dialog.send("ACK")          # an ACK of its own: another branch
    bench.run()
    first, again, other = bob.received()
    assert first.message.branch == again.message.branch != other.message.branch


def test_an_ack_that_carries_the_invites_branch_passes_too(bench, alice, bob):
    alice.request("INVITE", bob.uri, branch="z9hG4bK-same")
    bench.run()
    bob.answer(bob.take("INVITE"), 200)
    bench.run()
    alice.caller_dialog(alice.take("100", "200")).send("ACK", branch="z9hG4bK-same")
    bench.run()
    assert bob.names() == ["ACK"]


def test_timer_j_sends_the_final_response_again(bench, alice, bob):
    options = alice.request("OPTIONS", bob.uri)
    bench.run()
    bob.answer(bob.take("OPTIONS"), 200)
    bench.run(31_999)
    alice.send(options)
    bench.run()
    assert alice.names() == ["200", "200"]
    assert bob.names() == []
    bench.run(1)
    alice.send(options)         # it has ended: this is a new request
    bench.run()
    assert bob.names() == ["OPTIONS"]


def test_a_request_that_is_no_invite_is_absorbed_until_it_is_answered(bench, alice, bob):
    options = alice.request("OPTIONS", bob.uri)
    bench.run()
    alice.send(options)
    bench.run()
    assert alice.names() == []
    received = bob.take("OPTIONS")
    bob.answer(received, 183)
    bench.run()
    alice.send(options)
    bench.run()
    assert alice.names() == ["183", "183"]
    bob.answer(received, 200)
    bench.run()
    assert alice.names() == ["200"]


@pytest.mark.parametrize("change", [
    ("branch=z9hG4bK-alice-1", "branch=z9hG4bK-other"), ("UDP 127.0.0.2:5060", "UDP 127.0.0.2:5066"),
    ("UDP 127.0.0.2:5060", "UDP 127.0.0.9:5060"),
])
def test_branch_and_sent_by_make_another_transaction(bench, alice, bob, change):
    invite = alice.request("INVITE", bob.uri)
    alice.send(invite.replace(change[0].encode(), change[1].encode()))
    bench.run()
    assert bob.names() == ["INVITE", "INVITE"]


@pytest.mark.parametrize(("old", "new", "same"), [
    (b"Subject: a", b"Subject: b", True),
    (b"To: <sip:bob@127.0.0.3:5060>", b"To: <sip:bob@127.0.0.3:5060>;x=1", True),
    (b"INVITE sip:bob@127.0.0.3:5060 ", b"INVITE sip:carol@127.0.0.3:5060 ", False),
    (b"tag=alice-tag", b"tag=other", False),
    (b"Call-ID: c1", b"Call-ID: c2", False),
    (b"CSeq: 1 ", b"CSeq: 2 ", False),
    (b";branch=1", b";branch=2", False),
])
def test_without_the_magic_cookie_the_whole_request_matches(bench, alice, bob, old, new, same):
    """RFC 3261 17.2.3, the rules for a sender of RFC 2543."""
    invite = alice.request("INVITE", bob.uri, branch="1", headers=[("Subject", "a")])
    alice.send(invite.replace(old, new))
    bench.run()
    assert bob.names() == (["INVITE"] if same else ["INVITE", "INVITE"])


def test_cancel_and_ack_of_an_rfc_2543_sender_find_their_invite(bench, alice, bob):
    invite = alice.request("INVITE", bob.uri, branch="1")
    bench.run()
    received = bob.take("INVITE")
    bob.answer(received, 180)
    bench.run()
    alice.take("100", "180")
    alice.cancel(invite)
    bench.run()
    bob.answer(bob.take("CANCEL"), 200)
    bob.answer(received, 487)
    bench.run()
    alice.ack(invite, alice.take("200", "487"))
    bench.run(10_000)
    assert alice.names() == []


def test_many_are_told_apart_while_others_come_and_go():
    # The table grows under them, until nearly all are taken and some of its buckets hold more than they have room for.
    bench = Bench(transactions=1024, dialogs=512)
    alice, bob = bench.phone("alice", "127.0.0.2"), bench.phone("bob", "127.0.0.3")
    ringing = [alice.request("INVITE", bob.uri, call_id=f"c{i}") for i in range(300)]
    bench.run()
    invites = bob.received()
    for invite in invites:
        bob.answer(invite, 180)
    bench.run()
    answered = []
    for _ in range(6):
        answered.append([alice.request("OPTIONS", bob.uri, call_id=f"o{i}") for i in range(240)])
        bench.run()
        for received in bob.received():
            bob.answer(received, 200)
        bench.run()
        for requests in (ringing, *answered):
            before, asked = bench.count("retransmissions_in"), len(bench.asked)
            for request in requests:
                alice.send(request)
            bench.run()
            assert bench.count("retransmissions_in") == before + len(requests)
            assert len(bench.asked) == asked
        bench.run(11_000)
        if len(answered) == 3:
            # 32 s after their answers they are over, the newer ones of their chains before the older ringing ones.
            answered.pop(0)
    for invite in invites[::2]:
        bob.answer(invite, 486)
    bench.run(70_000)
    assert bench.count("transactions") == 150
    before = bench.count("retransmissions_in")
    for request in ringing[1::2]:
        alice.send(request)
    bench.run()
    assert bench.count("retransmissions_in") == before + 150
    for invite in invites[1::2]:
        bob.answer(invite, 486)
    bench.run(70_000)
    bench.empty()
