"""Forwarded offers of SRTP that are refused: told in another way, over connections alone."""
import pytest

from sipcore.stack.verdict import Target, Verdict
from tests.anchor.bench import BOB, SDP_TYPE, AnchorBench, Call, edge_of
from tests.anchor.keyed import SAVP, Keys, key_of, talk
from tests.anchor.secure import CM, NEVER, OFFER, PASS, REQUIRE, crypto, lines, profile
from tests.anchor.test_reoffers import reinvite
from tests.endpoints import EDGE, Received

TCP = ("127.0.0.1", 5062, "tcp")
CAROL = "127.0.0.4"


def reached(make, rule: int, *, caller: int = PASS, transport: str = "tcp", targets: tuple[str, ...] = (BOB,),
            **more) -> AnchorBench:
    """A bench whose callees, with that rule, are reached so."""
    found = tuple(Target(host, 5060, transport=transport) for host in targets)
    bench: AnchorBench = make(srtp=(caller, rule), listeners=[EDGE, TCP], verdict=Verdict(targets=found, anchor=1),
                              **more)
    return bench


def offered(invite: Received) -> tuple[str, int]:
    """Profile and number of keys."""
    return profile(invite.message.body), len(lines(invite.message.body))


def refuse(bench: AnchorBench, call: Call, status: int) -> None:
    """Alice offers RTP, and Bob refuses what he is offered first."""
    call.alice.request("INVITE", call.bob.uri, headers=SDP_TYPE, body=call.offer())
    bench.run()
    call.bob.answer(call.bob.take("INVITE"), status)
    bench.run()


@pytest.mark.parametrize("status", [415, 488, 606])
def test_a_callee_that_refuses_keys_beside_plain_rtp_is_offered_srtp_alone(make, status: int) -> None:
    bench = reached(make, OFFER)
    call = Call(bench)
    call.alice.request("INVITE", call.bob.uri, headers=SDP_TYPE, body=call.offer())
    bench.run()
    first = call.bob.take("INVITE")
    assert (profile(first.message.body), len(lines(first.message.body))) == ("RTP/AVP", 1)
    call.bob.answer(first, status)
    bench.run()
    second = call.bob.take("ACK", "INVITE")
    assert (profile(second.message.body), len(lines(second.message.body))) == ("RTP/SAVP", 1)
    assert call.alice.names() == ["100"]
    (said,) = bench.proxy.take_troubles()
    assert said.startswith(f"an offer of SRTP was refused with {status}: it is made in another profile; Call-ID ")
    call.edge_bob = edge_of(second)
    call.bob.answer(second, 200, headers=SDP_TYPE, body=call.answer(crypto(1, CM, key_of(9)), media=SAVP))
    bench.run()
    answered = call.alice.take("200")
    assert (profile(answered.message.body), lines(answered.message.body)) == ("RTP/AVP", [])
    call.edge_alice = edge_of(answered)
    call.dialogs = call.alice.caller_dialog(answered), call.bob.callee_dialog(second)
    call.dialogs[0].send("ACK")
    bench.run()
    call.bob.take("ACK")
    talk(call, None, Keys(key_of(9), second.message.body))
    # It stays so in the dialog.
    offered, _ = reinvite(call, 0, call.offer("a=sendonly", version=2), 200,
                          call.answer(crypto(1, CM, key_of(9)), "a=recvonly", media=SAVP, version=2))
    assert profile(offered) == "RTP/SAVP"
    counters = bench.anchor.statistics()
    assert (counters["srtp_retold"], bench.proxy.statistics()["failovers"]) == (1, 0)
    call.bye()


