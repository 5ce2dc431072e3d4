"""Routes: group, method, number prefix, user pattern, domain; upstreams, the request URI, the edge itself."""
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.config import Route
from proxy.policy.routing import Condition, Table, number_of
from sipcore.stack.verdict import Verdict

from .sample import AGENTS, CALLERS, INSIDE, policy, request

UPSTREAMS = "".join(f'[[upstream]]\nname = "{name}"\ntargets = [{{address = "192.0.2.{index}"}}]\n'
                    for index, name in enumerate(("a", "b", "c", "d"), 1))


def taken(routes: str, uri: str, group: int = CALLERS, method: str = "INVITE") -> str:
    """The upstream that a request goes to, or the status that it gets."""
    verdict = policy(UPSTREAMS + routes).decide(request(method, uri, group=group))
    return "abcd"[verdict.upstream] if verdict.action == Verdict.FORWARD else str(verdict.status)


def route(to: str, conditions: str = "") -> str:
    return f'[[route]]\nto = "{to}"\n{conditions}\n'


@pytest.mark.parametrize(("user", "number"), [
    ("2001", "2001"), ("+4930123", "+4930123"), ("%2B4930", "+4930"), ("+1-(202).555", "+1202555"),
    ("+49;phone-context=x", "+49"), ("alice", ""), ("+", ""), ("", ""), ("12a", ""), ("\u0661\u0662", ""),
    ("1+2", ""), ("%\udc80", ""),
])
def test_numbers(user, number):
    assert number_of(user) == number


@pytest.mark.parametrize(("uri", "expected"), [
    ("sip:+4930123@h", "b"), ("sip:+49123@h", "a"), ("sip:+44123@h", "c"), ("sip:alice@h", "404"),
    ("sip:%2B4930123@h", "b"), ("sip:+49-30-123@h", "b"), ("sip:+493@h", "a"), ("sip:00441@h", "404"),
    ("tel:+49-30-1", "b"), ("tel:+1", "404"),
])
def test_the_longest_prefix_wins_whatever_the_order(uri, expected):
    routes = (route("a", 'prefixes = ["+49"]') + route("b", 'prefixes = ["+4930", "+4931"]')
              + route("c", 'prefixes = ["+4"]'))
    assert taken(routes, uri) == expected


@pytest.mark.parametrize(("domain", "uri"), [
    ("::1", "sip:1@[0:0:0:0:0:0:0:1]"), ("2001:DB8:0::1", "sip:1@[2001:db8::1]"), ("x.example", "sip:1@X.example."),
    ("*.example", "sip:1@a.example."), ("192.0.2.1", "sip:1@[::ffff:192.0.2.1]"),
])
def test_a_host_is_the_same_in_every_spelling(domain, uri):
    assert taken(route("a", f'domains = ["{domain}"]') + route("b"), uri) == "a"


def test_a_prefix_beats_what_stands_before_it_and_equals_go_by_order():
    routes = route("a") + route("b", 'prefixes = ["+49"]') + route("c", 'prefixes = ["+49"]')
    assert taken(routes, "sip:+491@h") == "b"
    assert taken(routes, "sip:bob@h") == "a"


def test_a_prefix_that_fails_another_condition_gives_way_to_a_shorter_one():
    routes = route("a", 'prefixes = ["+4930"]\ndomains = ["x.example"]') + route("b", 'prefixes = ["+49"]')
    assert taken(routes, "sip:+49301@y.example") == "b"
    assert taken(routes, "sip:+49301@x.example") == "a"


@pytest.mark.parametrize(("uri", "expected"), [
    ("sip:2001@h", "a"), ("sip:20012@h", "c"), ("sip:sales-berlin@h", "b"), ("sip:%73ales-b@h", "b"),
    ("sip:Sales-b@h", "c"), ("sip:h", "c"),
])
def test_user_patterns(uri, expected):
    routes = route("a", 'users = ["20[0-9][0-9]", "echo"]') + route("b", 'users = ["sales-*"]') + route("c")
    assert taken(routes, uri) == expected


@pytest.mark.parametrize(("uri", "expected"), [
    ("sip:1@example.com", "a"), ("sip:1@EXAMPLE.com:5070", "a"), ("sip:1@x.example.com", "b"),
    ("sip:1@a.b.example.com", "b"), ("sip:1@badexample.com", "404"), ("sip:1@[2001:db8::1]:5060", "c"),
    ("sip:1@192.0.2.1", "d"), ("tel:+1", "404"),
])
def test_domains(uri, expected):
    routes = (route("a", 'domains = ["example.com"]') + route("b", 'domains = ["*.Example.com"]')
              + route("c", 'domains = ["[2001:db8::1]"]') + route("d", 'domains = ["192.0.2.1"]'))
    assert taken(routes, uri) == expected


