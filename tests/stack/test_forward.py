"""What a request and its responses look like on both sides: Via, Record-Route, Route, Max-Forwards, loops, refusals."""
import re

import pytest

from sipcore.base.trie import Trie
from sipcore.stack.admission import Admission
from sipcore.stack.verdict import Request, Target, Verdict
from tests.endpoints import METHODS, Bench, Phone


def test_a_forwarded_request_differs_in_these_lines_only(bench, alice, bob):
    odd = [("X-Odd", " \u00e9;,\"x\""), ("Supported", "100rel")]
    sent = alice.request("INVITE", bob.uri, headers=odd, body=b"a\0b")
    bench.run()
    invite = bob.take("INVITE")
    ours = invite.headers("Via")[0]
    assert re.fullmatch(r"SIP/2.0/UDP 127\.0\.0\.1:5060;branch=z9hG4bK[0-9a-v]{33}", ours)
    route = invite.header("Record-Route")
    assert route is not None
    assert re.fullmatch(r"<sip:127\.0\.0\.1:5060;lr;t=[0-9a-v]{26}>", route)
    expected = sent.replace(b"Via: ", f"Via: {ours}\r\nRecord-Route: {route}\r\nVia: ".encode(), 1)
    expected = expected.replace(b";rport\r\n", b";rport=5060;received=127.0.0.2\r\n").replace(
        b"Max-Forwards: 70", b"Max-Forwards: 69")
    assert invite.data == expected


def test_a_forwarded_response_differs_by_our_via_only(bench, alice, bob):
    alice.request("INVITE", bob.uri)
    bench.run()
    sent = bob.answer(bob.take("INVITE"), 200, headers=[("X-Odd", "\u00e9")], body=b"\0body")
    bench.run()
    lines = sent.split(b"\r\n")
    assert lines.pop(1).startswith(b"Via: SIP/2.0/UDP 127.0.0.1:5060;branch=")
    assert alice.take("100", "200").data == b"\r\n".join(lines)


@pytest.mark.parametrize("joined", [True, False])
def test_our_via_goes_wherever_the_next_one_stands(bench, alice, bob, joined):
    alice.request("INVITE", bob.uri)
    bench.run()
    sent = bob.answer(bob.take("INVITE"), 180)
    vias = [line[5:] for line in sent.split(b"\r\n") if line.startswith(b"Via: ")]
    one, other = (b"Via: " + via + b"\r\n" for via in vias)
    data = sent.replace(one + other, b"v: " + b" ,\r\n ".join(vias) + b"\r\n" if joined else b"")
    if not joined:
        data = data.replace(b"From: ", one + b"From: ").replace(b"Call-ID: ", other + b"Call-ID: ")
    bob.send(data)
    bench.run()
    ringing = alice.received()[-1]
    assert ringing.headers("Via") == [vias[1].decode()]


def test_a_response_without_another_via_goes_nowhere(bench, alice, bob):
    alice.request("INVITE", bob.uri)
    bench.run()
    sent = bob.answer(bob.take("INVITE"), 180)
    bench.run()
    alice.received()
    bob.send(re.sub(rb"Via: [^\r]*127\.0\.0\.2[^\r]*\r\n", b"", sent))
    bench.run()
    assert alice.names() == []
    assert bench.count("stray_responses") == 1


@pytest.mark.parametrize(("params", "expected", "port"), [
    (";rport", ";branch=z;rport=5070;received=127.0.0.2", 5070),
    ("", ";branch=z", 5066),
    (";received=9.9.9.9", ";branch=z;received=127.0.0.2", 5066),
    (";received=9.9.9.9;rport", ";branch=z;rport=5070;received=127.0.0.2", 5070),
    (";rport;x=1", ";branch=z;rport=5070;x=1;received=127.0.0.2", 5070),
    (";maddr=127.0.0.9", ";branch=z;maddr=127.0.0.9", 5066),
])
def test_received_and_rport(bench, bob, params, expected, port):
    """RFC 3261 18.2.1, 18.2.2, RFC 3581 4: the sender says 5066 and sends from 5070."""
    here = Phone(bench.link, "alice", "127.0.0.2", 5070)
    there = Phone(bench.link, "alice", "127.0.0.2", 5066)
    here.send(there.build("INVITE", bob.uri, branch="z", via_params=params))
    bench.run()
    assert bob.take("INVITE").headers("Via")[1] == f"SIP/2.0/UDP 127.0.0.2:5066{expected}"
    assert (here if port == 5070 else there).names() == ["100"]
    assert (there if port == 5070 else here).names() == []


