"""Sections 2, 3, 5 and 7 of transfers.md on wire bytes: what reaches the caller's server by REFER and a target by
INVITE, and who hears of which failure."""
import pytest

from proxy.config import Action, ActionHeader, Extractor
from proxy.events import AskExtractors, AskRequests, Extracted
from sipcore.media.ports import PortPool
from tests.anchor.bridges import Table
from tests.endpoints import Phone
from tests.media.stage import HOST

from .referring import BY_REFER, agent_refers, blind, both_end, referred, sipfrag_of, started
from .scene import AGENT, BLIND, CONFIG, ROUTE, RUN_BLIND, TARGET, Scene, notify, sdp
from .stage import Stage

CUSTOM = CONFIG.replace('name = "agents"\n', 'name = "agents"\ncustom_telephony = "pbx"\n')
WITH_TLS = CONFIG.replace("[[group]]", """\
[[listener]]
name = "tls"
bind = "tls:127.0.0.1:5061"
tls = ["edge"]
[[tls]]
name = "edge"
certificate = "edge.pem"
key = "edge.key"
[[group]]""", 1)
CARRIER = '[[upstream]]\nname = "carrier"\ntargets = [{address = "127.0.0.2:5060"}]\n'
TEMPLATE = CONFIG.replace('name = "pbx"\n', 'name = "pbx"\nuri = "sip:{user}@{host}"\n')


def version_of(body: bytes) -> int:
    """The version in o= (RFC 4566 5.2)."""
    return int(body.split(b"\r\n")[1].split()[2])


def close(scene, one):
    one.send("BYE")
    scene.run()
    for phone in (scene.agent, scene.target):
        for received in phone.received():
            if received.name == "BYE":
                phone.answer(received, 200)
    scene.run()


