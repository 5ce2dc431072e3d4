"""RFC 3263: what is asked for which URI, and which addresses come of the answers, in which order."""
from collections import Counter

import pytest

from sipcore.base.place import Place, Reached, Unresolved, in_order, seed_of, valid_host
from sipcore.net.locate import MOST_ADDRESSES, MOST_SERVERS, Answer, Reach
from tests.net.names import Zone, ask, naptr, srv

ALL = Reach(("udp", "tcp", "tls"))
V4 = Reach(("udp", "tcp", "tls"), ipv6=False)


def found(zone, place, reach=V4):
    outcome = ask(zone, zone.resolver(reach), place)
    return [(one.ip, one.port, one.transport) for one in outcome] if not isinstance(outcome, Unresolved) else outcome


def test_an_address_asks_nothing():
    zone = Zone()
    assert found(zone, Place.of("192.0.2.7")) == [("192.0.2.7", 5060, "udp")]
    assert found(zone, Place.of("[2001:db8::7]", 5070, "tcp"), ALL) == [("2001:db8::7", 5070, "tcp")]
    assert found(zone, Place.of("192.0.2.7", secure=True)) == [("192.0.2.7", 5061, "tls")]
    assert zone.asked == []


def test_naptr_then_srv_then_addresses():
    zone = Zone(**{
        "example.com NAPTR": [naptr(20, 1, "SIP+D2U", "_sip._udp.example.com"),
                              naptr(10, 20, "SIP+D2T", "_sip._tcp.example.com."),
                              naptr(10, 10, "SIPS+D2T", "_sips._tcp.example.com")],
        "_sips._tcp.example.com SRV": [srv(0, 1, 5061, "one.example.com")],
        "_sip._tcp.example.com SRV": [srv(0, 1, 5080, "two.example.com.")],
        "one.example.com A": ["192.0.2.1"], "two.example.com A": ["192.0.2.2"]})
    assert found(zone, Place.of("Example.COM.")) == [("192.0.2.1", 5061, "tls"), ("192.0.2.2", 5080, "tcp")]
    assert zone.asked == ["example.com NAPTR", "_sips._tcp.example.com SRV", "_sip._tcp.example.com SRV",
                          "one.example.com A", "two.example.com A"]


def test_without_naptr_all_transports_are_asked_for():
    zone = Zone(**{"_sip._tcp.example.com SRV": [srv(0, 1, 5070, "pbx.example.com")],
                   "pbx.example.com A": ["192.0.2.1"]})
    assert found(zone, Place.of("example.com")) == [("192.0.2.1", 5070, "tcp")]
    assert zone.asked[1:4] == ["_sip._udp.example.com SRV", "_sip._tcp.example.com SRV", "_sips._tcp.example.com SRV"]


def test_without_any_srv_it_is_the_name_itself():
    zone = Zone(**{"example.com A": ["192.0.2.2", "192.0.2.1"], "example.com AAAA": ["2001:db8::1"]})
    assert found(zone, Place.of("example.com"), ALL) == [
        ("192.0.2.1", 5060, "udp"), ("192.0.2.2", 5060, "udp"), ("2001:db8::1", 5060, "udp")]


def test_a_port_skips_srv_and_a_transport_naptr():
    zone = Zone(**{"example.com A": ["192.0.2.1"], "_sip._tcp.example.com SRV": [srv(1, 1, 5090, "example.com")]})
    assert found(zone, Place.of("example.com", 5070)) == [("192.0.2.1", 5070, "udp")]
    assert zone.asked == ["example.com A"]
    zone.asked.clear()
    assert found(zone, Place.of("example.com", 0, "TCP")) == [("192.0.2.1", 5090, "tcp")]
    assert zone.asked == ["_sip._tcp.example.com SRV", "example.com A"]


