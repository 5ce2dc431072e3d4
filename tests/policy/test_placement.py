"""transfers.md section 3: what is sent where, what is left out and why; section 7 row 10 on wire bytes."""
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.config import Action, ActionHeader, Extractor, Upstream, UserToUser
from proxy.policy.headers import Patterns
from proxy.policy.placement import Plan, Sent, plan_headers
from proxy.policy.refusals import Refused
from proxy.policy.targets import referred
from sipcore.stack.outgoing import Outgoing
from sipcore.wire.message import Message

INTERNAL = Patterns(("X-Internal-*",))


def action(*headers: ActionHeader, extractors: tuple[Extractor, ...] = ()) -> Action:
    return Action(name="a", mode="warm", headers=headers, extractors=extractors)


def header(name: str, value: str, **more) -> ActionHeader:
    return ActionHeader(name=name, value=value, **more)


def plan(one: Action, variables: dict | None = None, extracted: dict | None = None, method: str = "INVITE",
         upstream: Upstream | None = None, **more) -> Plan:
    return plan_headers(one, variables or {}, extracted or {}, upstream or Upstream(name="u"), method,
                        **{"internal": INTERNAL, **more})


def on_wire(made: Plan, uri: str = "sip:2001@192.0.2.7") -> Message:
    """The request that carries a plan, as its receiver reads it."""
    lines = list(made.headers())
    if made.method == "REFER":
        lines.insert(0, ("Refer-To", made.refer_to(uri)))
    out = Outgoing(method=made.method, uri="sip:ann@192.0.2.1", call_id="c", cseq=1, local="<sip:a@192.0.2.2>",
                   local_tag="t", remote="<sip:ann@192.0.2.1>", contact="<sip:192.0.2.2>", headers=tuple(lines))
    return Message(out.render(b"Via: SIP/2.0/UDP 192.0.2.2;branch=z9hG4bKx\r\n"))


def x_headers(message: Message) -> list[tuple[str, str]]:
    return [(name, value) for name, value in message.items() if name.lower().startswith("x-")]


def test_the_example_that_must_work_end_to_end():
    made = plan(action(extractors=(
        Extractor(header="X-Customer-Intent", prompt="Classify the caller's intent",
                  allowed=("make a claim", "billing question")),
        Extractor(header="X-Caller-Name", prompt="What is the caller's name?"))),
        extracted={"X-Customer-Intent": "billing question", "X-Caller-Name": "Jürgen Groß"})
    message = on_wire(made)
    assert message.header("X-Customer-Intent") == "billing question"
    assert message.header("X-Caller-Name") == "Jürgen Groß"
    assert made.sent() == (Sent("X-Customer-Intent", "header"), Sent("X-Caller-Name", "header"))


class TestMissingVariable:
    def test_left_out_and_the_record_says_so(self):
        made = plan(action(header("X-A", "a {name}"), header("X-B", "b")))
        assert x_headers(on_wire(made)) == [("X-B", "b")]
        assert made.sent() == (Sent("X-B", "header"), Sent("X-A", "left out", "no {name}"))

    def test_sent_empty(self):
        made = plan(action(header("X-A", "a {name}", missing="empty"), header("X-B", "{name}", missing="empty")))
        assert x_headers(on_wire(made)) == [("X-A", "a"), ("X-B", "")]

    def test_the_transfer_fails(self):
        with pytest.raises(Refused) as found:
            plan(action(header("X-A", "{results.name}", missing="fail")), {"results": {"name": [1]}})
        assert (found.value.reason, found.value.note) == ("No Value for X-A", "X-A: {results.name} is a list")

    @pytest.mark.parametrize("bad", ["a\r\nVia: x", "a\nb", "a\0", "\u2028", "\ud800", "\x85"])
    def test_a_value_that_may_not_be_sent_is_missing(self, bad):
        one = header("X-A", "{v}")
        assert plan(action(one), {"v": bad}).sent() == (Sent("X-A", "left out", "{v} has a control character"),)
        assert plan(action(header("X-A", "x{v}", missing="empty")), {"v": bad}).headers() == (("X-A", "x"),)
        with pytest.raises(Refused):
            plan(action(header("X-A", "{v}", missing="fail")), {"v": bad})

    def test_an_extractor_without_answer(self):
        made = plan(action(extractors=(Extractor(header="X-A", prompt="p"),)), extracted={"X-A": ""})
        assert made.sent() == (Sent("X-A", "left out", "no answer"),)

    @pytest.mark.parametrize("bad", ["a\nb", "x" * 257])
    def test_an_answer_that_was_not_folded_or_cut_never_leaves(self, bad):
        made = plan(action(extractors=(Extractor(header="X-A", prompt="p"),)), extracted={"X-A": bad})
        assert made.sent() == (Sent("X-A", "left out", "not a header value"),)


