"""Requests between transports: Via, Record-Route and its way back, connections that fail, what sips: asks for."""
import re

import pytest

from sipcore.base.trie import Trie
from sipcore.stack.admission import Admission
from sipcore.stack.proxy import Proxy
from sipcore.stack.verdict import Target, Verdict
from sipcore.wire.message import Message
from tests.endpoints import METHODS, SDP, build

UDP, TCP, TLS, WS, WSS = range(5)
LISTENERS = [("udp", 5060), ("tcp", 5060), ("tls", 5061), ("ws", 8080), ("wss", 8443)]
FLOW = 0x80000000
ALICE, BOB = "127.0.0.2", "127.0.0.3"
T1 = 500


class Scene:
    """A proxy with a listener of each transport; what it sends is taken by `sent`."""

    def __init__(self, decide=None, **options):
        self.now = 10_000
        admission = Admission([Trie([("127.0.0.0/8", 0), ("::1/128", 0)])] * len(LISTENERS))
        admission.add_group("allow", METHODS)
        self.proxy = Proxy(admission=admission, decide=decide or (lambda request: Verdict()),
                           **({"transactions": 64, "dialogs": 32} | options))
        for transport, port in LISTENERS:
            self.proxy.add_listener("127.0.0.1", port, transport=transport)

    def feed(self, data, source, listener):
        self.proxy.feed(data, source, self.now, listener)

    def sent(self):
        """[(listener, host, port, Message)]"""
        found = [(listener, host, port, Message(data)) for listener, host, port, data in self.proxy.drain()]
        assert self.proxy.take_troubles() == []
        return found

    def wait(self, ms):
        end = self.now + ms
        while (at := self.proxy.deadline()) is not None and at <= end:
            self.now = max(at, self.now)
            self.proxy.advance(self.now)
        self.now = end


def request(method, uri, *, via, call_id="c1", cseq=1, to="", headers=(), branch="b1", contact="", body=b"", routes=(),
            from_=""):
    lines = [("Via", f"{via};branch=z9hG4bK-{branch}"), ("Max-Forwards", "70"), *[("Route", route) for route in routes],
             ("From", from_ or "<sip:alice@example.com>;tag=a"), ("To", to or f"<{uri}>"), ("Call-ID", call_id),
             ("CSeq", f"{cseq} {method}")]
    if contact:
        lines.append(("Contact", contact))
    return build(f"{method} {uri} SIP/2.0", [*lines, *headers], body)


def response(to, status, tag="b", headers=(), contact=""):
    lines = [("Via", value) for value in to.headers("Via")]
    lines += [("Record-Route", value) for value in to.headers("Record-Route")]
    peer = to.header("To") + ("" if to.to_tag else f";tag={tag}")
    lines += [("From", to.header("From")), ("To", peer), ("Call-ID", to.call_id),
              ("CSeq", f"{to.cseq[0]} {to.cseq[1]}")]
    if contact:
        lines.append(("Contact", contact))
    return build(f"SIP/2.0 {status} X", [*lines, *headers])


@pytest.fixture
def scene():
    return Scene()


VIA = {UDP: "SIP/2.0/UDP 127.0.0.2:5060", TCP: "SIP/2.0/TCP 127.0.0.2:5060", TLS: "SIP/2.0/TLS 127.0.0.2:5061",
       WS: "SIP/2.0/WS df7jal23ls0d.invalid", WSS: "SIP/2.0/WSS df7jal23ls0d.invalid"}


