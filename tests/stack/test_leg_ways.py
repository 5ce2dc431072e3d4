"""Legs: the way that a call takes: route sets, and one address after the other (RFC 3261 12.2, 16.12; rows 9, 14)."""
import pytest

from sipcore.stack.route import way_to
from sipcore.stack.useragent import UserAgent
from tests.stack.legs import ANN, BOB, EVE, Phone, Scene, sdp

# --- route sets


def test_record_routes_of_several_hops_are_followed_row_9(scene, phone):
    routes = ("<sip:192.0.2.31;lr>", "<sip:192.0.2.32:5072;lr;r2=on>", "<sip:192.0.2.33;lr>")
    hops = [Phone(scene.link, ("192.0.2.33", 5060)), Phone(scene.link, ("192.0.2.31", 5060))]
    ours = scene.ann.call(EVE)
    scene.run()
    phone.respond(phone.last("INVITE"), 200, body=sdp(), headers=[("Record-Route", one) for one in routes])
    scene.run()
    ack = hops[0].last("ACK")
    assert ack.headers("Route") == list(reversed(routes))
    assert ack.uri == "sip:phone@192.0.2.3:5060"
    ours.bye()
    scene.run()
    assert hops[0].last("BYE").headers("Route") == list(reversed(routes))
    phone.request("INVITE", "sip:192.0.2.1", call_id="in", cseq=1, body=sdp(),
                  headers=[("Record-Route", one) for one in routes])
    scene.run()
    scene.ann.leg.answer(sdp())
    scene.run()
    phone.request("ACK", "sip:192.0.2.1", call_id="in", cseq=1, to_tag=scene.ann.leg.dialog.local_tag)
    scene.run()
    scene.ann.leg.bye()
    scene.run()
    bye = hops[1].last("BYE")
    assert (bye.headers("Route"), bye.uri) == (list(routes), "sip:phone@192.0.2.3:5060")


def test_a_strict_router_gets_the_request_itself(scene, phone):
    strict = Phone(scene.link, ("192.0.2.34", 5060))
    ours = scene.ann.call(EVE)
    scene.run()
    phone.respond(phone.last("INVITE"), 200, body=sdp(), headers=[
        ("Record-Route", "<sip:192.0.2.35;lr>"), ("Record-Route", "<sip:192.0.2.34>")])
    scene.run()
    ours.bye()
    scene.run()
    bye = strict.last("BYE")
    assert bye.uri == "sip:192.0.2.34"
    assert bye.headers("Route") == ["<sip:192.0.2.35;lr>", "<sip:phone@192.0.2.3:5060>"]


def test_a_name_in_contact_is_reached_where_the_call_came_from(scene, phone):
    phone.request("INVITE", "sip:192.0.2.1", call_id="in", cseq=1, body=sdp(),
                  headers=[("Record-Route", "<sip:proxy.example.com;lr>")])
    scene.run()
    scene.ann.leg.answer(sdp())
    scene.run()
    phone.request("ACK", "sip:192.0.2.1", call_id="in", cseq=1, to_tag=scene.ann.leg.dialog.local_tag)
    scene.run()
    scene.ann.leg.bye()
    scene.run()
    assert phone.last("BYE").headers("Route") == ["<sip:proxy.example.com;lr>"]


# --- attempts


def identities(phone):
    invites = {(m.call_id, m.from_tag): m for m in phone.got if m.is_request and m.method == "INVITE"}
    return list(invites)


@pytest.mark.parametrize("how", ["503", "silent", "unreachable"])
def test_the_next_address_is_tried_as_a_call_of_its_own_row_14(how):
    scene = Scene(unreachable=True)
    phone = Phone(scene.link, EVE)
    other = Phone(scene.link, ("192.0.2.4", 5060))
    if how == "unreachable":
        scene.link.close(phone.port)
    leg = scene.ann.call(EVE, targets=[("192.0.2.4", 5060)], attempt_ms=3000)
    scene.run()
    if how == "503":
        phone.respond(phone.last("INVITE"), 503)
        scene.run()
    elif how == "silent":
        scene.run(3000)
    second = other.last("INVITE")
    if how != "unreachable":
        assert not set(identities(phone)[0]) & set(identities(other)[0])
    assert (second.cseq, second.uri) == ((1, "INVITE"), "sip:bob@192.0.2.3")
    other.respond(second, 200, body=sdp())
    scene.run()
    assert scene.ann.owner.names == ["answered"]
    if how == "silent":
        # The first one wakes up late: it is answered, and ended.
        phone.respond(phone.last("INVITE"), 200, body=sdp())
        scene.run()
        assert phone.methods()[-2:] == ["ACK", "BYE"]
    assert leg.state == "up"
    assert scene.ann.owner.names == ["answered"]


