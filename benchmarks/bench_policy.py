"""What a decision costs: 3 us at most for a hot one."""
from typing import Any

import msgspec
import pytest

import sipcore.stack.plan  # noqa: F401  (gives Request its size_with)
from benchmarks.corpus import load
from proxy.config import Reference, decode
from proxy.policy.engine import Policy
from proxy.policy.references import NOBODY, Keeper
from proxy.policy.validate import problems_of
from proxy.references import References
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
[[upstream]]
name = "least"
balance = "least-load"
targets = [{address = "192.0.2.1"}, {address = "192.0.2.2"}, {address = "192.0.2.3"}, {address = "192.0.2.4"}]
[[upstream]]
name = "referring"
targets = [{address = "192.0.2.1"}]
size_policy = ["reference", "refuse"]
[reference]
key_env = "CONTEXT_KEYS"
[api]
bind = "127.0.0.1:8080"
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
    "least-load": '[[route]]\nto = "least"\n',
    "prefixes": "".join(f'[[route]]\nto = "pbx"\nprefixes = ["+{number}"]\n' for number in range(100, 300)),
    "three-headers": '[[route]]\nto = "pbx"\nheaders = ["set"]\n',
    # What fits costs the same whatever the size policy has.
    "by-reference": '[[route]]\nto = "referring"\nheaders = ["set"]\n',
}


def policy(routes: str, keeper: Keeper = NOBODY) -> Policy:
    return Policy(decode(EDGE + routes, problems_of, file="benchmark"), keeper=keeper)


@pytest.mark.parametrize("name", ROUTES)
def test_invite(benchmark: Any, name: str) -> None:
    edge, request = policy(ROUTES[name]), Request.parse(load("invite"))
    edge.peers["least"].members.loads = lambda: (3, 2, 5, 4)
    assert benchmark(edge.decide, request).action == Verdict.FORWARD


def test_refer(benchmark: Any) -> None:
    edge, request = policy(""), Request.parse(load("refer"), in_dialog=True)
    assert benchmark(edge.decide, request).action == Verdict.FORWARD


def test_oversize(benchmark: Any) -> None:
    edge, request = policy(ROUTES["three-headers"]), Request.parse(load("invite"))
    verdict = edge.decide(request)
    assert benchmark(edge.oversize, request, verdict, 1400).compact


def test_by_reference(benchmark: Any) -> None:
    """With the token, and what it stands for encoded and handed over."""
    encode = msgspec.msgpack.Encoder().encode
    references = References(lambda context: bool(encode(context)), lambda level, event, **fields: None)
    references.configure(Reference(most=1_000_000, most_bytes=2**31 - 1), [b"k" * 32])
    edge, request = policy(ROUTES["by-reference"], references), Request.parse(load("invite"))
    verdict = edge.decide(request)
    size = request.size_with(verdict)
    made = benchmark(edge.oversize, request, verdict, size, size + 190)
    assert b"X-Context-Ref: " in made.insert
