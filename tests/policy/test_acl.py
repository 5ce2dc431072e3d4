"""The access list: longest match, per listener, groups and methods."""
import pytest

from proxy.app import build_proxy
from proxy.policy.acl import group_of, prefixes, trusts
from proxy.policy.addresses import Address, bind_address, parse_address, parse_prefix
from sipcore.stack.verdict import Verdict

from .sample import AGENTS, CALLERS, UNLISTED, policy, refer, request

LISTS = """\
[[listener]]
name = "outside"
bind = "udp:198.51.100.1:5060"
[[listener]]
name = "inside"
bind = "udp:[2001:db8::1]:5060"
[[group]]
name = "net"
addresses = ["10.0.0.0/8", "2001:db8::/32"]
[[group]]
name = "one"
addresses = ["10.1.2.3", "2001:db8:1::/48"]
listeners = ["inside"]
[[group]]
name = "bad"
addresses = ["10.66.0.0/16"]
action = "deny"
[[group]]
name = "told"
addresses = ["10.67.0.0/16"]
action = "forbid"
[[route]]
to = "request-uri"
"""


@pytest.fixture(scope="module")
def edge():
    return policy(LISTS, base="")


@pytest.mark.parametrize(("address", "outside", "inside"), [
    ("10.9.9.9", 0, 0), ("10.1.2.3", 0, 1), ("10.1.2.4", 0, 0), ("10.66.1.1", 2, 2), ("11.0.0.1", -1, -1),
    ("2001:db8:1::5", 0, 1), ("2001:db8:2::5", 0, 0), ("[2001:db8:2::5]", 0, 0), ("2001:db9::", -1, -1),
    ("::ffff:10.66.1.1", 2, 2), ("pbx.example.com", -1, -1),
])
def test_the_longest_prefix_of_the_listener_wins(edge, address, outside, inside):
    assert [group_of(prefixes(edge.config, listener), address) for listener in (0, 1)] == [outside, inside]


def test_ipv4_mapped_prefixes_are_ipv4():
    assert str(parse_prefix("::ffff:10.0.0.0/104")) == "10.0.0.0/8"


@pytest.mark.parametrize("addresses", [
    ["127.0.0.1", "127.0.0.1/32"], ["127.0.0.0/8", "::ffff:127.0.0.0/104"], ["::1", "::1/128", "0:0::1"],
])
def test_a_prefix_in_two_spellings_is_one(addresses):
    edge = policy(f'[[group]]\nname = "twice"\naddresses = {addresses}\n'.replace("'", '"'))
    assert [str(prefix.network) for prefix in prefixes(edge.config, 0)].count(str(parse_prefix(addresses[0]))) == 1
    build_proxy(edge.config, secret=bytes(32))


@pytest.mark.parametrize("text", ["fe80::1%eth0", "fe80::1%eth0/128", "fe80::%1/64"])
def test_a_prefix_has_no_scope(text):
    with pytest.raises(ValueError, match="expected a CIDR prefix"):
        parse_prefix(text)


def test_deny_gives_no_answer_and_forbid_403(edge):
    assert edge.decide(request(group=2)).action == Verdict.DROP
    verdict = edge.decide(request(group=3))
    assert (verdict.action, verdict.status) == (Verdict.REJECT, 403)


def test_unlisted_sources_get_what_is_configured():
    assert policy("").decide(request(group=UNLISTED)).action == Verdict.DROP
    verdict = policy('[unlisted]\nanswer = "forbid"\n').decide(request(group=UNLISTED))
    assert (verdict.action, verdict.status) == (Verdict.REJECT, 403)


@pytest.mark.parametrize("method", ["MESSAGE", "SUBSCRIBE", "REGISTER", "NOTIFY", "INFO", "BYE", "FOO"])
def test_methods_are_closed_by_default(edge, method):
    verdict = edge.decide(request(method, group=0))
    assert (verdict.action, verdict.status, verdict.headers) == (Verdict.REJECT, 405, b"Allow: INVITE, OPTIONS\r\n")


def test_an_ack_is_never_answered(edge):
    assert edge.decide(request("ACK", group=0)).action == Verdict.DROP


@pytest.mark.parametrize("group", [AGENTS, CALLERS, UNLISTED])
def test_what_a_dialog_s_token_let_in_follows_the_dialog(group):
    """Internal headers do not leave inside dialogs either."""
    verdict = policy("").decide(request("INFO", group=group, in_dialog=True))
    assert (verdict.action, verdict.targets, verdict.remove) == (Verdict.FORWARD, (), ("X-Internal-*",))


@pytest.mark.parametrize("method", ["MESSAGE", "SUBSCRIBE", "FOO"])
def test_inside_a_dialog_other_methods_are_closed_too(edge, method):
    verdict = edge.decide(request(method, group=0, in_dialog=True))
    assert verdict.status == 405
    assert verdict.headers == b"Allow: INVITE, ACK, BYE, CANCEL, PRACK, UPDATE, INFO, NOTIFY, REFER\r\n"
    listed = LISTS.replace('name = "net"', f'name = "net"\ndialog_methods = ["{method}"]')
    assert policy(listed, base="").decide(request(method, group=0, in_dialog=True)).action == Verdict.FORWARD


def test_a_denied_group_transfers_only_by_a_rule_that_names_it():
    text = LISTS + "[[refer]]\n"
    assert policy(text, base="").decide(refer("<sip:1@h>", group=2)).status == 603
    named = text + '[[refer]]\ngroups = ["bad"]\n'
    assert policy(named, base="").decide(refer("<sip:1@h>", group=2)).action == Verdict.FORWARD


def test_an_address_is_trusted_only_where_every_listener_says_so():
    text = ('[[listener]]\nname = "a"\nbind = "udp:127.0.0.1:5060"\n'
            '[[listener]]\nname = "b"\nbind = "udp:127.0.0.1:5061"\n'
            '[[group]]\nname = "good"\naddresses = ["10.0.0.0/8"]\ntrusted = true\n'
            '[[group]]\nname = "other"\naddresses = ["10.1.0.0/16"]\nlisteners = ["b"]\n')
    config = policy(text, base="").config
    assert trusts(config, "10.2.0.1")
    assert not trusts(config, "10.1.0.1")
    assert not trusts(config, "11.0.0.1")


@pytest.mark.parametrize(("text", "expected"), [
    ("192.0.2.1", Address("192.0.2.1", 5060)), ("192.0.2.1:80", Address("192.0.2.1", 80)),
    ("[2001:DB8::1]:5070", Address("2001:db8::1", 5070)), ("[::1]", Address("::1", 5060)),
])
def test_addresses(text, expected):
    assert parse_address(text) == expected


@pytest.mark.parametrize("text", [
    "", "a.example", "192.0.2.1:", "192.0.2.1:0", "192.0.2.1:65536", "::1", "2001:db8::1:5060", "[192.0.2.1]:5060",
    "192.0.2.01", "192.0.2.1:5060 ", "[::1]:5060:1", "192.0.2.1:\u0665"])
def test_what_is_no_address(text):
    with pytest.raises(ValueError, match="expected an IP address and port"):
        parse_address(text)


def test_an_address_is_written_with_brackets_where_it_needs_them():
    assert str(Address("2001:db8::1", 5060)) == "[2001:db8::1]:5060"
    assert bind_address("udp:[::1]:5070") == ("udp", Address("::1", 5070))
