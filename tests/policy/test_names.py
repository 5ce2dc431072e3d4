"""Targets that are names: how they are written, and how what they lead to is tried."""
from collections import Counter

import pytest

from proxy.policy.addresses import parse_target
from proxy.policy.names import places
from proxy.policy.upstreams import compile_peers
from sipcore.base.place import Place, Reached
from tests.policy.sample import policy, request

PBX = """\
[[upstream]]
name = "pbx"
targets = [{address = "PBX.example.com"}, {address = "backup.example.com:5070", priority = 1}]
[[route]]
to = "pbx"
"""
ONE, BACKUP = Place("pbx.example.com"), Place("backup.example.com", 5070)


def found(*addresses, levels=(), weights=()):
    return tuple(Reached(ip, 5060, "udp", "pbx.example.com", levels[n] if levels else 0, weights[n] if weights else 1)
                 for n, ip in enumerate(addresses))


@pytest.mark.parametrize(("text", "place"), [
    ("pbx.example.com", Place("pbx.example.com")), ("PBX:5070", Place("pbx", 5070)), ("a-b.c1", Place("a-b.c1")),
    ("192.0.2.7", None), ("[2001:db8::1]:5060", None),
])
def test_how_targets_are_written(text, place):
    assert parse_target(text).place == place


@pytest.mark.parametrize("text", [
    "", ".", "a..b", "pbx.", "192.0.2.300", "192.0.2", "pbx:", "pbx:0", "pbx:65536", "pbx:x", "pbx:1:2", "a b", "a/b",
    "::1", "sip:pbx", "x" * 64,
])
def test_what_is_no_target(text):
    with pytest.raises(ValueError, match="expected an IP address such as"):
        parse_target(text)


def test_each_name_once():
    assert list(places(policy(PBX + PBX.partition("[[route]]")[0].replace('"pbx"', '"two"')).config)) == [ONE, BACKUP]


def test_names_that_are_not_known_are_left_to_whoever_sends():
    targets = policy(PBX).decide(request()).targets
    assert [(one.host, one.port, one.uri) for one in targets] == [
        ("pbx.example.com", 0, b"sip:2001@PBX.example.com"),
        ("backup.example.com", 5070, b"sip:2001@backup.example.com:5070")]


def test_the_request_uri_keeps_the_name():
    """RFC 3263 4: what a name leads to is where a request is sent, not what it is about."""
    config = policy(PBX).config
    peer = compile_peers(config, {ONE: found("192.0.2.1", "192.0.2.2", levels=(0, 1))})["pbx"]
    assert [(one.host, one.port, one.uri) for one in peer.targets(request())] == [
        ("192.0.2.1", 5060, b"sip:2001@PBX.example.com"), ("192.0.2.2", 5060, b"sip:2001@PBX.example.com"),
        ("backup.example.com", 5070, b"sip:2001@backup.example.com:5070")]


def test_weights_of_a_name_share_the_targets_weight():
    text = PBX.replace('{address = "backup.example.com:5070", priority = 1}', '{address = "192.0.2.9"}')
    peer = compile_peers(policy(text).config,
                         {ONE: found("192.0.2.1", "192.0.2.2", "192.0.2.3", weights=(3, 1, 0))})["pbx"]
    firsts = Counter(peer.order(f"{n}@x").addresses[0].host for n in range(4000))
    # Half for the address that stands in the file, a quarter of the other half for the second one.
    assert 1900 < firsts["192.0.2.9"] < 2100
    assert 1400 < firsts["192.0.2.1"] < 1600
    assert 400 < firsts["192.0.2.2"] < 600
    assert firsts["192.0.2.3"] == 0


def test_weights_that_are_all_zero_are_equal():
    peer = compile_peers(policy(PBX).config, {ONE: found("192.0.2.1", "192.0.2.2", weights=(0, 0))})["pbx"]
    firsts = Counter(peer.order(f"{n}@x").addresses[0].host for n in range(4000))
    assert 1800 < firsts["192.0.2.1"] < 2200


def test_trust_follows_the_addresses():
    config = policy(PBX).config
    assert not compile_peers(config)["pbx"].trusted
    inside = {ONE: found("127.0.0.4"), BACKUP: found("127.0.0.4")}
    assert compile_peers(config, inside)["pbx"].trusted
    assert not compile_peers(config, inside | {BACKUP: found("192.0.2.1")})["pbx"].trusted
