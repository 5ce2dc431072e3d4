"""Several media sections, several bodies, two address families, ICE."""
import msgspec
import pytest

from sipcore.media.ports import PortPool
from sipcore.stack.verdict import Target, Verdict
from tests.anchor.bench import ALICE, AUDIO, BOB, PASS, SDP_TYPE, TEXT, VIDEO, AnchorBench, Call, edge_of, sdp


@pytest.mark.parametrize(("kinds", "other", "offered", "answered"), [
    ((AUDIO,), 0, "m=video 0 RTP/AVP 31\r\n", "m=video 0 RTP/AVP 31\r\n"),
    ((AUDIO,), PASS, "m=video 5000 RTP/AVP 31\r\nc=IN IP4 127.0.0.2\r\n",
     "m=video 6000 RTP/AVP 31\r\nc=IN IP4 127.0.0.3\r\n"),
])
def test_video_that_is_refused_or_passes(opened, kinds, other, offered, answered) -> None:
    bench = AnchorBench(kinds=kinds, other=other)
    opened.append(bench)
    call = Call(bench)
    invite = call.invited(call.offer("m=video 5000 RTP/AVP 31"))
    assert invite.message.body == sdp("127.0.0.1", edge_of(invite)[1]) + offered.encode()
    call.bob.answer(invite, 200, headers=SDP_TYPE, body=call.answer("m=video 6000 RTP/AVP 31"))
    bench.run()
    final = call.alice.take("100", "200")
    assert final.message.body == sdp("127.0.0.1", edge_of(final)[1]) + answered.encode()
    assert bench.relay.open_sessions == 1
    call.dialogs = call.alice.caller_dialog(final), call.bob.callee_dialog(invite)
    call.bye()


@pytest.mark.parametrize("kind", ["video", "text"])
def test_several_anchored_sections(opened, kind: str) -> None:
    bench = AnchorBench(kinds=(AUDIO, VIDEO, TEXT))
    opened.append(bench)
    call = Call(bench)
    here, there = bench.talker(ALICE), bench.talker(BOB)
    call.ring(call.offer(f"m={kind} {here.port} RTP/AVP 98"), call.answer(f"m={kind} {there.port} RTP/AVP 98"))
    call.talk()
    assert bench.relay.open_sessions == 2
    # The second session of this call is the relay's number 1; its ports are those of the descriptions.
    said = here.say(b"picture", ("127.0.0.1", bench.relay.port(1, 0)))
    assert there.hear() == said
    call.bye()


def test_an_answer_that_closes_a_section_closes_its_ports(opened) -> None:
    bench = AnchorBench(kinds=(AUDIO, VIDEO))
    opened.append(bench)
    call = Call(bench)
    call.ring(call.offer("m=video 5000 RTP/AVP 31"), call.answer("m=video 0 RTP/AVP 31"))
    call.talk()
    while bench.pools[0].used > 2:
        bench.relay.take_events()
    call.bye()


def test_a_description_among_other_parts(bench: AnchorBench) -> None:
    call = Call(bench)
    before = (b"--b\r\nContent-Type: text/plain\r\n\r\nc=IN IP4 127.0.0.2\r\n"
              b"--b\r\nContent-Type: application/sdp\r\n\r\n")
    after = b"\r\n--b--\r\n"
    call.alice.request("INVITE", call.bob.uri, headers=(("Content-Type", "multipart/mixed;boundary=b"),),
                       body=before + call.offer() + after)
    bench.run()
    body = call.bob.take("INVITE").message.body
    assert body.startswith(before + b"v=0\r\no=- 7 1 IN IP4 127.0.0.1\r\n")
    assert body.endswith(after)
    bench.empty()


def two_families() -> list[PortPool]:
    return [PortPool(host, 21000, 21099, quarantine=0) for host in ("127.0.0.1", "::1")]


def test_from_ipv6_to_ipv4(opened) -> None:
    bench = AnchorBench(listeners=[("127.0.0.1", 5060), ("::1", 5060)], pools_of=[(0,), (1,)],
                        pools=two_families())
    opened.append(bench)
    call = Call(bench, alice_host="::1")
    call.alice = bench.phone("alice", "::1", 5070, edge=("::1", 5060))
    invite = call.invited(sdp("::1", call.at_alice.port, family=6))
    assert invite.message.body == sdp("127.0.0.1", call.edge_bob[1])
    call.bob.answer(invite, 200, headers=SDP_TYPE, body=call.answer())
    bench.run()
    answered = call.alice.take("100", "200")
    call.edge_alice = edge_of(answered)
    assert answered.message.body == sdp("::1", call.edge_alice[1], family=6)
    call.talk()
    call.dialogs = call.alice.caller_dialog(answered), call.bob.callee_dialog(invite)
    call.bye()


