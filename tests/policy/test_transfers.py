"""REFER on forwarded calls: rules, and where headers go (transfers.md section 3)."""
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.policy.engine import Policy
from proxy.policy.names import places
from proxy.policy.refusals import Refused
from sipcore.base.place import Reached
from sipcore.stack.verdict import Verdict
from sipcore.wire.nameaddr import NameAddress

from .sample import (
    AGENTS,
    ANY,
    BASE,
    CALLERS,
    INSIDE,
    PBX,
    UNLISTED,
    header_set,
    outcome,
    passes,
    policy,
    refer,
    request,
)


class TestRules:
    """Allowed targets; 603 without a rule."""

    def test_no_rule_is_603(self):
        assert outcome("", refer("<sip:2001@h>")) == (603, "Decline")

    def test_refused_by_rule(self):
        assert outcome('[[refer]]\naction = "refuse"\nusers = ["2*"]\n' + ANY, refer("<sip:2001@h>"))[0] == 603
        assert passes('[[refer]]\naction = "refuse"\nusers = ["2*"]\n' + ANY, refer("<sip:3001@h>"))

    @pytest.mark.parametrize(("condition", "target", "allowed"), [
        ('users = ["20*"]', "<sip:2001@h>", True), ('users = ["20*"]', "<sip:3001@h>", False),
        ('users = ["20*"]', "<sip:%3200@h>", True), ('users = ["20*"]', "<sip:h>", False),
        ('prefixes = ["+49"]', "<tel:+49-30>", True), ('prefixes = ["+49"]', "<sip:+4930@h>", True),
        ('prefixes = ["+49"]', "<sip:+4430@h>", False), ('domains = ["*.example.com"]', "<sip:1@A.example.COM>", True),
        ('domains = ["example.com"]', "<sip:1@example.com.evil>", False), ('domains = ["h"]', "<tel:+1>", False),
        ('domains = ["h"]', "<sip:x@h@evil>", False),
        ('domains = ["h"]', "<sip:1@h;maddr=192.0.2.66>", False), ('domains = ["h"]', "<sip:1@h;maddr=h>", True),
        ('domains = ["h"]', "<sip:1@h;m%61ddr=192.0.2.66>", False),
        ('targets = ["pbx"]', "<sip:1@127.0.0.4:5070;maddr=192.0.2.66>", False),
        ('targets = ["pbx"]', "<sip:1@127.0.0.4:5070;MADDR=127.0.0.4>", True),
        ('users = ["1"]', "<sip:1@h;maddr=192.0.2.66>", True),
        ('targets = ["pbx"]', "<sip:1@127.0.0.4:5070>", True), ('targets = ["pbx"]', "<sip:1@127.0.0.4>", False),
        ('users = ["1"]\ndomains = ["h"]', "<sip:1@g>", False), ('users = ["1"]\ndomains = ["h"]', "<sip:1@h>", True),
    ])
    def test_conditions(self, condition, target, allowed):
        assert passes(f"{PBX}[[refer]]\n{condition}\n", refer(target)) is allowed

    @pytest.mark.parametrize("target", [
        "<sip:1@evil.example>", "<sip:1@EVIL.example>", "<sip:1@evil.example.>", "<sip:1@h;maddr=evil.example>",
        "<sip:1@evil.example;maddr=h>", "<sip:1@h;maddr=evil.example.>", "<sip:1@h;maddr=%65vil.example>",
        "sip:1@h;maddr=evil.example", "<sip:1@[2001:DB8::0BAD]>", "<sip:1@[2001:db8:0:0:0:0:0:bad]>",
        "<sip:1@h;maddr=[2001:db8::0:bad]>", "<sip:1@192.0.2.66>", "<sip:1@[::ffff:192.0.2.66]>",
        "<sip:1@[::ffff:c000:242]>", "<sip:1@h;maddr=::ffff:192.0.2.66>", "<sip:1@h;maddr=192.0.2.66:5060>",
        "<sip:1@h;maddr=192.0.2.66,h>", "<sip:1@h;maddr=[192.0.2.66]>",
    ])
    @pytest.mark.parametrize("domains", ['"evil.example", "2001:db8::bad", "192.0.2.66"',
                                         '"*.example", "[2001:db8:0::bad]", "::ffff:c000:0242"'])
    def test_nothing_goes_past_a_rule_that_refuses_a_host(self, domains, target):
        """Whatever its spelling, and whichever of URI and maddr names it."""
        rules = f'[[refer]]\naction = "refuse"\ndomains = [{domains}]\n' + ANY
        assert outcome(rules, refer(target))[0] in (400, 603)
        assert passes(rules, refer("<sip:1@h;maddr=h>"))

    def test_nor_past_one_that_refuses_an_upstream(self):
        rules = f'{PBX}[[refer]]\naction = "refuse"\ntargets = ["pbx"]\n' + ANY
        for target in ("<sip:1@127.0.0.4:5070>", "<sip:1@h:5070;maddr=127.0.0.4>", "<sip:1@[::ffff:7f00:4]:5070>",
                       "<sip:1@127.0.0.4:5070;maddr=h>"):
            assert outcome(rules, refer(target))[0] == 603
        assert passes(rules, refer("<sip:1@127.0.0.4>"))

    @pytest.mark.parametrize(("condition", "target"), [
        ('domains = ["::1"]', "<sip:1@[0:0:0:0:0:0:0:1]>"), ('domains = ["0::1"]', "<sip:1@[::1]>"),
        ('domains = ["example.com"]', "<sip:1@Example.com.>"),
        ('domains = ["*.example.com"]', "<sip:1@a.example.com.>"),
        ('targets = ["six"]', "<sip:1@[0:0:0:0:0:0:0:1]:5070>"),
        ('targets = ["six"]', "<sip:1@[0::1]:5070;maddr=[::1]>"),
    ])
    def test_an_allowed_host_is_allowed_in_every_spelling(self, condition, target):
        six = ('[[listener]]\nname = "six"\nbind = "udp:[::1]:5060"\n'
               '[[upstream]]\nname = "six"\ntargets = [{address = "[::1]:5070"}]\n')
        assert passes(f"{six}[[refer]]\n{condition}\n", refer(target))

    def test_a_maddr_that_is_no_host_is_malformed(self):
        for maddr in ("maddr", "maddr=", "maddr=h%20", "maddr=h:1", "maddr=1.2", "maddr=h%00"):
            assert outcome(ANY, refer(f"<sip:1@h;{maddr}>")) == (400, "Malformed Refer-To")

    @pytest.mark.parametrize("known", [True, False], ids=["looked up", "not yet"])
    @pytest.mark.parametrize(("address", "target", "allowed"), [
        ("pbx.example.com", "<sip:1@PBX.example.com.>", True),
        ("pbx.example.com", "<sip:1@pbx.example.com:5060>", True),
        ("pbx.example.com", "<sip:1@pbx.example.com:5071>", False), ("pbx.example.com", "<sip:1@example.com>", False),
        ("pbx.example.com:5071", "<sip:1@pbx.example.com:5071>", True),
        ("pbx.example.com:5071", "<sip:1@pbx.example.com>", False),
        ("PBX.example.com", "<sip:1@pbx.example.com;maddr=pbx.example.com>", True),
        ("pbx.example.com", "<sip:1@pbx.example.com;maddr=192.0.2.66>", False),
        ("pbx.example.com", "internal-ext-1", True), ("pbx.example.com:5071", "<internal-ext-1>", True),
    ])
    def test_an_upstream_that_is_a_name(self, address, target, allowed, known):
        base = BASE.replace('name = "agents"\n', 'name = "agents"\ncustom_telephony = "pbx"\n')
        for condition in ('targets = ["pbx"]', 'targets = ["pbx"]\ndomains = ["pbx.example.com"]'):
            config = policy(f"{PBX.replace('127.0.0.4:5070', address)}[[refer]]\n{condition}\n", base).config
            (place,) = places(config)
            found = {place: (Reached("127.0.0.4", place.port or 5062, "udp"),)}
            edge = Policy(config, found=found if known else None)
            assert (edge.decide(refer(target)).action == Verdict.FORWARD) is allowed
            if "domains" not in condition:
                by_address = edge.decide(refer(f"<sip:1@127.0.0.4:{place.port or 5062}>"))
                assert (by_address.action == Verdict.FORWARD) is known

    def test_groups(self):
        text = '[[refer]]\ngroups = ["agents"]\n'
        assert passes(text, refer("<sip:1@h>", group=AGENTS))
        assert not passes(text, refer("<sip:1@h>", group=CALLERS))
        assert not passes(ANY, refer("<sip:1@h>", group=UNLISTED))
        assert passes('[[refer]]\ngroups = ["unlisted"]\n', refer("<sip:1@h>", group=UNLISTED))

    def test_a_closed_method_is_closed_inside_dialogs_too(self):
        text = '[unlisted]\ndialog_methods = ["BYE"]\n[[refer]]\ngroups = ["unlisted"]\n'
        assert outcome(text, refer("<sip:1@h>", group=UNLISTED))[0] == 405

    def test_outside_of_a_dialog_it_needs_a_route_as_well(self):
        message = refer("<sip:1@h>", in_dialog=False)
        assert outcome(PBX + ANY, message)[0] == 404
        verdict = policy(PBX + ANY + '[[route]]\nto = "pbx"\nmethods = ["REFER"]\n').decide(message)
        assert [target.port for target in verdict.targets] == [5070]
        assert outcome(PBX + '[[route]]\nto = "pbx"\nmethods = ["REFER"]\n', message)[0] == 603

    def test_the_verdict_is_for_this_request_alone(self):
        assert policy(ANY).decide(refer("<sip:1@h>")).scope == 0


