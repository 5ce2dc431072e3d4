"""Calls through an edge that anchors: descriptions byte for byte, audio packet for packet, every port back."""
import struct

import msgspec
import pytest

from sipcore.media.ports import PortPool
from sipcore.stack.verdict import Verdict
from tests.anchor.bench import SDP_TYPE, AnchorBench, Call, edge_of, sdp


def test_both_descriptions_name_the_edge_and_the_audio_flows(bench: AnchorBench) -> None:
    call = Call(bench)
    invite = call.invited(call.offer("a=ptime:30", "a=x:1"))
    port = edge_of(invite)[1]
    assert invite.message.body == sdp("127.0.0.1", port, "a=ptime:30", "a=x:1")
    assert invite.header("Content-Length") == str(len(invite.message.body))
    assert port % 2 == 0
    call.bob.answer(invite, 200, headers=SDP_TYPE, body=call.answer("a=sendrecv", version=9))
    bench.run()
    answered = call.alice.take("100", "200")
    other = edge_of(answered)[1]
    assert answered.message.body == sdp("127.0.0.1", other, "a=sendrecv", version=9)
    assert answered.header("Content-Length") == str(len(answered.message.body))
    assert other != port
    call.edge_alice, call.edge_bob = ("127.0.0.1", other), ("127.0.0.1", port)
    call.dialogs = call.alice.caller_dialog(answered), call.bob.callee_dialog(invite)
    call.dialogs[0].send("ACK")
    bench.run()
    call.bob.take("ACK")
    call.talk()
    call.bye()
    assert bench.anchor.statistics()["media_answers"] == 1


def test_the_log_line_has_the_figures(bench: AnchorBench) -> None:
    call = Call(bench).ring()
    call.talk()
    call.talk()
    call.at_alice.seq += 1
    call.at_bob.seq += 1
    bench.talker("127.0.0.77").say(b"from somebody else", call.edge_bob)
    call.talk()
    call.bye()
    media = msgspec.json.decode(bench.proxy.records.journal.take())["media"]
    assert media["codec"] == "PCMU"
    for side in ("caller", "callee"):
        assert media[side]["packets"] == 3
        assert media[side]["lost"] == 1
        assert 1 < media[side]["mos"] < 4.4
    assert media["caller"]["octets"] == 3 * (12 + len("from alice"))
    assert media["callee"]["wrong_source"] == 1
    assert "wrong_source" not in media["caller"]


def test_the_log_line_has_what_the_far_end_reports(bench: AnchorBench) -> None:
    call = Call(bench)
    call.ring(call.offer("a=rtcp-mux"), call.answer("a=rtcp-mux"))
    call.talk()
    report = struct.pack("!BBHIIIIIII", 0x81, 201, 7, 0x1000 + call.at_bob.port, 0x1000 + call.at_alice.port,
                         7, call.at_alice.seq, 0, 0, 0)
    call.at_bob.socket.sendto(report, call.edge_bob)
    assert call.at_alice.hear() == report
    call.bye()
    media = msgspec.json.decode(bench.proxy.records.journal.take())["media"]
    assert media["callee"]["far_lost"] == 7
    assert "far_lost" not in media["caller"]


def test_an_answer_that_comes_again_is_the_same_again(bench: AnchorBench) -> None:
    call = Call(bench)
    invite = call.invited()
    for _ in range(2):
        call.bob.answer(invite, 200, headers=SDP_TYPE, body=call.answer())
    bench.run()
    one, two = [message for message in call.alice.received() if message.name == "200"]
    assert one.data == two.data
    assert bench.anchor.statistics()["media_answers"] == 1


def test_early_media(bench: AnchorBench) -> None:
    call = Call(bench)
    invite = call.invited()
    call.bob.answer(invite, 183, headers=SDP_TYPE, body=call.answer())
    bench.run()
    call.edge_alice = edge_of(call.alice.take("100", "183"))
    call.talk()
    call.bob.answer(invite, 200, headers=SDP_TYPE, body=call.answer())
    bench.run()
    answered = call.alice.take("200")
    assert edge_of(answered) == call.edge_alice
    call.talk()
    call.dialogs = call.alice.caller_dialog(answered), call.bob.callee_dialog(invite)
    call.bye()


