"""Refer-To: the target formats (transfers.md section 2), and changes that leave the rest as it came."""
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.policy.headers import Patterns
from proxy.policy.refer_to import parse_refer_to
from proxy.policy.refusals import Refused
from sipcore.stack.verdict import Verdict
from sipcore.wire.nameaddr import NameAddress

from .sample import ANY, PBX, outcome, passes, policy, refer


class TestTargetFormats:
    """The table of section 2, row by row."""

    @pytest.mark.parametrize("target", [
        "sip:user@domain.com", "<sip:user@domain.com>", '"Bob, <the> \\"one\\"" <sip:user@domain.com>;x=y',
        "sip:user@domain.com:5060", "<sip:+1234567890@provider.com>", "sip:[2001:db8::1]", "sip:domain.com",
        "<sip:a%40b@h;user=phone?Subject=x>", "<sip:a@h?body=v%3D0%0D%0A&X-%41=Zo%EB%09>",
        "<tel:+1234567890>", "tel:+1-234-567;phone-context=x",
    ])
    def test_accepted_and_untouched(self, target):
        verdict = policy(ANY).decide(refer(target))
        assert (verdict.action, verdict.replace, verdict.insert) == (Verdict.FORWARD, (), b"")
        assert verdict.targets == ()

    def test_secure_is_refused_clearly(self):
        assert outcome(ANY, refer("<sips:user@domain.com>")) == (416, "SIPS Needs TLS, Which Is Not Available")

    @pytest.mark.parametrize("target", ["<mailto:a@b>", "<http://h/>", "<urn:x>"])
    def test_other_schemes(self, target):
        assert outcome(ANY, refer(target)) == (416, "Unsupported URI Scheme")

    def test_raw_is_refused_without_custom_telephony(self):
        assert outcome(ANY, refer("internal-ext-123")) == (400, "A Raw Transfer Target Needs Custom Telephony")

    @pytest.mark.parametrize("target", ["internal-ext-123", "<internal-ext-123>"])
    def test_raw_becomes_a_uri_at_the_custom_upstream(self, target):
        base = '[[listener]]\nname = "l"\nbind = "udp:127.0.0.1:5060"\n[[group]]\nname = "agents"\n' \
               'addresses = ["127.0.0.3"]\ncustom_telephony = "pbx"\n'
        verdict = policy(PBX + ANY, base=base).decide(refer(target))
        assert verdict.replace == (("Refer-To", b"<sip:internal-ext-123@127.0.0.4:5070>"),)

    @pytest.mark.parametrize("target", [
        "sip:", "sip:a b@h", "<sip:a@h", "sip:a@h:99999", "sip:a@b@c", "<>", "", "sip:a@h%", "raw ext", "-x", "a" * 65,
        "<sip:ü@h>", '"open <sip:a@h>',
    ])
    def test_malformed_ones(self, target):
        status, reason = outcome(ANY, refer(target))
        assert (status, reason) == (400, "Malformed Refer-To") or status == 416

    @pytest.mark.parametrize("target", [
        "sip:1@h;x=1?X-Internal-A=1", "sip:1@h;x?X-A=1", "sip:1@h;transport=udp?Replaces=a", "sip:1@h;x=y@z",
        "sip:h;x@evil", "tel:+12;x=1?X-A=1", "sip:1@h;maddr=h;m%61ddr=evil", "sip:1@h;x=1;x=2", 'sip:1@h;x="?"',
        "ext-1;x=1?X-A=1",
    ])
    def test_without_brackets_nothing_but_parameters_may_follow(self, target):
        """RFC 3261 20: with a question mark they are needed; what a peer may read as headers of the URI is none."""
        assert outcome(ANY, refer(target)) == (400, "Malformed Refer-To")

    @pytest.mark.parametrize(("target", "allowed"), [
        ("sip:1@h;method=BYE", False), ("sip:1@h; METHOD = BYE", False), ("sip:1@h;m%65thod=BYE", False),
        ("sip:1@h;method=INVITE", True), ("tel:+12;method=BYE", False), ("sip:1@h;maddr=evil", False),
        ("sip:1@h;x=1 ;MADDR= evil", False), ("sip:1@h;m%61ddr=evil", False), ("sip:1@h;maddr=h", True),
        ("sip:1@h;transport=tcp", True), ("sip:1@h;tag=5;x", True),
    ])
    def test_without_brackets_parameters_are_heeded_in_either_reading(self, target, allowed):
        rule = '[[refer]]\ndomains = ["h"]\n' if target.startswith("sip") else ANY
        verdict = policy(rule).decide(refer(target))
        assert (verdict.action == Verdict.FORWARD) is allowed
        assert allowed or verdict.status == 603
        assert verdict.replace == ()

    def test_none(self):
        assert outcome(ANY, refer()) == (400, "Exactly One Refer-To Is Needed")

    def test_a_method_other_than_invite(self):
        assert outcome(ANY, refer("<sip:a@h;method=BYE>"))[0] == 603
        assert passes(ANY, refer("<sip:a@h;method=INVITE>"))


@given(st.text("<>\"\\;,?&=@:%sip tel+raw\r\n\x00ü1", max_size=40))
def test_any_refer_to_is_read_or_refused(value):
    try:
        target = parse_refer_to([value])
    except Refused:
        return
    assert target.render("") is None
    added = target.without(Patterns(["X-Internal-*"])).render("X-A=1")
    assert added is not None
    if target.scheme != "raw":
        assert NameAddress(added).uri is not None
