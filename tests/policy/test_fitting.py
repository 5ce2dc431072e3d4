"""transfers.md section 4 for requests of the edge's own: exact sizes, and each step of the size policy."""
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.config import Action, ActionHeader
from proxy.policy.addresses import Address
from proxy.policy.fitting import Fitted, fit_own, via_line
from proxy.policy.headers import Patterns
from proxy.policy.placement import Plan, Sent, plan_headers
from proxy.policy.upstreams import compile_peers
from sipcore.stack.handler import Handler
from sipcore.stack.outgoing import Outgoing
from sipcore.stack.useragent import UserAgent
from sipcore.wire.message import Message
from sipcore.wire.sdp import Sdp

from .sample import BASE, REFERENCE, SDP, Shelf, header_set, policy
from .sample import request as received_request

ACTION = Action(name="a", mode="warm", headers=(
    ActionHeader(name="X-Low", value="l" * 100), ActionHeader(name="X-High", value="h" * 100, priority=9),
    ActionHeader(name="X-Mid", value="m" * 100, priority=5)))
EXTRA = (("Supported", "timer"), ("Session-Expires", "1800"))


def upstream(steps: str, mtu: int, more: str = ""):
    text = (f'[[upstream]]\nname = "pbx"\ntargets = [{{address = "127.0.0.4"}}]\nmtu = {mtu}\nsize_policy = {steps}\n'
            f'{more}{REFERENCE}')
    return policy(text).config


def request(plan: Plan, target: str = "", body: str = SDP) -> Outgoing:
    first = (("Refer-To", plan.refer_to(target)), ("Referred-By", "<sip:agent@192.0.2.5>")) if target else ()
    return Outgoing(method=plan.method, uri="sip:2001@127.0.0.4", call_id="c" * 26, cseq=1,
                    local='"Agent" <sip:agent@127.0.0.1>', local_tag="t" * 13, remote="<sip:2001@127.0.0.4>",
                    contact="<sip:127.0.0.1:5060>", headers=(*first, *plan.headers(), *EXTRA),
                    body=b"" if target else body.replace("\n", "\r\n").encode())


def walk(steps: str, *, over: int, more: str = "", method: str = "INVITE", body: str = SDP, **options) -> Fitted:
    """What a request comes to that is so many bytes over its budget."""
    config = upstream(steps, 8000, more)
    peer = compile_peers(config)["pbx"]
    plan = plan_headers(ACTION, {}, {}, peer.settings, method, internal=Patterns(()))
    target = "sip:2001@127.0.0.4" if method == "REFER" else ""
    out, via = request(plan, target, body), via_line(config, 0)
    size = len(out.render(via))
    tight = compile_peers(upstream(steps, size - over + 200, more))["pbx"]
    fitted = fit_own(out, plan, tight, via=via, target=target, **options)
    assert fitted.budget == f"{size + options.get('room', 0):,} of {fitted.limit:,} bytes"
    assert len(fitted.made.render(via)) + options.get("room", 0) == fitted.size
    return fitted


def names(fitted: Fitted) -> list[str]:
    return [name for name, _ in fitted.made.headers if name.startswith("X-")]


@pytest.mark.parametrize("address", ["127.0.0.1:5060", "203.0.113.250:15060", "[2001:db8::5]:5060"])
def test_the_size_is_that_of_the_datagram(address):
    target = "192.0.2.9" if "." in address else "2001:db8::9"
    config = policy(f'[[upstream]]\nname = "u"\ntargets = [{{address = "{Address(target, 5060)}"}}]\n',
                    f'[[listener]]\nname = "l"\nbind = "udp:{address}"\n').config
    host, _, port = address.rpartition(":")
    agent = UserAgent(handler=Handler())
    agent.add_listener(host.strip("[]"), int(port))
    plan = plan_headers(ACTION, {}, {}, config.upstreams[0], "INVITE", internal=Patterns(()))
    sent = agent.request(0, request(plan), (target, 5060)).data
    fitted = fit_own(request(plan), plan, compile_peers(config)["u"], via=via_line(config, 0))
    assert fitted.size == len(sent)


