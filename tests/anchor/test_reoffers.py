"""Offers inside a dialog (RFC 3264 8, RFC 3311, RFC 3262): hold, moving media, refusals, PRACK."""
import pytest

from sipcore.stack.verdict import Verdict
from tests.anchor.bench import AUDIO, SDP_TYPE, VIDEO, AnchorBench, Call, edge_of, sdp


def reinvite(call: Call, side: int, offer: bytes, status: int, answer: bytes = b"",
             method: str = "INVITE") -> tuple[bytes, bytes]:
    """An offer inside the dialog, and its answer: both bodies as they arrived."""
    phones = (call.alice, call.bob)
    call.dialogs[side].send(method, headers=SDP_TYPE, body=offer)
    call.bench.run()
    request = phones[1 - side].take(method)
    phones[1 - side].answer(request, status, headers=SDP_TYPE if answer else (), body=answer)
    call.bench.run()
    response = phones[side].take(*(["100"] if method == "INVITE" else []), str(status))
    if method == "INVITE" and status < 300:
        call.dialogs[side].send("ACK")
        call.bench.run()
        phones[1 - side].take("ACK")
    return request.message.body, response.message.body


@pytest.mark.parametrize("method", ["INVITE", "UPDATE"])
@pytest.mark.parametrize("side", [0, 1])
def test_hold_and_resume(bench: AnchorBench, method: str, side: int) -> None:
    call = Call(bench).ring()
    call.talk()
    texts = (call.offer, call.answer)
    talkers, edges = (call.at_alice, call.at_bob), (call.edge_alice, call.edge_bob)
    offered, answered = reinvite(call, side, texts[side]("a=sendonly", version=2), 200,
                                 texts[1 - side]("a=recvonly", version=2), method)
    assert offered == sdp("127.0.0.1", edges[1 - side][1], "a=sendonly", version=2)
    assert answered == sdp("127.0.0.1", edges[side][1], "a=recvonly", version=2)
    # Music for the held one passes; what the held one says reaches nobody.
    talkers[1 - side].say(b"to nobody", edges[1 - side])
    said = talkers[side].say(b"music", edges[side])
    assert talkers[1 - side].hear() == said
    assert talkers[side].heard_nothing()
    reinvite(call, side, texts[side](version=3), 200, texts[1 - side](version=3), method)
    call.talk()
    call.bye()


def test_hold_with_the_address_of_nobody(bench: AnchorBench) -> None:
    call = Call(bench).ring()
    call.talk()
    held = sdp("0.0.0.0", call.at_alice.port, version=2)
    offered, _ = reinvite(call, 0, held, 200, call.answer("a=recvonly"))
    assert offered == sdp("127.0.0.1", call.edge_bob[1], version=2)
    reinvite(call, 0, call.offer(version=3), 200, call.answer())
    call.talk()
    call.bye()


def test_media_that_moves(bench: AnchorBench) -> None:
    call = Call(bench).ring()
    call.talk()
    old = call.at_alice
    call.at_alice = bench.talker("127.0.0.9")
    reinvite(call, 0, call.offer(version=2), 200, call.answer())
    call.talk()
    old.say(b"from where she was", call.edge_alice)
    call.talk()
    assert old.heard_nothing()
    call.bye()


def test_reports_that_move_while_the_audio_stays(bench: AnchorBench) -> None:
    """A re-INVITE that changes a=rtcp alone (RFC 3605): reports go to where they are wanted, and come from there."""
    call = Call(bench)
    before, after, other = bench.talker("127.0.0.2"), bench.talker("127.0.0.2"), bench.talker("127.0.0.3")
    answer = f"a=rtcp:{other.port}"
    call.ring(call.offer(f"a=rtcp:{before.port}"), call.answer(answer))
    call.talk()
    for_alice, for_bob = (call.edge_alice[0], call.edge_alice[1] + 1), (call.edge_bob[0], call.edge_bob[1] + 1)
    assert before.report(for_alice) == other.hear()
    assert other.report(for_bob) == before.hear()
    reinvite(call, 0, call.offer(f"a=rtcp:{after.port}", version=2), 200, call.answer(answer))
    assert other.report(for_bob) == after.hear()
    assert after.report(for_alice) == other.hear()
    # Nobody who has moved away takes the reports back, and the audio never knew of it.
    before.report(for_alice)
    assert other.report(for_bob) == after.hear()
    assert before.heard_nothing()
    # On hold with the address of nobody they stay where they were.
    reinvite(call, 0, sdp("0.0.0.0", call.at_alice.port, version=3), 200, call.answer("a=recvonly", answer))
    assert other.report(for_bob) == after.hear()
    reinvite(call, 0, call.offer(f"a=rtcp:{after.port}", version=4), 200, call.answer(answer))
    call.talk()
    call.bye()


@pytest.mark.parametrize("method", ["INVITE", "UPDATE"])
def test_what_a_refusal_says_of_the_far_end_stays_there(bench: AnchorBench, method: str) -> None:
    call = Call(bench).ring()
    _, refused = reinvite(call, 0, call.offer(version=2), 488, call.answer(), method)
    assert refused == b""
    if method == "INVITE":
        call.bob.take("ACK")
    call.talk()
    call.bye()


