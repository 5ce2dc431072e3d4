"""Offers and answers that make no sense, and calls that there is no room for: refused aloud, nothing left behind."""
import pytest

from sipcore.media.ports import PortPool
from tests.anchor.bench import ALICE, SDP_TYPE, AnchorBench, Call, sdp
from tests.media.stage import HOST


def test_only_media_that_does_not_pass(bench: AnchorBench) -> None:
    call = Call(bench)
    call.alice.request("INVITE", call.bob.uri, headers=SDP_TYPE, body=sdp(ALICE, 5000).replace(b"m=audio", b"m=video"))
    bench.run()
    final = call.alice.take("488")
    assert final.header("Warning") == '304 sipedge "no media of a kind that passes here"'
    assert call.bob.names() == []
    bench.empty()


BAD = {
    "no version": (b"o=- 1 1 IN IP4 127.0.0.2\r\n", "399"),
    "no address": (b"v=0\r\no=- 1 1 IN IP4 127.0.0.2\r\ns=-\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n", "301"),
    "multicast": (sdp("239.1.1.1", 4000), "330"),
    "DTLS": (sdp("127.0.0.2", 4000, media="UDP/TLS/RTP/SAVPF 0"), "302"),
    "DTLS as it was written before": (sdp("127.0.0.2", 4000, "a=fingerprint:sha-256 AA:BB", "a=setup:actpass",
                                          media="RTP/SAVPF 0"), "302"),
    "DTLS for all sections": (sdp("127.0.0.2", 4000, media="RTP/SAVP 0").replace(
        b"t=0 0\r\n", b"t=0 0\r\na=fingerprint:sha-256 AA:BB\r\n"), "302"),
    "a port beyond the last": (sdp("127.0.0.2", 70000), "399"),
    "no port for RTCP": (sdp("127.0.0.2", 65535), "399"),
}


@pytest.mark.parametrize("name", BAD)
def test_an_offer_that_makes_no_sense(bench: AnchorBench, name: str) -> None:
    body, warning = BAD[name]
    call = Call(bench)
    call.alice.request("INVITE", call.bob.uri, headers=SDP_TYPE, body=body)
    bench.run()
    final = call.alice.take("488")
    assert str(final.header("Warning")).startswith(f'{warning} sipedge "')
    assert call.bob.names() == []
    assert bench.anchor.statistics()["media_refused"] == 1
    told, = bench.proxy.take_troubles()
    assert told.startswith("session description refused with 488: Not Acceptable Here - ")
    assert told.endswith("; Call-ID c1")
    bench.empty()


@pytest.mark.parametrize("name", BAD)
def test_an_offer_that_makes_no_sense_leaves_the_call_as_it_was(bench: AnchorBench, name: str) -> None:
    call = Call(bench).ring()
    call.dialogs[0].send("INVITE", headers=SDP_TYPE, body=BAD[name][0])
    bench.run()
    assert str(call.alice.take("488").header("Warning")).startswith(BAD[name][1])
    call.talk()
    call.bye()


@pytest.mark.parametrize("name", BAD)
def test_an_answer_that_makes_no_sense(bench: AnchorBench, name: str) -> None:
    call = Call(bench)
    invite = call.alice.request("INVITE", call.bob.uri, headers=SDP_TYPE, body=call.offer())
    bench.run()
    call.bob.answer(call.bob.take("INVITE"), 200, headers=SDP_TYPE, body=BAD[name][0])
    bench.run()
    final = call.alice.take("100", "488")
    assert str(final.header("Warning")).startswith(BAD[name][1])
    told, = bench.proxy.take_troubles()
    assert told.startswith("session description refused with 488: Not Acceptable Here - ")
    call.alice.ack(invite, final)
    bench.empty()


def test_an_encoded_offer(bench: AnchorBench) -> None:
    call = Call(bench)
    call.alice.request("INVITE", call.bob.uri, headers=(*SDP_TYPE, ("Content-Encoding", "gzip")), body=b"\x1f\x8b")
    bench.run()
    call.alice.take("415")
    bench.empty()


@pytest.mark.parametrize("how", ["refused", "cancelled", "unanswered", "no answer in time"])
def test_every_port_comes_back_from_a_call_that_never_was(bench: AnchorBench, how: str) -> None:
    call = Call(bench)
    invite = call.alice.request("INVITE", call.bob.uri, headers=SDP_TYPE, body=call.offer())
    bench.run()
    assert bench.pools[0].used == 2
    if how == "refused":
        call.bob.answer(call.bob.take("INVITE"), 486)
    elif how == "cancelled":
        request = call.bob.take("INVITE")
        call.bob.answer(request, 183, headers=SDP_TYPE, body=call.answer())
        bench.run()
        call.alice.cancel(invite)
        bench.run()
        call.bob.answer(call.bob.take("CANCEL"), 200)
        call.bob.answer(request, 487)
    elif how == "no answer in time":
        call.bob.answer(call.bob.take("INVITE"), 180)
    bench.empty(400_000)


def test_no_port_left(opened) -> None:
    bench = AnchorBench(pools=[PortPool(HOST, 21200, 21203, quarantine=0)])
    opened.append(bench)
    Call(bench).ring()
    late = bench.phone("late", "127.0.0.7")
    late.request("INVITE", "sip:bob@127.0.0.3", call_id="c2", headers=SDP_TYPE, body=sdp("127.0.0.7", 4000))
    bench.run()
    final = late.take("503")
    assert final.header("Retry-After") == "10"
    assert bench.anchor.statistics()["media_no_ports"] == 1
    assert bench.pools[0].exhausted == 1
    assert bench.anchor.live == 1


def test_no_room_for_a_call(opened) -> None:
    bench = AnchorBench(calls=1)
    opened.append(bench)
    Call(bench).ring()
    late = bench.phone("late", "127.0.0.7")
    late.request("INVITE", "sip:bob@127.0.0.3", call_id="c2", headers=SDP_TYPE, body=sdp("127.0.0.7", 4000))
    bench.run()
    late.take("503")
    assert bench.anchor.statistics()["media_full"] == 1


@pytest.mark.parametrize("media", ["m=video {port} RTP/AVP 31", "m=audio {port} udptl t38"])
def test_an_answer_of_another_kind_than_its_offer(bench: AnchorBench, media: str) -> None:
    call = Call(bench)
    invite = call.alice.request("INVITE", call.bob.uri, headers=SDP_TYPE, body=call.offer())
    bench.run()
    body = sdp(call.at_bob.host, 9).replace(b"m=audio 9 RTP/AVP 0 101", media.format(port=call.at_bob.port).encode())
    call.bob.answer(call.bob.take("INVITE"), 200, headers=SDP_TYPE, body=body)
    bench.run()
    final = call.alice.take("100", "488")
    assert final.header("Warning") == '399 sipedge "a media section is answered by one of another kind"'
    call.alice.ack(invite, final)
    bench.empty()


def test_a_refusal_with_a_description_names_no_address_of_the_far_end(bench: AnchorBench) -> None:
    """RFC 3261 21.4.26: a 488 may say what would have been acceptable."""
    call = Call(bench)
    call.alice.request("INVITE", call.bob.uri, headers=SDP_TYPE, body=call.offer())
    bench.run()
    call.bob.answer(call.bob.take("INVITE"), 488,
                    headers=(*SDP_TYPE, ("Warning", '305 bob "no G.722"')), body=call.answer())
    bench.run()
    final = call.alice.take("100", "488")
    assert (final.message.body, final.header("Warning")) == (b"", '305 bob "no G.722"')
    bench.empty()
