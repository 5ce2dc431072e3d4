"""REGISTER on its way to a registrar (RFC 3327): Path with the way back to the phone, and calls that take it."""
import re

import pytest

from sipcore.stack.flows import AT_ONCE, Flows
from sipcore.stack.identity import Identity
from sipcore.stack.verdict import Target, Verdict
from tests.endpoints import Bench, Phone, Received, build

PBX, NAT = "127.0.0.4", "127.0.0.9"
PRIVATE = "<sip:ann@10.0.0.7:5060>"
FLOW = re.compile(r"<sip:127\.0\.0\.1:5060;lr;f=([0-9a-v]{39})>")


def bench(**options) -> Bench:
    """REGISTER goes to the PBX; what the PBX sends goes where its URI says, else to the PBX, too."""
    to_pbx = Verdict(targets=(Target(PBX),), nat=True)

    def decide(request):
        return Verdict() if request.source[0] == PBX else to_pbx

    return Bench(decide=decide, identity=Identity(b"the secret of a test"), **options)


class Behind(Phone):
    """A phone that sends from one address and believes in another."""

    def __init__(self, edge: Bench, port: int = 31000):
        super().__init__(edge.link, "ann", NAT, port)
        self.contact = PRIVATE

    def build(self, method, uri, **parts):
        data = super().build(method, uri, **parts)
        return data.replace(f"SIP/2.0/UDP {NAT}:{self.number}".encode(), b"SIP/2.0/UDP 10.0.0.7:5060")


def registered(edge: Bench, phone: Phone, pbx: Phone, expires: int = 600) -> Received:
    phone.request("REGISTER", "sip:pbx.example", call_id="r")
    edge.run()
    register = pbx.take("REGISTER")
    pbx.answer(register, 200, headers=[("Contact", f"{PRIVATE};expires={expires}")])
    edge.run()
    phone.take("200")
    return register


def test_a_register_gets_a_path_and_the_answer_finds_its_way():
    edge = bench()
    phone, pbx = Behind(edge), edge.phone("pbx", PBX)
    register = registered(edge, phone, pbx)
    assert FLOW.fullmatch(register.header("Path") or "")
    assert register.headers("Supported") == ["path"]
    assert register.header("Contact") == PRIVATE
    assert f";received={NAT}" in register.headers("Via")[1]
    assert f"rport={phone.number}" in register.headers("Via")[1]
    assert register.header("Record-Route") is None
    edge.empty()


def test_a_path_of_another_proxy_stays_behind_ours():
    edge = bench()
    phone, pbx = Behind(edge), edge.phone("pbx", PBX)
    phone.request("REGISTER", "sip:pbx.example", headers=[("Path", "<sip:outer.example;lr>"), ("Supported", "path")])
    edge.run()
    paths = pbx.take("REGISTER").headers("Path")
    assert FLOW.fullmatch(paths[0])
    assert paths[1:] == ["<sip:outer.example;lr>"]


def test_without_nat_nothing_is_added():
    edge = Bench(Verdict(targets=(Target(PBX),)))
    phone, pbx = Behind(edge), edge.phone("pbx", PBX)
    register = registered(edge, phone, pbx)
    assert (register.header("Path"), register.header("Supported")) == (None, None)


def call(edge: Bench, pbx: Phone, path: str) -> Received:
    pbx.request("INVITE", "sip:ann@10.0.0.7:5060", call_id="c", routes=[path])
    edge.run()
    return pbx.take("100")


def test_a_call_of_the_pbx_takes_the_path_to_the_phone():
    edge = bench()
    phone, pbx = Behind(edge), edge.phone("pbx", PBX)
    path = registered(edge, phone, pbx).header("Path") or ""
    call(edge, pbx, path)
    invite = phone.take("INVITE")
    assert invite.message.uri == "sip:ann@10.0.0.7:5060"
    assert invite.header("Route") is None
    phone.answer(invite, 200)
    edge.run()
    one = pbx.caller_dialog(pbx.take("200"))
    other = phone.callee_dialog(invite)
    # Inside the dialog the phone is still where it was, not where its Contact says.
    one.send("ACK")
    one.send("INFO")
    edge.run()
    ack, info = phone.received()
    assert (ack.name, info.name) == ("ACK", "INFO")
    phone.answer(info, 200)
    edge.run()
    pbx.take("200")
    other.send("BYE")
    edge.run()
    pbx.answer(pbx.take("BYE"), 200)
    edge.run()
    phone.take("200")
    edge.empty()


def test_a_caller_behind_nat_is_reached_where_it_sends_from():
    edge = bench()
    phone, pbx = Behind(edge), edge.phone("pbx", PBX)
    _, other = edge.call(phone, pbx)
    assert other.target == "sip:ann@10.0.0.7:5060"
    other.send("BYE")
    edge.run()
    phone.answer(phone.take("BYE"), 200)
    edge.run()
    pbx.take("200")
    edge.empty()