@pytest.mark.parametrize("method", ["INVITE", "UPDATE"])
def test_a_refused_offer_changes_nothing_and_gives_its_ports_back(bench: AnchorBench, method: str) -> None:
    bench.anchor.configure([(0,)], [(1, 1 << AUDIO | 1 << VIDEO, 0)])
    call = Call(bench).ring()
    used = bench.pools[0].used
    reinvite(call, 0, sdp("127.0.0.77", 9, "m=video 5000 RTP/AVP 31", version=2), 488, method=method)
    call.talk()
    call.bench.relay.take_events()
    assert bench.anchor.statistics()["media_offers_void"] == 1
    if method == "INVITE":
        call.alice.send(call.alice.build("ACK", call.bob.uri))
    call.dialogs[0].send("BYE")
    bench.run()
    assert used == 2
    call.bob.answer(call.bob.take(*(["ACK"] if method == "INVITE" else []), "BYE"), 200)
    bench.empty()


def test_offer_and_answer_in_reliable_provisional_responses(bench: AnchorBench) -> None:
    """RFC 3262 5: the offer in a 183, its answer in the PRACK, and nothing more in the 200."""
    call = Call(bench)
    call.alice.request("INVITE", call.bob.uri, headers=(("Supported", "100rel"),))
    bench.run()
    invite = call.bob.take("INVITE")
    call.bob.answer(invite, 183, headers=(*SDP_TYPE, ("Require", "100rel"), ("RSeq", "1")), body=call.answer())
    bench.run()
    progress = call.alice.take("100", "183")
    call.edge_alice = edge_of(progress)
    call.dialogs = call.alice.caller_dialog(progress), call.bob.callee_dialog(invite)
    call.dialogs[0].send("PRACK", headers=(*SDP_TYPE, ("RAck", "1 1 INVITE")), body=call.offer())
    bench.run()
    prack = call.bob.take("PRACK")
    call.edge_bob = edge_of(prack)
    assert prack.header("RAck") == "1 1 INVITE"
    call.bob.answer(prack, 200)
    bench.run()
    call.alice.take("200")
    call.talk()
    call.bob.answer(invite, 200)
    bench.run()
    call.alice.take("200")
    call.dialogs[0].send("ACK", cseq=1)
    bench.run()
    call.bob.take("ACK")
    call.talk()
    call.bye()


def test_answer_in_a_reliable_183_and_a_second_offer_in_the_prack(bench: AnchorBench) -> None:
    call = Call(bench)
    invite = call.invited()
    call.bob.answer(invite, 183, headers=(*SDP_TYPE, ("Require", "100rel"), ("RSeq", "1")), body=call.answer())
    bench.run()
    progress = call.alice.take("100", "183")
    call.edge_alice = edge_of(progress)
    call.dialogs = call.alice.caller_dialog(progress), call.bob.callee_dialog(invite)
    call.dialogs[0].send("PRACK", headers=(*SDP_TYPE, ("RAck", "1 1 INVITE")), body=call.offer("a=sendonly", version=2))
    bench.run()
    prack = call.bob.take("PRACK")
    assert prack.message.body == sdp("127.0.0.1", call.edge_bob[1], "a=sendonly", version=2)
    call.bob.answer(prack, 200, headers=SDP_TYPE, body=call.answer("a=recvonly", version=2))
    bench.run()
    assert call.alice.take("200").message.body == sdp("127.0.0.1", call.edge_alice[1], "a=recvonly", version=2)
    # The 200 to the INVITE repeats the old answer (RFC 3261 13.2.1: it is to be ignored).
    call.bob.answer(invite, 200, headers=SDP_TYPE, body=call.answer())
    bench.run()
    call.alice.take("200")
    call.at_bob.say(b"to nobody", call.edge_bob)
    said = call.at_alice.say(b"music", call.edge_alice)
    assert call.at_bob.hear() == said
    assert call.at_alice.heard_nothing()
    call.bye()


def test_an_offer_that_was_never_sent_is_void(opened) -> None:
    """The size check refuses it after the anchor has seen it."""
    bench = AnchorBench()
    opened.append(bench)
    call = Call(bench).ring()
    bench.proxy.configure(bench.proxy.admission, lambda request: Verdict(budget=900), lambda *_: Verdict(
        action=Verdict.REJECT, status=513), dialog_budget=900)
    for version in range(2, 7):
        call.dialogs[0].send("INVITE", headers=SDP_TYPE, body=call.offer("a=x:" + "y" * 900, version=version))
        bench.run()
        call.alice.take("513")
    assert bench.anchor.statistics()["media_offers_void"] == 5
    reinvite(call, 0, call.offer(version=9), 200, call.answer())
    call.talk()
    call.bye()


def test_an_answer_without_a_description_leaves_nothing_waiting(bench: AnchorBench) -> None:
    call = Call(bench).ring()
    for version in range(2, 7):
        reinvite(call, 0, call.offer(version=version), 200, method="UPDATE")
    reinvite(call, 0, call.offer(version=9), 200, call.answer(), method="UPDATE")
    call.talk()
    call.bye()
