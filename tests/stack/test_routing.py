"""Where requests inside a dialog go: Record-Route on one or two listeners, loose and strict routers."""
import itertools

import pytest

from sipcore.stack.verdict import Target, Verdict
from tests.endpoints import EDGE, Bench

V6 = ("fd00::1", 5060)
SECOND = ("127.0.0.1", 5080)


def test_in_dialog_requests_follow_the_route_and_need_no_decision(bench, alice, bob):
    one, other = bench.call(alice, bob)
    asked = len(bench.asked)
    for dialog, phone in ((one, bob), (other, alice)):
        for method in ("INFO", "UPDATE", "INVITE", "PRACK", "NOTIFY"):
            dialog.send(method)
            bench.run()
            received = phone.take(method)
            assert received.header("Route") is None
            assert received.header("Record-Route") is None
            assert received.message.uri == (bob if phone is bob else alice).uri
            phone.answer(received, 200)
            bench.run()
            dialog.phone.received()
    assert len(bench.asked) == asked


def test_what_a_dialog_does_not_need_is_closed_and_refer_is_a_decision(bench, alice, bob):
    one, _ = bench.call(alice, bob)
    for method in ("MESSAGE", "SUBSCRIBE", "FOO"):
        one.send(method)
        bench.run()
        assert alice.take("405").header("Allow") == (
            "INVITE, ACK, BYE, CANCEL, REFER, NOTIFY, INFO, UPDATE, PRACK")
    assert bob.names() == []
    one.send("REFER", headers=[("Refer-To", "<sip:x@127.0.0.9>")])
    bench.run()
    bob.take("REFER")
    assert bench.asked[1:] == [("REFER", bob.uri)]


def test_a_strict_router_before_us(bench, alice, bob):
    """RFC 3261 16.4: our own Record-Route stands in the request URI, the target in the last Route."""
    one, _ = bench.call(alice, bob)
    ours = one.routes[0].strip("<>")
    data = one.request("BYE").replace(f"Route: {one.routes[0]}".encode(), f"Route: <{bob.uri}>".encode())
    alice.send(data.replace(f"BYE {bob.uri} ".encode(), f"BYE {ours} ".encode()))
    bench.run()
    received = bob.take("BYE")
    assert received.message.uri == bob.uri
    assert received.header("Route") is None
    assert bench.count("dialogs") == 1
    bob.answer(received, 200)
    bench.run()
    assert bench.count("dialogs") == 0


def test_a_strict_router_behind_us(bench, alice, bob):
    """RFC 3261 16.6 step 6: the next hop has no lr."""
    one, _ = bench.call(alice, bob)
    one.routes += ["<sip:127.0.0.4:5060;x=1>", "<sip:127.0.0.5;lr>"]
    strict = bench.phone("strict", "127.0.0.4")
    one.send("INFO")
    bench.run()
    received = strict.take("INFO")
    assert received.message.uri == "sip:127.0.0.4:5060;x=1"
    assert received.headers("Route") == ["<sip:127.0.0.5;lr>", f"<{bob.uri}>"]


def test_a_strict_router_behind_us_and_a_new_request_uri():
    bench = Bench(Verdict(uri=b"sip:new@127.0.0.9"))
    alice, strict = bench.phone("alice", "127.0.0.2"), bench.phone("strict", "127.0.0.4")
    alice.request("INVITE", "sip:old@127.0.0.1", routes=["<sip:127.0.0.1;lr>", "<sip:127.0.0.4>"])
    bench.run()
    received = strict.take("INVITE")
    assert received.message.uri == "sip:127.0.0.4"
    assert received.headers("Route") == ["<sip:new@127.0.0.9>"]


@pytest.mark.parametrize("routes", [
    ["<sip:127.0.0.1;lr>", "<sip:127.0.0.3:5060;lr>"], ["<sip:127.0.0.1;lr>, <sip:127.0.0.3:5060;lr>"],
    ["<sip:127.0.0.1;lr>,\r\n <sip:127.0.0.3:5060;lr>"],
    ["\"a, b\" <sip:127.0.0.1;lr>;x=\",\" , <sip:127.0.0.3:5060;lr>, <sip:127.0.0.4;lr>", "<sip:127.0.0.5;lr>"],
    ["sip:127.0.0.1;lr", "<sip:127.0.0.3:5060;lr>"],
])
def test_a_preloaded_route_is_followed_and_ours_taken_off(bench, alice, bob, routes):
    alice.request("OPTIONS", "sip:x@example.com", routes=routes)
    bench.run()
    if routes[0].startswith("sip:"):
        # Outside of brackets the parameters are the header's: a strict router's URI that names us.
        assert bob.take("OPTIONS").headers("Route") == ["<sip:127.0.0.3:5060;lr>"]
        return
    left = [route for route in ("<sip:127.0.0.3:5060;lr>", "<sip:127.0.0.4;lr>", "<sip:127.0.0.5;lr>")
            if any(route in value for value in routes)]
    assert bob.take("OPTIONS").headers("Route") == left