class TestPlaces:
    BOTH = action(header("X-A", "one two"), header("X-B", "3", priority=5))

    def test_on_the_invite(self):
        assert x_headers(on_wire(plan(self.BOTH))) == [("X-B", "3"), ("X-A", "one two")]

    def test_on_the_invite_packed(self):
        up = Upstream(name="u", invite_headers=("user-to-user",), user_to_user=UserToUser(packing="json", content="c"))
        message = on_wire(plan(self.BOTH, upstream=up))
        packed, _, parameters = (message.header("User-to-User") or "").partition(";")
        assert json.loads(bytes.fromhex(packed)) == {"X-B": "3", "X-A": "one two"}
        assert parameters == "encoding=hex;content=c"
        assert x_headers(message) == []

    def test_on_the_refer_itself(self):
        message = on_wire(plan(self.BOTH, method="REFER"))
        assert x_headers(message) == [("X-B", "3"), ("X-A", "one two")]
        assert message.header("Refer-To") == "<sip:2001@192.0.2.7>"

    def test_inside_refer_to_escaped_once(self):
        message = on_wire(plan(self.BOTH, method="REFER", upstream=Upstream(name="u", refer_headers=("refer-to",))))
        assert x_headers(message) == []
        assert message.header("Refer-To") == "<sip:2001@192.0.2.7?X-B=3&X-A=one%20two>"

    def test_user_to_user_as_a_refer_to_uri_header(self):
        up = Upstream(name="u", refer_headers=("user-to-user",))
        made = plan(self.BOTH, method="REFER", upstream=up)
        message = on_wire(made)
        assert message.header("User-to-User") is None
        read = referred([message.header("Refer-To") or ""])
        assert read.headers == (("User-to-User", b"X-B=3&X-A=one%20two".hex() + ";encoding=hex"),)
        assert made.sent() == (Sent("X-B", "user-to-user"), Sent("X-A", "user-to-user"))

    def test_all_places_at_once(self):
        up = Upstream(name="u", refer_headers=("header", "refer-to", "user-to-user"),
                      user_to_user=UserToUser(where=("header", "refer-to"), names=("x-b",)))
        made = plan(self.BOTH, method="REFER", upstream=up)
        message = on_wire(made)
        assert x_headers(message) == [("X-B", "3"), ("X-A", "one two")]
        assert message.header("User-to-User") == b"X-B=3".hex() + ";encoding=hex"
        assert {name for name, _ in referred([message.header("Refer-To") or ""]).headers} == {"X-A", "X-B",
                                                                                               "User-to-User"}
        assert [(one.name, one.where) for one in made.sent()] == [
            ("X-B", "header"), ("X-B", "refer-to"), ("X-B", "user-to-user"), ("X-A", "header"), ("X-A", "refer-to")]

    def test_what_has_no_room_in_user_to_user_is_named(self):
        up = Upstream(name="u", invite_headers=("user-to-user",), user_to_user=UserToUser(limit=8))
        made = plan(self.BOTH, upstream=up)
        assert made.sent() == (Sent("X-B", "user-to-user"),
                               Sent("X-A", "left out", "User-to-User has no room or no place for it"))

    def test_headers_join_those_that_a_refer_to_has(self):
        made = plan(self.BOTH, method="REFER", upstream=Upstream(name="u", refer_headers=("refer-to",)))
        assert made.refer_to("sip:b@h?Replaces=a", 1) == "<sip:b@h?Replaces=a&X-B=3>"

    def test_nothing_goes_inside_a_tel_uri(self):
        """RFC 3966 3: it has no headers."""
        up = Upstream(name="u", refer_headers=("refer-to",))
        made = plan(self.BOTH, method="REFER", upstream=up, carried=[("User-to-User", "00")]).towards("tel:+12")
        assert on_wire(made, "tel:+12").header("Refer-To") == "<tel:+12>"
        assert made.sent() == tuple(Sent(name, "left out", "a tel: URI has no headers")
                                    for name in ("X-B", "X-A", "User-to-User"))
        up = Upstream(name="u", refer_headers=("refer-to", "header", "user-to-user"))
        made = plan(self.BOTH, method="REFER", upstream=up).towards("TEL:+12")
        message = on_wire(made, "TEL:+12")
        assert message.header("Refer-To") == "<TEL:+12>"
        assert made.sent() == (Sent("X-B", "header"), Sent("X-A", "header"))

    def test_dropped_ones_are_named(self):
        assert plan(self.BOTH).sent(1) == (Sent("X-B", "header"), Sent("X-A", "left out", "dropped for the size"))
        assert plan(self.BOTH).headers(0) == ()


