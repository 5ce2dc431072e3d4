"""Trust rows of the attack list: closed methods, loops, forged identifiers, and what nobody began."""
import pytest

from sipcore.wire.message import Message
from tests.endpoints import build
from tests.security.range import EDGE, PBX, PHONE, STRANGER, fresh, reply, request


@pytest.mark.parametrize("method", ["MESSAGE", "SUBSCRIBE", "REGISTER", "PUBLISH", "NOTIFY", "REFER", "INFO", "UPDATE",
                                    "PRACK", "BYE", "FOO"])
def test_methods_are_closed(ground, method):
    ground.peer.send(request(method))
    ground.peer.expect(b"SIP/2.0 405")
    ground.nothing_forwarded()
    assert ground.rose("method_closed") == 1


def test_a_stranger_gets_at_most_a_403(ground):
    stranger = ground.party(STRANGER)
    stranger.send(request(source=STRANGER))
    stranger.expect(b"SIP/2.0 403")
    ground.nothing_forwarded()
    assert ground.rose("unlisted_dropped") == 1


@pytest.mark.parametrize("token", ["20000000aaaaaaaaaaaaaaaaaa", "", "x" * 300, "%00"])
def test_a_forged_to_tag_and_route_bypass_nothing(ground, token):
    stranger = ground.party(STRANGER)
    stranger.send(request("BYE", source=STRANGER, to_tag="known", uri=f"sip:pbx@{PBX[0]}",
                          extra=(("Route", f"<sip:{EDGE[0]}:{EDGE[1]};lr;t={token}>"),)))
    stranger.expect(b"SIP/2.0 403")
    ground.nothing_forwarded()
    assert ground.rose("unlisted_dropped") == 1


def test_a_token_of_another_call_opens_nothing(ground):
    stranger = ground.party(STRANGER)
    _, answer = ground.call()
    stolen = ground.inside("BYE", answer, source=STRANGER).replace(
        b"Call-ID: " + str(Message(answer).header("Call-ID")).encode(), b"Call-ID: " + fresh().encode())
    stranger.send(stolen)
    stranger.expect(b"SIP/2.0 403")
    ground.nothing_forwarded()
    assert ground.rose("forged_tokens") == 1
    ground.hang_up(answer)


def test_a_true_token_of_an_unlisted_peer_passes(ground):
    """The other side of the coin: a phone behind the peer moves, and its BYE still ends its call."""
    phone = ground.party(PHONE)
    _, answer = ground.call()
    phone.send(ground.inside("BYE", answer, source=PHONE))
    bye = ground.pbx.expect(b"BYE", str(Message(answer).header("Call-ID")).encode())
    ground.pbx.send(reply(bye, "200 OK"))
    phone.expect(b"SIP/2.0 200")
    assert ground.rose("unlisted_passed") == 1


def test_cancel_without_invite(ground):
    ground.peer.send(request("CANCEL"))
    ground.peer.expect(b"SIP/2.0 481")
    ground.nothing_forwarded()
    assert ground.rose("stray_cancels") == 1


def test_ack_without_invite(ground):
    ground.peer.send(request("ACK"))
    ground.peer.send(request("ACK", to_tag="known"))
    ground.nothing_forwarded()
    assert ground.rose("stray_acks") == 2


def test_a_duplicate_branch_is_one_transaction(ground):
    branch, unique = "z9hG4bK" + fresh(), fresh()
    ground.peer.send(request(branch=branch, unique=unique))
    invite = ground.pbx.expect(b"INVITE", unique.encode())
    for _ in range(20):
        ground.peer.send(request(branch=branch, unique=unique, user="other"))
    ground.mark()
    assert ground.pbx.take() == []
    assert ground.rose("retransmissions_in") == 20
    ground.pbx.send(reply(invite, "486 Busy Here"))
    ground.peer.expect(b"SIP/2.0 486", unique.encode())