def test_early_media_of_one_fork_and_the_answer_of_another(bench: AnchorBench) -> None:
    call = Call(bench)
    other = bench.talker("127.0.0.4")
    invite = call.invited()
    call.early_of_another(invite, other)
    call.bob.answer(invite, 200, tag="two", headers=SDP_TYPE, body=call.answer())
    bench.run()
    answered = call.alice.take("200")
    assert edge_of(answered) == call.edge_alice
    call.talk()
    assert other.heard_nothing()
    call.dialogs = call.alice.caller_dialog(answered), call.bob.callee_dialog(invite, "two")
    call.bye()


def test_offer_in_the_answer_to_an_invite_without_one(bench: AnchorBench) -> None:
    call = Call(bench)
    call.alice.request("INVITE", call.bob.uri)
    bench.run()
    invite = call.bob.take("INVITE")
    assert invite.message.body == b""
    call.bob.answer(invite, 200, headers=SDP_TYPE, body=call.answer())
    bench.run()
    answered = call.alice.take("100", "200")
    call.edge_alice = edge_of(answered)
    assert answered.message.body == sdp("127.0.0.1", call.edge_alice[1])
    call.dialogs = call.alice.caller_dialog(answered), call.bob.callee_dialog(invite)
    for _ in range(2):
        call.dialogs[0].send("ACK", headers=SDP_TYPE, body=call.offer())
        bench.run()
        ack = call.bob.take("ACK")
        call.edge_bob = edge_of(ack)
        assert ack.message.body == sdp("127.0.0.1", call.edge_bob[1])
    call.talk()
    call.bye()


def test_the_size_check_reckons_with_the_body_as_it_leaves(opened) -> None:
    seen = []

    def oversize(request, verdict, size):
        seen.append((size, request.size_with(verdict)))
        return verdict

    bench = AnchorBench(verdict=Verdict(anchor=1, budget=100), oversize=oversize)
    opened.append(bench)
    call = Call(bench)
    invite = call.invited(call.offer("a=ice-ufrag:" + "x" * 100))
    assert seen == [(len(invite.data), len(invite.data))]
    call.bob.answer(invite, 486)
    bench.empty()


def test_a_call_whose_media_stopped_is_ended(bench: AnchorBench) -> None:
    call = Call(bench).ring()
    owner = bench.anchor.owner(0)
    assert owner is not None
    record, generation, section = owner
    assert section == 0
    assert not bench.proxy.end_silent(record, generation + 1, bench.link.now)
    assert bench.proxy.end_silent(record, generation, bench.link.now)
    assert not bench.proxy.end_silent(record, generation, bench.link.now)
    assert b'"ended":"media"' in bench.proxy.records.journal.take()
    assert bench.anchor.owner(0) is None
    bench.await_free_ports()
    # An offer would go end to end from now on.
    for method in ("INVITE", "UPDATE"):
        request = call.dialogs[0].send(method, headers=SDP_TYPE, body=call.offer(version=2))
        bench.run()
        refused = call.alice.take("481")
        if method == "INVITE":
            call.alice.ack(request, refused)
            bench.run()
    assert call.bob.names() == []
    assert bench.count("media_forgotten") == 2
    # The phones may still say goodbye: the token passes them.
    call.dialogs[0].send("BYE")
    bench.run()
    call.bob.answer(call.bob.take("BYE"), 200)
    bench.run()
    call.alice.take("200")
    bench.empty()


@pytest.mark.parametrize("length", ["", "Content-Length: 0{}\r\n", "l:{}\r\n"])
def test_the_size_check_is_exact_where_the_body_stays_as_long_as_it_was(opened, length: str) -> None:
    seen = []

    def oversize(request, verdict, size):
        seen.append((size, request.size_with(verdict)))
        return verdict

    bench = AnchorBench(verdict=Verdict(anchor=1, budget=100), oversize=oversize,
                        pools=[PortPool("127.0.0.1", 21000, 21099, quarantine=0)])
    opened.append(bench)
    alice, bob = bench.phone("alice", "127.0.0.2"), bench.phone("bob", "127.0.0.3")
    body = sdp("127.0.0.2", 40000)
    head, _, _ = alice.build("INVITE", bob.uri, headers=SDP_TYPE).partition(b"Content-Length")
    alice.send(head + length.format(len(body)).encode() + b"\r\n" + body)
    bench.run()
    invite = bob.take("INVITE")
    assert len(invite.message.body) == len(body)
    assert seen == [(len(invite.data), len(invite.data))]
    bob.answer(invite, 486)
    bench.empty()
