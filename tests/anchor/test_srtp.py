"""SRTP on forwarded calls: from end to end where no rule says otherwise, else with keys of the edge on each side."""
import pytest

from sipcore.anchor.sdes import usable
from sipcore.media.srtpprobe import SrtpProbe
from sipcore.stack.verdict import Target, Verdict
from tests.anchor.bench import BOB, SDP_TYPE, AnchorBench, Call, edge_of, sdp
from tests.anchor.keyed import SAVP, Keys, key_of, talk
from tests.anchor.secure import CM, GCM, NEVER, OFFER, PASS, REQUIRE, crypto, lines, profile
from tests.anchor.test_reoffers import reinvite
from tests.media.stage import until


@pytest.mark.parametrize("proto", ["RTP/SAVP", "RTP/AVP"])
def test_a_secure_caller_and_a_plain_callee(make, proto: str) -> None:
    call = Call(make(srtp=(PASS, NEVER)))
    call.ring(call.offer(crypto(3, CM, key_of(1)), media=f"{proto} 0 101"))
    offered, answered = reinvite(call, 0, call.offer(crypto(3, CM, key_of(1)), media=f"{proto} 0 101"), 200,
                                 call.answer())
    assert (profile(offered), lines(offered)) == ("RTP/AVP", [])
    assert profile(answered) == proto
    assert [(tag, suite) for tag, suite, _ in usable(answered)] == [(3, CM)]
    assert usable(answered)[0][2] != key_of(1)
    alice = Keys(key_of(1), answered)
    for _ in range(3):
        talk(call, alice, None)
    # Plain packets of hers are none.
    call.at_alice.say(b"plain", call.edge_alice)
    until(lambda: call.bench.relay.totals()["unauthentic"] == 1, "the plain packet is counted")
    assert call.at_bob.heard_nothing()
    call.bye()


def test_a_plain_caller_and_a_callee_that_must_have_srtp(make) -> None:
    bench = make(srtp=(PASS, REQUIRE), suites=(GCM, CM))
    call = Call(bench)
    invite = call.invited()
    offer = invite.message.body
    assert profile(offer) == "RTP/SAVP"
    assert [(tag, suite) for tag, suite, _ in usable(offer)] == [(1, GCM), (2, CM)]
    call.edge_bob = edge_of(invite)
    answer = call.answer(crypto(2, CM, key_of(9)), media=SAVP)
    call.bob.answer(invite, 183, headers=SDP_TYPE, body=answer)
    bench.run()
    early = call.alice.take("100", "183")
    call.edge_alice = edge_of(early)
    call.bob.answer(invite, 200, headers=SDP_TYPE, body=answer)
    bench.run()
    answered = call.alice.take("200")
    assert answered.message.body == early.message.body
    assert (profile(answered.message.body), lines(answered.message.body)) == ("RTP/AVP", [])
    call.dialogs = call.alice.caller_dialog(answered), call.bob.callee_dialog(invite)
    call.dialogs[0].send("ACK")
    bench.run()
    call.bob.take("ACK")
    bob = Keys(key_of(9), offer)
    talk(call, None, bob)
    # On hold and back: the keys stay, and so does the profile that was agreed.
    for version, way, back in ((2, "a=sendonly", "a=recvonly"), (3, "a=sendrecv", "a=sendrecv")):
        offered, _ = reinvite(call, 0, call.offer(way, version=version), 200,
                              call.answer(crypto(1, CM, key_of(9)), back, media=SAVP, version=version))
        assert [(tag, suite, key) for tag, suite, key in usable(offered)] == [(1, CM, usable(offer)[1][2])]
    talk(call, None, bob)
    # The callee asks: with the same key on its side, and plain on the other.
    offered, told = reinvite(call, 1, call.answer(crypto(7, CM, key_of(9)), media=SAVP, version=4), 200, call.offer())
    assert lines(offered) == []
    assert usable(told) == [(7, CM, usable(offer)[1][2])]
    talk(call, None, bob)
    assert bench.relay.totals()["unauthentic"] == 0
    call.bye()


