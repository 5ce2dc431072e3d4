"""Dialogs: RFC 3261 12, for both ends, and what REFER adds (RFC 3515)."""
from typing import Any

import pytest

from sipcore.base.errors import MalformedMessage
from sipcore.stack.dialog import Dialog, State
from sipcore.stack.outgoing import BadText, Outgoing, address_of, header_lines, uri_of
from sipcore.stack.referral import Subscription, read_notify, refer, refer_to
from sipcore.wire.fault import WireFault
from sipcore.wire.message import Message

VIA = b"Via: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bKa\r\n"
ROUTES = ("<sip:p1.example.com;lr>", "<sip:p2.example.com;lr;t=7>", '"Edge" <sip:192.0.2.9;lr>')


def invite(**changes):
    fields: dict[str, Any] = {"method": "INVITE", "uri": "sip:bob@example.com", "call_id": "c1@ann", "cseq": 7,
              "local": '"Ann; <x>" <sip:ann@example.com>', "local_tag": "at", "remote": "<sip:bob@example.com>",
              "contact": "<sip:ann@192.0.2.1>"}
    return Outgoing(**(fields | changes))


def response(request, status, to_tag="bt", *, contact="<sip:bob@192.0.2.2:5070>", routes=(), method=None, cseq=None):
    lines = [f"SIP/2.0 {status} Whatever", f"Via: {VIA.decode()[5:-2]}", *(f"Record-Route: {one}" for one in routes),
             f"From: {request.local};tag={request.local_tag}", f"To: {request.remote};tag={to_tag}",
             f"Call-ID: {request.call_id}", f"CSeq: {cseq or request.cseq} {method or request.method}"]
    if contact:
        lines.append(f"Contact: {contact}")
    return Message("\r\n".join([*lines, "Content-Length: 0", "", ""]).encode())


def received(out, *, routes=()):
    """The request as the other side gets it, with these Record-Route values on the way."""
    return Message(out.render(VIA + "".join(f"Record-Route: {one}\r\n" for one in routes).encode()))


def pair(routes=()):
    """Both ends of a confirmed dialog."""
    request = invite()
    uas = Dialog.of_request(received(request, routes=routes), "bt", "<sip:bob@192.0.2.2:5070>")
    uas.accept()
    return Dialog.of_response(request, response(request, 200, routes=routes)), uas


def test_both_ends_agree_on_who_they_are():
    uac, uas = pair()
    assert uac.id == ("c1@ann", "at", "bt")
    assert uas.id == ("c1@ann", "bt", "at")
    assert (uac.local, uac.remote) == (uas.remote, uas.local)
    assert (uac.target, uas.target) == ("sip:bob@192.0.2.2:5070", "sip:ann@192.0.2.1")
    assert (uac.uac, uas.uac) == (True, False)


def test_the_route_set_is_reversed_for_the_caller_and_kept_for_the_callee():
    uac, uas = pair(ROUTES)
    assert uac.route == tuple(reversed(ROUTES))
    assert uas.route == ROUTES
    bye = received(uac.request("BYE"))
    assert bye.uri == "sip:bob@192.0.2.2:5070"
    assert bye.headers("Route") == list(reversed(ROUTES))
    assert uac.request("INFO").destination == "sip:192.0.2.9;lr"
    assert uas.request("INFO").destination == "sip:p1.example.com;lr"


def test_a_strict_router_is_addressed_itself():
    uac, _ = pair(("<sip:p2.example.com;lr>", "<sip:strict.example.com;x=1?a=b>"))
    out = uac.request("BYE")
    assert out.uri == out.destination == "sip:strict.example.com;x=1"
    assert out.route == ("<sip:p2.example.com;lr>", "<sip:bob@192.0.2.2:5070>")


def test_cseq_numbers_rise_by_one_and_the_ack_has_its_invites():
    uac, uas = pair()
    assert uac.ack(7).cseq == 7
    assert [uac.request(method).cseq for method in ("INFO", "REFER")] == [8, 9]
    assert [uas.request(method).cseq for method in ("INFO", "NOTIFY")] == [1, 2]
    with pytest.raises(ValueError, match="ACK"):
        uac.request("ACK")


def test_requests_out_of_order_are_500_and_gaps_are_fine():
    uac, uas = pair()
    first, second, third = (received(uac.request("INFO")) for _ in range(3))
    assert uas.receive(second) == 0
    assert uas.receive(first) == 500
    assert uas.receive(second) == 500
    assert uas.receive(third) == 0
    assert uas.receive(received(uac.ack(7))) == 0


