"""transfers.md section 4 on controlled calls: what leaves is measured on the wire, and the record has the budget."""
import pytest

from proxy.config import Action, ActionHeader
from proxy.policy.references import NOBODY, Keeper
from sipcore.stack.pathlimits import PathLimits
from tests.policy.sample import REFERENCE, Shelf

from .scene import CONFIG, ROUTE, Scene, notify, sdp
from .stage import Stage

LONG = "x" * 300
SET = ('[[headers]]\nname = "set"\non = ["INVITE"]\nadd = [{name = "X-Low", value = "' + LONG
       + '"}, {name = "X-High", value = "h", priority = 9}]\n')
PBX = 'name = "pbx"\n'
AGENT = 'name = "agent"\n'
BLIND = Action(name="blind", mode="blind", upstream="pbx", targets=("sip:2001@127.0.0.4",), headers=(
    ActionHeader(name="X-Low", value=LONG), ActionHeader(name="X-High", value="{call_id}", priority=9)))


class Noting(Scene):
    """What the stack has to say for the log is kept, as it is about sizes here."""

    notes: tuple[str, ...] = ()

    def run(self, ms: int = 0) -> None:
        self.link.run(ms)
        self.proxy.advance(self.link.now)
        self.link.run()
        self.notes += tuple(self.proxy.take_troubles())


def scene(upstream: str, more: str, text: str = ROUTE, keeper: Keeper = NOBODY) -> Noting:
    return Noting(text, base=CONFIG.replace(upstream, upstream + more), keeper=keeper)


class TestInviteToTheAgent:
    TEXT = SET + ROUTE + 'headers = ["set"]\n'

    def test_within_its_budget_it_goes_as_it_is(self):
        invite = scene(AGENT, "mtu = 4000\n", self.TEXT).invite()
        assert (invite.header("X-Low"), invite.header("X-High")) == (LONG, "h")

    def test_over_it_the_route_s_headers_are_dropped_lowest_first(self):
        edge = scene(AGENT, 'mtu = 1000\nsize_policy = ["drop", "refuse"]\n', self.TEXT)
        invite = edge.invite()
        assert (invite.header("X-Low"), invite.header("X-High")) == (None, "h")
        assert invite.message.size <= 800
        assert edge.policy.counters == {"size.over": 1, "size.drop": 1}

    def test_a_narrow_way_counts(self):
        edge = scene(AGENT, 'mtu = 4000\nsize_policy = ["drop", "refuse"]\n', self.TEXT)
        edge.proxy.paths = PathLimits(lambda host, port: 800 if host == "127.0.0.3" else 0)
        invite = edge.invite()
        assert (invite.header("X-Low"), invite.header("X-High")) == (None, "h")
        assert invite.message.size <= 800

    def test_what_cannot_fit_is_refused_with_513(self):
        edge = scene(AGENT, 'mtu = 400\nsize_policy = ["drop", "refuse"]\n', self.TEXT)
        edge.caller.request("INVITE", "sip:bot@127.0.0.1", call_id="c", body=sdp("127.0.0.2"),
                            headers=[("Content-Type", "application/sdp")])
        edge.run()
        assert edge.agent.names() == []
        assert edge.caller.names() == ["100", "513"]
        assert edge.notes[0].startswith("size ")
        assert ": dropped X-Low, X-High, refused; now " in edge.notes[0]

    def test_what_is_sent_over_its_budget_is_said(self):
        edge = scene(AGENT, 'mtu = 400\nsize_policy = ["compact", "fragment"]\n', self.TEXT)
        invite = edge.invite()
        assert invite.message.data.startswith(b"INVITE ")
        assert b"\r\nv: SIP/2.0/UDP" in invite.message.data
        (note,) = edge.notes
        assert note.endswith(f"compact header names, sent in fragments; now {invite.message.size:,}")


