"""Upstreams' targets that are kept looked up, and what the edge refuses to be led to."""
import asyncio
from functools import partial

import pytest

from proxy.config import decode
from proxy.naming import AGAIN_MS, SOON_MS, Failures, UpstreamNames, addresses_in, look_up, reach_of
from proxy.policy.validate import problems_of
from sipcore.base.place import Place, Reached
from sipcore.net.locate import Answer, Reach
from sipcore.net.resolve import Bounds
from tests.net.names import SILENT, Zone
from tests.net.nameservers import Unbound, liar

EDGE = '[[listener]]\nname = "l"\nbind = "udp:{bind}"\n{more}'
PBX, TRUNK = Place("pbx.example.com", 5060), Place("trunk.example.com", 5060)


def config_of(bind="127.0.0.1:5060", more=""):
    return decode(EDGE.format(bind=bind, more=more), problems_of, file="edge.toml")


class Kept:
    def __init__(self, **bounds):
        self.zone = Zone(**{"pbx.example.com A": ["192.0.2.1"], "trunk.example.com A": ["192.0.2.9"]})
        self.zone.lag = 10
        self.changes = 0
        self.lines = []
        self.resolver = self.zone.resolver(Reach(("udp",), ipv6=False), Bounds(**bounds))
        self.names = UpstreamNames(self.resolver, self.changed, self.log, 100_000)

    def changed(self):
        self.changes += 1

    def log(self, level, event, **fields):
        self.lines.append((level, event, fields.get("name", ""), fields.get("addresses", fields.get("kept"))))

    def ips(self):
        return {place.host.partition(".")[0]: [one.ip for one in found] for place, found in self.names.found.items()}


def test_all_names_are_looked_up_at_once_and_make_one_change():
    kept = Kept()
    kept.names.follow([PBX, TRUNK])
    kept.zone.wait(10)
    assert kept.ips() == {"pbx": ["192.0.2.1"], "trunk": ["192.0.2.9"]}
    kept.zone.wait(SOON_MS)
    assert kept.changes == 1
    assert kept.lines == [("info", "name resolved", "pbx.example.com:5060", ["udp:192.0.2.1:5060"]),
                          ("info", "name resolved", "trunk.example.com:5060", ["udp:192.0.2.9:5060"])]


def test_addresses_are_looked_up_anew_when_their_time_is_over():
    kept = Kept()
    kept.names.follow([PBX])
    kept.zone.wait(59_000)
    kept.zone.records["pbx.example.com A"] = ["192.0.2.2", "192.0.2.1"]
    kept.zone.wait(2_000)
    assert kept.ips() == {"pbx": ["192.0.2.1", "192.0.2.2"]}
    assert kept.changes == 2
    # The same ones in another order are no change.
    kept.zone.records["pbx.example.com A"] = ["192.0.2.1", "192.0.2.2"]
    kept.zone.wait(200_000)
    assert kept.changes == 2
    assert len(kept.zone.asked) == 5


@pytest.mark.parametrize("lost", [[], Answer(fault="no answer"), SILENT])
def test_the_last_good_addresses_are_kept_for_a_bounded_time(lost):
    kept = Kept(stale=0)
    kept.names.follow([PBX])
    kept.zone.wait(30_000)
    kept.zone.records["pbx.example.com A"] = lost
    kept.zone.wait(60_000)
    assert kept.ips() == {"pbx": ["192.0.2.1"]}
    level, event, _, addresses = kept.lines[-1]
    assert (level, event, addresses) == ("warning", "name does not resolve", ["udp:192.0.2.1:5060"])
    # Once, not each time that it is tried again.
    assert len(kept.lines) == 2
    kept.zone.wait(200_000)
    assert kept.ips() == {}
    assert [event for _, event, *_ in kept.lines] == ["name resolved", "name does not resolve", "name given up"]
    assert kept.changes == 2


def test_a_name_that_comes_back():
    kept = Kept()
    kept.zone.records["pbx.example.com A"] = Answer(fault="the name server failed")
    kept.names.follow([PBX])
    kept.zone.wait(1_000)
    assert kept.ips() == {}
    assert kept.changes == 0
    kept.zone.records["pbx.example.com A"] = ["192.0.2.1"]
    kept.zone.wait(2 * AGAIN_MS)
    assert kept.ips() == {"pbx": ["192.0.2.1"]}
    assert [event for _, event, *_ in kept.lines] == ["name does not resolve", "name resolves again", "name resolved"]


