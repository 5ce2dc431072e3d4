"""The policy through the forwarding core: what it decides, as bytes on the wire (transfers.md sections 2, 3, 4)."""
import json

import pytest

from proxy.admission import admission
from sipcore.wire.nameaddr import NameAddress
from tests.endpoints import SDP, Bench, Dialog, Phone, Received

from .sample import header_set, policy

EDGE = """\
[[listener]]
name = "lan"
bind = "udp:127.0.0.1:5060"
[[group]]
name = "callers"
addresses = ["127.0.0.2"]
[[group]]
name = "agents"
addresses = ["127.0.0.3"]
[[group]]
name = "pbxs"
addresses = ["127.0.0.4"]
trusted = true
[[group]]
name = "trusted"
addresses = ["127.0.0.5"]
trusted = true
"""
AGENTS = '[[upstream]]\nname = "agents"\ntargets = [{address = "127.0.0.3:5060"}]\nmtu = 1500\n'
CALLERS = '[[upstream]]\nname = "callers"\ntargets = [{address = "127.0.0.2:5060"}]\n'
ROUTE = '[[route]]\nto = "agents"\n'


class Edge(Bench):
    """A bench whose decisions are a policy's, with a caller and an agent."""

    def __init__(self, text: str, base: str = EDGE) -> None:
        self.policy = policy(text, base=base)
        config = self.policy.config
        super().__init__(decide=self.policy.decide, admission=admission(config), oversize=self.policy.oversize,
                         internal=config.internal.headers)
        self.proxy.configure(
            admission(config), self.policy.decide, self.policy.oversize, internal=config.internal.headers,
            dialog_budget=min(peer.budget.limit for peer in self.policy.peers.values()))
        self.caller = self.phone("ann", "127.0.0.2")
        self.agent = self.phone("bot", "127.0.0.3")

    def invite(self, *headers: tuple[str, str], uri: str = "sip:2001@127.0.0.1", caller: Phone | None = None,
               from_: str = "", body: bytes = b"", call_id: str = "c1") -> Received:
        """An INVITE as it reaches the agent."""
        (caller or self.caller).request("INVITE", uri, headers=headers, from_=from_, body=body,
                                       call_id=call_id)
        self.run()
        return self.agent.take("INVITE")

    def refused(self, **parts) -> Received:
        self.caller.request("INVITE", **parts)
        self.run()
        assert self.agent.names() == []
        return self.caller.received()[-1]

    def answered_call(self) -> tuple[Dialog, Dialog]:
        return self.call(self.caller, self.agent)

    def refer(self, agent: Dialog, target: str, *headers: tuple[str, str]) -> Received:
        """What becomes of the agent's REFER: as it reaches the caller, or the answer that the agent gets."""
        agent.send("REFER", headers=[("Refer-To", target), *headers])
        self.run()
        arrived = self.caller.received()
        return arrived[-1] if arrived else self.agent.received()[-1]


def injecting(*headers: str, upstream: str = AGENTS) -> Edge:
    return Edge(upstream + header_set(*headers) + ROUTE + 'headers = ["set"]\n')


def names_of(message: bytes) -> list[bytes]:
    return [line.partition(b":")[0].strip() for line in message.partition(b"\r\n\r\n")[0].split(b"\r\n")[1:]]


def test_extracted_headers_arrive_in_the_invite():
    """The example of section 3."""
    edge = injecting('name = "X-Customer-Intent", value = "billing question"', 'name = "X-Caller-Name", value = "Zoë"',
                     'name = "X-Call", value = "{call_id}"')
    data = edge.invite().data
    assert b"\r\nX-Customer-Intent: billing question\r\nX-Caller-Name: Zo\xc3\xab\r\nX-Call: c1\r\n" in data


@pytest.mark.parametrize("forged", [("X-A", "no"), ("x-a", "no"), ("X-A ", "no"), ("X-A\t", "n\r\n o"), ("X-a", "")])
def test_a_forged_header_of_that_name_is_replaced_in_every_spelling(forged):
    data = injecting('name = "X-A", value = "yes"').invite(forged).data
    assert [name.lower() for name in names_of(data)].count(b"x-a") == 1
    assert b"\r\nX-A: yes\r\n" in data


