"""What a decision costs: 3 us at most for a hot one."""
from typing import Any

import pytest

import sipcore.stack.plan  # noqa: F401  (gives Request its size_with)
from benchmarks.corpus import load
from proxy.config import decode
from proxy.policy.engine import Policy
from proxy.policy.validate import problems_of
from sipcore.stack.verdict import Request, Verdict

EDGE = """\
[[listener]]
name = "lan"
bind = "udp:127.0.0.1:5060"
[[group]]
name = "all"
addresses = ["0.0.0.0/0"]
[[upstream]]
name = "pbx"
targets = [{address = "192.0.2.1"}]
[[upstream]]
name = "two"
targets = [{address = "192.0.2.1"}, {address = "192.0.2.2"}]
[[headers]]
name = "set"
add = [{name = "X-Edge", value = "node-1"}, {name = "X-Call", value = "{call_id}"},
       {name = "X-From", value = "{from_phone_number}"}]
[[refer]]
headers = ["set"]
"""
ROUTES = {
    "request-uri": '[[route]]\nto = "request-uri"\n',
    "upstream": '[[route]]\nto = "pbx"\n',
    "two-targets": '[[route]]\nto = "two"\n',
    "prefixes": "".join(f'[[route]]\nto = "pbx"\nprefixes = ["+{number}"]\n' for number in range(100, 300)),
    "three-headers": '[[route]]\nto = "pbx"\nheaders = ["set"]\n',
}


def policy(routes: str) -> Policy:
    return Policy(decode(EDGE + routes, problems_of, file="benchmark"))


@pytest.mark.parametrize("name", ROUTES)
def test_invite(benchmark: Any, name: str) -> None:
    edge, request = policy(ROUTES[name]), Request.parse(load("invite"))
    assert benchmark(edge.decide, request).action == Verdict.FORWARD


def test_refer(benchmark: Any) -> None:
    edge, request = policy(""), Request.parse(load("refer"), in_dialog=True)
    assert benchmark(edge.decide, request).action == Verdict.FORWARD


def test_oversize(benchmark: Any) -> None:
    edge, request = policy(ROUTES["three-headers"]), Request.parse(load("invite"))
    verdict = edge.decide(request)
    assert benchmark(edge.oversize, request, verdict, 1400).compact