def test_received_for_a_name_and_for_another_address(bench, alice, bob):
    for sent_by in ("pc.example.com:5060", "127.0.0.99:5060", "[::1]:5060"):
        alice.send(alice.build("OPTIONS", bob.uri, via_params="", call_id=sent_by).replace(
            b"127.0.0.2:5060;branch", f"{sent_by};branch".encode()))
        bench.run()
        assert bob.take("OPTIONS").headers("Via")[1].endswith(";received=127.0.0.2")


def test_the_maddr_of_a_via_is_not_followed(bench, alice, bob):
    """RFC 3261 18.2.2 would have responses go there; nobody's answers go to whom he names."""
    victim = bench.phone("victim", "127.0.0.66")
    alice.request("OPTIONS", bob.uri, via_params=";maddr=127.0.0.66;ttl=1")
    alice.request("OPTIONS", bob.uri, via_params=";maddr=127.0.0.66", max_forwards=0)
    bench.run()
    bob.answer(bob.take("OPTIONS"), 200)
    bench.run()
    assert alice.names() == ["483", "200"]
    assert victim.names() == []


def test_max_forwards(bench, alice, bob):
    for value, passed in ((70, "69"), (1, "0"), (255, "254"), (None, "70")):
        alice.request("OPTIONS", bob.uri, max_forwards=value, call_id=f"m{value}")
        bench.run()
        assert bob.take("OPTIONS").header("Max-Forwards") == passed
    alice.request("OPTIONS", bob.uri, max_forwards=0)
    bench.run()
    assert alice.names() == ["483"]
    assert bob.names() == []
    assert bench.count("too_many_hops") == 1


@pytest.mark.parametrize(("verdict", "routes", "status"), [
    (Verdict(action=Verdict.LOCAL), [], "200"), (Verdict(action=Verdict.LOCAL), ["<sip:127.0.0.1;lr>"], "200"),
    (Verdict(action=Verdict.LOCAL), ["<sip:127.0.0.3;lr>"], "483"), (Verdict(), [], "483"),
])
def test_options_without_a_hop_left_are_for_the_edge_or_for_nobody(verdict, routes, status):
    """RFC 3261 11 and 16.3 step 3: a keepalive that must not go further is answered by who it is for."""
    bench = Bench(verdict)
    alice, bob = bench.phone("alice", "127.0.0.2"), bench.phone("bob", "127.0.0.3")
    alice.request("OPTIONS", bob.uri, max_forwards=0, routes=routes)
    bench.run()
    assert alice.names() == [status]
    assert bob.names() == []
    assert bench.count("too_many_hops") == (status == "483")


@pytest.mark.parametrize("value", ["-1", "256", "4294967297", "1a", "", "1 1"])
def test_a_bad_max_forwards(bench, alice, bob, value):
    alice.send(alice.build("OPTIONS", bob.uri).replace(b"Max-Forwards: 70", b"Max-Forwards: " + value.encode()))
    bench.run()
    assert alice.take("400").message.reason.startswith("Bad Request - bad Max-Forwards")


@pytest.mark.parametrize("uri", ["sip:x@127.0.0.1:5060", "sip:x@127.0.0.1", "sip:x@127.0.0.1;maddr=127.0.0.1"])
def test_a_request_for_the_edge_itself_gets_482_and_goes_nowhere(bench, alice, uri):
    alice.request("INVITE", uri)
    bench.run()
    assert alice.names() == ["482"]
    assert bench.count("loops") == 1
    assert bench.count("forwarded") == 0
    bench.empty()


def test_a_loop_through_another_proxy_gets_482(bench, alice, bob):
    alice.request("INVITE", bob.uri)
    bench.run()
    invite = bob.take("INVITE")
    looped = invite.data.replace(b"Via: ", b"Via: SIP/2.0/UDP 127.0.0.3;branch=z9hG4bKloop\r\nVia: ", 1)
    looped = looped.replace(b"Max-Forwards: 69", b"Max-Forwards: 20")   # whoever changes that does not escape
    bob.send(looped)
    bench.run()
    assert bob.names() == ["482"]