@pytest.mark.parametrize("user", ["a%0D%0AX-Evil:%201", "%0a%0aX-Evil: 1".replace(" ", "%20"), "x%00"])
def test_an_escaped_line_end_adds_no_header(user):
    data = injecting('name = "X-From", value = "{from_phone_number}"').invite(from_=f"<sip:{user}@h>;tag=t").data
    assert not {b"X-Evil", b"X-From"} & set(names_of(data))


def test_a_folded_header_is_one_line_in_another():
    data = injecting('name = "X-A", value = "<{X-B}>"').invite(("X-B", "one\r\n two\r\n\tVia: three")).data
    assert b"\r\nX-A: <one two Via: three>\r\n" in data
    assert names_of(data).count(b"Via") == 2


class TestNextHop:
    """What a request says of its next hop takes it nowhere that its route does not lead to."""

    ALONG = '[[route]]\nto = "request-uri"\n'
    ELSEWHERE = (("Route", "<sip:127.0.0.1;lr>"), ("Route", "<sip:127.0.0.9;lr>"))

    @pytest.mark.parametrize("upstream", [AGENTS, AGENTS + 'uri = ""\n'], ids=["template", "memo"])
    def test_a_route_past_the_upstream_is_refused(self, upstream):
        edge = Edge(upstream + ROUTE)
        edge.invite()       # remembered, where it can be
        assert edge.refused(uri="sip:2001@127.0.0.1", headers=self.ELSEWHERE).message.reason == "Route Leads Elsewhere"
        assert edge.invite(*self.ELSEWHERE[:1]).headers("Route") == []

    def test_along_the_request_uri_it_is_followed(self):
        edge = Edge(self.ALONG)
        edge.caller.request("INVITE", "sip:2001@127.0.0.1", headers=[("Route", "<sip:127.0.0.3;lr>")])
        edge.run()
        assert edge.agent.take("INVITE").headers("Route") == ["<sip:127.0.0.3;lr>"]

    @pytest.mark.parametrize(("uri", "headers", "status"), [
        ("sip:2001@127.0.0.3", [], ""), ("sip:2001@127.0.0.9", [], "404"),
        ("sip:2001@127.0.0.3;maddr=127.0.0.9", [], "403"), ("sip:2001@127.0.0.3;MADD%52=127.0.0.9", [], "403"),
        ("sip:2001@127.0.0.3;maddr=127.0.0.3", [], ""), ("sip:2001@127.0.0.3", ELSEWHERE, "403"),
    ])
    def test_a_route_with_domains_leads_to_them_alone(self, uri, headers, status):
        edge = Edge(self.ALONG + 'domains = ["127.0.0.3"]\n')
        edge.caller.request("INVITE", uri, headers=headers)
        edge.run()
        assert edge.agent.names() == ([] if status else ["INVITE"])
        assert edge.caller.names() == [status or "100"]


