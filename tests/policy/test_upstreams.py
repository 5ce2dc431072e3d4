"""Targets: priority, then weight by Call-ID; the request URI by template."""
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.config import Upstream
from proxy.policy.addresses import Address, parse_target
from proxy.policy.refusals import Refused
from proxy.policy.targets import Targets
from proxy.policy.uris import Uri, check_uri_template
from sipcore.wire.uri import URI

from .sample import policy, request

ROUTE = '[[route]]\nto = "pbx"\n'


def test_the_order_is_a_function_of_the_call_id():
    edge = policy('[[upstream]]\nname = "pbx"\ntargets = [{address = "192.0.2.1"}, {address = "192.0.2.2"}]\n' + ROUTE)
    seen = set()
    for number in range(64):
        orders = {tuple(target.host for target in edge.decide(request(call_id=f"call-{number}")).targets)
                  for _ in range(3)}
        assert len(orders) == 1
        seen |= orders
    assert len(seen) == 2


def test_a_kept_uri_has_a_verdict_for_each_order_ready():
    edge = policy('[[upstream]]\nname = "pbx"\nuri = ""\ntargets = [{address = "192.0.2.1"}, {address = "192.0.2.2"}]\n'
                  + ROUTE)
    assert edge.decide(request(call_id="a")) is edge.decide(request(call_id="a", uri="sip:other@h"))
    assert edge.decide(request()).scope == 0
    assert edge.decide(request()).targets[0].uri == b""


@pytest.mark.parametrize(("settings", "uri", "expected"), [
    ("", "sip:2001@edge.example;user=phone", "sip:2001@192.0.2.1:5060"),
    ("", "sip:edge.example", "sip:192.0.2.1:5060"),
    ("", "tel:+1-202", "sip:+1202@192.0.2.1:5060"),
    ("", "sip:a%40b;c=d@edge.example", "sip:a%40b;c=d@192.0.2.1:5060"),
    ("", "sip:gr%C3%B6%C3%9Fe@edge.example", "sip:gr%C3%B6%C3%9Fe@192.0.2.1:5060"),
    ('uri = "sip:{user}@{domain}"', "sip:2001@edge.example:5099", "sip:2001@edge.example"),
    ('uri = "sip:{user}@{domain}"', "tel:+1202", "sip:+1202@192.0.2.1:5060"),
    ('uri = "sip:{user}@{host};user=phone"', "tel:+1202", "sip:+1202@192.0.2.1:5060;user=phone"),
    ('uri = "tel:{user}"', "sip:+1-202@h", "tel:+1202"),
    ('uri = "sip:ivr@{host}"', "sip:2001@edge.example", "sip:ivr@192.0.2.1:5060"),
    ('uri = "sip:ivr@{domain}"', "sip:2001@edge.example", "sip:ivr@edge.example"),
    ('uri = "sip:{host}"', "tel:+1202", "sip:192.0.2.1:5060"),
    ('uri = "sip:00{user}@{host}"', "sip:edge.example", "sip:00@192.0.2.1:5060"),
    ('strip = "+"\nprefix = "00"', "sip:+49301@h", "sip:0049301@192.0.2.1:5060"),
    ('strip = "9"', "sip:2001@h", "sip:2001@192.0.2.1:5060"),
    ('prefix = "+49"', "tel:30-1", "sip:+49301@192.0.2.1:5060"),
])
def test_the_request_uri(settings, uri, expected):
    edge = policy(f'[[upstream]]\nname = "pbx"\ntargets = [{{address = "192.0.2.1"}}]\n{settings}\n' + ROUTE)
    assert edge.decide(request(uri=uri)).targets[0].uri.decode() == expected


def test_tel_only_upstreams_refuse_what_is_no_number():
    edge = policy('[[upstream]]\nname = "pbx"\ntargets = [{address = "192.0.2.1"}]\nuri = "tel:{user}"\n' + ROUTE)
    verdict = edge.decide(request(uri="sip:alice@h"))
    assert (verdict.status, verdict.reason) == (404, "Not a Telephone Number")