class TestRefer:
    def refer(self, more: str):
        edge = scene(PBX, 'refer_headers = ["header", "refer-to"]\n' + more)
        one, _ = edge.up()
        reply = edge.start(BLIND)
        assert reply.status in (200, 202), reply.error
        return edge, one

    def test_the_record_has_the_exact_budget(self):
        edge, one = self.refer("mtu = 4000\n")
        refer = edge.caller.take("REFER")
        edge.caller.answer(refer, 202)
        notify(one, 200)
        edge.run()
        record = edge.services.transfer()
        assert record.budget == f"{refer.message.size:,} of 3,800 bytes"
        assert [(one.name, one.where) for one in record.headers] == [
            ("X-High", "header"), ("X-High", "refer-to"), ("X-Low", "header"), ("X-Low", "refer-to")]

    def test_dropped_headers_leave_both_places_and_stand_in_the_record(self):
        edge, one = self.refer('mtu = 1000\nsize_policy = ["drop", "refuse"]\n')
        refer = edge.caller.take("REFER")
        assert (refer.header("X-Low"), refer.header("X-High")) == (None, "call-1")
        assert refer.header("Refer-To") == "<sip:2001@127.0.0.4?X-High=call-1>"
        assert refer.message.size <= 800
        edge.caller.answer(refer, 202)
        notify(one, 200)
        edge.run()
        record = edge.services.transfer()
        assert record.headers[-1].why == "dropped for the size"
        assert [step.what for step in record.steps].count("size") == 1

    def test_what_cannot_fit_ends_the_transfer_before_anything_leaves(self):
        edge, _ = self.refer('mtu = 300\nsize_policy = ["drop", "refuse"]\n')
        assert "REFER" not in edge.caller.names()
        record = edge.services.transfer()
        assert (record.state, record.status) == ("failed", 513)
        assert record.budget.endswith(" of 100 bytes")


@pytest.mark.parametrize(("mtu", "compact"), [(4000, False), (700, True)])
def test_a_refer_that_is_passed_on_is_checked_too(mtu, compact):
    base = CONFIG.replace("[[upstream]]", f'[[upstream]]\nname = "request-uri"\nmtu = {mtu}\n[[upstream]]', 1)
    edge = Noting(ROUTE + '[[refer]]\ngroups = ["agents"]\n', base=base)
    _, other = edge.up()
    other.send("REFER", headers=[("Refer-To", "<sip:2001@127.0.0.4>"), ("X-Long", LONG)])
    edge.run()
    refer = edge.caller.take("REFER")
    assert (b"\r\nr: <sip:2001@127.0.0.4>" in refer.message.data) == compact


class TestInsideADialog:
    """What a caller's re-INVITE or UPDATE becomes is checked by the upstream of the leg that it goes to."""

    def asked(self, method: str, mtu: int, policy: str = '["compact", "fragment"]', more: str = "") -> Noting:
        edge = scene(AGENT, f'mtu = {mtu}\nsize_policy = {policy}\n', ROUTE + more)
        edge.agent.answer(edge.invite(), 200, body=sdp("127.0.0.3"), headers=[
            ("Content-Type", "application/sdp"), ("Allow", "INVITE, ACK, BYE, UPDATE")])
        edge.run()
        edge.agent.take("ACK")
        one = edge.caller.caller_dialog(edge.caller.take("100", "200"))
        one.send("ACK")
        edge.run()
        edge.notes = ()
        edge.policy.counters.clear()
        one.send(method, body=sdp("127.0.0.2", version=2) + b"a=" + b"x" * 700 + b"\r\n",
                 headers=[("Content-Type", "application/sdp")])
        edge.run()
        return edge

    @pytest.mark.parametrize("method", ["INVITE", "UPDATE"])
    def test_over_it(self, method):
        edge = self.asked(method, 1000)
        request = edge.agent.take(method)
        assert b"\r\nv: SIP/2.0/UDP" in request.data
        (note,) = edge.notes
        assert note.endswith(
            f" of 800 bytes (agent): compact header names, sent in fragments; now {request.message.size:,}")
        assert edge.policy.counters == {"size.over": 1, "size.compact": 1, "size.fragment": 1}

    @pytest.mark.parametrize("method", ["INVITE", "UPDATE"])
    def test_within_it(self, method):
        edge = self.asked(method, 4000)
        assert edge.agent.take(method).headers("Via")[0].startswith("SIP/2.0/UDP ")
        assert (edge.notes, dict(edge.policy.counters)) == ((), {})

    @pytest.mark.parametrize("method", ["INVITE", "UPDATE"])
    def test_what_cannot_fit_is_refused_and_the_call_goes_on(self, method):
        edge = self.asked(method, 1000, '["refuse"]')
        edge.run(100)
        assert edge.agent.names() == []
        assert edge.caller.names()[-1] == "513"
        assert edge.call.state == "up"

    def test_without_a_connection_by_tcp_it_goes_by_the_next_step(self):
        edge = Noting(ROUTE, base=WITH_TCP.replace(
            AGENT, AGENT + 'mtu = 1000\nsize_policy = ["tcp", "compact", "fragment"]\n'))
        one, _ = edge.up()
        one.send("INVITE", body=sdp("127.0.0.2", version=2) + b"a=" + b"x" * 700 + b"\r\n",
                 headers=[("Content-Type", "application/sdp")])
        edge.run()
        first = edge.agent.take("INVITE")
        assert first.packet.source == TCP
        edge.proxy.unreachable(first.data, edge.link.now)
        edge.run()
        second = edge.agent.take("INVITE")
        assert second.packet.source == UDP
        assert second.message.cseq[0] == first.message.cseq[0] + 1
        edge.agent.answer(second, 200, body=sdp("127.0.0.3", version=2), headers=[("Content-Type", "application/sdp")])
        edge.run()
        assert edge.agent.take("ACK").packet.source == UDP
        assert edge.caller.names()[-1] == "200"


