"""One edge for all scenarios that can share it, and the stage on which two SIPp processes meet through an edge."""
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.api import Api
from tests.edge import NETWORKS, SLOW_TIMERS, START_SECONDS, EdgeProcess, network, start_edge, wait_until  # noqa: F401
from tests.scenarios.controlled import configuration as controlled_calls
from tests.scenarios.script import Script
from tests.scenarios.sipp import SECONDS, Sipp

LONG = """
[[headers]]
name = "long"
on = ["INVITE"]
add = [
    {{ name = "X-Kept", value = "kept", priority = 9 }},
    {{ name = "X-Long-1", value = "{filling}", priority = 1 }},
    {{ name = "X-Long-2", value = "{filling}", priority = 2 }},
]
"""
"""Of a configuration, to be filled in: headers that make an INVITE of "big" longer than a datagram may be."""

CONFIGURATION = LONG + """
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


def configuration(net: str, more: str = "", timers: str = SLOW_TIMERS) -> str:
    return CONFIGURATION.format(net=net, filling="x" * 60) + more + timers


class Stage:
    """Where the parts of a scenario stand: `<net>.1:5060` the edge, .2 the caller, .3 the callee, .4 another."""

    def __init__(self, net: str, edge: EdgeProcess, work: Path):
        self.net, self.edge, self._work = net, edge, work
        self._running: list[Sipp] = []

    def callee(self, scenario: str | Script, host: int = 3, **options: Any) -> Sipp:
        """Start a side that waits."""
        self._running.append(Sipp(scenario, (f"{self.net}.{host}", 5070), self._work, **options))
        return self._running[-1]

    def start(self, scenario: str | Script, user: str = "2000", host: int = 2, port: int = 5080,
              **options: Any) -> Sipp:
        """Start a side that calls."""
        self._running.append(Sipp(scenario, (f"{self.net}.{host}", port), self._work, remote=(f"{self.net}.1", 5060),
                                  user=user, **options))
        return self._running[-1]

    def caller(self, scenario: str | Script, user: str = "2000", host: int = 2, **options: Any) -> Sipp:
        """Start a side that calls, and wait until its scenario and those of the waiting sides are through."""
        caller = self.start(scenario, user, host, **options)
        self.finish()
        return caller

    def cue(self, part: Sipp, condition: Callable[[], object], what: str) -> None:
        """Let a side go on as soon as a condition holds."""
        wait_until(lambda: any(one.failed for one in self._running) or condition(), what)
        if not any(one.failed for one in self._running):
            part.cue()

    def finish(self) -> None:
        """Wait until all scenarios are through, or one of them is not as written."""
        wait_until(lambda: any(part.failed for part in self._running) or all(part.ended for part in self._running),
                   "the scenarios are through", 2 * SECONDS)
        broken = [part for part in self._running if part.failed]
        if broken:
            pytest.fail("\n".join(part.ladder() for part in self._running) + f"\n{broken[0].errors()}")
        for part in self._running:
            part.finish()
        self._running.clear()
        self.edge.assert_unharmed()

    def close(self) -> None:
        for part in self._running:
            part.kill()


class ControlledStage(Stage):
    """A stage around an edge that runs transfers."""

    def finish(self) -> None:
        """The same, and nothing of the calls is left on the edge."""
        super().finish()
        api = Api(self.net)
        wait_until(lambda: not api.get("/v1/calls")["calls"], "the calls are over")


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


@pytest.fixture
def counted(stage: Stage) -> Callable[[str], int]:
    """Counters that rose during the test: counted("failovers")."""
    before = stage.edge.stats()
    return lambda name: stage.edge.stats()[name] - before[name]


@pytest.fixture(scope="session")
def controlling_edge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, EdgeProcess]]:
    net = NETWORKS.take()
    folder = tmp_path_factory.mktemp("edge")
    with EdgeProcess(folder, controlled_calls(net, folder)) as edge:
        wait_until(Api(net).is_ready, "the API answers", START_SECONDS)
        yield net, edge
        edge.wait_stats(lambda stats: not stats["media_ports_used"], "every port is back")


@pytest.fixture
def controlled(controlling_edge: tuple[str, EdgeProcess], tmp_path: Path) -> Iterator[Stage]:
    """A stage for calls that the edge controls."""
    net, edge = controlling_edge
    built = ControlledStage(net, edge, tmp_path)
    yield built
    built.close()


@pytest.fixture
def api(controlled: Stage) -> Api:
    """That edge's API."""
    return Api(controlled.net)


@pytest.fixture
def records(api: Api) -> Callable[..., list[dict]]:
    """records(2): the first two records of transfers that the test began, as soon as there are so many."""
    since = time.time_ns() // 1_000_000

    def found(count: int = 1) -> list[dict]:
        path = f"/v1/records/transfers?since={since}"
        wait_until(lambda: len(api.get(path)["records"]) >= count, f"{count} records of transfers")
        return list(reversed(api.get(path)["records"]))

    return found