def test_another_dialogs_request_is_481():
    uac, uas = pair()
    uac.remote_tag = "other"
    assert uas.receive(received(uac.request("BYE"))) == 481


def test_after_the_bye_only_notify_is_taken():
    uac, uas = pair()
    assert uas.receive(received(uac.request("BYE"))) == 0
    assert uac.state is uas.state is State.ENDED
    assert uas.receive(received(uac.request("INFO"))) == 481
    assert uas.receive(received(uac.request("NOTIFY"))) == 0


def test_an_early_dialog_takes_route_and_target_anew_from_the_2xx():
    request = invite()
    early = Dialog.of_response(request, response(request, 183, contact="", routes=ROUTES[:1]))
    assert (early.state, early.target, early.route) == (State.EARLY, "sip:bob@example.com", ROUTES[:1])
    early.answered(response(request, 200, routes=ROUTES))
    assert (early.state, early.target) == (State.CONFIRMED, "sip:bob@192.0.2.2:5070")
    assert early.route == tuple(reversed(ROUTES))


def test_an_early_dialog_ends_with_a_refusal():
    request = invite()
    early = Dialog.of_response(request, response(request, 180))
    early.answered(response(request, 486))
    assert early.state is State.ENDED


@pytest.mark.parametrize(("method", "expected"), [("INVITE", "sip:new@192.0.2.8"), ("UPDATE", "sip:new@192.0.2.8"),
                                                  ("INFO", "sip:bob@192.0.2.2:5070")])
def test_the_target_is_refreshed_by_what_may_and_the_route_set_never(method, expected):
    uac, _ = pair(ROUTES)
    out = uac.request(method)
    uac.answered(response(out, 200, contact="<sip:new@192.0.2.8>", routes=ROUTES[:1]))
    assert uac.target == expected
    assert uac.route == tuple(reversed(ROUTES))


def test_a_reinvite_that_fails_changes_nothing():
    uac, _ = pair()
    uac.answered(response(uac.request("INVITE"), 488, contact="<sip:new@192.0.2.8>"))
    assert (uac.target, uac.state) == ("sip:bob@192.0.2.2:5070", State.CONFIRMED)


def test_invites_of_both_sides_at_once_are_491_and_a_second_one_is_500():
    uac, uas = pair()
    ours, theirs = uac.request("INVITE"), uas.request("INVITE")
    assert (uas.receive(received(ours)), uac.receive(received(theirs))) == (491, 491)
    with pytest.raises(ValueError, match="under way"):
        uac.request("INVITE")
    uac.answered(response(ours, 491))
    uas.answered(response(theirs, 491))
    again = received(uac.request("INVITE"))
    assert uas.receive(again) == 0
    uac.inviting = False
    assert uas.receive(received(uac.request("INVITE"))) == 500
    with pytest.raises(ValueError, match="under way"):
        uas.request("INVITE")
    uas.responded(again, 200)
    assert uas.request("INVITE").cseq == 2


def test_a_request_without_an_answer_ends_the_dialog():
    uac, uas = pair()
    uac.request("NOTIFY")
    uac.unanswered("NOTIFY")
    assert uac.state is State.CONFIRMED
    uas.request("INVITE")
    uas.unanswered("INVITE")
    assert (uas.state, uas.inviting) == (State.ENDED, False)


@pytest.mark.parametrize("status", [408, 481])
def test_a_peer_that_lost_the_dialog_ends_it(status):
    uac, _ = pair()
    uac.answered(response(uac.request("INFO"), status))
    assert uac.state is State.ENDED


def test_headers_and_method_of_a_contact_do_not_get_into_the_request_uri():
    request = invite()
    dialog = Dialog.of_response(request, response(request, 200, contact="<sip:b@192.0.2.2;method=BYE;x=y?Subject=s>"))
    assert dialog.target == "sip:b@192.0.2.2;x=y"


def test_what_cannot_begin_a_dialog():
    request = invite(contact="")
    with pytest.raises(MalformedMessage, match="Contact"):
        Dialog.of_request(received(request), "bt", "<sip:bob@192.0.2.2>")
    with pytest.raises(ValueError, match="486"):
        Dialog.of_response(request, response(request, 486))
    with pytest.raises(WireFault, match="display name"):
        Dialog.of_request(received(invite(), routes=["nonsense"]), "bt", "<sip:bob@192.0.2.2>")