def test_a_silent_address_that_wakes_up_ringing_is_cancelled(scene, phone):
    other = Phone(scene.link, ("192.0.2.4", 5060))
    scene.ann.call(EVE, targets=[("192.0.2.4", 5060)])
    scene.run(4000)
    phone.respond(phone.last("INVITE"), 180)
    scene.run()
    assert phone.methods()[-1] == "CANCEL"
    assert other.methods() == ["INVITE"]
    assert scene.ann.owner.names == []


def test_an_address_that_rings_is_not_left_for_the_next(scene, phone):
    other = Phone(scene.link, ("192.0.2.4", 5060))
    scene.ann.call(EVE, targets=[("192.0.2.4", 5060)])
    scene.run()
    phone.respond(phone.last("INVITE"), 100, tag="")
    scene.run(20_000)
    assert other.got == []
    phone.respond(phone.last("INVITE"), 486)
    scene.run()
    assert scene.ann.owner.last("failed")[1] == 486
    assert other.got == []


def test_when_all_addresses_fail_the_last_failure_is_told(scene, phone):
    other = Phone(scene.link, ("192.0.2.4", 5060))
    scene.ann.call(EVE, targets=[("192.0.2.4", 5060)])
    scene.run()
    phone.respond(phone.last("INVITE"), 503, reason="Full")
    scene.run()
    other.respond(other.last("INVITE"), 503, reason="Full too", headers=[("Retry-After", "7")])
    scene.run()
    assert scene.ann.owner.last("failed")[1:3] == (503, "Full too")
    assert scene.ann.owner.last("failed")[3].header("Retry-After") == "7"
    assert scene.ann.owner.names == ["failed", "ended"]


def test_nobody_answers(scene, phone):
    scene.ann.call(EVE)
    scene.run(40_000)
    assert scene.ann.owner.heard == [("failed", 408, "Request Timeout", None),
                                     ("ended", "timeout", "408 Request Timeout")]
    assert set(phone.methods()) == {"INVITE"}
    scene.settle()


def test_nobody_is_there():
    scene = Scene(unreachable=True)
    scene.ann.call(EVE)
    scene.run()
    assert scene.ann.owner.heard == [("failed", 503, "Service Unavailable", None),
                                     ("ended", "error", "503 Service Unavailable")]
    scene.settle()


def test_the_phone_rings_for_as_long_as_it_may(scene):
    ours = scene.ann.call(BOB, ring_ms=20_000)
    scene.run()
    scene.bob.leg.ring()
    scene.run(20_000)
    assert scene.ann.owner.heard[1:] == [
        ("failed", 408, "Request Timeout", None), ("ended", "timeout", "Request Timeout")]
    assert scene.bob.owner.names == ["cancelled", "ended"]
    assert scene.methods(ANN) == ["INVITE", "CANCEL", "ACK"]
    assert ours.state == "ended"
    scene.settle()


@pytest.mark.parametrize("far", [("192.0.2.9", 33000, "ws", 0x8000_0007), ("192.0.2.9", 33000, "wss", 0x8000_0007)])
@pytest.mark.parametrize("uri", [
    "sip:alice@df7jal23ls0d.invalid;transport=ws", "sip:alice@df7jal23ls0d.invalid;transport=wss",
    "sip:alice@192.0.2.77:5071;transport=ws"])
def test_a_websocket_client_is_reached_by_its_connection_whatever_its_contact_says(uri, far):
    agent = UserAgent(transactions=16)
    for port, transport in ((5060, "udp"), (8080, "ws"), (8443, "wss")):
        agent.add_listener("192.0.2.1", port, transport=transport)
    listener = 1 if far[2] == "ws" else 2
    assert way_to(agent, uri, far, listener) == (far, listener)