@pytest.mark.parametrize(("uri", "out", "port", "sent_by", "route"), [
    (f"sip:bob@{BOB}", UDP, 5060, "UDP 127.0.0.1:5060", "sip:127.0.0.1:5060"),
    (f"sip:bob@{BOB};transport=tcp", TCP, 5060, "TCP 127.0.0.1:5060", "sip:127.0.0.1:5060;transport=tcp"),
    (f"sip:bob@{BOB};transport=tls", TLS, 5061, "TLS 127.0.0.1:5061;alias", "sip:127.0.0.1:5061;transport=tls"),
    (f"sip:bob@{BOB}:5070;transport=tls", TLS, 5070, "TLS 127.0.0.1:5061;alias", "sip:127.0.0.1:5061;transport=tls"),
    (f"sips:bob@{BOB}", TLS, 5061, "TLS 127.0.0.1:5061;alias", "sips:127.0.0.1:5061"),
    (f"sip:bob@bob.example.com;maddr={BOB};transport=tcp", TCP, 5060, "TCP 127.0.0.1:5060",
     "sip:127.0.0.1:5060;transport=tcp"),
])
def test_a_request_leaves_by_the_transport_of_its_uri_and_says_so(scene, uri, out, port, sent_by, route):
    scene.feed(request("INVITE", uri, via=VIA[TLS]), (ALICE, 33000, "tls", FLOW | 7), TLS)
    forwarded, trying = scene.sent()
    assert forwarded[:3] == (out, BOB, port)
    invite = forwarded[3]
    assert invite.headers("Via")[0].startswith(f"SIP/2.0/{sent_by};branch=z9hG4bK")
    assert invite.uri == uri
    routes = [re.sub(";lr;t=[0-9a-v]{26}", ";lr", value) for value in invite.headers("Record-Route")]
    came_by = "sips:127.0.0.1:5061" if uri.startswith("sips:") else "sip:127.0.0.1:5061;transport=tls"
    # RFC 5658: one for each side, unless both are the same.
    assert routes == ([f"<{route};lr>"] if out == TLS else [f"<{route};lr>", f"<{came_by};lr>"])
    assert trying[:3] == (TLS, ALICE, 33000)
    assert trying[3].status == 100


@pytest.mark.parametrize("out", ["tcp", "tls"])
def test_both_record_routes_are_taken_off_in_both_directions(scene, out):
    listener, port = (TCP, 5060) if out == "tcp" else (TLS, 5061)
    callee = f"sip:bob@{BOB}:{port};transport={out}"
    scene.feed(request("INVITE", callee, via=VIA[UDP], contact="<sip:alice@127.0.0.2:5060>"), (ALICE, 5060), UDP)
    invite = scene.sent()[0][3]
    scene.feed(response(invite, 200, contact=f"<{callee}>"), (BOB, port), listener)
    (_, host, _, answer), = scene.sent()
    assert (host, answer.status) == (ALICE, 200)
    routes = answer.headers("Record-Route")
    assert len(routes) == 2
    scene.feed(request("ACK", callee, via=VIA[UDP], to=answer.header("To"), routes=routes[::-1], branch="b2"),
               (ALICE, 5060), UDP)
    (went_by, host, to_port, ack), = scene.sent()
    assert (went_by, host, to_port) == (listener, BOB, port)
    assert ack.headers("Route") == []
    assert ack.headers("Via")[0].startswith(f"SIP/2.0/{out.upper()} 127.0.0.1:{port}")
    # The callee hangs up over a connection of its own: the request goes back by UDP.
    bye = request("BYE", "sip:alice@127.0.0.2:5060", via=f"SIP/2.0/{out.upper()} {BOB}:{port}",
                  from_=answer.header("To"), to=invite.header("From"), routes=invite.headers("Record-Route"), cseq=9,
                  branch="b3")
    scene.feed(bye, (BOB, 40000, out, FLOW | 1), listener)
    (went_by, host, to_port, forwarded), = scene.sent()
    assert (went_by, host, to_port, forwarded.headers("Route")) == (UDP, ALICE, 5060, [])
    scene.feed(response(forwarded, 200), (ALICE, 5060), UDP)
    (went_by, host, to_port, answered), = scene.sent()
    assert (went_by, host, to_port, answered.status) == (listener, BOB, 40000, 200)


@pytest.mark.parametrize("method", ["INVITE", "OPTIONS"])
def test_nothing_is_sent_again_on_a_stream(scene, method):
    scene.feed(request(method, f"sip:bob@{BOB};transport=tcp", via=VIA[TCP]), (ALICE, 33000, "tcp", FLOW | 7), TCP)
    assert sum(message.method == method for *_, message in scene.sent() if message.is_request) == 1
    scene.wait(63 * T1)
    assert [message for *_, message in scene.sent() if message.is_request] == []
    scene.wait(2 * T1)
    # Timers B and F run all the same; no 408 goes back for a request that is no INVITE (RFC 4320).
    assert [message.status for *_, message in scene.sent()] == ([408] if method == "INVITE" else [])
    assert scene.proxy.statistics()["timeouts"] == 1