@pytest.mark.parametrize(("settings", "uri", "reason"), [
    ('uri = "tel:{user}"\nstrip = "+49"', "tel:+49", "Not a Telephone Number"),
    ('uri = "tel:{user}"\nprefix = "+49"', "tel:+4930", "Not a Telephone Number"),
    ('strip = "+49"', "tel:+49", "Nothing Left of the Number"),
    ('strip = "9"\nprefix = "00"', "sip:9@h", "Nothing Left of the Number"),
])
def test_nothing_is_sent_without_a_number(settings, uri, reason):
    edge = policy(f'[[upstream]]\nname = "pbx"\ntargets = [{{address = "192.0.2.1"}}]\n{settings}\n' + ROUTE)
    verdict = edge.decide(request(uri=uri))
    assert (verdict.status, verdict.reason) == (404, reason)
    with pytest.raises(Refused) as found:
        Targets(edge.config).resolve(uri.replace("@h", "@example.com"), upstream="pbx")
    assert (found.value.status, found.value.reason) == (404, reason)


def test_ipv6_targets_stand_in_brackets():
    edge = policy('[[listener]]\nname = "six"\nbind = "udp:[::1]:5060"\n'
                  '[[upstream]]\nname = "pbx"\ntargets = [{address = "[2001:db8::1]:5070"}]\n' + ROUTE)
    (target,) = edge.decide(request()).targets
    assert (target.host, target.port, target.uri) == ("2001:db8::1", 5070, b"sip:2001@[2001:db8::1]:5070")


@given(st.text(min_size=1, max_size=20))
def test_any_user_gives_one_uri(user):
    template = Uri(Upstream(name="u"))
    safe = template.user("sip", user)
    assert safe is not None
    uri = URI(template.fill(safe, Address("192.0.2.1", 5060)))
    assert (uri.scheme, uri.host, uri.port) == ("sip", "192.0.2.1", 5060)


@given(st.from_regex(r"\A(?:[a-z0-9+;=?/&$,_.!~*'()-]|%[0-9A-F]{2}){1,20}\Z"))
def test_a_well_formed_user_stays_as_it_is(user):
    assert Uri(Upstream(name="u")).user("sip", user) == user


@pytest.mark.parametrize("text", ["http:{user}", "sip:{user}@{hots}", "sip:{user", "sip:{user}@ {host}", "tel:+{user}",
                                  "sip:{user}@{host}\r\nX: y", "{user}", "sip:<{user}>",
                                  "sip:", "sip:@", "sip:{host}@@", "sip:{user}@{host}:5060", "sip:{user}@[{host}]",
                                  "sip:{user}@{domain}:5060", "sip:{user}-{user}@{host}", "tel:{user};x={user}",
                                  "tel:{user};", "sip:{user}{host}", "sip:{host};x={user}", "sip:{user}@{host}?X-A=b"])
def test_templates_that_give_no_uri(text):
    with pytest.raises(ValueError, match="expected"):
        check_uri_template(text)


def test_a_port_may_follow_a_host_that_has_none():
    check_uri_template("sip:{user}@{host}:5060", [parse_target("pbx.example.com")])
    with pytest.raises(ValueError, match="which gives"):
        check_uri_template("sip:{user}@{host}:5060", [parse_target("pbx.example.com:5070")])


def test_every_target_gets_the_same_user_of_the_template():
    edge = policy('[[upstream]]\nname = "pbx"\ntargets = [{address = "192.0.2.1"}, {address = "192.0.2.2"}]\n'
                  'uri = "sip:ivr@{host}"\n' + ROUTE)
    found = edge.decide(request()).targets
    assert {target.uri.decode() for target in found} == {"sip:ivr@192.0.2.1:5060", "sip:ivr@192.0.2.2:5060"}


def test_the_domain_may_be_an_ipv6_address():
    edge = policy('[[upstream]]\nname = "d"\ntargets = [{address = "192.0.2.1"}]\nuri = "sip:{user}@{domain}"\n'
                  '[[route]]\nto = "d"\n')
    (target,) = edge.decide(request("INVITE", "sip:2001@[2001:db8::1]:5062")).targets
    assert target.uri == b"sip:2001@[2001:db8::1]"
