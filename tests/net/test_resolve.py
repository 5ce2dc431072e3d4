"""The resolver: what is known at once, what is asked once, how long anything lasts, and what hostile servers cost."""
import pytest

from sipcore.base.place import Place, Unresolved
from sipcore.net.locate import Answer, Reach
from sipcore.net.resolve import MOST_QUESTIONS, PAUSE_MS, STALE_MS, Bounds, Outcome
from tests.net.names import SILENT, Zone, ask

REACH = Reach(("udp",), ipv6=False)
PBX = Place.of("pbx.example.com", 5060)


def resolver_of(zone, **bounds):
    return zone.resolver(REACH, Bounds(**bounds))


def ips(outcome):
    assert not isinstance(outcome, Unresolved), outcome
    return [one.ip for one in outcome]


def test_known_places_are_answered_at_once():
    zone = Zone(**{"pbx.example.com A": ["192.0.2.1"]})
    resolver = resolver_of(zone)
    told: list[Outcome] = []
    assert resolver.resolve(PBX, told.append) is None
    assert not told
    zone.wait(19)
    assert not told
    zone.wait(1)
    assert ips(told[0]) == ["192.0.2.1"]
    assert resolver.resolve(PBX, told.append) == told[0]
    # Another place with the same name knows its address, too.
    assert ips(resolver.resolve(Place.of("pbx.example.com", 5070), told.append)) == ["192.0.2.1"]
    assert len(told) == 1
    assert zone.asked == ["pbx.example.com A"]
    assert resolver.waiting == 0


@pytest.mark.parametrize(("ttl", "lasts"), [(60, 60_000), (0, 10_000), (1, 10_000), (86_400, 3_600_000)])
def test_the_time_to_live_has_bounds(ttl, lasts):
    zone = Zone(**{"pbx.example.com A": Answer(("192.0.2.1",), ttl)})
    zone.lag = 0
    resolver = resolver_of(zone, stale=0)
    start = zone.now
    assert resolver.resolve(PBX, lambda _: None) is None
    zone.wait(0)
    assert resolver.good_until(PBX) == start + lasts
    zone.now = start + lasts - 1
    assert ips(resolver.resolve(PBX, pytest.fail)) == ["192.0.2.1"]
    zone.now += 1
    assert resolver.resolve(PBX, lambda _: None) is None
    assert len(zone.asked) == 2


def test_the_shortest_life_of_all_that_was_used_counts():
    zone = Zone(**{"pbx.example.com NAPTR": [], "_sip._udp.pbx.example.com SRV": [],
                   "pbx.example.com A": Answer(("192.0.2.1",), 600)})
    zone.lag = 0
    resolver = resolver_of(zone)
    ask(zone, resolver, Place.of("pbx.example.com"))
    # That there are no SRV records is believed for as long as any such answer.
    assert resolver.good_until(Place.of("pbx.example.com")) == zone.now - 60_000 + 30_000


def test_what_is_not_there_is_remembered():
    zone = Zone()
    resolver = resolver_of(zone)
    outcome = ask(zone, resolver, PBX)
    zone.now -= 60_000 - 29_000
    assert resolver.resolve(PBX, pytest.fail) is outcome
    zone.now += 2_000
    assert resolver.resolve(PBX, lambda _: None) is None


def test_equal_questions_are_asked_once():
    zone = Zone(**{"pbx.example.com A": ["192.0.2.1"]})
    resolver = resolver_of(zone)
    told: list[Outcome] = []
    for _ in range(5):
        assert resolver.resolve(PBX, told.append) is None
    assert resolver.resolve(Place.of("pbx.example.com", 5070), told.append) is None
    assert resolver.waiting == 6
    zone.wait(20)
    assert len(told) == 6
    assert zone.asked == ["pbx.example.com A"]
    assert resolver.waiting == 0


def test_a_silent_server_costs_the_deadline_and_others_nothing():
    zone = Zone(**{"dead.example.com A": SILENT, "pbx.example.com A": ["192.0.2.1"]})
    resolver = resolver_of(zone)
    told: list[Outcome] = []
    assert resolver.resolve(Place.of("dead.example.com", 5060), told.append) is None
    assert ips(ask(zone, resolver, PBX)) == ["192.0.2.1"]
    (outcome,) = told
    assert isinstance(outcome, Unresolved)
    assert (str(outcome), outcome.status) == ("dead.example.com:5060 does not resolve: no answer in time", 503)
    assert resolver.statistics()["dns_waiting"] == 0


def test_the_deadline_holds_for_all_rounds_together():
    zone = Zone(**{"example.com NAPTR": [], "_sip._udp.example.com SRV": [], "example.com A": ["192.0.2.1"]})
    zone.lag = 1_500
    resolver = resolver_of(zone, deadline=4_000)
    told: list[Outcome] = []
    assert resolver.resolve(Place.of("example.com"), told.append) is None
    zone.wait(3_999)
    assert not told
    zone.wait(1)
    assert isinstance(told[0], Unresolved)
    # The answer that comes late serves whoever asks next.
    zone.wait(1_000)
    assert ips(resolver.resolve(Place.of("example.com", 5060), pytest.fail)) == ["192.0.2.1"]