@pytest.mark.parametrize("count", [1, 2, 3, 20])
def test_however_often_we_stand_in_route_it_is_one_passage(bench, alice, bob, count):
    alice.request("OPTIONS", bob.uri, routes=["<sip:127.0.0.1;lr>", ",".join(["<sip:127.0.0.1:5060>"] * (count - 1))]
                  if count > 1 else ["<sip:127.0.0.1;lr>"])
    bench.run()
    assert bob.take("OPTIONS").headers("Route") == []
    assert bench.count("forwarded") == 1


def test_an_outbound_proxy_before_the_route_set_changes_nothing(bench, alice, bob):
    one, _ = bench.call(alice, bob)
    one.routes.insert(0, "<sip:127.0.0.1;lr>")
    one.send("BYE")
    bench.run()
    assert bob.take("BYE").headers("Route") == []


@pytest.mark.parametrize("routes", [
    ["<sip:127.0.0.3:5060?Route=%3Csip:127.0.0.9%3Blr%3E>"], ["<sip:127.0.0.1;lr>", "<sip:127.0.0.3:5060?X-A=1>"],
])
def test_a_strict_router_s_uri_with_headers_becomes_no_request_uri(bench, alice, bob, routes):
    """RFC 3261 19.1.1; with lr it stays in Route as it is."""
    alice.request("INVITE", "sip:x@127.0.0.9", routes=routes)
    bench.run()
    assert alice.take("400").message.reason.startswith("Bad Request - headers in the request URI")
    assert bob.names() == []
    alice.request("OPTIONS", "sip:x@127.0.0.9", routes=[route.replace(":5060?", ":5060;lr?") for route in routes])
    bench.run()
    assert bob.take("OPTIONS").headers("Route") == [routes[-1].replace(":5060?", ":5060;lr?")]


def test_too_many_route_values_are_said_to_be_that(bench, alice, bob):
    alice.request("OPTIONS", "sip:x@127.0.0.9", routes=[", ".join(["<sip:127.0.0.3;lr>"] * 32)])
    bench.run()
    assert len(bob.take("OPTIONS").headers("Route")) == 32
    alice.request("OPTIONS", "sip:x@127.0.0.9", routes=["<sip:127.0.0.3;lr>"] * 33)
    bench.run()
    assert alice.take("400").message.reason == "Bad Request - more headers than the limit"


def test_double_record_route_between_two_listeners():
    """RFC 5658: a value for each side, taken off together, and each side is answered from its own listener."""
    bench = Bench(Verdict(targets=(Target("127.0.0.3", 5060, listener=1),)), listeners=[EDGE, SECOND])
    alice, bob = bench.phone("alice", "127.0.0.2"), bench.phone("bob", "127.0.0.3", edge=SECOND)
    alice.request("INVITE", bob.uri)
    bench.run()
    invite = bob.take("INVITE")
    assert invite.packet.source == SECOND
    assert [route.split(";")[0] for route in invite.headers("Record-Route")] == [
        "<sip:127.0.0.1:5080", "<sip:127.0.0.1:5060"]
    assert invite.headers("Via")[0].startswith("SIP/2.0/UDP 127.0.0.1:5080;")
    bob.answer(invite, 200)
    bench.run()
    one, other = alice.caller_dialog(alice.take("100", "200")), bob.callee_dialog(invite)
    for dialog, phone, listener in ((one, bob, SECOND), (other, alice, EDGE), (one, bob, SECOND)):
        dialog.send("INFO")
        bench.run()
        received = phone.take("INFO")
        assert received.packet.source == listener
        assert received.header("Route") is None
        phone.answer(received, 200)
        bench.run()
        assert dialog.phone.take("200").packet.source == dialog.hop()
    one.send("BYE")
    bench.run()
    bob.answer(bob.take("BYE"), 200)
    bench.run()
    bench.empty()