@pytest.mark.parametrize("transport", ["", "tcp", "tls"])
def test_sips_is_tls_alone(transport):
    zone = Zone(**{
        "example.com NAPTR": [naptr(1, 1, "SIP+D2T", "_sip._tcp.example.com"),
                              naptr(9, 1, "SIPS+D2T", "_sips._tcp.example.com")],
        "_sips._tcp.example.com SRV": [srv(0, 1, 5061, "pbx.example.net")], "pbx.example.net A": ["192.0.2.1"]})
    outcome = ask(zone, zone.resolver(V4), Place.of("example.com", 0, transport, True))
    # What the certificate has to name is what was asked for, not where DNS led to (RFC 5922 7.1).
    assert outcome == (Reached("192.0.2.1", 5061, "tls", "example.com", 0, MOST_ADDRESSES),)
    assert not any("_sip." in one for one in zone.asked)


@pytest.mark.parametrize(("place", "reach", "status"), [
    (Place.of("example.com", 0, "udp", True), ALL, 416),
    (Place.of("example.com", secure=True), Reach(("udp",)), 503),
    (Place.of("example.com", 0, "sctp"), ALL, 503),
    (Place.of("example.com", 5060, "tcp"), Reach(("udp",)), 503),
    (Place.of("a..b"), ALL, 400),
    (Place.of("a b.c"), ALL, 400),
    (Place.of("x" * 64 + ".example.com"), ALL, 400),
    (Place.of("ex\u00e4mple.com"), ALL, 400),
    (Place.of("nowhere.example.com"), ALL, 480),
])
def test_what_leads_nowhere(place, reach, status):
    outcome = found(Zone(), place, reach)
    assert isinstance(outcome, Unresolved)
    assert outcome.status == status
    assert str(outcome).startswith(place.host[:64])


def test_naptr_for_transports_that_nobody_listens_on():
    zone = Zone(**{"example.com NAPTR": [naptr(1, 1, "SIP+D2S", "_sip._sctp.example.com"),
                                         naptr(2, 1, "SIP+D2T", "_sip._tcp.example.com")],
                   "example.com A": ["192.0.2.1"]})
    assert str(found(zone, Place.of("example.com"), Reach(("udp",)))) == (
        "example.com offers no transport that there is a listener for")


@pytest.mark.parametrize("bad", [
    naptr(1, 1, "SIP+D2U", "_sip._udp.example.com", flags="u"),
    naptr(1, 1, "SIP+D2U", "_sip._udp.example.com", regexp="!.*!sip:x@y!"),
    naptr(1, 1, "SIP+D2U", "."),
    naptr(1, 1, "SIP+D2U", "a b"),
])
def test_naptr_that_makes_no_sense_is_passed_over(bad):
    zone = Zone(**{"example.com NAPTR": [bad, naptr(2, 1, "sip+d2t", "_sip._tcp.example.com")],
                   "_sip._tcp.example.com SRV": [srv(0, 1, 5060, "example.com")], "example.com A": ["192.0.2.1"]})
    assert found(zone, Place.of("example.com")) == [("192.0.2.1", 5060, "tcp")]


def test_a_service_that_is_decidedly_not_there():
    zone = Zone(**{"_sip._udp.example.com SRV": [srv(0, 0, 0, ".")], "example.com A": ["192.0.2.1"]})
    outcome = found(zone, Place.of("example.com", 0, "udp"))
    assert (str(outcome), outcome.status) == ("example.com offers no SIP service", 480)


def test_srv_goes_by_priority_then_weight():
    zone = Zone(**{"_sip._udp.example.com SRV": [srv(20, 9, 5060, "c"), srv(10, 1, 5060, "b"), srv(10, 3, 5060, "a")],
                   "a A": ["192.0.2.1"], "b A": ["192.0.2.2"], "c A": ["192.0.2.3"]})
    outcome = ask(zone, zone.resolver(V4), Place.of("example.com", 0, "udp"))
    orders = Counter(tuple(one.ip[-1] for one in in_order(outcome, seed_of(f"{call}@x"))) for call in range(4000))
    assert set(orders) == {("1", "2", "3"), ("2", "1", "3")}
    assert 2800 < orders["1", "2", "3"] < 3200
    # The order is a function of the call.
    assert in_order(outcome, 7) == in_order(outcome, 7)