class TestSection2:
    @pytest.mark.parametrize("target", [
        "sip:user@192.0.2.30", "sip:user@domain.example", "sip:user@192.0.2.30:5090", "sip:+1234567890@192.0.2.30"])
    def test_formats_by_refer(self, target):
        scene = Scene()
        one, _ = scene.up()
        assert scene.start(blind(targets=(target,))).status == 202
        assert scene.caller.take("REFER").header("Refer-To") == f"<{target}>"
        close(scene, one)
        scene.over()

    @pytest.mark.parametrize(("target", "uri"), [
        (f"sip:user@{TARGET}", f"sip:user@{TARGET}"), (f"sip:user@{TARGET}:5060", f"sip:user@{TARGET}:5060"),
        (f"sip:+1234567890@{TARGET}", f"sip:+1234567890@{TARGET}")])
    def test_formats_by_invite(self, target, uri):
        with Stage() as stage:
            one, _ = stage.up()
            assert stage.start(stage.warm(targets=(target,))).status == 202
            assert stage.target.take("INVITE").message.uri == uri
            close(stage, one)

    @pytest.mark.parametrize("mode", ["blind", "warm"])
    def test_sips_is_refused_before_a_packet_leaves(self, mode):
        with Stage() as stage:
            one, _ = stage.up()
            reply = stage.start(Action(name="given", mode=mode, targets=("sips:user@192.0.2.30",)))
            assert reply.status == 422
            assert "TLS" in reply.error
            assert (stage.caller.names(), stage.target.names()) == ([], [])
            close(stage, one)

    def test_sips_by_refer_is_told_as_it_is(self):
        scene = Scene(base=WITH_TLS)
        one, _ = scene.up()
        assert scene.start(blind(targets=("sips:user@192.0.2.30",))).status == 202
        refer = scene.caller.take("REFER")
        assert refer.header("Refer-To") == "<sips:user@192.0.2.30>"
        close(scene, one)

    def test_sips_by_invite_goes_by_tls_and_never_in_another_way(self):
        with Stage(base=WITH_TLS, table=Table(pools_of=((0,), (0,)))) as stage:
            secure = Phone(stage.link, "2003", TARGET, 5061)
            one, _ = stage.up()
            assert stage.start(stage.warm(targets=(f"sips:user@{TARGET}",))).status == 202
            invite = secure.take("INVITE")
            assert invite.packet.source == ("127.0.0.1", 5061)
            assert invite.message.uri == f"sips:user@{TARGET}"
            assert invite.headers("Via")[0].startswith("SIP/2.0/TLS 127.0.0.1:5061;")
            assert (invite.header("Contact") or "").startswith("<sips:127.0.0.1:5061")
            # No connection comes about: it fails, and nothing goes by UDP.
            stage.proxy.unreachable(invite.data, stage.link.now)
            stage.run()
            record = stage.services.transfer()
            assert (record.state, record.status, record.fell_back) == ("failed", 503, "return")
            assert (stage.target.names(), secure.names(), stage.call.state) == ([], [], "up")
            close(stage, one)

    def test_raw_with_custom_telephony_becomes_a_uri_of_that_upstream(self):
        with Stage(base=CUSTOM) as stage:
            one, _ = stage.up()
            assert stage.start(stage.warm(targets=("internal-ext-123",))).status == 202
            assert stage.target.take("INVITE").message.uri == f"sip:internal-ext-123@{TARGET}:5060"
            close(stage, one)
        scene = Scene(base=CUSTOM)
        one, _ = scene.up()
        scene.start(blind(targets=("internal-ext-123",)))
        assert scene.caller.take("REFER").header("Refer-To") == f"<sip:internal-ext-123@{TARGET}:5060>"
        close(scene, one)

    def test_raw_anywhere_else_is_refused_with_a_clear_error(self):
        scene = Scene()
        one, _ = scene.up()
        reply = scene.start(blind(targets=("internal-ext-123",)))
        assert reply.status == 422
        assert "internal-ext-123" in reply.error
        assert scene.caller.names() == []
        close(scene, one)
        scene.over()

    def test_tel_becomes_what_the_upstreams_template_says(self):
        with Stage(base=TEMPLATE) as stage:
            one, _ = stage.up()
            stage.start(stage.warm(targets=("tel:+1234567890",), upstream="pbx"))
            assert stage.target.take("INVITE").message.uri == f"sip:+1234567890@{TARGET}:5060"
            close(stage, one)


    @pytest.mark.parametrize(("upstream", "told"), [
        (CARRIER, "<sip:+1234567890@127.0.0.2:5060>"), (CARRIER + 'uri = "sip:00{user}@{host}"\n',
                                                        "<sip:00+1234567890@127.0.0.2:5060>"),
        (CARRIER + 'uri = "tel:{user}"\n', "<tel:+1234567890>"), ("", "<tel:+1234567890>")])
    def test_tel_by_refer_is_what_the_callers_server_understands(self, upstream, told):
        scene = Scene(base=CONFIG + upstream)
        one, _ = scene.up()
        assert scene.start(blind(targets=("tel:+1234567890",))).status == 202
        assert scene.caller.take("REFER").header("Refer-To") == told
        close(scene, one)

    def test_a_tel_uri_by_refer_takes_no_headers(self):
        """RFC 3966 3."""
        scene = Scene(base=CONFIG + CARRIER + 'uri = "tel:{user}"\nrefer_headers = ["refer-to"]\n')
        one, _ = scene.up()
        action = blind(targets=("tel:+1234567890",), headers=(ActionHeader(name="X-A", value="1"),))
        assert scene.start(action).status == 202
        assert scene.caller.take("REFER").header("Refer-To") == "<tel:+1234567890>"
        close(scene, one)