class TestByReference:
    STEPS = 'mtu = 1000\nsize_policy = ["reference", "refuse"]\n'

    def test_the_invite_to_the_agent(self):
        shelf = Shelf()
        edge = scene(AGENT, self.STEPS, REFERENCE + SET + ROUTE + 'headers = ["set"]\n', shelf)
        invite = edge.invite()
        assert (invite.header("X-Low"), invite.header("X-High")) == (None, "h")
        assert shelf.kept == {invite.header("X-Context-Ref"): {"X-High": "h", "X-Low": LONG}}
        assert invite.message.size <= 800
        assert edge.policy.counters == {"size.over": 1, "size.reference": 1}

    def test_one_that_crosses_from_the_caller_gives_way_to_ours(self):
        shelf = Shelf()
        edge = scene(AGENT, self.STEPS, REFERENCE + SET + ROUTE + 'headers = ["set"]\n', shelf)
        invite = edge.invite(headers=[("X-Context-Ref", "forged")])
        assert [invite.headers("X-Context-Ref")] == [list(shelf.kept)]

    def test_a_blind_transfer_inside_refer_to_and_what_the_record_says_of_it(self):
        shelf = Shelf()
        steps = 'refer_headers = ["refer-to"]\n' + self.STEPS.replace("1000", "900")
        edge = scene(PBX, steps, ROUTE + REFERENCE, shelf)
        one, _ = edge.up()
        edge.start(BLIND)
        refer = edge.caller.take("REFER")
        ((token, kept),) = shelf.kept.items()
        assert refer.header("Refer-To") == f"<sip:2001@127.0.0.4?X-Context-Ref={token}&X-High=call-1>"
        assert kept == {"X-High": "call-1", "X-Low": LONG}
        assert refer.message.size <= 700
        edge.caller.answer(refer, 202)
        notify(one, 200)
        edge.run()
        record = edge.services.transfer()
        assert [(one.name, one.where) for one in record.headers] == [
            ("X-Context-Ref", "refer-to"), ("X-High", "refer-to"), ("X-Low", "reference")]
        (step,) = [step for step in record.steps if step.what == "size"]
        assert step.detail == f"{record.budget}: X-Low by reference; now {refer.message.size:,}"
        assert token not in str(edge.services.said)

    def test_a_warm_transfer(self):
        shelf = Shelf()
        base = CONFIG.replace(PBX, PBX + self.STEPS.replace("1000", "1200"))
        headers = (ActionHeader(name="X-Low", value=LONG), ActionHeader(name="X-High", value="{plan}", priority=9))
        with Stage(REFERENCE, base, keeper=shelf) as edge:
            one, _, invite = edge.begin(edge.warm(upstream="pbx", headers=headers), plan="gold")
            ((token, kept),) = shelf.kept.items()
            assert (invite.header("X-Context-Ref"), invite.header("X-High"), invite.header("X-Low")) == (
                token, "gold", None)
            assert kept == {"X-High": "gold", "X-Low": LONG}
            assert invite.message.size <= 1000
            edge.target.answer(invite, 486)
            edge.run()
            edge.hang_up(one, edge.agent)

    def test_where_nothing_is_kept_the_next_step_is_taken(self):
        edge = scene(AGENT, self.STEPS.replace('"refuse"', '"drop", "refuse"'),
                     REFERENCE + SET + ROUTE + 'headers = ["set"]\n', Shelf("full"))
        invite = edge.invite()
        assert (invite.header("X-Context-Ref"), invite.header("X-Low"), invite.header("X-High")) == (None, None, "h")
        assert edge.policy.counters == {"size.over": 1, "size.reference_failed": 1, "size.drop": 1}


