"""Longest-prefix match against the standard library's networks, and the errors a person gets for a bad prefix."""
import ipaddress
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipcore.base.probe import Addresses, look_up_often
from sipcore.base.trie import Trie

# Few different bits, so that prefixes nest, touch and repeat.
ADDRESSES4 = st.builds(
    lambda high, low: ipaddress.IPv4Address(high << 24 | low),
    st.sampled_from([0, 1, 10, 127, 128, 255]),
    st.one_of(st.integers(0, 3), st.integers(0, (1 << 24) - 1), st.integers((1 << 24) - 3, (1 << 24) - 1)),
)
ADDRESSES6 = st.builds(
    lambda high, low: ipaddress.IPv6Address(high << 64 | low),
    st.one_of(st.sampled_from([0, (1 << 64) - 1]), st.integers(0x20010DB8 << 32, (0x20010DB8 << 32) + 3)),
    st.one_of(st.integers(0, 3), st.integers((1 << 64) - 3, (1 << 64) - 1)),
).filter(lambda ip: ip.ipv4_mapped is None)


@st.composite
def tables(draw: st.DrawFn, addresses: st.SearchStrategy, size: int) -> dict:
    networks = st.builds(
        lambda ip, bits: ipaddress.ip_network((ip, bits), strict=False), addresses, st.integers(0, size)
    )
    return draw(st.dictionaries(networks, st.integers(0, (1 << 32) - 1), max_size=12))


def longest(table: dict, ip: ipaddress.IPv4Address | ipaddress.IPv6Address) -> int:
    matching = [network for network in table if ip in network]
    return table[max(matching, key=lambda network: network.prefixlen)] if matching else -1


def probes(table: dict) -> list:
    """The first and last address of each network and their neighbours."""
    out = []
    for network in table:
        for ip in (network.network_address, network.broadcast_address):
            out += [type(ip)(value) for value in (int(ip) - 1, int(ip), int(ip) + 1) if value >> ip.max_prefixlen == 0]
    return out


@given(tables(ADDRESSES4, 32), st.lists(ADDRESSES4, max_size=8))
def test_ipv4_against_the_standard_library(table: dict, ips: list) -> None:
    trie = Trie((str(network), value) for network, value in table.items())
    assert len(trie) == len(table)
    for ip in ips + probes(table):
        assert trie.lookup(str(ip)) == longest(table, ip)
        assert trie.lookup(f"::ffff:{ip}") == longest(table, ip)


@given(tables(ADDRESSES6, 128), st.lists(ADDRESSES6, max_size=8))
def test_ipv6_against_the_standard_library(table: dict, ips: list) -> None:
    # ::/n with n below 80 holds the IPv4-mapped addresses, which are IPv4 here.
    trie = Trie((str(network), value) for network, value in table.items())
    for ip in ips + probes(table):
        if ip.ipv4_mapped is None:
            assert trie.lookup(str(ip)) == longest(table, ip)


def test_empty_table() -> None:
    trie = Trie([])
    assert [trie.lookup(ip) for ip in ("0.0.0.0", "255.255.255.255", "::", "2001:db8::1")] == [-1] * 4
    assert len(trie) == 0


def test_default_routes_and_hosts() -> None:
    trie = Trie([("0.0.0.0/0", 1), ("::/0", 2), ("192.0.2.1", 3), ("2001:db8::1", 4), ("255.255.255.255/32", 5)])
    found = [trie.lookup(ip) for ip in ("0.0.0.0", "192.0.2.0", "192.0.2.1", "192.0.2.2", "255.255.255.255")]
    assert found == [1, 1, 3, 1, 5]
    assert [trie.lookup(ip) for ip in ("::", "2001:db8::1", "2001:db8::2", "::fffe:0:0")] == [2, 4, 2, 2]


def test_ipv4_mapped_is_ipv4() -> None:
    trie = Trie([("::ffff:10.0.0.0/104", 1), ("10.1.0.0/16", 2), ("::/0", 3)])
    assert [trie.lookup(ip) for ip in ("10.9.9.9", "::ffff:10.1.0.1", "11.0.0.0")] == [1, 2, -1]