def test_a_failing_server_gets_a_pause():
    zone = Zone(**{"pbx.example.com A": Answer(fault="no answer")})
    zone.lag = 0
    resolver = resolver_of(zone)
    resolver.resolve(PBX, lambda _: None)
    zone.wait(PAUSE_MS - 1)
    assert isinstance(resolver.resolve(PBX, pytest.fail), Unresolved)
    zone.wait(1)
    assert resolver.resolve(PBX, lambda _: None) is None


def test_the_last_good_answer_stands_in_for_a_while():
    zone = Zone(**{"pbx.example.com A": ["192.0.2.1"]})
    zone.lag = 0
    resolver = resolver_of(zone, stale=300_000)
    resolver.resolve(PBX, lambda _: None)
    zone.wait(60_000)
    start = zone.now
    zone.records["pbx.example.com A"] = Answer(fault="no answer")
    while zone.now < start + 300_000:
        assert ips(ask(zone, resolver, PBX)) == ["192.0.2.1"]
    assert len(zone.asked) <= 2 + 300_000 // STALE_MS
    assert isinstance(ask(zone, resolver, PBX), Unresolved)


def test_a_no_is_believed_at_once():
    zone = Zone(**{"pbx.example.com A": ["192.0.2.1"]})
    zone.lag = 0
    resolver = resolver_of(zone)
    ask(zone, resolver, PBX)
    zone.records["pbx.example.com A"] = []
    assert isinstance(ask(zone, resolver, PBX), Unresolved)


def test_a_flood_of_names_is_bounded():
    zone = Zone()
    zone.records = dict.fromkeys([f"n{n}.example.com A" for n in range(50)], SILENT)
    zone.records["pbx.example.com A"] = ["192.0.2.1"]
    resolver = resolver_of(zone, waiting=10)
    told: list[Outcome] = []
    outcomes = [resolver.resolve(Place.of(f"n{n}.example.com", 5060), told.append) for n in range(50)]
    assert outcomes.count(None) == 10
    assert {str(one) for one in outcomes[40:]} == {
        f"n{n}.example.com:5060 does not resolve: too many names are being asked for" for n in range(40, 50)}
    # Upstreams go on being looked up.
    assert ips(ask(zone, resolver, PBX, urgent=True)) == ["192.0.2.1"]
    assert len(told) == 10
    assert resolver.waiting == 0


def test_questions_in_flight_are_bounded():
    zone = Zone()
    zone.records = dict.fromkeys([f"n{n}.example.com A" for n in range(MOST_QUESTIONS)], SILENT)
    resolver = resolver_of(zone, waiting=10_000)
    told: list[Outcome] = []
    for n in range(MOST_QUESTIONS):
        assert resolver.resolve(Place.of(f"n{n}.example.com", 5060), told.append) is None
    refused = resolver.resolve(Place.of("one.more"), told.append)
    assert "too many names" in str(refused)
    # That was not about the name, and is not remembered of it.
    assert resolver.good_until(Place.of("one.more")) == 0
    zone.wait(10_000)
    assert len(told) == MOST_QUESTIONS


def test_the_cache_is_bounded_and_keeps_what_is_used():
    zone = Zone(**{f"n{n} A": ["192.0.2.1"] for n in range(100)})
    zone.lag = 0
    resolver = resolver_of(zone, entries=10)
    for n in range(100):
        resolver.resolve(Place.of(f"n{n}", 5060), lambda _: None)
        zone.wait(0)
        assert ips(resolver.resolve(Place.of("n0", 5060), pytest.fail)) == ["192.0.2.1"]
    assert resolver.statistics()["dns_names"] == 10


def test_the_server_may_be_asked_from_inside_an_answer():
    zone = Zone(**{"pbx.example.com A": ["192.0.2.1"], "b A": ["192.0.2.2"]})
    resolver = resolver_of(zone)
    told: list[Outcome] = []
    resolver.resolve(PBX, lambda _: resolver.resolve(Place.of("b", 5060), told.append))
    zone.wait(100)
    assert ips(told[0]) == ["192.0.2.2"]


def test_another_configuration_begins_anew():
    zone, other = Zone(**{"pbx.example.com A": ["192.0.2.1"]}), Zone(**{"pbx.example.com A": ["192.0.2.2"]})
    resolver = resolver_of(zone)
    assert ips(ask(zone, resolver, PBX)) == ["192.0.2.1"]
    other.clockwork = zone
    resolver.configure(other, REACH, Bounds())
    assert ips(ask(zone, resolver, PBX)) == ["192.0.2.2"]