def test_other_names_after_a_reload():
    kept = Kept()
    kept.names.follow([PBX])
    kept.zone.wait(1_000)
    kept.names.follow([TRUNK])
    kept.zone.wait(1_000)
    assert kept.ips() == {"trunk": ["192.0.2.9"]}
    kept.zone.wait(600_000)
    assert kept.zone.asked.count("pbx.example.com A") == 1
    kept.names.stop()
    asked = len(kept.zone.asked)
    kept.zone.wait(600_000)
    assert len(kept.zone.asked) == asked


def test_a_server_that_is_silent_is_told_of_once_in_a_while():
    kept = Kept()
    kept.zone.records["pbx.example.com A"] = Answer(fault="no answer")
    failures = Failures(kept.resolver, lambda level, event, **fields: kept.lines.append((event, fields)))
    for _ in range(300):
        kept.resolver.resolve(PBX, lambda _: None)
        kept.zone.wait(1_000)
        failures.look()
    told = [line for line in kept.lines if line[0] == "name server does not answer"]
    assert len(told) == 5
    assert told[0][1] == {"questions": 1, "last": "pbx.example.com: no answer"}


@pytest.mark.parametrize(("bind", "ip", "port", "why"), [
    ("127.0.0.1:5060", "127.0.0.1", 5060, "loop"), ("127.0.0.1:5060", "127.0.0.1", 5070, ""),
    ("192.0.2.1:5060", "127.0.0.1", 5070, "is this machine's own"), ("192.0.2.1:5060", "192.0.2.1", 5060, "loop"),
    ("192.0.2.1:5060", "0.0.0.0", 5060, "is no host's"), ("192.0.2.1:5060", "224.0.0.1", 5060, "is no host's"),
    ("192.0.2.1:5060", "255.255.255.255", 5060, "is no host's"),
    ("192.0.2.1:5060", "169.254.1.1", 5060, "is no host's"),
    ("192.0.2.1:5060", "::1", 5060, "is this machine's own"), ("192.0.2.1:5060", "fe80::1", 5060, "is no host's"),
    ("192.0.2.1:5060", "::ffff:127.0.0.1", 5060, "is no host's"), ("192.0.2.1:5060", "10.1.2.3", 5060, ""),
    ("[2001:db8::1]:5060", "fd00::1", 5060, ""),
])
def test_what_a_name_may_lead_to(bind, ip, port, why):
    assert reach_of(config_of(bind)).refuse(ip, port) == why


def test_families_and_transports_are_those_of_the_listeners():
    reach = reach_of(config_of("192.0.2.1:5060"))
    assert (reach.transports, reach.ipv4, reach.ipv6) == (("udp",), True, False)


def test_all_targets_are_looked_up_within_one_deadline():
    more = """\
[[upstream]]
name = "a"
targets = [{address = "pbx.example.com"}, {address = "gone.example.com:5060"}, {address = "192.0.2.5"}]
[dns]
deadline = %g
servers = ["%s"]
"""
    with Unbound("pbx.example.com. 60 IN A 192.0.2.1") as server:
        found = look_up(config_of(more=more % (20, server.address)))
    assert addresses_in(found) == {
        Place("pbx.example.com"): (Reached("192.0.2.1", 5060, "udp", "pbx.example.com", 0, 1),)}
    assert str(found[Place("gone.example.com", 5060)]) == "gone.example.com:5060 has no address"
    with liar(lambda query: []) as silent:
        found = look_up(config_of(more=more % (0.5, silent)))
    assert sorted(map(str, found.values())) == [
        "gone.example.com:5060 does not resolve: no answer in time",
        "pbx.example.com does not resolve: no answer in time"]


def test_nothing_is_asked_where_all_are_addresses():
    def servers(config, loop: asyncio.AbstractEventLoop):
        raise AssertionError("asked")

    assert partial(look_up, servers=servers)(config_of()) == {}
