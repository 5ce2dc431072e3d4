"""Several answers to one INVITE: of forks further on, of one target after the other, and those that come late."""
import pytest

from sipcore.media.ports import PortPool
from sipcore.stack.verdict import Target, Verdict
from tests.anchor.bench import ALICE, AUDIO, BOB, SDP_TYPE, VIDEO, AnchorBench, Call, edge_of, sdp

RELIABLE = (*SDP_TYPE, ("Require", "100rel"), ("RSeq", "1"))


def test_reliable_early_media_of_one_fork_and_the_answer_of_another(bench: AnchorBench) -> None:
    call = Call(bench)
    other = bench.talker("127.0.0.4")
    invite = call.invited()
    call.early_of_another(invite, other, RELIABLE)
    call.bob.answer(invite, 200, tag="two", headers=SDP_TYPE, body=call.answer())
    bench.run()
    answered = call.alice.take("200")
    call.talk()
    assert other.heard_nothing()
    # A second answer, of a fork that lost the race, moves nothing.
    call.bob.answer(invite, 200, tag="three", headers=SDP_TYPE, body=sdp(other.host, other.port))
    bench.run()
    call.alice.take("200")
    call.talk()
    assert other.heard_nothing()
    call.dialogs = call.alice.caller_dialog(answered), call.bob.callee_dialog(invite, "two")
    call.bye()


def test_the_goodbye_to_a_fork_that_lost_the_race_does_not_end_the_call(bench: AnchorBench) -> None:
    call = Call(bench)
    other = bench.talker("127.0.0.4")
    invite = call.invited()
    call.bob.answer(invite, 200, tag="one", headers=SDP_TYPE, body=call.answer())
    bench.run()
    first = call.alice.take("100", "200")
    call.bob.answer(invite, 200, tag="two", headers=SDP_TYPE, body=sdp(other.host, other.port))
    bench.run()
    second = call.alice.take("200")
    call.edge_alice = edge_of(first)
    for response in (first, second):
        call.alice.caller_dialog(response).send("ACK")
    call.alice.caller_dialog(second).send("BYE", cseq=2)
    bench.run()
    call.bob.answer(call.bob.take("ACK", "ACK", "BYE"), 200)
    bench.run()
    call.alice.take("200")
    assert bench.count("calls_up") == 1
    call.talk()
    call.dialogs = call.alice.caller_dialog(first), call.bob.callee_dialog(invite, "one")
    call.bye()


def searching(opened: list[AnchorBench], hosts: tuple[str, str] = (BOB, "127.0.0.4"), **options) -> AnchorBench:
    """A bench whose calls go to the first of these hosts, and then to the second."""
    verdict = Verdict(anchor=1, targets=tuple(Target(host, 5060) for host in hosts))
    opened.append(AnchorBench(verdict=verdict, **options))
    return opened[-1]


@pytest.mark.parametrize("early", [SDP_TYPE, RELIABLE])
def test_the_next_target_after_early_media_of_one_that_failed(opened, early) -> None:
    bench = searching(opened)
    call = Call(bench, bob_host="127.0.0.4")
    one, gone = bench.phone("one", BOB), bench.talker(BOB)
    call.alice.request("INVITE", "sip:7@example.com", headers=SDP_TYPE, body=call.offer())
    bench.run()
    first = one.take("INVITE")
    one.answer(first, 183, headers=early, body=sdp(gone.host, gone.port))
    bench.run()
    call.alice.take("100", "183")
    one.answer(first, 503)
    bench.run()
    invite = call.bob.take("INVITE")
    call.edge_bob = edge_of(invite)
    call.bob.answer(invite, 200, headers=SDP_TYPE, body=call.answer())
    bench.run()
    answered = call.alice.take("200")
    call.edge_alice = edge_of(answered)
    call.talk()
    assert gone.heard_nothing()
    call.dialogs = call.alice.caller_dialog(answered), call.bob.callee_dialog(invite)
    call.bye()


@pytest.mark.parametrize("early", [None, SDP_TYPE, RELIABLE])
def test_the_next_target_by_another_address_is_told_ports_of_that_one(opened, early) -> None:
    pools = [PortPool("127.0.0.1", 21000, 21099, quarantine=0), PortPool("::1", 21200, 21299, quarantine=0)]
    bench = searching(opened, (BOB, "::1"), kinds=(AUDIO, VIDEO), pools=pools, pools_of=[(0,), (1,)],
                      listeners=[("127.0.0.1", 5060), ("::1", 5061)])
    alice, one, two = bench.phone("alice", ALICE), bench.phone("one", BOB), bench.phone("two", "::1")
    alice.request("INVITE", "sip:7@example.com", headers=SDP_TYPE, body=sdp(ALICE, 4000, "m=video 4002 RTP/AVP 31"))
    bench.run()
    first = one.take("INVITE")
    if early:
        one.answer(first, 183, headers=early, body=sdp(BOB, 5000, "m=video 0 RTP/AVP 31"))
        bench.run()
    one.answer(first, 503)
    bench.run()
    second = two.take("INVITE")
    for section in range(2):
        host, port = edge_of(second, section)
        assert (host, 21200 <= port <= 21299) == ("::1", True)
    two.answer(second, 486)
    bench.empty()


def test_an_answer_after_the_call_is_over_names_nobody(bench: AnchorBench) -> None:
    """Whom the answer was refused for hears no more of it, but a 2xx goes on all the same (RFC 3261 16.7)."""
    call = Call(bench)
    invite = call.alice.request("INVITE", call.bob.uri, headers=SDP_TYPE, body=call.offer())
    bench.run()
    request = call.bob.take("INVITE")
    for _ in range(2):
        call.bob.answer(request, 200, headers=SDP_TYPE, body=sdp("239.1.1.1", 4000))
        bench.run()
    received = call.alice.received()
    assert [one.name for one in received] == ["100", "488", "200"]
    assert received[-1].message.body == b""
    call.alice.ack(invite, received[1])
    bench.empty()


def test_an_answer_again_after_the_goodbye_names_nobody(bench: AnchorBench) -> None:
    call = Call(bench)
    invite = call.invited()
    call.bob.answer(invite, 200, headers=SDP_TYPE, body=call.answer())
    bench.run()
    call.dialogs = call.alice.caller_dialog(call.alice.take("100", "200")), call.bob.callee_dialog(invite)
    call.dialogs[0].send("BYE")
    bench.run()
    call.bob.answer(call.bob.take("BYE"), 200)
    call.bob.answer(invite, 200, headers=SDP_TYPE, body=call.answer())
    bench.run()
    late = [one for one in call.alice.received() if one.message.cseq[1] == "INVITE"]
    assert [one.message.body for one in late] == [b""]
    bench.empty()