@pytest.mark.parametrize("forge", [
    lambda branch: branch[:-1] + (b"a" if branch[-1:] != b"a" else b"b"),
    lambda branch: branch[:8] + b"2" * (len(branch) - 8),
    lambda branch: branch[:-4],
    lambda branch: branch + b"aaaa",
    lambda branch: b"z9hG4bK" + b"7" * 400,
], ids=["last-digit", "made-up", "shorter", "longer", "far-too-long"])
def test_a_response_with_a_forged_branch_finds_nothing(ground, forge):
    unique = fresh()
    ground.peer.send(request(unique=unique))
    invite = ground.pbx.expect(b"INVITE", unique.encode())
    branch = str(Message(invite).headers("Via")[0]).partition("branch=")[2].partition(";")[0].encode()
    stranger = ground.party(STRANGER)
    stranger.send(reply(invite, "200 OK").replace(branch, forge(branch)))
    ground.mark()
    assert ground.rose("stray_responses") + ground.rose("malformed_responses") == 1
    assert not [data for data in ground.peer.received if data.startswith(b"SIP/2.0 200") and b"1 INVITE" in data]
    ground.pbx.send(reply(invite, "486 Busy Here"))
    ground.peer.expect(b"SIP/2.0 486", unique.encode())


def test_what_comes_back_goes_no_second_round(ground):
    """The PBX sends the INVITE back with only Max-Forwards changed, and its group has no way out: 404.

    Where it had one, that would be a spiral (RFC 5393 4.2.1).
    """
    unique = fresh()
    ground.peer.send(request(unique=unique))
    invite = ground.pbx.expect(b"INVITE", unique.encode())
    received = Message(invite)
    headers = [("Via", f"SIP/2.0/UDP {PBX[0]}:{PBX[1]};branch=z9hG4bK{fresh()}")]
    headers += [("Via", value) for value in received.headers("Via")]
    headers += [(name, str(received.header(name))) for name in ("From", "To", "Call-ID", "CSeq", "Contact")]
    headers.append(("Max-Forwards", "33"))
    ground.pbx.send(build(f"INVITE sip:2000@{EDGE[0]}:{EDGE[1]} SIP/2.0", headers))
    ground.pbx.expect(b"SIP/2.0 404")
    ground.pbx.send(reply(invite, "486 Busy Here"))
    ground.peer.expect(b"SIP/2.0 486", unique.encode())


def test_no_hops_left(ground):
    ground.peer.send(request().replace(b"Max-Forwards: 70", b"Max-Forwards: 0"))
    ground.peer.expect(b"SIP/2.0 483")
    ground.nothing_forwarded()
    assert ground.rose("too_many_hops") == 1


def test_a_request_routed_to_the_edge_itself_ends(ground):
    """Route upon Route to ourselves: they are taken off, never sent around."""
    unique = fresh()
    ground.peer.send(request(unique=unique, extra=(("Route", f"<sip:{EDGE[0]}:{EDGE[1]};lr>"),) * 20))
    invite = ground.pbx.expect(b"INVITE", unique.encode())
    assert Message(invite).headers("Route") == []
    assert ground.rose("forwarded") == 1
    ground.pbx.send(reply(invite, "486 Busy Here"))
    ground.peer.expect(b"SIP/2.0 486", unique.encode())


def test_a_route_leads_nowhere_but_to_the_upstream(ground):
    phone = ground.party(PHONE)
    for route in (f"<sip:{PHONE[0]};lr>", f"<sip:{PHONE[0]}>", f"<sip:{EDGE[0]};lr>, <sip:{PHONE[0]};lr>"):
        unique = fresh()
        ground.peer.send(request(unique=unique, extra=(("Route", route),)))
        ground.peer.expect(b"SIP/2.0 403", unique.encode())
    ground.nothing_forwarded()
    assert phone.take() == []


def test_a_log_line_cannot_be_forged(ground):
    """What a caller chose is escaped: one line a call, whatever stands in its Call-ID and user."""
    call_id = fresh() + '"}{"status":777}<script>\\u001b['
    ground.peer.send(request(call_id=call_id, user="a%0a%22b"))
    invite = ground.pbx.expect(b"INVITE", call_id.encode())
    ground.pbx.send(reply(invite, "486 Busy Here"))
    ground.peer.expect(b"SIP/2.0 486")
    line = ground.edge.wait_call_line(event="call", call_id=call_id)
    assert line["status"] == 486
    assert not [line for line in ground.edge.call_lines if line["status"] == 777]