def test_groups_and_methods():
    routes = route("a", 'groups = ["agents"]') + route("b", 'groups = ["callers"]\nmethods = ["OPTIONS"]')
    assert taken(routes, "sip:1@h", AGENTS) == "a"
    assert taken(routes, "sip:1@h", CALLERS) == "404"
    assert taken(routes, "sip:1@h", CALLERS, "OPTIONS") == "b"


def test_options_to_the_edge_itself_is_answered():
    edge = policy("")
    assert edge.decide(request("OPTIONS", "sip:127.0.0.1:5060")).action == Verdict.LOCAL
    assert edge.decide(request("OPTIONS", "sip:alice@127.0.0.1:5060")).status == 404
    local = policy(route("local", 'methods = ["OPTIONS"]'))
    assert local.decide(request("OPTIONS", "sip:alice@127.0.0.1")).action == Verdict.LOCAL


class TestSchemes:
    """transfers.md section 2, for request URIs."""

    def test_sips_is_refused_clearly_never_downgraded(self):
        verdict = policy(route("request-uri")).decide(request(uri="sips:alice@192.0.2.1"))
        assert (verdict.status, verdict.reason) == (416, "SIPS Needs TLS, Which Is Not Available")

    def test_tel_goes_to_an_upstream_by_its_template(self):
        verdict = policy(UPSTREAMS + route("a")).decide(request(uri="tel:+1-202-555"))
        assert verdict.targets[0].uri == b"sip:+1202555@192.0.2.1:5060"

    def test_tel_cannot_go_along_the_request_uri(self):
        assert policy(route("request-uri")).decide(request(uri="tel:+1202")).status == 416

    def test_an_unknown_scheme(self):
        assert policy(route("request-uri")).decide(request(uri="mailto:a@b")).status == 416


class TestScope:
    """A verdict is memoisable by listener, group and method only where nothing else was read."""

    def test_along_the_request_uri_it_is_one_object(self):
        edge = policy(route("request-uri"))
        first, second = edge.decide(request(uri="sip:1@192.0.2.1")), edge.decide(request(uri="sip:2@192.0.2.9"))
        assert first is second
        assert (first.scope, first.targets, first.record_route) == (1, (), True)

    def test_a_choice_by_user_is_not(self):
        edge = policy(UPSTREAMS + route("request-uri", 'users = ["1"]') + route("a"))
        assert edge.decide(request(uri="sip:1@192.0.2.1")).scope == 0

    def test_a_kept_uri_is_and_a_template_is_not(self):
        keeps = UPSTREAMS.replace('name = "a"', 'name = "a"\nuri = ""')
        assert policy(keeps + route("a")).decide(request()).scope == 1
        assert policy(UPSTREAMS + route("a")).decide(request()).scope == 0

    def test_neither_is_one_for_another_scheme(self):
        keeps = UPSTREAMS.replace('name = "a"', 'name = "a"\nuri = ""')
        assert policy(keeps + route("a")).decide(request(uri="tel:+1202")).scope == 0

    def test_a_trusted_sender_along_the_request_uri_is_not(self):
        assert policy(route("request-uri")).decide(request(group=INSIDE)).scope == 0


def test_record_route_can_be_left_out():
    assert not policy(route("request-uri", "record_route = false")).decide(request()).record_route


def test_timers_and_limits_of_the_upstream():
    settings = "try_timeout = 0.5\nmax_calls = 7\nmax_duration = 60\nmtu = 1400"
    text = UPSTREAMS.replace('name = "a"', f'name = "a"\n{settings}')
    verdict = policy(text + "[timers]\ntimer_c = 90\n" + route("a")).decide(request())
    assert (verdict.try_timeout, verdict.ring_timeout, verdict.max_calls, verdict.max_duration, verdict.budget) == (
        500, 90_000, 7, 60, 1200)


class Plain:
    def __init__(self, condition: Condition):
        self.condition = condition


@given(st.lists(st.lists(st.from_regex(r"\A\+?[0-9]{1,4}\Z"), max_size=3), max_size=5),
       st.from_regex(r"\A\+?[0-9]{1,6}\Z"))
def test_the_table_agrees_with_a_search_through_all_routes(prefixes, number):
    ways = [Plain(Condition(Route(to="a", prefixes=tuple(some)))) for some in prefixes]
    best = max((way.condition.prefix_length(number) for way in ways), default=-1)
    expected = next((way for way in ways if way.condition.prefix_length(number) == best >= 0), None)
    assert Table(ways).choose(number, "h") is expected


def test_a_pattern_made_to_be_slow_is_not():
    condition = Condition(Route(to="a", users=("*a" * 60 + "b",)))
    before = time.process_time()
    assert not condition.matches_rest("a" * 8000, "h")
    assert time.process_time() - before < 0.5
