"""One edge for all scenarios that can share it, and the stage on which two SIPp processes meet through an edge."""
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.edge import NETWORKS, EdgeProcess, network, start_edge  # noqa: F401
from tests.scenarios.sipp import Sipp

CONFIGURATION = """
[[listener]]
name = "edge"
bind = "udp:{net}.1:5060"

[[group]]
name = "callers"
addresses = ["{net}.2"]
methods = ["INVITE", "OPTIONS"]
rate = 1000

[[group]]
name = "phones"
addresses = ["{net}.3", "{net}.4"]

[[group]]
name = "texting"
addresses = ["{net}.5"]
methods = ["INVITE", "MESSAGE"]

[[group]]
name = "forbidden"
addresses = ["{net}.6"]
action = "forbid"

[[group]]
name = "denied"
addresses = ["{net}.7"]
action = "deny"

[[upstream]]
name = "phone"
targets = [{{ address = "{net}.3:5070" }}]

[[upstream]]
name = "pair"
targets = [{{ address = "{net}.4:5070", priority = 0 }}, {{ address = "{net}.3:5070", priority = 1 }}]

[[upstream]]
name = "compact"
targets = [{{ address = "{net}.3:5070" }}]
size_policy = ["compact", "refuse"]

[[upstream]]
name = "drop"
targets = [{{ address = "{net}.3:5070" }}]
size_policy = ["drop", "refuse"]

[[upstream]]
name = "strict"
targets = [{{ address = "{net}.3:5070" }}]
size_policy = ["refuse"]

[[upstream]]
name = "callers"
targets = [{{ address = "{net}.2:5080" }}]
refer_headers = ["header", "refer-to"]

[[route]]
users = ["2000"]
to = "phone"
headers = ["call"]

[[route]]
users = ["2000"]
methods = ["MESSAGE"]
to = "phone"

[[route]]
users = ["pair"]
to = "pair"

[[route]]
users = ["plain"]
to = "phone"

[[route]]
users = ["compact"]
to = "compact"
headers = ["long"]

[[route]]
users = ["drop"]
to = "drop"
headers = ["long"]

[[route]]
users = ["strict"]
to = "strict"
headers = ["long"]

[[headers]]
name = "call"
on = ["INVITE"]
add = [{{ name = "X-Edge-Call", value = "{{call_id}}" }}]

[[headers]]
name = "long"
on = ["INVITE"]
add = [
    {{ name = "X-Kept", value = "kept", priority = 9 }},
    {{ name = "X-Long-1", value = "{filling}", priority = 1 }},
    {{ name = "X-Long-2", value = "{filling}", priority = 2 }},
]

[[headers]]
name = "transfer"
on = ["REFER"]
add = [
    {{ name = "X-Customer-Intent", value = "billing question" }},
    {{ name = "X-Agent-Call", value = "{{call_id}}" }},
]

[[refer]]
groups = ["phones"]
users = ["20[0-9][0-9]"]
headers = ["transfer"]
upstream = "callers"
"""


def configuration(net: str, more: str = "") -> str:
    return CONFIGURATION.format(net=net, filling="x" * 60) + more


class Stage:
    """Where the parts of a scenario stand: `<net>.1:5060` the edge, .2 the caller, .3 the callee, .4 another."""

    def __init__(self, net: str, edge: EdgeProcess, work: Path):
        self.net, self.edge, self._work = net, edge, work
        self._running: list[Sipp] = []

    def callee(self, scenario: str, host: int = 3, **options: Any) -> Sipp:
        """Start a side that waits."""
        self._running.append(Sipp(scenario, (f"{self.net}.{host}", 5070), self._work, **options))
        return self._running[-1]

    def caller(self, scenario: str, user: str = "2000", host: int = 2, **options: Any) -> Sipp:
        """Start a side that calls, and wait until its scenario and those of the waiting sides are through."""
        caller = Sipp(scenario, (f"{self.net}.{host}", 5080), self._work, remote=(f"{self.net}.1", 5060), user=user,
                      **options)
        self._running.append(caller)
        for part in reversed(self._running):
            part.finish()
        self._running.clear()
        self.edge.assert_unharmed()
        return caller

    def close(self) -> None:
        for part in self._running:
            part.kill()


@pytest.fixture(scope="module")
def shared_edge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, EdgeProcess]]:
    net = NETWORKS.take()
    with EdgeProcess(tmp_path_factory.mktemp("edge"), configuration(net)) as edge:
        yield net, edge


@pytest.fixture
def stage(shared_edge: tuple[str, EdgeProcess], tmp_path: Path) -> Iterator[Stage]:
    """A stage around the shared edge."""
    net, edge = shared_edge
    built = Stage(net, edge, tmp_path)
    yield built
    built.close()
