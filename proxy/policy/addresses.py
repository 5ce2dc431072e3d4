"""Addresses as a configuration writes them."""
import re
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network


@dataclass(frozen=True, slots=True)
class Address:
    """An IP literal (no brackets) and a port."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_address(text: str, port: int = 5060) -> Address:
    """`192.0.2.1:5060`, `[2001:db8::1]:5060`, or without a port; ValueError says what was expected."""
    match = re.fullmatch(r"(\[[0-9A-Fa-f:.]+\]|[^:\[\]]+)(?::([0-9]{1,5}))?", text, re.ASCII)
    try:
        if match is None:
            raise ValueError
        host = str(ip_address(match[1].strip("[]")))
        number = int(match[2] or port)
        if not 0 < number < 65536 or (":" in host) != match[1].startswith("["):
            raise ValueError
    except ValueError:
        raise ValueError(f'expected an IP address and port such as "192.0.2.10:5060" or "[2001:db8::10]:5060", '
                         f'found "{text}"') from None
    return Address(host, number)


def parse_host(text: str) -> str:
    """An IP literal that one peer can send to, in its usual spelling; ValueError says what was expected."""
    try:
        ip = ip_address(text)
    except ValueError:
        raise ValueError(f'expected an IP address such as "192.0.2.10" or "2001:db8::10", found "{text}"') from None
    if ip.is_unspecified or ip.is_multicast or (isinstance(ip, IPv6Address) and ip.ipv4_mapped):
        raise ValueError(f'expected the address of one interface, found "{text}"')
    return str(ip)


def bind_address(text: str) -> tuple[str, Address]:
    """`udp:127.0.0.1:5060` as transport and address; ValueError says what was expected."""
    transport, colon, rest = text.partition(":")
    if not colon or transport not in ("udp", "tcp", "tls"):
        raise ValueError(f'expected transport, address and port such as "udp:127.0.0.1:5060", found "{text}"')
    if transport != "udp":
        raise ValueError(f'only "udp" in this version, found "{transport}"')
    return transport, parse_address(rest)


def parse_prefix(text: str) -> IPv4Network | IPv6Network:
    """A CIDR prefix or a single address; IPv4-mapped IPv6 becomes IPv4, as one peer has one address.

    ValueError says what was found and what was expected.
    """
    try:
        network = ip_network(text, strict=False)
    except ValueError:
        raise ValueError(f'expected a CIDR prefix such as "192.0.2.0/24" or "2001:db8::/32", found "{text}"') from None
    if str(network.network_address) != str(ip_address(text.partition("/")[0])):
        raise ValueError(f'"{text}" has bits set after its prefix length; expected "{network}"')
    if isinstance(network, IPv6Network) and network.prefixlen >= 96 and network.network_address.ipv4_mapped:
        return IPv4Network((network.network_address.ipv4_mapped, network.prefixlen - 96))
    return network