def test_the_sender_of_a_request_by_udp_hears_in_time_that_a_stream_is_waited_for(scene):
    scene.feed(request("OPTIONS", f"sip:bob@{BOB};transport=tcp", via=VIA[UDP]), (ALICE, 5060), UDP)
    scene.sent()
    scene.wait(7 * T1 - 1)
    assert scene.sent() == []
    scene.wait(1)
    assert [(listener, message.status) for listener, _, _, message in scene.sent()] == [(UDP, 100)]


def test_a_refusal_is_sent_once_to_a_stream_and_again_by_udp(scene):
    for listener, source, count in ((TCP, (ALICE, 33000, "tcp", FLOW | 7), 1), (UDP, (ALICE, 5060), 4)):
        scene.feed(request("INVITE", f"sip:bob@{BOB}", via=VIA[listener], branch=f"r{listener}"), source, listener)
        invite = scene.sent()[0][3]
        scene.feed(response(invite, 486), (BOB, 5060), UDP)
        scene.wait(8 * T1)
        refusals = [message for *_, message in scene.sent() if not message.is_request and message.status == 486]
        assert len(refusals) == count


def test_a_response_goes_to_the_connection_and_else_to_sent_by(scene):
    scene.feed(request("INVITE", f"sip:bob@{BOB}", via="SIP/2.0/TCP 127.0.0.2:5099;rport"),
               (ALICE, 33000, "tcp", FLOW | 7), TCP)
    invite = scene.sent()[0][3]
    assert ";rport=33000;" in invite.headers("Via")[1]
    assert ";received=127.0.0.2" in invite.headers("Via")[1]
    scene.feed(response(invite, 180), (BOB, 5060), UDP)
    (listener, host, port, data), = scene.proxy.drain()
    assert (listener, host, port) == (TCP, ALICE, 33000)
    scene.proxy.unreachable(data, scene.now)
    (listener, host, port, again), = scene.proxy.drain()
    assert (listener, host, port, again) == (TCP, ALICE, 5099, data)
    # All that follows goes there, and nobody tries a third way.
    scene.feed(response(invite, 486), (BOB, 5060), UDP)
    refusal = next(one for one in scene.proxy.drain() if one[0] == TCP)
    assert refusal[1:3] == (ALICE, 5099)
    scene.proxy.unreachable(refusal[3], scene.now)
    assert scene.proxy.drain() == []


def test_a_websocket_client_whose_connection_is_gone_is_not_connected_to(scene):
    scene.feed(request("INVITE", f"sip:bob@{BOB}", via=VIA[WS]), (ALICE, 33000, "ws", FLOW | 7), WS)
    invite = scene.sent()[0][3]
    scene.feed(response(invite, 180), (BOB, 5060), UDP)
    (*_, data), = scene.proxy.drain()
    scene.proxy.unreachable(data, scene.now)
    assert scene.proxy.drain() == []


@pytest.mark.parametrize(("came_by", "scheme", "contact"), [
    (WS, "ws", "sip:alice@df7jal23ls0d.invalid;transport=ws"),
    (WSS, "wss", "sip:alice@df7jal23ls0d.invalid;transport=ws"),
    (WSS, "wss", "sip:alice@df7jal23ls0d.invalid;transport=wss"),
    (WS, "ws", "sip:alice@192.0.2.77;transport=ws"),
    (WSS, "wss", "sip:alice@192.0.2.77:5071;transport=ws"),
])
def test_a_websocket_client_is_reached_inside_the_dialog_by_its_connection_alone(scene, came_by, scheme, contact):
    """RFC 7118 5: its Contact names no address; in some libraries one of a network that nobody has."""
    scene.feed(request("INVITE", f"sip:bob@{BOB}", via=VIA[came_by], contact=f"<{contact}>"),
               (ALICE, 33000, scheme, FLOW | 7), came_by)
    invite = scene.sent()[0][3]
    scene.feed(response(invite, 200, contact=f"<sip:bob@{BOB}>"), (BOB, 5060), UDP)
    answer = scene.sent()[0][3]
    bye = request("BYE", contact, via=f"SIP/2.0/UDP {BOB}:5060",
                  from_=answer.header("To"), to=invite.header("From"), routes=invite.headers("Record-Route"), cseq=9,
                  branch="b3")
    scene.feed(bye, (BOB, 5060), UDP)
    (listener, host, port, data), = scene.proxy.drain()
    assert (listener, host, port, Message(data).method) == (came_by, ALICE, 33000, "BYE")
    # Without the connection there is no other way, and whoever kept this one is told so (RFC 5626 5.3.1).
    scene.proxy.unreachable(data, scene.now)
    (listener, host, port, refusal), = scene.sent()
    assert (listener, host, port, refusal.status) == (UDP, BOB, 5060, 430)