class TestInternal:
    FORGED = (("X-Internal-Id", "7"), ("x-internal-b ", "7"), ("X-INTERNAL-C", "7\r\n 8"))

    def test_they_do_not_leave_on_an_invite(self):
        assert b"internal" not in Edge(AGENTS + ROUTE).invite(*self.FORGED).data.lower()

    def test_they_do_not_leave_inside_a_dialog(self):
        edge = Edge(AGENTS + ROUTE)
        caller, _ = edge.answered_call()
        caller.send("INFO", headers=self.FORGED)
        edge.run()
        assert b"internal" not in edge.agent.take("INFO").data.lower()

    def test_they_do_not_leave_on_refer_nor_inside_refer_to(self):
        edge = Edge(AGENTS + ROUTE + "[[refer]]\n")
        _, agent = edge.answered_call()
        arrived = edge.refer(agent, "<sip:2001@127.0.0.1?X-Internal-Id=7&Subject=a>", *self.FORGED)
        assert b"internal" not in arrived.data.lower()
        assert arrived.header("Refer-To") == "<sip:2001@127.0.0.1?Subject=a>"

    def test_they_pass_between_trusted_peers(self):
        edge = Edge(AGENTS.replace("127.0.0.3", "127.0.0.4") + ROUTE)
        edge.agent = edge.phone("pbx", "127.0.0.4")
        assert names_of(edge.invite(*self.FORGED[:1], caller=edge.phone("t", "127.0.0.5")).data)[-2:] == [
            b"X-Internal-Id", b"Content-Length"]


    @pytest.mark.parametrize("size", [0, 1400])
    @pytest.mark.parametrize("method", ["INFO", "UPDATE", "FOO", "REFER"])
    @pytest.mark.parametrize(("asks", "gets", "kept"), [
        ("127.0.0.5", "127.0.0.4", True), ("127.0.0.5", "127.0.0.3", False), ("127.0.0.2", "127.0.0.3", False),
    ])
    def test_inside_a_dialog_they_pass_between_trusted_peers_alone(self, asks, gets, kept, method, size):
        """Of whatever size the request is, and whether the policy was asked about it or not."""
        open_methods = 'dialog_methods = ["INVITE", "ACK", "BYE", "INFO", "UPDATE", "FOO", "REFER"]\n'
        edge = Edge(AGENTS.replace("127.0.0.3", gets) + ROUTE + "[[refer]]\n", base=EDGE.replace(
            "[[group]]\n", "[[group]]\n" + open_methods))
        edge.agent = edge.phone("callee", gets)
        caller, _ = edge.call(edge.phone("asking", asks), edge.agent)
        caller.send(method, headers=[("X-Pad", "p" * size), ("Refer-To", "<sip:2001@127.0.0.1>"), *self.FORGED])
        edge.run()
        assert (b"X-Internal-Id: 7" in (data := edge.agent.take(method).data)) is kept
        assert (b"internal" in data.lower()) is kept

    def test_inside_refer_to_they_never_leave(self):
        edge = Edge(AGENTS.replace("127.0.0.3", "127.0.0.4") + ROUTE + "[[refer]]\n")
        edge.agent = edge.phone("callee", "127.0.0.4")
        caller, _ = edge.call(edge.phone("asking", "127.0.0.5"), edge.agent)
        caller.send("REFER", headers=[("Refer-To", "<sip:2001@127.0.0.4?X-Internal-Id=7&Subject=a>")])
        edge.run()
        assert edge.agent.take("REFER").header("Refer-To") == "<sip:2001@127.0.0.4?Subject=a>"


class TestRefer:
    SET = header_set('name = "X-Intent", value = "make a claim"', 'name = "X-Caller", value = "{X-Name}"')

    def edge(self, where: str = '["header"]', rule: str = "") -> tuple[Edge, Dialog]:
        edge = Edge(AGENTS + CALLERS + f"refer_headers = {where}\n" + ROUTE + self.SET
                    + '[[refer]]\ngroups = ["agents"]\nheaders = ["set"]\nupstream = "callers"\n' + rule)
        return edge, edge.answered_call()[1]

    def test_headers_on_the_refer(self):
        edge, agent = self.edge()
        arrived = edge.refer(agent, "<sip:2001@127.0.0.1>", ("X-Name", "Ann"), ("X-Intent", "forged"))
        assert (arrived.name, arrived.header("X-Caller")) == ("REFER", "Ann")
        assert arrived.headers("X-Intent") == ["make a claim"]
        assert arrived.header("Refer-To") == "<sip:2001@127.0.0.1>"

    def test_headers_inside_refer_to(self):
        edge, agent = self.edge('["refer-to", "user-to-user"]')
        arrived = edge.refer(agent, '"A" <sip:2001@127.0.0.1>', ("X-Name", "a+b@c%3A d"))
        assert arrived.header("X-Intent") is None
        uri = NameAddress((arrived.header("Refer-To") or "").encode()).uri
        assert uri is not None
        assert uri.headers["X-Caller"] == "a+b@c%3A d"
        assert uri.headers["X-Intent"] == "make a claim"
        packed, _, encoding = uri.headers["User-to-User"].partition(";")
        assert encoding == "encoding=hex"
        assert bytes.fromhex(packed) == b"X-Intent=make%20a%20claim&X-Caller=a%2Bb%40c%253A%20d"

    @pytest.mark.parametrize(("target", "status"), [
        ("<sips:2001@127.0.0.1>", "416"), ("internal-ext-123", "400"), ("<mailto:a@b>", "416"), ("<sip:a@b@c>", "400"),
    ])
    def test_targets_that_are_refused(self, target, status):
        edge, agent = self.edge()
        assert edge.refer(agent, target).name == status

    def test_without_a_rule_603(self):
        edge = Edge(AGENTS + ROUTE)
        _, agent = edge.answered_call()
        assert edge.refer(agent, "<sip:2001@127.0.0.1>").name == "603"

    def test_replaces_arrives_byte_for_byte(self):
        edge, agent = self.edge('["refer-to"]')
        target = "<sip:2001@127.0.0.1?Replaces=12%4034%3Bto-tag%3da%3bfrom-tag%3Db>"
        assert edge.refer(agent, target).header("Refer-To") == target

    def test_tel_becomes_what_the_peer_understands(self):
        edge, agent = self.edge()
        assert edge.refer(agent, "<tel:+1-202-555>").header("Refer-To") == "<sip:+1202555@127.0.0.2:5060>"