SET = header_set('name = "X-Intent", value = "make a claim"', 'name = "X-Caller", value = "{X-Name}", priority = 1',
                 name="crm")


def delivered(where: str, *targets: str, more: str = "") -> Verdict:
    upstream = PBX + f"refer_headers = {where}\n{more}"
    edge = policy(upstream + SET + '[[refer]]\nheaders = ["crm"]\nupstream = "pbx"\n')
    return edge.decide(refer(*targets or ("<sip:2001@h>",), lines=("X-Name: Ann & Bob=100%",)))


class TestDelivery:
    """On the REFER, inside Refer-To, in User-to-User: the upstream's choice."""

    def test_on_the_refer_itself(self):
        verdict = delivered('["header"]')
        assert verdict.insert == b"X-Caller: Ann & Bob=100%\r\nX-Intent: make a claim\r\n"
        assert verdict.replace == ()
        assert set(verdict.remove) == {"X-Internal-*", "X-Caller", "X-Intent"}

    def test_inside_refer_to_escaped_once(self):
        verdict = delivered('["refer-to"]')
        assert verdict.insert == b""
        assert verdict.replace == (
            ("Refer-To", b"<sip:2001@h?X-Caller=Ann%20%26%20Bob%3D100%25&X-Intent=make%20a%20claim>"),)

    def test_inside_a_refer_to_that_has_headers_parameters_and_a_name(self):
        verdict = delivered('["refer-to"]', '"A <b>" <sip:x?y@h;p=1?Subject=a%20b>;q=2')
        ((_, value),) = verdict.replace
        assert value.startswith(b'"A <b>" <sip:x?y@h;p=1?Subject=a%20b&X-Caller=')
        assert value.endswith(b"claim>;q=2")

    def test_a_bare_address_gets_its_brackets(self):
        ((_, value),) = delivered('["refer-to"]', "sip:2001@h;tag=5").replace
        assert value.startswith(b"<sip:2001@h?X-Caller=")
        assert value.endswith(b">;tag=5")

    def test_user_to_user_as_a_uri_header(self):
        ((_, value),) = delivered('["user-to-user"]').replace
        uri = NameAddress(value).uri
        assert uri is not None
        header = uri.headers["User-to-User"]
        data, parameter = header.split(";")
        assert parameter == "encoding=hex"
        assert bytes.fromhex(data) == b"X-Caller=Ann%20%26%20Bob%3D100%25&X-Intent=make%20a%20claim"

    def test_user_to_user_as_a_header(self):
        verdict = delivered('["user-to-user"]', more='user_to_user = {where = ["header"], names = ["X-Intent"]}\n')
        assert verdict.insert == b"User-to-User: " + b"X-Intent=make%20a%20claim".hex().encode() + b";encoding=hex\r\n"
        assert verdict.replace == ()
        assert "User-to-User" in verdict.remove

    def test_everywhere_at_once(self):
        verdict = delivered('["header", "refer-to", "user-to-user"]')
        assert verdict.insert.startswith(b"X-Caller:")
        assert b"X-Caller=" in verdict.replace[0][1]
        assert b"&User-to-User=" in verdict.replace[0][1]

    def test_replaces_is_never_touched(self):
        verdict = delivered('["refer-to", "header"]', "<sip:2001@h?Replaces=a%40b%3Bto-tag%3D1%3Bfrom-tag%3D2>")
        assert verdict.replace == ()
        assert verdict.insert.startswith(b"X-Caller:")
        assert verdict.note == "Refer-To has Replaces: no headers put inside"

    def test_what_does_not_fit_is_noted(self):
        verdict = delivered('["user-to-user"]', more="user_to_user = {limit = 40}\n")
        assert verdict.note == "User-to-User is full: left out X-Intent"

    @pytest.mark.parametrize(("where", "target", "lines", "more", "note"), [
        ('["header"]', "<sip:1@h>", (), "", "X-Caller left out: no {X-Name}"),
        ('["header"]', "<sip:1@h>", ("X-Name: a\u2028b",), "", "X-Caller left out: {X-Name} has a control character"),
        ('["header"]', "<sip:1@h>", ("X-Name: a", "x-internal-a: 1"), "", "refer: internal headers taken out"),
        ('["header"]', "<sip:1@h?x-internal-a=1>", ("X-Name: a", "s: 1"), "",
         "refer: internal headers taken out; refer: internal or broken headers taken out of Refer-To"),
        ('["refer-to"]', "<sip:1@h?Replaces=a>", ("Subject: 1",), "",
         "refer: internal headers taken out; X-Caller left out: no {X-Name}; Refer-To has Replaces: no headers put "
         "inside"),
        ('["user-to-user"]', "<sip:1@h>", ("X-Name: a",), "user_to_user = {limit = 12}\n",
         "User-to-User is full: left out X-Intent"),
        ('["user-to-user"]', "<sip:1@h>", ("X-Name: a",), 'user_to_user = {names = ["X-Intent"]}\n',
         "User-to-User is not for X-Caller: left out"),
        ('["user-to-user", "header"]', "<sip:1@h>", ("X-Name: a",), 'user_to_user = {names = ["X-Intent"]}\n', ""),
    ])
    def test_the_note_says_all_that_was_left_out_or_taken_out(self, where, target, lines, more, note):
        edge = policy(f'[internal]\nheaders = ["X-Internal-*", "Subject"]\n{PBX}refer_headers = {where}\n{more}{SET}'
                      '[[refer]]\nheaders = ["crm"]\nupstream = "pbx"\n')
        assert edge.decide(refer(target, lines=lines)).note == note
        trusted = edge.decide(refer(target, lines=lines, group=INSIDE)).note
        assert trusted == "; ".join(one for one in note.split("; ") if one != "refer: internal headers taken out")

    @pytest.mark.parametrize(("text", "message", "note"), [
        ("", refer("<sip:1@h>"), "refer: no rule for this target"),
        ('[[refer]]\naction = "refuse"\n', refer("<sip:1@h>"), "refer: refused by rule"),
        (ANY, refer("<sip:1@h"), "Refer-To: malformed"), (ANY, refer(), "Refer-To: 0 values"),
        (ANY, refer("<sip:1@h;method=BYE>"), "Refer-To: method"), (ANY, refer("<sips:1@h>"), "Refer-To: sips"),
        (ANY, refer("<http://h>"), "Refer-To: scheme"), (ANY, refer("ext-1"), "refer: raw target"),
        ('[unlisted]\ndialog_methods = ["BYE"]\n', refer("<sip:1@h>", group=UNLISTED), "acl: method closed"),
        (header_set('name = "X-A", value = "{X-B}", missing = "fail"') + ANY + 'headers = ["set"]\n',
         refer("<sip:1@h>"), "X-A: no {X-B}"),
    ])
    def test_and_why_it_is_refused(self, text, message, note):
        verdict = policy(text).decide(message)
        assert (verdict.action, verdict.note) == (Verdict.REJECT, note)

    def test_tel_is_rewritten_by_the_upstream_s_template(self):
        ((_, value),) = delivered('["header"]', "<tel:+1-202-555>").replace
        assert value == b"<sip:+1202555@127.0.0.4:5070>"

    @pytest.mark.parametrize("template", ['uri = ""\n', 'uri = "tel:{user}"\n'])
    @pytest.mark.parametrize("target", ["<tel:+1-202>", "TEL:+1-202", "<tel:+1-202;phone-context=x>;p=1"])
    def test_a_tel_uri_that_stays_one_has_no_headers(self, template, target):
        """RFC 3966 3."""
        for where, note in (('["refer-to"]', True), ('["user-to-user"]', True), ('["header"]', False)):
            verdict = delivered(where, target, more=template)
            assert verdict.replace == ()
            assert verdict.note == ("Refer-To is a tel: URI: no headers put inside" if note else "")
        assert delivered('["header", "refer-to"]', target, more=template).insert.startswith(b"X-Caller:")

    def test_a_full_uri_is_not(self):
        assert delivered('["header"]', "<sip:+1202555@provider.com;user=phone>").replace == ()

    @pytest.mark.parametrize("forged", ["X-Caller=no", "x-caller=no", "X%2dCaller=no", "X-Caller=no&X-CALLER=no",
                                        "X-Intent=no"])
    def test_a_received_one_of_that_name_gives_way(self, forged):
        target = f"<sip:1@h?{forged}&Subject=a%20b>"
        verdict = delivered('["refer-to"]', target)
        assert verdict.replace == (("Refer-To", b"<sip:1@h?Subject=a%20b&X-Caller=Ann%20%26%20Bob%3D100%25"
                                                b"&X-Intent=make%20a%20claim>"),)
        assert verdict.note == "refer: headers of Refer-To replaced by those that are set"
        verdict = delivered('["header"]', target)
        assert verdict.replace == (("Refer-To", b"<sip:1@h?Subject=a%20b>"),)

    def test_also_where_ours_has_no_value(self):
        edge = policy(PBX + 'refer_headers = ["refer-to"]\n' + SET + '[[refer]]\nheaders = ["crm"]\nupstream = "pbx"\n')
        verdict = edge.decide(refer("<sip:1@h?X-Caller=no>"))
        assert verdict.replace == (("Refer-To", b"<sip:1@h?X-Intent=make%20a%20claim>"),)

    @pytest.mark.parametrize("name", ["User-to-User", "user-TO-user", "User%2dto-User"])
    def test_a_received_user_to_user_gives_way_where_ours_is_packed(self, name):
        target = f"<sip:1@h?{name}=00&X-B=1>"
        ((_, value),) = delivered('["user-to-user"]', target).replace
        assert value.startswith(b"<sip:1@h?X-B=1&User-to-User=")
        ((_, value),) = delivered('["user-to-user"]', target, more='user_to_user = {where = ["header"]}\n').replace
        assert value == b"<sip:1@h?X-B=1>"
        assert delivered('["header"]', target).replace == ()

    def test_beside_a_replaces_too(self):
        verdict = delivered('["refer-to"]', "<sip:1@h?Replaces=a%40b%3Bx&X-Intent=no>")
        assert verdict.replace == (("Refer-To", b"<sip:1@h?Replaces=a%40b%3Bx>"),)

    def test_internal_headers_do_not_leave_inside_refer_to(self):
        verdict = delivered('["header"]', "<sip:1@h?X-Internal-Id=7&Subject=a%20b&x-internal-b=1>")
        assert verdict.replace == (("Refer-To", b"<sip:1@h?Subject=a%20b>"),)
        assert delivered('["header"]', "<sip:1@h?X-Internal-Id=7>").replace == (("Refer-To", b"<sip:1@h>"),)

    @pytest.mark.parametrize(("pattern", "header"), [
        ("Subject", "s=x"), ("Subject", "S=x"), ("Subject", "%73=x"), ("s", "subject=x"), ("Sub*", "s=x"),
        ("Subject", "sUBJECT=x"),
    ])
    def test_nor_in_compact_form(self, pattern, header):
        edge = policy(f'[internal]\nheaders = ["{pattern}"]\n' + ANY)
        verdict = edge.decide(refer(f"<sip:1@h?{header}&X-Ok=1>"))
        assert verdict.replace == (("Refer-To", b"<sip:1@h?X-Ok=1>"),)

    @pytest.mark.parametrize("header", [
        "X-A=1%0D%0AX-Internal-Id:%207", "X-A=1%0a", "X-A=%00", "X-A%3A%201%0d%0aX-Internal-Id=7", "X-Secret%3a=7",
        "X-Secret%20=7", "X-%0dA=1",
    ])
    def test_no_header_becomes_several_behind_refer_to(self, header):
        verdict = delivered('["header"]', f"<sip:1@h?Subject=a%20b&{header}&X-B=%C3%A9>")
        assert verdict.replace == (("Refer-To", b"<sip:1@h?Subject=a%20b&X-B=%C3%A9>"),)
        assert verdict.note == "refer: internal or broken headers taken out of Refer-To"

    def test_replaces_stays_byte_for_byte_where_an_internal_header_beside_it_goes(self):
        verdict = delivered('["header"]', "<sip:1@h?Replaces=a%40b%3Bx&X-Internal-A=1>")
        assert verdict.replace == (("Refer-To", b"<sip:1@h?Replaces=a%40b%3Bx>"),)