def test_a_spiral_passes(bench, alice, bob):
    """The same call comes back for another user: a spiral (RFC 3261 16.3 step 4, RFC 5393)."""
    carol = bench.phone("carol", "127.0.0.4")
    alice.request("INVITE", bob.uri)
    bench.run()
    invite = bob.take("INVITE")
    spiral = invite.data.replace(b"Via: ", b"Via: SIP/2.0/UDP 127.0.0.3;branch=z9hG4bKspiral\r\nVia: ", 1)
    bob.send(spiral.replace(b"INVITE " + bob.uri.encode(), b"INVITE " + carol.uri.encode()))
    bench.run()
    received = carol.take("INVITE")
    assert len(received.headers("Via")) == 4
    first, second = received.headers("Record-Route")
    assert first != second
    carol.answer(received, 200)
    bench.run()
    back = bob.take("100", "200")
    bob.send(back.data.replace(b"Via: " + back.headers("Via")[0].encode() + b"\r\n", b""))
    bench.run()
    dialog = alice.caller_dialog(alice.take("100", "200"))
    dialog.send("ACK")
    bench.run()
    assert carol.names() == ["ACK"]
    # Both passages have a record, and the BYE passes both.
    assert bench.count("dialogs") == 2
    dialog.send("BYE")
    bench.run()
    carol.answer(carol.take("BYE"), 200)
    bench.run()
    assert alice.names() == ["200"]
    bench.empty()


def _two_groups():
    admission = Admission([Trie([("127.0.0.2/32", 0), ("127.0.0.3/32", 1)])])
    for _ in range(2):
        admission.add_group("allow", METHODS)
    return admission


def test_a_spiral_passes_where_the_source_decides():
    """RFC 5393 4.2.1: whatever the way depends on belongs to the loop's hash. A PBX sends the call back as it came."""
    ways = ("127.0.0.3", "127.0.0.4")
    bench = Bench(admission=_two_groups(), decide=lambda request: Verdict(targets=(Target(ways[request.group]),)))
    alice, pbx, trunk = (bench.phone(name, f"127.0.0.{i}") for i, name in enumerate(("alice", "pbx", "trunk"), 2))
    alice.request("INVITE", "sip:100@example.com")
    bench.run()
    back = pbx.take("INVITE").data.replace(b"Via: ", b"Via: SIP/2.0/UDP 127.0.0.3;branch=z9hG4bKback\r\nVia: ", 1)
    pbx.send(back)
    bench.run()
    assert trunk.names() == ["INVITE"]
    assert pbx.names() == ["100"]


def test_a_loop_is_found_on_its_second_turn_where_the_source_decides():
    bench = Bench(Verdict(targets=(Target("127.0.0.3"),)), admission=_two_groups())
    alice, pbx = bench.phone("alice", "127.0.0.2"), bench.phone("pbx", "127.0.0.3")
    alice.request("INVITE", "sip:100@example.com")
    bench.run()
    for turn in (b"one", b"two"):
        data = next(one.data for one in pbx.received() if one.name == "INVITE")
        pbx.send(data.replace(b"Via: ", b"Via: SIP/2.0/UDP 127.0.0.3;branch=z9hG4bK" + turn + b"\r\nVia: ", 1))
        bench.run()
    assert pbx.names() == ["482"]


def test_merged_requests_pass_a_proxy(bench, alice, bob):
    """RFC 3261 8.2.2.2 is for user agents: the same request on two ways is forwarded twice."""
    one = alice.request("INVITE", bob.uri, branch="z9hG4bK-way-1")
    alice.send(one.replace(b"way-1", b"way-2"))
    bench.run()
    assert bob.names() == ["INVITE", "INVITE"]


@pytest.mark.parametrize(("uri", "status"), [
    ("tel:+1234567890", 404), ("mailto:a@b.example", 416), ("sips:x@127.0.0.3", 416),
    ("sip:x@host.example.com", 503), ("sip:x@127.0.0.3;transport=tcp", 503), ("sip:x@[fd00::9]", 503),
    ("sip:x@0.0.0.0", 503), ("sip:x@224.0.1.75", 503), ("sip:x@255.255.255.255", 503), ("sip:x@[::]", 503),
    ("sip:x@127.0.0.3;maddr=239.1.1.1", 503),
])
def test_where_no_way_leads(bench, alice, uri, status):
    alice.request("INVITE", uri)
    bench.run()
    assert alice.names() == [str(status)]
    assert bench.count("unroutable") == 1
    assert bench.proxy.live == 0


def test_proxy_require_gets_420(bench, alice, bob):
    alice.request("OPTIONS", bob.uri, headers=[("Proxy-Require", "one, two"), ("proxy-require", "three,\r\n four")])
    bench.run()
    assert alice.take("420").headers("Unsupported") == ["one", "two", "three", "four"]
    assert bob.names() == []