class TestSize:
    BIG = 'name = "X-Big", value = "' + "b" * 300 + '"'
    SMALL = 'name = "X-Small", value = "s", priority = 1'

    def test_the_size_that_was_checked_is_the_size_that_is_sent(self):
        edge = injecting(self.SMALL)
        sizes: list[int] = []

        def oversize(request, verdict, size):
            sizes.append(size)
            return verdict

        edge.proxy.configure(edge.proxy.admission, lambda request: edge.policy.decide(request).changed(budget=1),
                             oversize)
        assert sizes == [len(edge.invite(body=SDP).data)]

    @pytest.mark.parametrize("mtu", [900, 800, 760])
    def test_over_budget_it_is_made_to_fit_step_by_step(self, mtu):
        edge = injecting(self.BIG, self.SMALL, upstream=AGENTS.replace("1500", str(mtu)) + 'size_policy = ["compact", '
                         '"drop", "refuse"]\n')
        data = edge.invite(("Subject", "s" * 40), body=SDP).data
        assert len(data) <= mtu - 200
        names = names_of(data)
        assert b"X-Big" not in names
        assert {b"v", b"f", b"t", b"i", b"m", b"l", b"s"} <= set(names)
        assert edge.policy.counters["size.over"] == 1

    def test_codecs(self):
        body = SDP.replace(b"AVP 0", b"AVP 0 8 96 101") + (
            b"a=rtpmap:96 opus/48000/2\r\na=fmtp:96 useinbandfec=1\r\na=rtpmap:101 telephone-event/8000\r\n")
        edge = Edge(AGENTS.replace("1500", "700") + 'codecs = ["PCMA"]\nsize_policy = ["codecs", "fragment"]\n' + ROUTE)
        arrived = edge.invite(("Content-Type", "application/sdp"), body=body)
        assert arrived.data.endswith(b"m=audio 4000 RTP/AVP 8 101\r\na=rtpmap:101 telephone-event/8000\r\n")
        assert arrived.header("Content-Length") == str(len(arrived.data.partition(b"\r\n\r\n")[2]))

    def test_refused_with_513(self):
        edge = Edge(AGENTS.replace("1500", "300") + 'size_policy = ["refuse"]\n' + ROUTE)
        assert edge.refused(uri="sip:2001@127.0.0.1").name == "513"

    def test_sent_in_fragments_with_a_warning(self):
        edge = Edge(AGENTS.replace("1500", "300") + 'size_policy = ["fragment"]\n' + ROUTE)
        edge.invite()
        (text,) = edge.proxy.take_troubles()
        assert " of 100 bytes (agents): sent in fragments; now " in text
        assert edge.count("fragmented") == 1


def test_a_remembered_verdict_is_for_sip_alone():
    edge = Edge(AGENTS + 'uri = ""\n' + ROUTE)
    edge.invite(uri="sip:1@127.0.0.1")
    assert edge.count("decided") == 1
    edge.caller.names()
    assert edge.refused(uri="sips:1@127.0.0.1", call_id="c2").name == "416"
    assert edge.invite(uri="sip:2@127.0.0.1").message.uri == "sip:2@127.0.0.1"
    assert edge.count("decided_by_memo") == 1


@pytest.mark.parametrize("method", ["MESSAGE", "SUBSCRIBE", "REGISTER", "PUBLISH", "REFER"])
def test_closed_methods_get_405(method):
    edge = Edge(AGENTS + ROUTE)
    edge.caller.request(method, "sip:2001@127.0.0.1")
    edge.run()
    assert edge.caller.take("405").header("Allow") == "INVITE, OPTIONS"


def test_a_tel_uri_goes_by_the_template():
    assert Edge(AGENTS + ROUTE).invite(uri="tel:+1-202-555").message.uri == "sip:+1202555@127.0.0.3:5060"