def test_from_ipv4_to_ipv6_and_back():
    bench = Bench(listeners=[EDGE, V6])
    alice, bob = bench.phone("alice", "127.0.0.2"), bench.phone("bob", "fd00::3", edge=V6)
    alice.request("INVITE", bob.uri)
    bench.run()
    invite = bob.take("INVITE")
    assert [route.split(";")[0] for route in invite.headers("Record-Route")] == [
        "<sip:[fd00::1]:5060", "<sip:127.0.0.1:5060"]
    bob.answer(invite, 200)
    bench.run()
    one, other = alice.caller_dialog(alice.take("100", "200")), bob.callee_dialog(invite)
    one.send("ACK")
    other.send("BYE")
    bench.run()
    assert bob.names() == ["ACK"]
    bye = alice.take("BYE")
    assert bye.packet.source == EDGE
    assert bye.headers("Via")[1] == "SIP/2.0/UDP [fd00::3]:5060;branch=z9hG4bK-bob-1;rport=5060;received=fd00::3"
    alice.answer(bye, 200)
    bench.run()
    assert bob.names() == ["200"]
    bench.empty()


def test_an_advertised_address_stands_in_via_and_record_route():
    bench = Bench(public=("203.0.113.7", 5099))
    alice, bob = bench.phone("alice", "127.0.0.2"), bench.phone("bob", "127.0.0.3")
    alice.request("INVITE", bob.uri)
    bench.run()
    invite = bob.take("INVITE")
    assert invite.headers("Via")[0].startswith("SIP/2.0/UDP 203.0.113.7:5099;branch=")
    assert invite.headers("Record-Route")[0].startswith("<sip:203.0.113.7:5099;lr;t=")
    bob.answer(invite, 200)
    bench.run()
    one = alice.caller_dialog(alice.take("100", "200"))
    alice.send(one.request("BYE"))
    bench.run()
    assert bob.take("BYE").header("Route") is None


OWN, STRICT, LOOSE, CONTACT = "<sip:127.0.0.1;lr>", "<sip:127.0.0.4>", "<sip:127.0.0.4;lr>", "<sip:bob@127.0.0.3>"


@pytest.mark.parametrize(("uri", "values", "expected"), [
    (CONTACT, [OWN, STRICT], ("sip:127.0.0.4", [CONTACT])),
    (CONTACT, [OWN, STRICT, "<sip:127.0.0.9;lr>"], ("sip:127.0.0.4", ["<sip:127.0.0.9;lr>", CONTACT])),
    (CONTACT, [OWN, OWN, STRICT], ("sip:127.0.0.4", [CONTACT])),
    (CONTACT, [OWN, LOOSE], ("sip:bob@127.0.0.3", [LOOSE])),
    (OWN, [CONTACT], ("sip:bob@127.0.0.3", [])),
    (OWN, [OWN, CONTACT], ("sip:bob@127.0.0.3", [])),
    (OWN, [OWN, LOOSE, CONTACT], ("sip:bob@127.0.0.3", [LOOSE])),
    (OWN, [OWN, STRICT, CONTACT], ("sip:127.0.0.4", [CONTACT])),
    (OWN, [STRICT, CONTACT], ("sip:127.0.0.4", [CONTACT])),
])  # fmt: skip
def test_route_values_are_the_same_however_they_stand_in_lines(uri, values, expected):
    """RFC 3261 7.3.1: a comma list is the same as lines of their own; strict routers on either side (16.4, 16.6)."""
    for joins in itertools.product((False, True), repeat=len(values) - 1):
        bench = Bench()
        alice = bench.phone("alice", "127.0.0.2")
        hops = bench.phone("next", "127.0.0.4"), bench.phone("bob", "127.0.0.3")
        lines = values[:1]
        for value, joined in zip(values[1:], joins, strict=True):
            lines = [*lines[:-1], f"{lines[-1]}, {value}"] if joined else [*lines, value]
        alice.request("INVITE", uri.strip("<>"), routes=lines)
        bench.run()
        (received,) = hops[0].received() + hops[1].received()
        assert (received.message.uri, received.headers("Route")) == expected, lines


@pytest.mark.parametrize(("uri", "expected"), [
    ("sip:bob@127.0.0.3;maddr=127.0.0.1", "sip:bob@127.0.0.3"),
    ("sip:bob@127.0.0.3:5060;user=phone;maddr=127.0.0.1;transport=UDP;ttl=1;x", "sip:bob@127.0.0.3;user=phone;x"),
    ("sip:bob@[fd00::3];maddr=127.0.0.1", "sip:bob@[fd00::3]"),
    ("sip:bob@127.0.0.9;maddr=127.0.0.3", "sip:bob@127.0.0.9;maddr=127.0.0.3"),
])  # fmt: skip
def test_a_maddr_that_is_the_edge_is_taken_off(uri, expected):
    """RFC 3261 16.4, with a port and transport that are not the default."""
    bench = Bench(listeners=[EDGE, V6])
    alice = bench.phone("alice", "127.0.0.2")
    hops = bench.phone("bob", "127.0.0.3"), bench.phone("bob", "fd00::3")
    alice.request("INVITE", uri)
    bench.run()
    (received,) = hops[0].received() + hops[1].received()
    assert received.message.uri == expected