@pytest.mark.parametrize("value", ["a\r\nEvil: 1", "a\nb", "a\0b", "a\rb"])
def test_no_text_can_add_a_header(value):
    with pytest.raises(BadText):
        header_lines([("X-A", value)])
    with pytest.raises(BadText):
        header_lines([(value, "v")])
    for field in ("uri", "call_id", "local", "local_tag", "remote", "contact", "content_type"):
        with pytest.raises(BadText):
            invite(**{field: value, "body": b"x"}).render(VIA)


def test_addresses_are_found_behind_quoted_names():
    value = r'"a \" <sip:evil@x>" <sip:ann@example.com;p=1>;tag=7'
    assert uri_of(value) == "sip:ann@example.com;p=1"
    assert address_of(value) == r'"a \" <sip:evil@x>" <sip:ann@example.com;p=1>'
    assert (uri_of("sip:a@b;tag=1"), address_of("sip:a@b;tag=1")) == ("sip:a@b", "<sip:a@b>")


def test_refer_and_its_notifies():
    uac, uas = pair()
    request = received(refer(uac, "sip:2001@192.0.2.4:5070", headers=[("X-Intent", "billing")]))
    assert uas.receive(request) == 0
    assert request.header("Refer-To") == "<sip:2001@192.0.2.4:5070>"
    assert request.header("Referred-By") == uac.local
    subscription = Subscription(uas, request)
    first, last = received(subscription.notify(100)), received(subscription.notify(486, "Busy Here"))
    assert first.header("Subscription-State") == "active;expires=60"
    assert first.header("Contact") == uas.contact
    assert last.header("Subscription-State") == "terminated;reason=noresource"
    assert uac.receive(first) == uac.receive(last) == 0
    progress, outcome = read_notify(first), read_notify(last)
    assert progress is not None
    assert outcome is not None
    assert (progress.refer, progress.status, progress.final, progress.ended) == (8, 100, False, False)
    assert (outcome.refer, outcome.status, outcome.reason, outcome.ended) == (8, 486, "Busy Here", True)
    with pytest.raises(ValueError, match="ended"):
        subscription.notify(200)


def test_a_refer_to_brings_its_headers_unescaped_and_only_those_that_may():
    uac, _ = pair()
    value = ("<sip:2001@192.0.2.4:5070;method=INVITE?X-Name=J%C3%BCrgen%20M%26M&From=%3Csip:evil%3E&"
             "User-to-User=00%3Bencoding%3Dhex&Call-ID=1>")
    target = refer_to(received(refer(uac, value)))
    assert target.uri == "sip:2001@192.0.2.4:5070"
    assert target.headers == (("X-Name", "Jürgen M&M"), ("User-to-User", "00;encoding=hex"))


def test_a_line_break_in_a_refer_to_header_cannot_become_a_header():
    uac, _ = pair()
    target = refer_to(received(refer(uac, "<sip:2001@192.0.2.4?X-A=b%0D%0AEvil:%201>")))
    with pytest.raises(BadText):
        invite(headers=target.headers).render(VIA)


@pytest.mark.parametrize(("target", "status"), [("mailto:a@b.example", 416), ("<urn:service:sos>", 416)])
def test_targets_that_cannot_be_called(target, status):
    uac, _ = pair()
    with pytest.raises(MalformedMessage) as caught:
        refer_to(received(refer(uac, target)))
    assert caught.value.status == status


def test_a_refer_has_exactly_one_refer_to():
    uac, _ = pair()
    with pytest.raises(MalformedMessage, match="exactly one"):
        refer_to(received(uac.request("REFER")))


def test_a_copy_with_other_fields():
    out = invite(headers=(("X-A", "1"),))
    other = out.changed(cseq=2, headers=(), compact=True)
    assert (other.cseq, other.headers, other.compact, other.call_id) == (2, (), True, out.call_id)
    assert (out.cseq, out.headers) == (7, (("X-A", "1"),))
    assert out.changed() == out
    with pytest.raises(TypeError, match="colour"):
        out.changed(colour="blue")


@pytest.mark.parametrize("field", ["uri", "call_id", "local", "local_tag", "remote", "body", "content_type"])
def test_a_part_that_is_missing_is_no_crash(field):
    fields = {"body": b"x", field: None}
    with pytest.raises(BadText):
        invite(**fields).render(VIA)