def test_a_connection_that_fails_lets_the_next_target_have_the_request(scene):
    targets = (Target(BOB, 5060, transport="tcp"), Target("127.0.0.4", 5061, transport="tls", name="pbx.example.com"))
    scene = Scene(lambda request: Verdict(targets=targets))
    scene.feed(request("INVITE", "sip:bob@example.com", via=VIA[UDP]), (ALICE, 5060), UDP)
    data = next(data for listener, _, _, data in scene.proxy.drain() if listener == TCP)
    scene.proxy.unreachable(data, scene.now)
    scene.proxy.unreachable(data, scene.now)
    (listener, host, port, second), = scene.proxy.drain()
    assert (listener, host, port) == (TLS, "127.0.0.4", 5061)
    assert Message(second).headers("Via")[0] != Message(data).headers("Via")[0]
    scene.proxy.unreachable(second, scene.now)
    (listener, host, port, answer), = scene.proxy.drain()
    assert (listener, Message(answer).status, Message(answer).reason) == (
        UDP, 503, "Service Unavailable - target unreachable")
    scene.proxy.unreachable(second, scene.now)
    assert scene.proxy.drain() == []


def test_a_request_whose_connection_was_closed_is_sent_on_a_connection_of_ours(scene):
    contact = "<sip:alice@127.0.0.2:5060;transport=tcp>"
    scene.feed(request("INVITE", f"sip:bob@{BOB}", via=VIA[TCP], contact=contact),
               (ALICE, 33000, "tcp", FLOW | 7), TCP)
    invite = scene.sent()[0][3]
    scene.feed(response(invite, 200, contact=f"<sip:bob@{BOB}>"), (BOB, 5060), UDP)
    answer = scene.sent()[0][3]
    bye = request("BYE", contact[1:-1], via=f"SIP/2.0/UDP {BOB}:5060", from_=answer.header("To"),
                  to=invite.header("From"), routes=invite.headers("Record-Route"), cseq=9, branch="b3")
    scene.feed(bye, (BOB, 5060), UDP)
    (listener, host, port, data), = scene.proxy.drain()
    assert (listener, host, port) == (TCP, ALICE, 33000)
    scene.proxy.unreachable(data, scene.now)
    (listener, host, port, again), = scene.proxy.drain()
    assert (listener, host, port, again) == (TCP, ALICE, 5060, data)
    scene.proxy.unreachable(again, scene.now)
    (listener, host, port, answer), = scene.proxy.drain()
    assert (listener, host, Message(answer).status) == (UDP, BOB, 503)


@pytest.mark.parametrize(("listener", "source"), [(UDP, (ALICE, 5060)), (TCP, (ALICE, 33000, "tcp", FLOW | 7))])
def test_what_asks_for_tls_on_every_hop_and_came_without_is_refused(scene, listener, source):
    scene.feed(request("INVITE", f"sips:bob@{BOB}", via=VIA[listener]), source, listener)
    (*_, answer), = scene.sent()
    assert (answer.status, answer.reason) == (480, "Temporarily Unavailable - sips needs TLS on every hop")


def test_sips_never_fails_over_to_a_target_without_tls():
    targets = (Target(BOB, 5061, transport="tls"), Target("127.0.0.4", 5060))
    scene = Scene(lambda request: Verdict(targets=targets))
    scene.feed(request("INVITE", "sips:bob@example.com", via=VIA[TLS]), (ALICE, 33000, "tls", FLOW | 7), TLS)
    data = next(data for _, host, _, data in scene.proxy.drain() if host == BOB)
    scene.proxy.unreachable(data, scene.now)
    (listener, host, _, answer), = scene.proxy.drain()
    assert (listener, host, Message(answer).status) == (TLS, ALICE, 503)
    assert scene.proxy.take_troubles() == ["a target without TLS is passed over: sips needs it on every hop"]