def test_the_version_leaves_in_upper_case(bench, alice, bob):
    """RFC 3261 7.1."""
    alice.send(alice.build("OPTIONS", bob.uri).replace(b" SIP/2.0\r\n", b" sip/2.0\r\n", 1))
    bench.run()
    received = bob.take("OPTIONS")
    assert received.data.startswith(f"OPTIONS {bob.uri} SIP/2.0\r\n".encode())
    sent = []
    bob.send, send = lambda data, to=None: sent.append((data, to)), bob.send
    bob.answer(received, 200, reason="sip/2.0")
    send(sent[0][0].replace(b"SIP/2.0", b"sIp/2.0", 1), sent[0][1])
    bench.run()
    assert alice.take("200").data.startswith(b"SIP/2.0 200 sip/2.0\r\n")


def test_an_empty_proxy_require_asks_for_nothing(bench, alice, bob):
    alice.request("OPTIONS", bob.uri, headers=[("Proxy-Require", "")])
    bench.run()
    bob.take("OPTIONS")


def test_closed_methods_get_405_with_allow():
    bench = Bench(methods=["INVITE", "OPTIONS"])
    alice, bob = bench.phone("alice", "127.0.0.2"), bench.phone("bob", "127.0.0.3")
    for number, method in enumerate(("MESSAGE", "SUBSCRIBE", "REGISTER", "PUBLISH", "REFER", "FOO", "BYE", "INFO")):
        alice.request(method, bob.uri, call_id=f"m{number}")
        bench.run()
        assert alice.take("405").headers("Allow") == ["INVITE", "OPTIONS"]
    assert bob.names() == []
    assert bench.count("method_closed") == 8
    assert bench.asked == []


@pytest.mark.parametrize("status", [403, 404, 480, 513, 603])
def test_a_rejection_is_the_same_each_time(status):
    bench = Bench(Verdict(action=Verdict.REJECT, status=status, reason="No \u00e9", headers=b"X-Why: because\r\n"))
    alice = bench.phone("alice", "127.0.0.2")
    invite = alice.request("INVITE", "sip:x@127.0.0.3")
    alice.send(invite)
    bench.run()
    one, again = alice.received()
    assert one.data == again.data
    assert (one.name, one.message.reason, one.header("X-Why")) == (str(status), "No ?", "because")
    alice.ack(invite, one)
    bench.run()
    assert alice.names() == []
    assert bench.proxy.live == 0


def test_drop_and_local():
    drop = Bench(Verdict(action=Verdict.DROP))
    alice = drop.phone("alice", "127.0.0.2")
    alice.request("INVITE", "sip:x@127.0.0.3")
    drop.run()
    assert alice.names() == []
    local = Bench(Verdict(action=Verdict.LOCAL, headers=b"Accept: application/sdp\r\n"))
    alice = local.phone("alice", "127.0.0.2")
    alice.request("OPTIONS", "sip:127.0.0.1")
    local.run()
    answer = alice.take("200")
    assert answer.header("Accept") == "application/sdp"
    assert "INVITE" in answer.headers("Allow")


@pytest.mark.parametrize("result", [None, ValueError("bad\r\npolicy"), "text"])
def test_an_error_in_the_policy_is_500_and_a_text(result):
    def decide(request):
        if isinstance(result, Exception):
            raise result
        return result

    bench = Bench(decide=decide)
    alice = bench.phone("alice", "127.0.0.2")
    alice.request("INVITE", "sip:x@127.0.0.3")
    bench.run()
    assert alice.names() == ["500"]
    assert bench.count("decide_errors") == 1
    assert len(bench.proxy.take_troubles()) == 1
    assert bench.proxy.live == 0


def test_a_verdict_for_the_group_is_asked_for_once():
    bench = Bench(Verdict(scope=1))
    alice, bob = bench.phone("alice", "127.0.0.2"), bench.phone("bob", "127.0.0.3")
    for number in range(3):
        alice.request("OPTIONS", bob.uri, call_id=f"o{number}")
    alice.request("INVITE", bob.uri)
    bench.run()
    assert [method for method, _ in bench.asked] == ["OPTIONS", "INVITE"]
    assert bench.count("decided_by_memo") == 2
    assert bob.names() == ["OPTIONS"] * 3 + ["INVITE"]


def test_a_request_is_valid_only_while_it_is_decided():
    kept: list[Request] = []

    def decide(request):
        kept.append(request)
        return Verdict()

    bench = Bench(decide=decide)
    alice = bench.phone("alice", "127.0.0.2")
    alice.request("OPTIONS", "sip:x@127.0.0.3")
    bench.run()
    with pytest.raises(ValueError, match="only while"):
        _ = kept[0].method