WITH_TCP = CONFIG.replace("[[group]]", '[[listener]]\nname = "tcp"\nbind = "tcp:127.0.0.1:5062"\n[[group]]', 1)
TCP, UDP = ("127.0.0.1", 5062), ("127.0.0.1", 5060)


class TestByTcp:
    """Section 7, row 12, for requests of the edge's own. What goes by TCP leaves from a port of its own here."""

    TEXT = SET + ROUTE + 'headers = ["set"]\n'
    STEPS = 'mtu = 1000\nsize_policy = ["tcp", "drop", "refuse"]\n'

    def edge(self, upstream=AGENT, text=TEXT, steps=STEPS):
        return Noting(text, base=WITH_TCP.replace(upstream, upstream + steps))

    def invite(self, edge, **more):
        edge.caller.request("INVITE", "sip:bot@127.0.0.1", call_id="c", body=sdp("127.0.0.2"),
                            headers=[("Content-Type", "application/sdp")])
        edge.run()
        return edge.agent.take("INVITE")

    def test_an_oversize_invite_goes_by_tcp_alone(self):
        edge = self.edge()
        invite = self.invite(edge)
        assert invite.packet.source == TCP
        assert (invite.header("X-Low"), invite.header("X-High")) == (LONG, "h")
        assert invite.headers("Via")[0].startswith("SIP/2.0/TCP 127.0.0.1:5062;branch=z9hG4bK")
        # How the edge is reached in the dialog is as if it had gone by UDP.
        contact = invite.header("Contact") or ""
        assert contact.startswith("<sip:127.0.0.1:5060;t=")
        edge.agent.answer(invite, 200, body=sdp("127.0.0.3"), headers=[("Content-Type", "application/sdp")])
        edge.run()
        ack = edge.agent.take("ACK")
        assert ack.packet.source == UDP
        assert ack.headers("Via")[0].startswith("SIP/2.0/UDP 127.0.0.1:5060;")
        assert edge.policy.counters == {"size.over": 1, "size.tcp": 1}

    def test_ack_to_a_refusal_and_cancel_follow_their_invite(self):
        edge = self.edge()
        invite = self.invite(edge)
        edge.agent.answer(invite, 180)
        edge.run()
        edge.caller.take("100", "180")
        edge.caller.cancel(edge.link.sent[0].data)
        edge.run()
        cancel = edge.agent.take("CANCEL")
        assert (cancel.packet.source, cancel.headers("Via")) == (TCP, invite.headers("Via"))
        edge.agent.answer(invite, 487)
        edge.run()
        ack = edge.agent.take("ACK")
        assert (ack.packet.source, ack.headers("Via")) == (TCP, invite.headers("Via"))

    def test_without_a_connection_it_goes_by_the_next_step(self):
        edge = self.edge()
        first = self.invite(edge)
        edge.proxy.unreachable(first.data, edge.link.now)
        edge.run()
        second = edge.agent.take("INVITE")
        assert second.packet.source == UDP
        assert second.headers("Via")[0].startswith("SIP/2.0/UDP ")
        assert second.headers("Via") != first.headers("Via")
        assert second.message.call_id != first.message.call_id
        assert (second.header("X-Low"), second.header("X-High")) == (None, "h")
        assert edge.policy.counters["size.tcp_failed"] == 1
        edge.proxy.unreachable(first.data, edge.link.now)
        edge.run()
        assert edge.agent.names() == []

    def test_a_refer_goes_by_tcp_and_without_a_connection_by_the_next_step(self):
        edge = self.edge(PBX, ROUTE, self.STEPS.replace("1000", "900"))
        edge.up()
        edge.start(BLIND)
        first = edge.caller.take("REFER")
        assert first.packet.source == TCP
        assert (first.header("X-Low"), first.headers("Via")[0][:12]) == (LONG, "SIP/2.0/TCP ")
        edge.proxy.unreachable(first.data, edge.link.now)
        edge.run()
        second = edge.caller.take("REFER")
        assert second.packet.source == UDP
        assert second.header("X-Low") is None
        assert second.message.cseq[0] == first.message.cseq[0] + 1
        edge.caller.answer(second, 202)
        edge.run()
        # And the next request of the dialog is nobody's business of sizes.
        edge.proxy.handler.finish()
        edge.run()
        bye = edge.caller.take("BYE")
        assert bye.packet.source == UDP