class TestSection3:
    def test_the_pre_call_webhook_is_asked_first_and_its_answer_is_a_variable(self):
        request = '[[request]]\nname = "crm"\nurl = "http://127.0.0.1:9/"\n'
        scene = Scene(f'{ROUTE}precall = "crm"\n{request}')
        scene.caller.request("INVITE", "sip:bot@127.0.0.1", call_id="call-9")
        scene.run()
        # Asked before it is routed.
        assert scene.agent.names() == []
        assert scene.services.answer(
            AskRequests, values={"results": {"data": {"name": "Ann"}}}).names == ["crm"]
        scene.run()
        invite = scene.agent.take("INVITE")
        scene.agent.answer(invite, 200)
        scene.run()
        one = scene.caller.caller_dialog(scene.caller.take("100", "200"))
        one.send("ACK")
        scene.run()
        scene.agent.take("ACK")
        scene.start(blind(headers=(ActionHeader(name="X-Name", value="{results.data.name}"),)))
        assert scene.caller.take("REFER").header("X-Name") == "Ann"
        close(scene, one)
        scene.over()

    def test_the_transfer_waits_for_the_action_and_its_variables_are_there(self):
        text = '[[request]]\nname = "price"\nurl = "http://127.0.0.1:9/"\n'
        with Stage(text) as stage:
            one, _ = stage.up(headers=[("X-Tier", "gold")])
            action = stage.warm(before=("price",), headers=(
                ActionHeader(name="X-Price", value="{results.data.data.price} EUR"),
                ActionHeader(name="X-Tier", value="{X-Tier}/{flow}"),
                ActionHeader(name="X-Call", value="{call_id} {from_phone_number} {to_phone_number}"),
                ActionHeader(name="X-Absent", value="{nobody}"),
                ActionHeader(name="X-Empty", value="a{nobody}", missing="empty")))
            assert stage.start(action, flow="yes").status == 202
            assert stage.target.names() == []
            stage.services.answer(AskRequests, values={"results": {"data": {"data": {"price": 12.5}}}})
            stage.run()
            invite = stage.target.take("INVITE")
            assert invite.header("X-Price") == "12.5 EUR"
            assert invite.header("X-Tier") == "gold/yes"
            assert invite.header("X-Call") == "call-1 +4930123 bot"
            assert invite.header("X-Absent") is None
            assert invite.header("X-Empty") == "a"
            sent = {header.name: (header.where, header.why) for header in stage.transfer.headers}
            assert sent["X-Absent"] == ("left out", "no {nobody}")
            close(stage, one)

    @pytest.mark.parametrize("places", ['"header"', '"refer-to"', '"user-to-user"', '"header", "refer-to"'])
    def test_headers_go_where_the_peer_of_a_refer_reads_them(self, places):
        base = CONFIG + ('[[upstream]]\nname = "carrier"\ntargets = [{address = "127.0.0.2:5060"}]\n'
                         f"refer_headers = [{places}]\n")
        scene = Scene(base=base)
        one, _ = scene.up()
        header = ActionHeader(name="X-Plan", value="a b+c@d;e=%3A")
        assert scene.start(blind(headers=(header,))).status == 202
        refer = scene.caller.take("REFER")
        value = refer.header("Refer-To") or ""
        assert (refer.header("X-Plan") == header.value) == ('"header"' in places)
        # Escaped exactly once (section 7, row 11).
        assert ("?X-Plan=a%20b%2Bc%40d%3Be%3D%253A" in value) == ('"refer-to"' in places)
        assert ("User-to-User=" in value) == ('"user-to-user"' in places)
        close(scene, one)

    @pytest.mark.parametrize("value", ["a\r\nX-Evil: 1", "a\nX-Evil: 1", "a\rX-Evil: 1", "a\0b", "\r\n\r\nINVITE x"])
    def test_no_content_of_a_variable_or_an_answer_adds_a_header(self, value):
        with Stage() as stage:
            one, _ = stage.up()
            action = stage.warm(headers=(ActionHeader(name="X-Flow", value="f {flow}"),),
                                extractors=(Extractor(header="X-Mind", prompt="?"),))
            assert stage.start(action, flow=value).status == 202
            stage.services.answer(AskExtractors, extracted=[
                Extracted(name="X-Mind", value=value, source="model", ms=1)])
            stage.run()
            invite = stage.target.take("INVITE")
            assert invite.header("X-Flow") is None
            assert not any(line.startswith((b"X-Evil", b"INVITE x")) for line in invite.data.splitlines()[1:])
            close(stage, one)

    def test_the_example_with_two_extractors_arrives(self):
        with Stage() as stage:
            one, _ = stage.up()
            stage.start(stage.warm(extractors=(
                Extractor(header="X-Customer-Intent", prompt="Classify", allowed=("make a claim", "cancel policy")),
                Extractor(header="X-Caller-Name", prompt="What is the caller's name?"))))
            stage.services.answer(AskExtractors, extracted=[
                Extracted(name="X-Customer-Intent", value="make a claim", source="model", ms=1),
                Extracted(name="X-Caller-Name", value="Jürgen", source="model", ms=1)])
            stage.run()
            invite = stage.target.take("INVITE")
            assert invite.header("X-Customer-Intent") == "make a claim"
            assert "X-Caller-Name: Jürgen\r\n".encode() in invite.data
            close(stage, one)