def test_a_verdict_changes_the_request():
    verdict = Verdict(uri=b"sip:new@127.0.0.3", insert=b"X-New: 1\r\nx-two: 2\r\n", remove=("Subject", "X-Old*", "k"),
                      replace=(("From", b"<sip:other@h>;tag=9"),), body=b"new body", record_route=False)
    bench = Bench(verdict)
    alice, bob = bench.phone("alice", "127.0.0.2"), bench.phone("bob", "127.0.0.3")
    alice.request("INVITE", "sip:old@127.0.0.9", body=b"old", headers=[
        ("s", "gone"), ("X-Older", "gone"), ("x-old", "gone"), ("X-Kept", "y"), ("Supported", "gone"),
        ("Subject-Not", "y")])
    bench.run()
    invite = bob.take("INVITE")
    assert invite.message.uri == "sip:new@127.0.0.3"
    assert invite.header("From") == "<sip:other@h>;tag=9"
    assert (invite.message.body, invite.header("Content-Length")) == (b"new body", "8")
    names = [name for name, _ in invite.message.items()]
    assert names == ["Via", "Via", "Max-Forwards", "From", "To", "Call-ID", "CSeq", "Contact", "X-Kept", "Subject-Not",
                     "Content-Length", "X-New", "x-two"]


def test_short_names():
    bench = Bench(Verdict(compact=True))
    alice, bob = bench.phone("alice", "127.0.0.2"), bench.phone("bob", "127.0.0.3")
    alice.request("INVITE", bob.uri, headers=[("Supported", "a"), ("Content-Type ", "text/plain")], body=b"x")
    bench.run()
    names = [name for name, _ in bob.take("INVITE").message.items()]
    assert names == ["v", "Record-Route", "v", "Max-Forwards", "f", "t", "i", "CSeq", "m", "k", "c", "l"]


def test_the_size_check_asks_for_a_smaller_verdict():
    asked = []

    def oversize(request, verdict, size):
        asked.append((request.call_id, size))
        return verdict.changed(insert=b"", warn="left out")

    bench = Bench(Verdict(insert=b"X-Big: " + b"b" * 1_000 + b"\r\n", budget=900), oversize=oversize)
    alice, bob = bench.phone("alice", "127.0.0.2"), bench.phone("bob", "127.0.0.3")
    alice.request("INVITE", bob.uri)
    bench.run()
    invite = bob.take("INVITE")
    assert asked == [("c1", len(invite.data) + 1_009)]
    assert bench.count("oversize") == 1
    assert bench.proxy.take_troubles() == ["left out"]


def test_the_size_check_refuses_and_leaves_nothing():
    refusal = Verdict(action=Verdict.REJECT, status=513)
    bench = Bench(Verdict(budget=100, upstream=2), oversize=lambda *_: refusal)
    alice = bench.phone("alice", "127.0.0.2")
    alice.request("INVITE", "sip:x@127.0.0.3")
    bench.run()
    assert alice.names() == ["513"]
    assert bench.count("oversize_refused") == 1
    assert bench.proxy.calls(2) == 0
    bench.empty(0)


def test_folds_and_space_before_the_colon_go_out_in_the_plain_form(bench, alice, bob):
    folded = b"Subject \t:\r\n  a\r\n\t b  \r\n  c \r\nX-A  : x\r\n"
    alice.send(alice.build("OPTIONS", bob.uri).replace(b"Contact: ", folded + b"Contact: "))
    bench.run()
    received = bob.take("OPTIONS").data
    assert b"\r\nSubject: a b c \r\nX-A: x\r\n" in received
    assert b"\r\n " not in received
    assert b"\r\n\t" not in received


def test_bytes_behind_the_content_length_go_nowhere(bench, alice, bob):
    alice.send(alice.build("OPTIONS", bob.uri, body=b"body") + b"INVITE sip:evil@127.0.0.3 SIP/2.0\r\n\r\n")
    bench.run()
    assert bob.take("OPTIONS").data.endswith(b"\r\n\r\nbody")


def test_verdicts_refuse_what_would_break_a_message():
    for fields in ({"headers": b"X: 1"}, {"insert": b"X: 1\r\n\r\nY: 2\r\n"}, {"insert": b"X: 1\nY: 2\r\n"},
                   {"insert": b" X: 1\r\n"}, {"uri": b"sip:a\r\nX: 1"}, {"replace": (("To", b"a\0"),)},
                   {"reason": "a\r\nX: 1"}, {"reason": "a\0"}, {"headers": b"X: \0\r\n"}, {"insert": b":x\r\n"},
                   {"insert": b"\r\n"}):
        with pytest.raises(ValueError, match=r"."):
            Verdict(action=Verdict.REJECT, status=400, **fields)
    with pytest.raises(ValueError, match="CR"):
        Target("127.0.0.1", uri=b"sip:a\r\n")