@given(st.text(st.characters(min_codepoint=33, exclude_categories=["Cs", "Cc", "Z"]), min_size=1, max_size=20))
def test_values_arrive_inside_refer_to_as_they_were(text):
    text = "v" + text
    edge = policy(PBX + 'refer_headers = ["refer-to"]\n' + header_set('name = "X-A", value = "{X-Name}"')
                  + '[[refer]]\nheaders = ["set"]\nupstream = "pbx"\n')
    verdict = edge.decide(refer("<sip:1@h>", lines=(f"X-Name: {text}",)))
    ((_, value),) = verdict.replace
    prefix, suffix = b"<sip:1@h?X-A=", b">"
    assert value.startswith(prefix)
    assert value.endswith(suffix)
    assert unquote(value[len(prefix):-1].decode(), errors="strict") == text
    assert NameAddress(value).uri is not None


def test_an_invite_is_not_a_transfer():
    assert policy(PBX + ANY + '[[route]]\nto = "pbx"\n').decide(request("INVITE", "sip:1@h")).replace == ()


class TestRulesThatRunATransfer:
    RUN = ('[[route]]\nto = "pbx"\ncontrol = true\n[[transfer]]\nname = "desk"\nmode = "blind"\n'
           '[[refer]]\naction = "run"\ntransfer = "desk"\n')

    def test_on_a_controlled_call_the_action_is_named(self):
        rule, target = policy(PBX + self.RUN).refer(refer("<sip:2001@127.0.0.4>"))
        assert (rule.action, rule.transfer, target.user) == ("run", "desk", "2001")

    def test_on_a_forwarded_call_it_is_refused(self):
        verdict = policy(PBX + self.RUN).decide(refer("<sip:2001@127.0.0.4>"))
        assert (verdict.status, verdict.reason) == (603, "Decline")

    def test_no_rule_and_a_refusing_rule(self):
        for text in (PBX, PBX + '[[refer]]\naction = "refuse"\n'):
            with pytest.raises(Refused) as refused:
                policy(text).refer(refer("<sip:2001@127.0.0.4>"))
            assert refused.value.status == 603

    def test_a_group_without_the_method(self):
        closed = BASE.replace('name = "callers"', 'name = "callers"\ndialog_methods = ["BYE"]')
        with pytest.raises(Refused) as refused:
            policy(PBX + self.RUN, closed).refer(refer("<sip:2001@127.0.0.4>", group=CALLERS))
        assert refused.value.status == 405

    def test_a_bare_extension_is_the_action_s_to_resolve(self):
        rule, target = policy(PBX + self.RUN).refer(refer("internal-ext-123"))
        assert (rule.transfer, target.scheme, target.user) == ("desk", "raw", "internal-ext-123")
        with pytest.raises(Refused, match="A Raw Transfer Target Needs Custom Telephony"):
            policy(PBX + ANY).refer(refer("internal-ext-123"))