def test_another_target_of_another_family(opened) -> None:
    verdict = Verdict(anchor=1, targets=(Target("127.0.0.3", 5060), Target("::1", 5060)))
    bench = AnchorBench(listeners=[("127.0.0.1", 5060), ("::1", 5061)], pools_of=[(0,), (1,)], verdict=verdict,
                        pools=two_families())
    opened.append(bench)
    alice, one, two = bench.phone("alice", ALICE), bench.phone("one", "127.0.0.3"), bench.phone("two", "::1", 5060)
    alice.request("INVITE", "sip:7@example.com", headers=SDP_TYPE, body=sdp(ALICE, 4000))
    bench.run()
    first = one.take("INVITE")
    assert edge_of(first)[0] == "127.0.0.1"
    one.answer(first, 503)
    bench.run()
    second = two.take("INVITE")
    assert edge_of(second)[0] == "::1"
    two.answer(second, 486)
    bench.empty()


def test_ice_goes_and_is_counted(bench: AnchorBench) -> None:
    call = Call(bench).ring()
    call.bye()
    assert bench.anchor.statistics()["ice_removed"] == 0
    call = Call(bench)
    call.ring(call.offer("a=ice-ufrag:x", "a=ice-pwd:y", "a=candidate:1 1 UDP 1 127.0.0.2 4000 typ host"))
    call.bye()
    lines = [msgspec.json.decode(line) for line in bench.proxy.records.journal.take().splitlines()]
    assert lines[1]["media"]["ice_removed"] == 3
    assert bench.anchor.statistics()["ice_removed"] == 3


DTLS = ("a=fingerprint:sha-256 AA:BB", "a=setup:actpass", "a=tls-id:abc3de65cddef001be82")


@pytest.mark.parametrize("media", ["RTP/AVP 0 101", "RTP/AVPF 0 101"])
def test_keys_over_dtls_beside_plain_rtp_go(bench: AnchorBench, media: str) -> None:
    """RFC 8643: whoever cannot agree on keys talks without; the relay lets no DTLS through."""
    call = Call(bench)
    head = b"t=0 0\r\n", b"t=0 0\r\na=fingerprint:sha-256 CC:DD\r\n"
    call.alice.request("INVITE", call.bob.uri, headers=SDP_TYPE, body=sdp(
        ALICE, call.at_alice.port, *DTLS, "a=x:1", media=media).replace(*head))
    bench.run()
    invite = call.bob.take("INVITE")
    call.bob.answer(invite, 200, headers=SDP_TYPE, body=sdp(BOB, call.at_bob.port, *DTLS, media=media).replace(*head))
    bench.run()
    for description in (invite.message.body, call.alice.take("100", "200").message.body):
        assert not [line for line in description.splitlines() if line[:8] in (b"a=finger", b"a=setup:", b"a=tls-id")]
        assert media.encode() in description
    assert b"a=x:1\r\n" in invite.message.body
    assert bench.anchor.statistics()["ice_removed"] == 0


def test_a_section_that_passes_keeps_the_fingerprint_of_the_session(opened) -> None:
    bench = AnchorBench(other=PASS)
    opened.append(bench)
    call = Call(bench)
    call.alice.request("INVITE", call.bob.uri, headers=SDP_TYPE, body=sdp(
        ALICE, call.at_alice.port, *DTLS, "m=video 5000 UDP/TLS/RTP/SAVPF 96", "a=setup:actpass").replace(
            b"t=0 0\r\n", b"t=0 0\r\na=fingerprint:sha-256 CC:DD\r\n"))
    bench.run()
    body = call.bob.take("INVITE").message.body
    assert b"t=0 0\r\na=fingerprint:sha-256 CC:DD\r\n" in body
    assert body.count(b"a=fingerprint") == body.count(b"a=setup") == 1


@pytest.mark.parametrize("lines", [(f"a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{'A' * 40}", *DTLS), ()])
def test_srtp_with_keys_that_do_not_come_over_dtls_passes(bench: AnchorBench, lines: tuple[str, ...]) -> None:
    call = Call(bench)
    call.alice.request("INVITE", call.bob.uri, headers=SDP_TYPE,
                       body=sdp(ALICE, call.at_alice.port, *lines, media="RTP/SAVP 0"))
    bench.run()
    body = call.bob.take("INVITE").message.body
    assert (b"a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:" in body) == bool(lines)
    assert b"fingerprint" not in body


def test_a_call_that_is_not_anchored(opened) -> None:
    bench = AnchorBench(verdict=Verdict())
    opened.append(bench)
    call = Call(bench)
    call.alice.request("INVITE", call.bob.uri, headers=SDP_TYPE, body=call.offer())
    bench.run()
    assert call.bob.take("INVITE").message.body == call.offer()
    bench.empty()