@given(st.lists(st.text(max_size=60).filter(lambda text: not set(text) & set("\r\n\0")), max_size=6),
       st.integers(0, 2000), st.integers(0, 3))
def test_no_request_is_longer_than_it_is_said_to_be_at_most(values, body, routes):
    out = Outgoing(method="INVITE", uri="sip:2001@127.0.0.4", call_id="c" * 26, cseq=2**31 - 1, max_forwards=255,
                   local="<sip:agent@127.0.0.1>", local_tag="t" * 13, remote="<sip:2001@127.0.0.4>",
                   remote_tag="r" * 13, contact="<sip:127.0.0.1:5060>", body=b"b" * body,
                   route=("<sip:192.0.2.1;lr>",) * routes,
                   headers=tuple((f"X-{number}", value) for number, value in enumerate(values)))
    config = policy("", BASE.replace("127.0.0.1:5060", "[2001:db8:1111:2222:3333:4444:5555:6666]:65535")).config
    size = len(out.render(via_line(config, 0)))
    assert size <= out.most <= 5 * size + 600


def test_a_controlled_invite_loses_the_headers_of_its_route_s_sets():
    text = ('[[upstream]]\nname = "pbx"\ntargets = [{address = "127.0.0.4"}]\nsize_policy = ["drop", "refuse"]\n'
            + header_set('name = "X-Low", value = "{from_phone_number}"', 'name = "X-High", value = "h", priority = 9')
            + '[[route]]\nto = "pbx"\ncontrol = true\nheaders = ["set"]\n')
    edge = policy(text)
    received = received_request(body=SDP)
    assert edge.decide(received).control
    plan, peer = edge.plan(received)
    assert peer.settings.name == "pbx"
    out, via = request(plan), via_line(edge.config, 0)
    fitted = fit_own(out, plan, peer, via=via, path_mtu=len(out.render(via)) + 199)
    assert names(fitted) == ["X-High"]


def test_a_request_without_set_headers_is_checked_too():
    config = upstream('["drop", "codecs", "fragment"]', 600, 'codecs = ["PCMA"]\n')
    plan = Plan.empty(config.upstreams[0], "INVITE")
    fitted = fit_own(request(plan), plan, compile_peers(config)["pbx"], via=via_line(config, 0))
    assert fitted.steps[0] == "kept only codecs PCMA"
    assert fitted.warn


def test_what_fits_goes_as_it_is():
    fitted = walk('["compact", "drop", "refuse"]', over=0)
    assert (fitted.steps, fitted.warn, fitted.counters) == ((), "", ())
    assert names(fitted) == ["X-High", "X-Mid", "X-Low"]


def test_compact_names():
    fitted = walk('["compact", "refuse"]', over=10)
    read = Message(fitted.made.render(b"Via: SIP/2.0/UDP 127.0.0.1;branch=z9hG4bKx\r\n"))
    assert [name for name, _ in read.items()][:4] == ["v", "Max-Forwards", "f", "t"]
    assert read.header("Supported") == "timer"
    assert read.body == SDP.replace("\n", "\r\n").encode()
    assert fitted.steps == ("compact header names",)


@pytest.mark.parametrize(("over", "left"), [(1, ["X-High", "X-Mid"]), (150, ["X-High"]), (300, [])])
def test_drop_takes_the_lowest_priority_first(over, left):
    fitted = walk('["drop", "refuse"]', over=over)
    assert names(fitted) == left
    assert not fitted.refused
    assert [one.name for one in fitted.sent if one.where == "header"] == left
    assert Sent("X-Low", "left out", "dropped for the size") in fitted.sent
    assert [pair for pair in fitted.made.headers if pair in EXTRA] == list(EXTRA)


def test_a_refer_loses_its_headers_everywhere_at_once():
    fitted = walk('["drop", "refuse"]', over=1, more='refer_headers = ["header", "refer-to"]\n', method="REFER")
    assert names(fitted) == ["X-High", "X-Mid"]
    (value,) = [value for name, value in fitted.made.headers if name == "Refer-To"]
    assert ("X-Mid=" in value, "X-Low=" in value) == (True, False)
    assert ("Referred-By", "<sip:agent@192.0.2.5>") in fitted.made.headers