@pytest.mark.parametrize("change", [
    lambda flow: flow[:-1] + ("0" if flow[-1] != "0" else "1"), lambda flow: "0" + flow[1:], lambda _: "x",
    lambda _: "0" * 39, lambda _: "0" * 65, lambda flow: flow + flow, lambda flow: flow[:13] + "1" * 13 + flow[26:],
])
def test_a_forged_path_leads_nowhere(change):
    edge = bench()
    phone, pbx = Behind(edge), edge.phone("pbx", PBX)
    path = registered(edge, phone, pbx).header("Path") or ""
    flow = FLOW.fullmatch(path)
    assert flow is not None
    pbx.request("INVITE", "sip:ann@10.0.0.7:5060", call_id="c", routes=[path.replace(flow[1], change(flow[1]))])
    edge.run()
    pbx.take("403")
    assert phone.names() == []
    assert edge.count("forged_tokens") == 1


def test_a_stranger_with_a_true_path_gets_no_further():
    edge = bench()
    phone, pbx, stranger = Behind(edge), edge.phone("pbx", PBX), edge.phone("eve", "192.0.2.66")
    path = registered(edge, phone, pbx).header("Path") or ""
    stranger.request("INVITE", "sip:ann@10.0.0.7:5060", routes=[path])
    edge.run()
    assert stranger.names() == []
    assert phone.names() == []


def test_over_ipv6():
    edge = Bench(decide=lambda request: Verdict(nat=True, targets=(Target("::1", 5070),))
                 if request.source[1] != 5070 else Verdict(), listeners=[("::1", 5060)])
    phone, pbx = (edge.phone(name, "::1", port, ("::1", 5060)) for name, port in (("ann", 31000), ("pbx", 5070)))
    phone.contact = "<sip:ann@[fd00::7]>"
    register = registered(edge, phone, pbx)
    path = register.header("Path") or ""
    assert re.fullmatch(r"<sip:\[::1\]:5060;lr;f=[0-9a-v]{65}>", path)
    pbx.request("INVITE", "sip:ann@[fd00::7]", call_id="c", routes=[path])
    edge.run()
    phone.take("INVITE")


class TestKeepalive:
    def answer(self, *contacts: str, expires: str = "") -> bytes:
        headers = [("Via", "SIP/2.0/UDP 127.0.0.1;branch=z9hG4bKx"), ("From", "<sip:a@b>;tag=1"),
                   ("To", "<sip:a@b>;tag=2"), ("Call-ID", "c"), ("CSeq", "1 REGISTER"),
                   *(("Contact", one) for one in contacts), *([("Expires", expires)] if expires else [])]
        return build("SIP/2.0 200 OK", headers)

    def test_whoever_has_registered_is_sent_an_empty_packet_until_it_is_over(self):
        edge = bench()
        edge.proxy.flows = Flows(25_000)
        phone, pbx = Behind(edge), edge.phone("pbx", PBX)
        registered(edge, phone, pbx, expires=60)
        sent = []
        for _ in range(90):
            edge.run(1000)
            edge.proxy.advance(edge.link.now)
            for one in edge.proxy.flows.due(edge.link.now):
                edge.proxy.keep_alive(*one)
            edge.run()
            sent += [(packet.data, packet.at // 1000) for packet in phone.port.inbox]
            phone.port.inbox.clear()
        assert [data for data, _ in sent] == [b"\r\n\r\n"] * 2
        assert len(edge.proxy.flows) == 0

    def test_a_refusal_and_a_deregistration_keep_nothing(self):
        edge = bench()
        edge.proxy.flows = Flows(25_000)
        phone, pbx = Behind(edge), edge.phone("pbx", PBX)
        registered(edge, phone, pbx)
        assert len(edge.proxy.flows) == 1
        phone.request("REGISTER", "sip:pbx.example", call_id="r", cseq=2)
        edge.run()
        pbx.answer(pbx.take("REGISTER"), 403)
        edge.run()
        assert len(edge.proxy.flows) == 1
        phone.request("REGISTER", "sip:pbx.example", call_id="r", cseq=3)
        edge.run()
        pbx.answer(pbx.take("REGISTER"), 200)
        edge.run()
        assert len(edge.proxy.flows) == 0

    @pytest.mark.parametrize(("contacts", "expires", "seconds"), [
        (["<sip:a@b>;expires=10"], "", 10), (["<sip:a@b>"], "20", 20), (["<sip:a@b>"], "", 3600),
        (["<sip:a@b>;expires=10", "<sip:c@d>;expires=30"], "", 30), ([], "20", 0), (["<sip:a@b>;expires=0"], "", 0),
        ([f"<sip:a@b>;expires={'9' * 40}"], "", 3600), (["<sip:a@b>;expires=9999999"], "", 86400),
    ])
    def test_how_long_it_is_kept(self, contacts, expires, seconds):
        flows = Flows(1)
        flows.note(0, "192.0.2.1", 5060, self.answer(*contacts, expires=expires), 0)
        assert len(flows) == (seconds > 0)
        if seconds:
            assert list(flows.due(1000 * seconds - 1)) == [(0, "192.0.2.1", 5060)]
            assert list(flows.due(1000 * seconds + 10)) == []

    def test_they_are_bounded_and_take_turns(self):
        flows = Flows(10, most=3000)
        for number in range(3100):
            flows.note(0, f"10.0.{number >> 8}.{number & 255}", 5060, self.answer("<sip:a@b>"), number // 100)
        assert len(flows) == 3000
        assert len(list(flows.due(1000))) == AT_ONCE
        assert len(list(flows.due(1000))) == 1000
        assert list(flows.due(1000)) == []
