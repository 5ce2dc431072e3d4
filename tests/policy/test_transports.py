"""Upstreams and targets by TCP and TLS, and what asks for TLS on every hop."""
import pytest

from proxy.config import ConfigError
from proxy.policy.refusals import Refused
from proxy.policy.targets import Destination, Targets
from sipcore.stack.verdict import Verdict
from tests.policy.sample import BASE, policy, request

STREAMS = """
[[listener]]
name = "tcp"
bind = "tcp:127.0.0.1:5060"
[[listener]]
name = "tls"
bind = "tls:127.0.0.1"
tls = ["edge"]
[[tls]]
name = "edge"
certificate = "edge.pem"
key = "edge.key"
"""
SECURE = """
[[upstream]]
name = "secure"
targets = [
    {address = "127.0.0.4", transport = "tls", server_name = "PBX.example.com"},
    {address = "127.0.0.4", transport = "tcp", priority = 1},
    {address = "127.0.0.5", priority = 2},
]
[[route]]
to = "secure"
"""
PLAIN = """
[[upstream]]
name = "plain"
targets = [{address = "127.0.0.5"}]
[[upstream]]
name = "tel"
targets = [{address = "127.0.0.6", transport = "tls"}]
uri = "tel:{user}"
"""


def shown(verdict):
    return [(one.host, one.port, one.transport, one.name, one.uri) for one in verdict.targets]


def resolve(text: str, **options) -> Destination:
    return Targets(policy(STREAMS + SECURE + PLAIN).config).resolve(text, **options)


def refused(text: str, **options) -> tuple[int, str]:
    with pytest.raises(Refused) as found:
        resolve(text, **options)
    return found.value.status, found.value.reason


def hops(found: Destination):
    return [(one.uri, one.host, one.port, one.transport, one.name) for one in found.hops]


def test_targets_say_how_they_are_reached():
    assert shown(policy(STREAMS + SECURE).decide(request())) == [
        ("127.0.0.4", 5061, "tls", "pbx.example.com", b"sip:2001@127.0.0.4:5061"),
        ("127.0.0.4", 5060, "tcp", "", b"sip:2001@127.0.0.4:5060"),
        ("127.0.0.5", 5060, "udp", "", b"sip:2001@127.0.0.5:5060")]


def test_sips_goes_to_targets_by_tls_alone_and_stays_sips():
    assert shown(policy(STREAMS + SECURE).decide(request(uri="sips:2001@127.0.0.1"))) == [
        ("127.0.0.4", 5061, "tls", "pbx.example.com", b"sips:2001@127.0.0.4:5061")]


@pytest.mark.parametrize("keeps", ['uri = ""', ""])
def test_sips_without_a_target_by_tls_is_refused(keeps):
    text = f'[[upstream]]\nname = "plain"\ntargets = [{{address = "127.0.0.5"}}]\n{keeps}\n[[route]]\nto = "plain"\n'
    verdict = policy(STREAMS + text).decide(request(uri="sips:2001@127.0.0.1"))
    assert (verdict.action, verdict.status) == (Verdict.REJECT, 480)


def test_sips_is_never_answered_from_what_was_made_for_sip():
    """A route whose verdict does not depend on the request."""
    text = ('[[upstream]]\nname = "two"\nuri = ""\ntargets = [{address = "127.0.0.4", transport = "tls"}, '
            '{address = "127.0.0.5", priority = 1}]\n[[route]]\nto = "two"\n')
    made = policy(STREAMS + text)
    for uri, count in (("sip:2001@127.0.0.1", 2), ("sips:2001@127.0.0.1", 1), ("sip:2001@127.0.0.1", 2)):
        verdict = made.decide(request(uri=uri))
        assert len(verdict.targets) == count
    assert made.decide(request(uri="sips:2001@127.0.0.1")).scope == 0


def test_sips_without_a_listener_by_tls_is_refused():
    verdict = policy('[[route]]\nto = "request-uri"\n').decide(request(uri="sips:2001@127.0.0.4"))
    assert (verdict.status, verdict.reason) == (416, "SIPS Needs TLS, Which Is Not Available")


class TestTransferTargets:
    def test_sips_by_its_address(self):
        assert hops(resolve("sips:2001@127.0.0.9")) == [("sips:2001@127.0.0.9", "127.0.0.9", 5061, "tls", "")]

    def test_the_upstream_at_the_address_says_what_its_name_is(self):
        assert hops(resolve("sips:2001@127.0.0.4")) == [
            ("sips:2001@127.0.0.4", "127.0.0.4", 5061, "tls", "pbx.example.com")]

    def test_sips_by_an_upstream(self):
        assert hops(resolve("sips:2001@pbx.example.com", upstream="secure")) == [
            ("sips:2001@pbx.example.com", "127.0.0.4", 5061, "tls", "pbx.example.com")]

    def test_sips_by_an_upstream_without_tls(self):
        assert refused("sips:2001@pbx.example.com", upstream="plain") == (480, "Temporarily Unavailable")

    def test_sips_is_not_made_a_telephone_number(self):
        assert refused("sips:+123@pbx.example.com", upstream="tel") == (416, "Unsupported URI Scheme")

    def test_transport_parameters(self):
        assert hops(resolve("sip:2001@127.0.0.9;transport=TCP")) == [
            ("sip:2001@127.0.0.9;transport=TCP", "127.0.0.9", 5060, "tcp", "")]
        assert hops(resolve("sip:2001@127.0.0.9:5071;transport=tls")) == [
            ("sip:2001@127.0.0.9:5071;transport=tls", "127.0.0.9", 5071, "tls", "")]
        assert refused("sips:2001@127.0.0.9;transport=udp") == (416, "Unsupported Transport")

    def test_sips_by_refer_is_told_as_it_is(self):
        assert resolve("sips:user@domain.com", reach=False).uri == "sips:user@domain.com"

    def test_the_edge_itself_by_any_transport(self):
        for text in ("sips:a@127.0.0.1", "sip:a@127.0.0.1;transport=tls", "sip:a@127.0.0.1;transport=tcp"):
            assert refused(text) == (482, "Loop Detected")

    def test_each_hop_leaves_from_a_listener_of_its_transport(self):
        assert [one.listener for one in resolve("2001", upstream="secure").hops] == [
            len(policy("").config.listeners) + 1, len(policy("").config.listeners), 0]


@pytest.mark.parametrize(("target", "said"), [
    ('{address = "127.0.0.4", transport = "tls"}', "no listener is bound to tls"),
    ('{address = "127.0.0.4", server_name = "pbx.example.com"}', "only asked for by TLS"),
])
def test_a_target_that_cannot_be_reached_so_is_refused_when_it_is_configured(target, said):
    with pytest.raises(ConfigError, match=said):
        policy(f'[[upstream]]\nname = "a"\ntargets = [{target}]\n', BASE)