def test_codecs_keeps_the_listed_ones_and_telephone_events():
    fitted = walk('["codecs", "refuse"]', over=20, more='codecs = ["PCMA"]\n')
    (media,) = Sdp(fitted.made.body).media
    assert media.formats == ("8", "101")


def test_by_tcp_nothing_more_is_done_and_after_it_failed_the_next_step_is():
    tcp = walk('["compact", "tcp", "drop", "refuse"]', over=500, no_tcp="")
    assert (tcp.tcp, tcp.refused, tcp.warn, tcp.steps) == (True, False, "", ("compact header names", "by TCP"))
    assert tcp.counters == ("size.over", "size.compact", "size.tcp")
    udp = walk('["tcp", "drop", "refuse"]', over=10, no_tcp="the connection failed")
    assert (udp.tcp, udp.steps[0]) == (False, "tcp (the connection failed)")
    assert udp.steps[1].startswith("dropped ")


def test_a_token_of_an_edge_before_this_one_goes_by_reference_too():
    """A Refer-To brought it along, and a header can only be there once."""
    config = upstream('["reference", "refuse"]', 8000)
    peer = compile_peers(config)["pbx"]
    plan = plan_headers(ACTION, {}, {}, peer.settings, "INVITE", internal=Patterns(()),
                        carried=[("x-context-ref", "of another edge")])
    out, via = request(plan), via_line(config, 0)
    size = len(out.render(via))
    shelf = Shelf()
    fitted = fit_own(out, plan, compile_peers(upstream('["reference", "refuse"]', size + 190))["pbx"], via=via,
                     keeper=shelf)
    assert names(fitted) == ["X-Context-Ref", "X-High", "X-Mid"]
    assert not any(value == "of another edge" for _, value in fitted.made.headers)
    ((token, kept),) = shelf.kept.items()
    assert fitted.made.headers[0] == ("X-Context-Ref", token)
    assert kept == {"X-High": 100 * "h", "X-Mid": 100 * "m", "X-Low": 100 * "l", "x-context-ref": "of another edge"}
    assert fitted.size == len(fitted.made.render(via)) <= size - 10


def test_fragment_sends_with_a_warning():
    fitted = walk('["fragment"]', over=500)
    assert (fitted.refused, fitted.counters[-1]) == (False, "size.fragment")
    assert fitted.warn == f"size {fitted.budget} (pbx): sent in fragments; now {fitted.size:,}"


def test_refuse_is_said():
    fitted = walk('["drop", "refuse"]', over=700)
    assert fitted.refused
    assert fitted.steps[-1] == "refused"


def test_room_for_a_digest_answer_stays_free():
    fitted = walk('["drop", "refuse"]', over=0, room=150)
    assert names(fitted) == ["X-High"]
    assert fitted.size <= fitted.limit


def test_a_lower_path_mtu_counts():
    config = upstream('["drop", "refuse"]', 8000)
    plan = plan_headers(ACTION, {}, {}, config.upstreams[0], "INVITE", internal=Patterns(()))
    via = via_line(config, 0)
    size = len(request(plan).render(via))
    fitted = fit_own(request(plan), plan, compile_peers(config)["pbx"], via=via, path_mtu=size + 199)
    assert names(fitted) == ["X-High", "X-Mid"]


@given(st.permutations(["compact", "drop", "codecs", "tcp", "reference"]), st.integers(1, 900), st.booleans(),
       st.sampled_from(["INVITE", "REFER"]), st.booleans())
def test_whatever_the_policy_it_fits_or_says_why_not(steps, over, refuse, method, kept):
    steps = [*steps, "refuse" if refuse else "fragment"]
    more = 'codecs = ["PCMA"]\nrefer_headers = ["header", "refer-to", "user-to-user"]\n'
    over = min(over, 900 if method == "INVITE" else 500)
    fitted = walk(str(steps).replace("'", '"'), over=over, more=more, method=method,
                  keeper=Shelf("" if kept else "full"))
    assert fitted.steps
    assert fitted.refused or fitted.size <= fitted.limit or (fitted.warn and not refuse)
