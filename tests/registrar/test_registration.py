"""The edge registers at a real registrar, by each transport: asked for a password, refreshed, called, taken back."""
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.certificates import TLS, Authority
from tests.edge import UDP_AND_TCP, EdgeProcess, wait_until
from tests.registrar.kamailio import Kamailio
from tests.scenarios.sipp import Sipp

CONFIGURATION = UDP_AND_TCP + """
[[group]]
name = "trunk"
addresses = ["{net}.3"]

[[group]]
name = "phone"
addresses = ["{net}.4"]

[[upstream]]
name = "trunk"
targets = [{{ address = "{net}.3", transport = "{transport}" }}]

[[upstream.credentials]]
realm = "trunk.example"
user = "edge"
secret_file = "secret"

[[registration]]
upstream = "trunk"
aor = "sip:line@trunk.example"
expires = 60
retry = 1
longest_retry = 4

[[upstream]]
name = "phone"
targets = [{{ address = "{net}.4:5070" }}]

[[route]]
to = "phone"

# Nothing is lost here, and a registrar that is slow to answer gets nothing twice.
[timers]
t1 = 4
""" + TLS
Start = Callable[..., EdgeProcess]


@pytest.fixture
def start(network: str, authority: Authority, tmp_path: Path) -> Iterator[Start]:
    """start("tls"): an edge that registers by that transport; stopped at the end, if it runs still."""
    started: list[EdgeProcess] = []
    certificate, key = authority.give("edge", f"IP:{network}.1")
    folder = tmp_path / "edge"
    folder.mkdir()

    def run(transport: str, secret: str = "secret") -> EdgeProcess:
        (folder / "secret").write_text(f"{secret}\n")
        started.append(EdgeProcess(folder, CONFIGURATION.format(
            net=network, certificate=certificate, key=key, ca=authority.certificate, transport=transport),
            stop_timeout=30))
        return started[-1]

    yield run
    for edge in started:
        edge.stop()


def call(network: str, work: Path, user: str = "line", scenario: str = "basic/caller") -> Sipp:
    """Somebody calls at the registrar."""
    return Sipp(scenario, (f"{network}.2", 5080), work, remote=(f"{network}.3", 5060), user=user)


def events(edge: EdgeProcess, event: str) -> list[dict]:
    return [line for line in edge.log_lines if line["event"] == event]


@pytest.mark.parametrize("transport", ["udp", "tcp", "tls"])
def test_registered_refreshed_called_and_taken_back(network, authority, start, tmp_path, transport):
    with Kamailio(f"{network}.3", tmp_path / "kamailio", authority, expires=12) as kamailio:
        edge = start(transport)
        edge.wait_stats(lambda found: found["registrations_up"] == 1, "the edge is registered")
        with Sipp("basic/callee", (f"{network}.4", 5070), tmp_path) as callee:
            call(network, tmp_path).finish()
            callee.finish()
        line = edge.wait_call_line(event="call", to="line")
        assert (line["status"], line["group"]) == (200, "trunk")
        # 12 seconds are granted, of 60 that were asked for: the second one is in time, nothing is over meanwhile.
        first, second = kamailio.wait_kept(2)[:2]
        contact = f"<sip:line@{network}.1:{5061 if transport == 'tls' else 5060}" + (
            ">" if transport == "udp" else f";transport={transport}>")
        assert first == second == f"edge {transport} expires=60 {contact}"
        found = edge.wait_stats(lambda found: found["challenges_answered"] >= 2, "a password for each")
        assert (found["registrations_expired"], found["registrations_failed"], found["challenges_refused"]) == (0, 0, 0)
        edge.stop()
        assert kamailio.wait_kept(1, "expires=0 ") == [f"edge {transport} expires=0 {contact}"]
        assert len(events(edge, "registered")) == len(events(edge, "registration taken back")) == 1
        call(network, tmp_path, scenario="not-found/caller").finish()


@pytest.mark.parametrize("transport", ["udp", "tcp", "tls"])
def test_a_registrar_that_is_away_is_tried_later_each_time_and_found_again(network, authority, start, tmp_path,
                                                                          transport):
    edge = start(transport)
    wait_until(lambda: len(events(edge, "registration failed")) >= 3, "three attempts have failed")
    failed = events(edge, "registration failed")
    assert {line["status"] for line in failed} == {503}
    waits = [line["again_in"] for line in failed[:3]]
    # 1, 2 and 4 seconds, and up to a quarter less by chance.
    assert [1 <= waits[0] <= 1, 1 <= waits[1] <= 2, 3 <= waits[2] <= 4] == [True] * 3
    with Kamailio(f"{network}.3", tmp_path / "kamailio", authority) as kamailio:
        edge.wait_stats(lambda found: found["registrations_up"] == 1, "the edge is registered")
        assert kamailio.kept
        edge.stop()


def test_a_wrong_password_is_told_and_not_repeated_without_end(network, authority, start, tmp_path):
    with Kamailio(f"{network}.3", tmp_path / "kamailio", authority) as kamailio:
        edge = start("udp", secret="another one")
        # Each attempt answers one challenge, and between two of them both figures are the same.
        stats = edge.wait_stats(lambda found: found["challenges_answered"] == found["registrations_failed"] >= 2,
                                "two attempts have failed")
        assert stats["registrations_up"] == 0
        assert {line["status"] for line in events(edge, "registration failed")} == {401}
        assert kamailio.kept == []