def test_weight_zero_gets_little_while_there_are_others():
    some = [Reached("192.0.2.1", 5060, "udp", weight=0), Reached("192.0.2.2", 5060, "udp", weight=160)]
    firsts = Counter(in_order(some, seed_of(str(call)))[0].ip for call in range(4000))
    assert firsts["192.0.2.1"] < 120
    none = [Reached(f"192.0.2.{n}", 5060, "udp", weight=0) for n in range(3)]
    assert sorted(in_order(none, 5)) == none


def test_the_addresses_of_one_server_share_its_weight():
    zone = Zone(**{"_sip._udp.example.com SRV": [srv(0, 5, 5060, "a"), srv(0, 5, 5060, "b")],
                   "a A": ["192.0.2.1"], "b A": [f"192.0.2.{n}" for n in range(2, 6)]})
    outcome = ask(zone, zone.resolver(V4), Place.of("example.com", 0, "udp"))
    firsts = Counter(in_order(outcome, seed_of(str(call)))[0].ip for call in range(4000))
    assert 1800 < firsts["192.0.2.1"] < 2200


def test_ipv6_follows_ipv4_of_the_same_priority():
    zone = Zone(**{"_sip._udp.example.com SRV": [srv(0, 1, 5060, "a"), srv(1, 1, 5060, "b")],
                   "a A": ["192.0.2.1"], "a AAAA": ["2001:db8::1"], "b A": ["192.0.2.2"]})
    outcome = ask(zone, zone.resolver(ALL), Place.of("example.com", 0, "udp"))
    assert [one.ip for one in in_order(outcome, 1)] == ["192.0.2.1", "2001:db8::1", "192.0.2.2"]


def test_huge_answers_are_cut():
    zone = Zone(**{"_sip._udp.example.com SRV": [srv(0, n, 5060, f"s{n}") for n in range(500)],
                   **{f"s{n} A": [f"10.{n // 250}.{i // 250}.{i % 250}" for i in range(300)] for n in range(500)}})
    outcome = ask(zone, zone.resolver(V4), Place.of("example.com", 0, "udp"))
    assert len(outcome) == MOST_ADDRESSES
    assert sum(one.endswith(" A") for one in zone.asked) == MOST_SERVERS


def test_srv_that_points_at_itself_ends():
    zone = Zone(**{"_sip._udp.example.com SRV": [srv(0, 1, 5060, "_sip._udp.example.com")]})
    outcome = found(zone, Place.of("example.com", 0, "udp"))
    assert outcome.status == 480
    assert len(zone.asked) == 2


def test_addresses_that_nothing_is_sent_to():
    refused = {"127.0.0.1": "is this machine's own", "192.0.2.9": "loop"}
    reach = Reach(("udp",), ipv6=False, refuse=lambda ip, port: refused.get(ip, ""))
    zone = Zone(**{"a A": ["127.0.0.1"], "b A": ["192.0.2.9"], "c A": ["127.0.0.1", "192.0.2.1"]})
    assert (str(found(zone, Place.of("a", 5060), reach)), found(zone, Place.of("a", 5060), reach).status) == (
        "a:5060 leads to an address that is this machine's own", 480)
    assert (str(found(zone, Place.of("b", 5060), reach)), found(zone, Place.of("b", 5060), reach).status) == (
        "b:5060 leads back to the edge", 482)
    assert found(zone, Place.of("c", 5060), reach) == [("192.0.2.1", 5060, "udp")]
    assert found(zone, Place.of("127.0.0.1", 5060), reach).status == 480


def test_servers_that_fail_are_told_from_names_that_are_not_there():
    zone = Zone(**{"example.com A": Answer(fault="no answer")})
    outcome = found(zone, Place.of("example.com", 5060))
    assert (str(outcome), outcome.status) == ("example.com:5060 does not resolve: no answer", 503)


def test_host_names():
    assert all(map(valid_host, ("a", "a.b", "_sip._udp.example.com", "x-1.example.com")))
    assert not any(map(valid_host, ("", ".", "a.", ".a", "a b", "a\r\n", "a/b", "a" * 64, "abc." * 63 + "ab", "*.b")))