def test_values_reach_32_bits() -> None:
    trie = Trie([("10.0.0.0/8", (1 << 32) - 1), ("2001:db8::/32", 0)])
    assert trie.lookup("10.0.0.0") == (1 << 32) - 1
    assert trie.lookup("2001:db8::") == 0


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("10.0.0.1/8", r"'10.0.0.1/8': bits are set beyond the prefix length; expected 10.0.0.0/8"),
        ("2001:db8::1/32", r"expected 2001:db8::/32"),
        ("::ffff:10.0.0.1/104", r"expected 10.0.0.0/8"),
        ("::ffff:0.0.0.0/90", r"bits are set beyond the prefix length"),
        ("10.0.0.0/33", r"expected a prefix length from 0 to 32"),
        ("2001:db8::/129", r"expected a prefix length from 0 to 128"),
        ("10.0.0.0/", r"expected a prefix length"),
        ("10.0.0.0/-1", r"expected a prefix length"),
        ("10.0.0.0/+8", r"expected a prefix length"),
        ("10.0.0.0/8 ", r"expected a prefix length"),
        ("10.0.0.0/255.0.0.0", r"expected a prefix length"),
        ("10.0.0.0/٨", r"expected a prefix length"),
        ("", r"expected an IPv4 or IPv6 prefix"),
        ("/8", r"expected an IPv4 or IPv6 prefix"),
        ("10.0.0/24", r"expected an IPv4 or IPv6 prefix"),
        ("010.0.0.0/8", r"expected an IPv4 or IPv6 prefix"),
        ("example.com", r"expected an IPv4 or IPv6 prefix"),
        ("fe80::1%eth0/64", r"expected an IPv4 or IPv6 prefix"),
        (" 10.0.0.0/8", r"expected an IPv4 or IPv6 prefix"),
    ],
)
def test_bad_prefix_is_named_with_what_was_expected(text: str, expected: str) -> None:
    with pytest.raises(ValueError, match=expected) as caught:
        Trie([(text, 1)])
    assert repr(text) in str(caught.value)


@pytest.mark.parametrize("again", ["10.0.0.0/8", "::ffff:10.0.0.0/104"])
def test_a_prefix_given_twice_is_named(again: str) -> None:
    with pytest.raises(ValueError, match=f"'{again}': the prefix stands there twice"):
        Trie([("10.0.0.0/8", 1), (again, 1)])


@pytest.mark.parametrize("value", [-1, 1 << 32])
def test_a_value_out_of_range_is_refused(value: int) -> None:
    with pytest.raises(ValueError, match="expected a value from 0"):
        Trie([("10.0.0.0/8", value)])


def test_lookup_of_no_address() -> None:
    with pytest.raises(ValueError, match="not an IP address"):
        Trie([]).lookup("pbx")


def test_a_large_table() -> None:
    """30,000 prefixes of both families against a dictionary for each length, and the memory that was promised."""
    source = random.Random(4)
    table: dict = {}
    for _ in range(15_000):
        table[ipaddress.ip_network((source.getrandbits(32), source.randint(12, 32)), strict=False)] = len(table)
        table[ipaddress.ip_network((source.getrandbits(128), source.randint(20, 64)), strict=False)] = len(table)
    trie = Trie((str(network), value) for network, value in table.items())
    ips = [ipaddress.ip_address(network[0]) for network in source.sample(list(table), 1000)]
    for ip in ips + [ipaddress.IPv4Address(source.getrandbits(32)) for _ in range(1000)]:
        supernets = (ipaddress.ip_network((ip, bits), strict=False) for bits in range(ip.max_prefixlen, -1, -1))
        assert trie.lookup(str(ip)) == next((table[net] for net in supernets if net in table), -1)
    assert trie.memory <= 15_001 * 2 * 12 + 15_001 * 2 * 24


def test_addresses_in_turn() -> None:
    trie = Trie([("10.0.0.0/8", 5)])
    assert look_up_often(trie, Addresses(["10.0.0.1", "11.0.0.1"]), 10) == 5 * 5 - 5


def test_a_prefix_in_brackets_is_none():
    with pytest.raises(ValueError, match="expected an IPv4 or IPv6 prefix"):
        Trie([("[2001:db8::]/32", 1)])