def test_a_target_by_tls_alone_is_refused_where_there_is_no_listener_for_it():
    admission = Admission([Trie([("127.0.0.0/8", 0)])])
    admission.add_group("allow", METHODS)
    proxy = Proxy(admission=admission, decide=lambda request: Verdict(), transactions=64, dialogs=32)
    proxy.add_listener("127.0.0.1", 5060)
    for uri, status in ((f"sips:bob@{BOB}", 416), (f"sip:bob@{BOB};transport=tcp", 503)):
        proxy.feed(request("INVITE", uri, via=VIA[UDP], branch=str(status)), (ALICE, 5060), 1000)
        (*_, data), = proxy.drain()
        assert Message(data).status == status


def test_a_certificate_proves_a_group_for_one_message_alone(scene):
    scene.proxy.proven_group = 0
    scene.feed(request("OPTIONS", f"sip:bob@{BOB}", via="SIP/2.0/TLS 192.0.2.9:5061"),
               ("192.0.2.9", 33000, "tls", 9), TLS)
    assert [message.method for *_, message in scene.sent() if message.is_request] == ["OPTIONS"]
    scene.feed(request("OPTIONS", f"sip:bob@{BOB}", via="SIP/2.0/TLS 192.0.2.9:5061", branch="b2"),
               ("192.0.2.9", 33000, "tls", 9), TLS)
    assert scene.sent() == []


def test_the_name_of_a_server_is_expected_wherever_its_address_stands(scene):
    number = scene.proxy.name_number("pbx.example.com")
    assert scene.proxy.hop(f"sips:{BOB}") == (BOB, 5061, "tls", 0)
    scene.proxy.expect_names([(BOB, 5061, "pbx.example.com")])
    assert scene.proxy.hop(f"sips:{BOB}") == (BOB, 5061, "tls", number)
    assert scene.proxy.hop(f"sip:{BOB}:5061;transport=tcp") == (BOB, 5061, "tcp", 0)


def test_contacts_say_how_we_are_reached(scene):
    for listener, uri in ((UDP, "sip:127.0.0.1:5060"), (TCP, "sip:127.0.0.1:5060;transport=tcp"),
                          (TLS, "sip:127.0.0.1:5061;transport=tls"), (WS, "sip:127.0.0.1:8080;transport=ws"),
                          (WSS, "sip:127.0.0.1:8443;transport=wss")):
        assert re.fullmatch(f"<{re.escape(uri)};t=[0-9a-v]{{26}}>", scene.proxy.contact("", listener))
    assert scene.proxy.contact("a", TLS, True).startswith("<sips:a@127.0.0.1:5061;t=")
    assert scene.proxy.contact("a", UDP, True).startswith("<sip:a@127.0.0.1:5060;t=")


def test_body_and_length_pass_a_change_of_transport(scene):
    scene.feed(request("INVITE", f"sip:bob@{BOB};transport=tcp", via=VIA[UDP], body=SDP), (ALICE, 5060), UDP)
    assert scene.sent()[0][3].body == SDP


@pytest.mark.parametrize(("t1", "t2", "after"), [(500, 4000, 3500), (500, 500, 500), (300, 400, 300)])
def test_over_tcp_a_sender_is_told_once_that_we_are_waiting(t1, t2, after):
    """RFC 4320 4.2: when Timer E would have reached T2, which it does by firing; the request itself is not repeated."""
    scene = Scene(t1=t1, t2=t2)
    scene.feed(request("OPTIONS", f"sip:bob@{BOB};transport=tcp", via=VIA[TCP]), (ALICE, 33000, "tcp", FLOW | 7), TCP)
    assert [message.method for *_, message in scene.sent()] == ["OPTIONS"]
    scene.wait(after - 1)
    assert scene.sent() == []
    scene.wait(1)
    assert [message.status for *_, message in scene.sent()] == [100]
    scene.wait(20 * t1)
    assert scene.sent() == []