class TestSection5Blind:
    @pytest.mark.parametrize(("status", "words"), [
        (503, "503"), (408, "408"), (404, "404"), (500, "500"), (603, "603")])
    def test_unreachable_no_answer_and_refusals_end_the_call(self, status, words):
        scene, one, _, _ = started()
        notify(one, status, "As It Is")
        scene.run()
        both_end(scene)
        record = scene.services.transfer()
        assert (record.state, record.status, record.reason, record.fell_back) == ("failed", status, "As It Is", "end")
        assert words in record.verdict
        scene.over()

    def test_the_target_is_the_callers_servers_business_entirely(self):
        scene, one, _, _ = started()
        notify(one, 200, "OK")
        scene.run()
        assert (scene.target.names(), scene.second.names()) == ([], [])
        both_end(scene)
        scene.over()


class TestSection5Warm:
    def test_the_agent_may_retry_after_each_failure(self):
        with Stage() as stage:
            one, _ = stage.up()
            for status in (503, 486, 604):
                assert stage.start(stage.warm()).status == 202
                stage.target.answer(stage.target.take("INVITE"), status)
                stage.run()
                assert stage.target.names()[-1:] == ["ACK"]
                record = stage.services.transfer()
                assert (record.state, record.status, record.fell_back) == ("failed", status, "return")
                assert (stage.caller.names(), stage.agent.names(), stage.call.state) == ([], [], "up")
            close(stage, one)

    def test_no_answer_within_the_timeout_leaves_the_agents_call(self):
        with Stage() as stage:
            one, _ = stage.up()
            stage.start(stage.warm(ring_timeout=5.0))
            invite = stage.target.take("INVITE")
            stage.target.answer(invite, 180)
            stage.run(5100)
            stage.target.take("CANCEL")
            stage.target.answer(invite, 487)
            stage.run()
            record = stage.services.transfer()
            assert (record.state, record.status) == ("failed", 408)
            assert "did not answer within 5 s" in record.verdict
            assert (stage.caller.names(), stage.agent.names()) == ([], [])
            close(stage, one)