def test_both_sides_with_keys_of_their_own(make) -> None:
    bench = make(srtp=(REQUIRE, OFFER))
    call = Call(bench)
    call.alice.request("INVITE", call.bob.uri, headers=SDP_TYPE,
                       body=call.offer(crypto(1, GCM, key_of(1, GCM)), crypto(2, CM, key_of(2)), media=SAVP))
    bench.run()
    invite = call.bob.take("INVITE")
    assert profile(invite.message.body) == "RTP/AVP"
    call.edge_bob = edge_of(invite)
    call.bob.answer(invite, 200, headers=SDP_TYPE, body=call.answer(crypto(1, CM, key_of(9))))
    bench.run()
    answered = call.alice.take("100", "200")
    call.edge_alice = edge_of(answered)
    call.dialogs = call.alice.caller_dialog(answered), call.bob.callee_dialog(invite)
    call.dialogs[0].send("ACK")
    bench.run()
    call.bob.take("ACK")
    assert [suite for _, suite, _ in usable(answered.message.body)] == [GCM]
    alice = Keys(key_of(1, GCM), answered.message.body, GCM)
    bob = Keys(key_of(9), invite.message.body)
    talk(call, alice, bob)
    # Another key of hers in the middle of the call.
    offered, again = reinvite(call, 0, call.offer(crypto(1, GCM, key_of(77, GCM)), media=SAVP, version=2), 200,
                              call.answer(crypto(1, CM, key_of(9))))
    assert usable(offered) == usable(invite.message.body)
    assert usable(again) == usable(answered.message.body)
    alice.seal = SrtpProbe(GCM, key_of(77, GCM), True)
    talk(call, alice, bob)
    call.bye()


def test_keys_pass_from_end_to_end_without_a_rule(bench: AnchorBench) -> None:
    call = Call(bench)
    line = crypto(1, CM, key_of(1), "|2^20|1:4")
    invite = call.invited(call.offer(line, media=SAVP))
    assert (profile(invite.message.body), lines(invite.message.body)) == ("RTP/SAVP", [line.encode()])
    call.bob.answer(invite, 486)
    bench.run()


@pytest.mark.parametrize(("rule", "media", "keys", "text"), [
    ((NEVER, PASS), SAVP, True, "this side has none"),
    ((REQUIRE, PASS), "RTP/AVP 0", False, "SRTP is required here"),
    ((PASS, REQUIRE), SAVP, False, "without a key that can be used"),
])
def test_an_offer_that_the_rule_does_not_allow(make, rule, media: str, keys: bool, text: str) -> None:
    bench = make(srtp=rule)
    call = Call(bench)
    more = [crypto(1, CM, key_of(1))] if keys else []
    call.alice.request("INVITE", call.bob.uri, headers=SDP_TYPE, body=call.offer(*more, media=media))
    bench.run()
    refused = call.alice.received()[-1]
    assert refused.name == "488"
    assert text in (refused.header("Warning") or "")
    bench.empty()


def test_an_answer_without_its_key_is_not_passed_on(make) -> None:
    bench = make(srtp=(PASS, REQUIRE))
    call = Call(bench)
    invite = call.invited()
    call.bob.answer(invite, 200, headers=SDP_TYPE, body=call.answer(crypto(2, CM, key_of(9)), media=SAVP))
    bench.run()
    answered = call.alice.received()[-1]
    assert (answered.name, answered.header("Warning")) == (
        "488", '399 sipedge "an answer over SRTP without a key that goes with the offer"')
    call.at_bob.say(b"plain", edge_of(invite))
    assert call.at_alice.heard_nothing()


def test_keys_are_kept_from_signalling_that_others_can_read(make) -> None:
    bench = make(srtp=(PASS, REQUIRE), plain_listeners=(0,))
    call = Call(bench)
    call.alice.request("INVITE", call.bob.uri, headers=SDP_TYPE, body=call.offer())
    bench.run()
    refused = call.alice.received()[-1]
    assert refused.name == "488"
    assert "may not pass over this signalling" in (refused.header("Warning") or "")
    bench.empty()


def test_each_target_is_offered_another_key(make) -> None:
    targets = (Target(BOB, 5060), Target("127.0.0.4", 5060))
    bench = make(srtp=(PASS, REQUIRE), verdict=Verdict(targets=targets, anchor=1))
    call, second = Call(bench), bench.phone("second", "127.0.0.4")
    call.alice.request("INVITE", call.bob.uri, headers=SDP_TYPE, body=call.offer(crypto(5, CM, key_of(1)), media=SAVP))
    bench.run()
    first = call.bob.take("INVITE")
    call.bob.answer(first, 183, headers=SDP_TYPE, body=call.answer(crypto(1, CM, key_of(8)), media=SAVP))
    bench.run()
    early = call.alice.take("100", "183")
    call.bob.answer(first, 503)
    bench.run()
    invite = second.take("INVITE")
    assert usable(invite.message.body)[0][2] != usable(first.message.body)[0][2]
    call.edge_bob = edge_of(invite)
    second.answer(invite, 200, headers=SDP_TYPE,
                  body=sdp(call.at_bob.host, call.at_bob.port, crypto(1, CM, key_of(9)), media=SAVP))
    bench.run()
    answered = call.alice.take("200")
    call.edge_alice = edge_of(answered)
    # The caller's side is the same all along.
    assert usable(answered.message.body) == usable(early.message.body)
    talk(call, Keys(key_of(1), answered.message.body), Keys(key_of(9), invite.message.body))