class TestRow10InternalHeaders:
    ONE = action(header("X-Internal-Id", "7"), header("X-A", "1"))

    def test_do_not_leak(self):
        made = plan(self.ONE)
        assert x_headers(on_wire(made)) == [("X-A", "1")]
        assert Sent("X-Internal-Id", "left out", "internal") in made.sent()

    def test_leave_to_a_trusted_peer(self):
        assert x_headers(on_wire(plan(self.ONE, trusted=True))) == [("X-Internal-Id", "7"), ("X-A", "1")]

    def test_nor_through_a_refer_to(self):
        made = plan(action(), carried=[("x-internal-Id", "7"), ("X-C", "c")])
        assert x_headers(on_wire(made)) == [("X-C", "c")]


class TestCarried:
    def test_what_the_refer_to_brought_goes_on_after_the_action_s_own(self):
        made = plan(action(header("X-A", "mine")), carried=[("x-a", "theirs"), ("X-B", "b"), ("X-B", "again"),
                                                            ("Via", "x"), ("X-C", "c\r\nd")])
        assert x_headers(on_wire(made)) == [("X-A", "mine"), ("X-B", "b")]

    def test_a_header_that_the_action_left_out_does_not_come_back(self):
        made = plan(action(header("X-A", "{no}")), carried=[("X-A", "theirs")])
        assert x_headers(on_wire(made)) == []

    def test_user_to_user_goes_as_it_came_unless_ours_is_packed(self):
        carried = [("User-to-User", "6869;encoding=hex")]
        assert on_wire(plan(action(), carried=carried)).header("User-to-User") == "6869;encoding=hex"
        made = plan(action(), method="REFER", carried=carried)
        assert made.refer_to("sip:b@h") == "<sip:b@h?User-to-User=6869%3Bencoding%3Dhex>"
        up = Upstream(name="u", invite_headers=("user-to-user",))
        assert plan(action(), upstream=up, carried=carried).headers() == ()


PLACES = st.sampled_from([Upstream(name="u", refer_headers=places, invite_headers=invite,
                                   user_to_user=UserToUser(where=("header", "refer-to"), packing=packing, limit=4096))
                          for places in (("header",), ("refer-to",), ("user-to-user",), ("header", "refer-to"))
                          for invite in (("header",), ("user-to-user",)) for packing in ("pairs", "json", "value")])
STRANGE = st.text() | st.text("\r\n\0: ;<>\"?&=%0123ABCDabcdefX-\t\x85\u2028\ud800", max_size=40)


@given(STRANGE, STRANGE, STRANGE, STRANGE, PLACES, st.sampled_from(["INVITE", "REFER"]))
def test_no_variable_answer_or_webhook_value_adds_a_header(variable, webhook, answer, came, upstream, method):
    made = plan(action(header("X-A", "{v}"), header("X-B", "<{results.data.v}>", missing="empty"),
                       extractors=(Extractor(header="X-C", prompt="p", limit=4096),)),
                {"v": variable, "results": {"data": {"v": webhook}}}, {"X-C": answer}, method, upstream,
                carried=[("X-D", came), ("User-to-User", came), (came, came)])
    message = on_wire(made)
    names = [name for name, _ in message.items()]
    assert set(names) <= {"Via", "Max-Forwards", "From", "To", "Call-ID", "CSeq", "Contact", "Content-Length",
                          "Refer-To", "X-A", "X-B", "X-C", "X-D", "User-to-User"}
    assert len(names) == len(set(names))
    for name, value in message.items():
        if name == "X-A":
            assert value == variable.replace("\t", " ").strip(" ")
    if method == "REFER":
        inside = [name for name, _ in referred([message.header("Refer-To") or ""]).headers]
        assert set(inside) <= {"X-A", "X-B", "X-C", "X-D", "User-to-User"}
