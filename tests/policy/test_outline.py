"""What `sipedge check` shows of sizes, and the configurations that come with the project."""
from pathlib import Path

import pytest

from proxy.load import load
from proxy.policy.engine import Policy
from proxy.policy.outline import outline
from sipcore.stack.verdict import Verdict

from .sample import PBX, header_set, policy, refer, request

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


def test_steps_of_later_versions_and_steps_that_do_nothing_are_named():
    (line,) = lines(PBX + 'size_policy = ["tcp", "codecs", "reference", "refuse"]\n[[route]]\nto = "pbx"\n')
    assert line.endswith("(tcp acts in a later version) (reference acts in a later version) "
                         "(codecs: no list, the step does nothing)")


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