def test_a_callee_that_says_it_has_no_srtp_gets_none(make) -> None:
    """RFC 3261 21.4.26: a 488 may say what could have been done."""
    bench = reached(make, OFFER)
    call = Call(bench)
    call.alice.request("INVITE", call.bob.uri, headers=SDP_TYPE,
                       body=call.offer(crypto(3, CM, key_of(1)), media=SAVP))
    bench.run()
    call.bob.answer(call.bob.take("INVITE"), 488, headers=SDP_TYPE, body=call.answer())
    bench.run()
    second = call.bob.take("ACK", "INVITE")
    assert (profile(second.message.body), lines(second.message.body)) == ("RTP/AVP", [])
    call.edge_bob = edge_of(second)
    call.bob.answer(second, 200, headers=SDP_TYPE, body=call.answer())
    bench.run()
    answered = call.alice.take("100", "200")
    call.edge_alice = edge_of(answered)
    call.dialogs = call.alice.caller_dialog(answered), call.bob.callee_dialog(second)
    call.dialogs[0].send("ACK")
    bench.run()
    call.bob.take("ACK")
    talk(call, Keys(key_of(1), answered.message.body), None)
    # Keys do not come back with the next offer either, which would be refused again.
    offered, _ = reinvite(call, 0, call.offer(crypto(3, CM, key_of(1)), media=SAVP, version=2), 200,
                          call.answer(version=2))
    assert (profile(offered), lines(offered)) == ("RTP/AVP", [])
    call.bye()


@pytest.mark.parametrize(("answers", "heard"), [((488, 488), "488"), ((488, 482), "488"), ((606, 486), "486")])
def test_a_second_offer_is_the_last(make, answers: tuple[int, int], heard: str) -> None:
    bench = reached(make, OFFER)
    call = Call(bench)
    refuse(bench, call, answers[0])
    call.bob.answer(call.bob.take("ACK", "INVITE"), answers[1])
    bench.run()
    assert call.bob.names() == ["ACK"]
    assert call.alice.names() == ["100", heard]
    bench.run(64_000)
    bench.empty()


@pytest.mark.parametrize("rule", [NEVER, PASS, REQUIRE])
def test_nothing_else_than_an_offer_of_srtp_is_made_twice(make, rule: int) -> None:
    bench = reached(make, rule, caller=NEVER)
    call = Call(bench)
    refuse(bench, call, 488)
    assert call.bob.names() == ["ACK"]
    assert call.alice.names() == ["100", "488"]
    bench.run(64_000)
    bench.empty()


def test_a_call_that_is_taken_back_is_not_offered_again(make) -> None:
    bench = reached(make, OFFER)
    call = Call(bench)
    sent = call.alice.request("INVITE", call.bob.uri, headers=SDP_TYPE, body=call.offer())
    bench.run()
    invite = call.bob.take("INVITE")
    call.bob.answer(invite, 180)
    bench.run()
    call.alice.cancel(sent)
    bench.run()
    call.bob.answer(call.bob.take("CANCEL"), 200)
    call.bob.answer(invite, 488)
    bench.run()
    assert "INVITE" not in call.bob.names()
    bench.run(64_000)
    bench.empty()


def test_a_callee_that_is_reached_by_udp_refuses_once(make) -> None:
    """RFC 3261 8.2.2.2: with the same CSeq number another INVITE would be a merged one there."""
    bench = reached(make, OFFER, transport="udp")
    call = Call(bench)
    call.alice.request("INVITE", call.bob.uri, headers=SDP_TYPE, body=call.offer())
    bench.run()
    call.bob.answer(call.bob.take("INVITE"), 488, headers=[("Warning", '304 bob "keys beside RTP"')])
    bench.run()
    assert call.bob.names() == ["ACK"]
    assert call.alice.take("100", "488").header("Warning") == '304 bob "keys beside RTP"'
    assert bench.anchor.statistics()["srtp_retold"] == 0
    bench.empty()


