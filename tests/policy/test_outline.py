"""What `sipedge check` shows of sizes, and the configurations that come with the project."""
from pathlib import Path

import pytest

from proxy.load import load
from proxy.policy.engine import Policy
from proxy.policy.outline import outline
from sipcore.stack.verdict import Verdict

from .sample import PBX, REFERENCE, header_set, policy, refer, request

ROOT = Path(__file__).parents[2]
DEFAULT = ROOT / "proxy" / "default.toml"


def lines(text: str) -> list[str]:
    return [str(line) for line in outline(policy(text).config)]


def test_each_route_and_rule_has_a_line_with_its_budget():
    text = (PBX + header_set('name = "X-A", value = "{X-Name}"', on='["INVITE"]')
            + '[[route]]\nto = "pbx"\nheaders = ["set"]\n[[route]]\nto = "local"\nmethods = ["OPTIONS"]\n'
              '[[refer]]\nupstream = "pbx"\n[[refer]]\naction = "refuse"\n')
    first, second = outline(policy(text).config)
    assert (first.path, first.what, first.headers, first.limit) == ("route[0]", "INVITE to pbx", ("X-A",), 1300)
    assert str(first).startswith(f"route[0] INVITE to pbx: {first.size:,} of 1,300 bytes with X-A")
    assert (second.path, second.what) == ("refer[0]", "REFER as pbx wants it")


def test_the_sample_has_the_size_that_it_would_have_on_the_wire():
    plain, longer = (outline(policy(PBX + header_set(f'name = "X-A", value = "{value}"')
                                    + '[[route]]\nto = "pbx"\nheaders = ["set"]\n').config)[0].size
                     for value in ("", "v" * 100))
    assert longer - plain == 100


def test_over_budget_it_says_which_steps_act():
    text = (PBX + 'mtu = 1500\ncodecs = ["PCMA"]\n' + header_set(f'name = "X-A", value = "{"v" * 300}"')
            + '[[route]]\nto = "pbx"\nheaders = ["set"]\n')
    (line,) = lines(text)
    assert "of 1,300 bytes with X-A; over budget: compact header names, dropped X-A, then 1," in line
    (line,) = lines(text.replace("mtu = 1500", 'mtu = 1000\nsize_policy = ["drop", "refuse"]'))
    assert line.endswith("over budget: dropped X-A, refused")


def test_what_would_go_by_reference_and_steps_that_do_nothing_are_named():
    steps = 'mtu = 900\nsize_policy = ["codecs", "reference", "refuse"]\n'
    (line,) = lines(PBX + steps + header_set(f'name = "X-A", value = "{"a" * 200}"') + REFERENCE
                    + '[[route]]\nto = "pbx"\nheaders = ["set"]\n')
    assert ": 1," in line
    assert "over budget: X-A by reference, refused" in line
    assert line.endswith("(codecs: no list, the step does nothing)")


@pytest.mark.parametrize("file", [DEFAULT, *sorted((ROOT / "benchmarks" / "seats").glob("*.toml"))])
def test_the_configurations_of_the_project_load_and_fit(file):
    shown = outline(load(file))
    assert shown
    assert not any(line.steps for line in shown)


@pytest.fixture(scope="module")
def edge() -> Policy:
    return Policy(load(DEFAULT))


class TestDefault:
    """The default configuration: caller 127.0.0.2, agent 127.0.0.3, PBX 127.0.0.4, phones 127.0.0.1."""

    CALLERS, AGENTS, PBX, PHONES = range(4)

    @pytest.mark.parametrize(("group", "user", "host"), [
        (CALLERS, "agent", "127.0.0.3"), (CALLERS, "2001", "127.0.0.4"), (PHONES, "echo", "127.0.0.4"),
        (PHONES, "agent", "127.0.0.3"), (AGENTS, "2002", "127.0.0.4"), (CALLERS, "+4930123", "127.0.0.4"),
    ])
    def test_calls_reach_the_agent_and_the_extensions(self, edge, group, user, host):
        verdict = edge.decide(request(uri=f"sip:{user}@127.0.0.1:5060", group=group))
        assert [target.host for target in verdict.targets] == [host]

    def test_unknown_extensions_are_not_found(self, edge):
        assert edge.decide(request(uri="sip:nobody@127.0.0.1", group=self.PHONES)).status == 404

    def test_the_agent_s_transfer_carries_its_headers(self, edge):
        verdict = edge.decide(refer("<sip:2001@127.0.0.1>", lines=("X-Caller-Name: Ann",), group=self.AGENTS))
        assert verdict.action == Verdict.FORWARD
        assert b"X-Customer-Intent: billing question\r\nX-Caller-Name: Ann\r\n" in verdict.insert
        assert b"?X-Customer-Intent=billing%20question&X-Caller-Name=Ann&" in verdict.replace[0][1]

    def test_only_the_agent_s_side_may_transfer(self, edge):
        assert edge.decide(refer("<sip:2001@127.0.0.1>", group=self.CALLERS)).status == 603
        assert edge.decide(refer("<sip:2001@evil.example>", group=self.AGENTS)).status == 603


UDP6 = '[[listener]]\nname = "six"\nbind = "udp:[2001:db8::5]:5060"\n'
TCP = '[[listener]]\nname = "t"\nbind = "tcp:{}"\n'


@pytest.mark.parametrize(("target", "listener", "remark"), [
    ('address = "192.0.2.1"', "", "no listener is bound to tcp"),
    ('address = "192.0.2.1"', "203.0.113.5:5060", ""),
    ('address = "2001:db8::1"', "203.0.113.5:5060", "no listener of tcp reaches [2001:db8::1]:5060"),
    ('address = "2001:db8::1"', "[2001:db8::5]:5060", ""),
    ('address = "pbx.example.com"', "203.0.113.5:5060", ""),
    ('address = "192.0.2.1", transport = "tcp"', "203.0.113.5:5060", "no target is reached by UDP"),
], ids=["no listener", "ipv4", "another family", "ipv6", "name", "by tcp already"])
def test_a_tcp_step_without_a_way_by_tcp_is_named(target, listener, remark):
    upstream = f'[[upstream]]\nname = "big"\ntargets = [{{{target.replace("2001:db8::1", "[2001:db8::1]")}}}]\n'
    text = (upstream + 'mtu = 1000\nsize_policy = ["tcp", "refuse"]\n'
            + header_set(f'name = "X-A", value = "{"a" * 200}"') + '[[route]]\nto = "big"\nheaders = ["set"]\n')
    (line,) = lines(UDP6 + (TCP.format(listener) if listener else "") + text)
    if remark:
        assert line.endswith(f"over budget: tcp ({remark}), refused (tcp: {remark}, the step does nothing)")
    else:
        assert "over budget: by TCP, then 1," in line
        assert "does nothing" not in line