class TestSection7:
    @pytest.mark.parametrize("status", [200, 202, 204])
    def test_row_6_any_2xx_to_refer_is_accepted(self, status):
        scene = Scene()
        one, _ = scene.up()
        scene.start(blind())
        scene.caller.answer(scene.caller.take("REFER"), status)
        scene.run()
        assert scene.transfer.status.state == "accepted"
        notify(one, 200, "OK")
        scene.run()
        both_end(scene)
        assert scene.services.transfer().state == "completed"
        scene.over()

    def test_row_17_the_version_of_o_rises_with_each_change(self):
        with Stage() as stage:
            one, _ = stage.up(answer=sdp(AGENT, payloads="8 101"))
            answered = stage.call.caller.local_sdp
            stage.start(stage.warm())
            invite = stage.target.take("INVITE")
            stage.pick_up(invite, sdp(TARGET, payloads="0 101"))
            asked = [(phone, message) for phone in (stage.caller, stage.target) for message in phone.received()
                     if message.name == "INVITE"]
            ((phone, again),) = asked
            before = answered if phone is stage.caller else invite.message.body
            assert version_of(again.message.body) == version_of(before) + 1
            stage.start(stage.warm())
            close(stage, one)

    def test_row_5_the_agents_bye_waits_for_the_answer_to_the_final_notify(self):
        scene = Scene(BY_REFER)
        one, other = scene.up()
        agent_refers(scene, other)
        scene.agent.answer(scene.agent.received()[1], 200)
        referred(scene)
        notify(one, 200, "OK")
        scene.run()
        final = scene.agent.take("NOTIFY")
        assert [message.name for message in scene.caller.received()] == ["200", "BYE"]
        scene.run(400)
        assert scene.agent.names() == []
        scene.agent.answer(final, 200)
        scene.run()
        scene.agent.answer(scene.agent.take("BYE"), 200)
        scene.over()

    @pytest.mark.parametrize("user", ["a+b", "a%40b", "a%3Ab", "J%C3%BCrgen", "a%20b", "a;isub=1", "%2520"])
    def test_row_11_escapes_stay_as_they_are_exactly_once(self, user):
        scene = Scene(ROUTE + BLIND + RUN_BLIND)
        one, other = scene.up()
        agent_refers(scene, other, f"<sip:{user}@192.0.2.30?X-Note=a%20b%252B%C3%BC>",)
        refer = scene.caller.take("REFER")
        assert refer.header("Refer-To") == f"<sip:{user}@192.0.2.30>"
        assert refer.header("X-Note") == "a b%2Bü"
        close(scene, one)

    def test_row_19_what_comes_in_order_leaves_in_order(self):
        forward = '[[refer]]\ngroups = ["agents"]\naction = "forward"\n'
        scene = Scene(ROUTE + forward)
        one, other = scene.up()
        agent_refers(scene, other)
        refer = scene.caller.take("REFER")
        # All at once, as a fast server does.
        scene.caller.answer(refer, 202)
        notify(one, 100, "Trying")
        notify(one, 200, "OK")
        scene.run()
        told = []
        for _ in range(3):
            for message in scene.agent.received():
                told.append(message.name if message.name != "NOTIFY" else sipfrag_of(message))
                if message.name == "NOTIFY":
                    scene.agent.answer(message, 200)
            scene.run()
        assert told == ["202", "SIP/2.0 100 Trying", "SIP/2.0 200 OK"]
        close(scene, one)

    def test_row_12_an_oversize_request_changes_nothing_for_later_ones(self):
        with Stage() as stage:
            one, _ = stage.up()
            assert stage.start(stage.warm(headers=(ActionHeader(name="X-Big", value="x" * 1500),))).status == 202
            big = next(message for message in stage.target.received() if message.name == "INVITE")
            assert big.message.headers("Via") == [big.header("Via")]
            # Over its budget: compact names first, and the record says what was done.
            assert b"\r\nv: SIP/2.0/UDP " in big.data or b"\r\nf: " in big.data
            assert " of " in stage.transfer.budget
            stage.target.answer(big, 486)
            stage.run()
            stage.target.take("ACK")
            stage.start(stage.warm())
            small = stage.target.take("INVITE")
            assert b"\r\nVia: SIP/2.0/UDP " in small.data
            assert b"\r\nFrom: " in small.data
            close(stage, one)


def test_a_failure_of_the_edge_s_own_has_its_status_once():
    """On the wire too: the NOTIFY's status line."""
    warm = f'[[transfer]]\nname = "desk"\nmode = "warm"\ntargets = ["sip:2001@{TARGET}"]\n'
    run = '[[refer]]\ngroups = ["agents"]\naction = "run"\ntransfer = "desk"\n'
    with Stage(warm + run, table=Table(PortPool(HOST, 20000, 20003, quarantine=0))) as stage:
        one, other = stage.up()
        agent_refers(stage, other, f"<sip:2001@{TARGET}>")
        stage.agent.answer(stage.agent.received()[-1], 200)
        stage.run()
        final = stage.agent.take("NOTIFY")
        assert sipfrag_of(final) == "SIP/2.0 503 no media port is free"
        assert stage.services.transfer().reason == "no media port is free"
        stage.agent.answer(final, 200)
        close(stage, one)