@pytest.mark.parametrize("budget", [300, 1300])
def test_the_second_invite_is_judged_by_its_own_size(make, budget: int) -> None:
    """The first went by TCP because it was too big for UDP, and so does the second."""
    target = (Target(BOB, 5060),)
    asked: list[int] = []

    def oversize(request, verdict: Verdict, size: int) -> Verdict:
        asked.append(size)
        return Verdict(targets=target, anchor=1, tcp=True, note="by TCP",
                       fallback=Verdict(targets=target, anchor=1, note="by UDP"))

    bench = make(srtp=(PASS, OFFER), listeners=[EDGE, TCP], oversize=oversize,
                 verdict=Verdict(targets=target, anchor=1, budget=budget))
    call = Call(bench)
    long = call.offer(f"a=note:{'x' * 1300}") if budget > 300 else call.offer()
    call.alice.request("INVITE", call.bob.uri, headers=SDP_TYPE, body=long)
    bench.run()
    first = call.bob.take("INVITE")
    call.bob.answer(first, 488)
    bench.run()
    second = call.bob.take("ACK", "INVITE")
    assert offered(second) == ("RTP/SAVP", 1)
    assert [one.headers("Via")[0].split()[0] for one in (first, second)] == ["SIP/2.0/TCP"] * 2
    assert asked == [len(first.data), len(second.data)]
    said = bench.proxy.take_troubles()
    assert [said[0], said[2]] == ["by TCP"] * 2
    assert said[1].startswith("an offer of SRTP was refused with 488")
    counters = bench.proxy.statistics()
    assert (len(said), counters["oversize"], counters["failovers"]) == (3, 2, 0)
    # Without a connection now, the same by UDP: nothing is left of the first there.
    bench.proxy.unreachable(second.data, bench.link.now)
    bench.run()
    third = call.bob.take("INVITE")
    assert offered(third) == ("RTP/SAVP", 1)
    assert third.headers("Via")[0].startswith("SIP/2.0/UDP")
    assert bench.proxy.take_troubles() == ["no connection by TCP; by UDP"]
    call.bob.answer(third, 486)
    bench.run()
    assert call.alice.names() == ["100", "486"]
    bench.empty()


def test_a_second_invite_that_the_size_policy_refuses(make) -> None:
    sizes: list[int] = []

    def oversize(request, verdict: Verdict, size: int) -> Verdict:
        sizes.append(size)
        if len(sizes) > 1:
            return Verdict(action=Verdict.REJECT, status=513, reason="Message Too Large")
        return Verdict(targets=verdict.targets, anchor=1, tcp=True, fallback=Verdict(targets=verdict.targets, anchor=1))

    bench = make(srtp=(PASS, OFFER), listeners=[EDGE, TCP], oversize=oversize,
                 verdict=Verdict(targets=(Target(BOB, 5060),), anchor=1, budget=300))
    call = Call(bench)
    refuse(bench, call, 488)
    assert call.bob.names() == ["ACK"]
    assert call.alice.names() == ["100", "488"]
    assert len(sizes) == 2
    bench.empty()


@pytest.mark.parametrize("says", [False, True], ids=["nothing", "RTP alone"])
def test_the_next_target_is_offered_what_the_first_one_was(make, says: bool) -> None:
    """And what it refuses is told in another way to it, too."""
    bench = reached(make, OFFER, targets=(BOB, CAROL))
    call, carol = Call(bench), bench.phone("carol", CAROL)
    call.alice.request("INVITE", call.bob.uri, headers=SDP_TYPE, body=call.offer())
    bench.run()
    call.bob.answer(call.bob.take("INVITE"), 488, headers=SDP_TYPE if says else (), body=call.answer() if says else b"")
    bench.run()
    call.bob.answer(call.bob.take("ACK", "INVITE"), 503)
    bench.run()
    first = carol.take("INVITE")
    assert offered(first) == ("RTP/AVP", 1)
    carol.answer(first, 606)
    bench.run()
    second = carol.take("ACK", "INVITE")
    assert offered(second) == ("RTP/SAVP", 1)
    carol.answer(second, 482)
    bench.run()
    assert call.alice.names() == ["100", "606"]
    assert bench.anchor.statistics()["srtp_retold"] == 2
    bench.run(64_000)
    bench.empty()


def test_what_a_target_refused_is_heard_where_the_next_says_nothing(make) -> None:
    bench = reached(make, OFFER, targets=(BOB, CAROL))
    call, carol = Call(bench), bench.phone("carol", CAROL)
    refuse(bench, call, 488)
    call.bob.answer(call.bob.take("ACK", "INVITE"), 503)
    bench.run(32_000)
    assert "INVITE" in carol.names()
    assert call.alice.names() == ["100", "488"]
    bench.run(64_000)
    bench.empty()