def test_a_big_re_invite_is_shortened_like_the_first_one():
    """Section 4: every request, also those that a dialog forwards without a decision."""
    edge = Edge('[[upstream]]\nname = "request-uri"\nmtu = 1000\nsize_policy = ["compact", "fragment"]\n' + AGENTS
                + ROUTE)
    dialog, _ = edge.answered_call()
    dialog.send("INVITE", headers=[("Supported", "x" * 700)], body=SDP)
    edge.run()
    data = edge.agent.take("INVITE").data
    assert b"\r\nk: xxx" in data
    assert b"\r\nSupported:" not in data
    assert edge.count("oversize") == 1


def test_what_the_policy_noted_stands_in_the_calls_line():
    edge = injecting('name = "X-A", value = "{X-Gone}"')
    caller, _ = edge.answered_call()
    caller.send("BYE")
    edge.run()
    edge.agent.answer(edge.agent.take("BYE"), 200)
    edge.run()
    line = json.loads(edge.proxy.records.journal.take())
    assert "X-A" in line["note"]
    assert line["ended"] == "caller"


NARROW = AGENTS.replace("1500", "1000")
WIDE = AGENTS.replace("1500", "4000")
STEPS = 'size_policy = ["compact", "fragment"]\n'


class TestInsideADialog:
    """A request inside a dialog is judged by the upstream that the dialog goes to, whatever its Contact says."""

    def inside(self, text: str, method: str, size: int, *, back: bool = False) -> tuple[Edge, Received]:
        """A request of the caller's (back: to the caller), for a far end whose Contact has a port of its own."""
        edge = Edge(text + ROUTE + '[[refer]]\n')
        far = edge.caller if back else edge.agent
        moved = edge.phone("moved", far.host, 5070)
        far.contact = moved.contact
        invite = edge.invite()
        edge.agent.answer(invite, 200)
        edge.run()
        caller = edge.caller.caller_dialog(edge.caller.take("100", "200"))
        agent = edge.agent.callee_dialog(invite)
        caller.send("ACK")
        edge.run()
        (edge.agent if back else moved).take("ACK")
        headers = [("Supported", "x" * size), *([("Refer-To", "<sip:2001@127.0.0.4>")] if method == "REFER" else [])]
        (agent if back else caller).send(method, headers=headers, body=SDP if method in ("INVITE", "UPDATE") else b"")
        edge.run()
        return edge, moved.take(method)

    @pytest.mark.parametrize("method", ["INVITE", "UPDATE", "REFER"])
    @pytest.mark.parametrize("back", [False, True])
    def test_less_than_is_usual(self, method, back):
        text = (NARROW.replace("127.0.0.3", "127.0.0.2").replace("agents", "callers") + STEPS + AGENTS if back
                else NARROW + STEPS)
        edge, request = self.inside(text, method, 600, back=back)
        assert b"\r\nk: xxx" in request.data
        assert edge.count("oversize") == 1
        (note,) = edge.proxy.take_troubles()
        name = "callers" if back else "agents"
        assert f" of 800 bytes ({name}): compact header names, sent in fragments; now {len(request.data):,}" in note
        assert edge.policy.counters == {"size.over": 1, "size.compact": 1, "size.fragment": 1}

    @pytest.mark.parametrize("method", ["INVITE", "UPDATE", "REFER"])
    def test_more_than_is_usual(self, method):
        edge, request = self.inside(WIDE + STEPS, method, 1500)
        assert b"\r\nSupported: xxx" in request.data
        assert 1300 < len(request.data) < 3800
        assert (edge.count("oversize"), edge.proxy.take_troubles()) == (0, [])

    def test_of_two_upstreams_at_one_address_the_one_that_was_called(self):
        other = NARROW.replace("agents", "first")
        edge, request = self.inside(other + STEPS + WIDE, "INVITE", 1500)
        assert b"\r\nSupported: xxx" in request.data
        assert edge.count("oversize") == 0

    def test_the_upstream_of_a_rule_goes_before_it(self):
        text = NARROW + STEPS + WIDE.replace("agents", "wide").replace(":5060", ":5099")
        edge = Edge(text + ROUTE + '[[refer]]\nupstream = "wide"\n')
        caller, _ = edge.answered_call()
        caller.send("REFER", headers=[("Supported", "x" * 1500), ("Refer-To", "<sip:2001@127.0.0.4>")])
        edge.run()
        assert b"\r\nSupported: xxx" in edge.agent.take("REFER").data
        assert edge.count("oversize") == 0
