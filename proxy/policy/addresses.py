"""Addresses as a configuration writes them."""
import re
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from proxy.config import Config
from sipcore.base.place import Place, valid_host

TRANSPORTS = ("udp", "tcp", "tls", "ws", "wss")
SECURE = ("tls", "wss")
_BROADCAST = IPv4Address("255.255.255.255")


@dataclass(frozen=True, slots=True)
class Address:
    """An IP literal (no brackets) and a port; of an upstream's target that nobody has looked up yet, its place."""

    host: str
    port: int
    said: str = field(default="", compare=False)
    """What a request URI says instead, where a name led here."""
    place: Place | None = None
    transport: str = field(default="udp", compare=False)
    """udp, tcp or tls: one peer has one address, however it is reached."""
    name: str = field(default="", compare=False)
    """What its certificate must show, where that is not the address itself."""

    def __str__(self) -> str:
        if self.place is not None:
            return str(self.place)
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def uri_host(self) -> str:
        """Host and port for a request URI: what a name leads to does not show there (RFC 3263 4)."""
        return self.said or str(self)

    @property
    def said_at(self) -> tuple[str, int]:
        """The same apart; port 0 where a name stands without one."""
        name, _, port = self.said.partition(":")
        return (name.lower(), int(port or 0)) if name else (self.host, self.port)

    @property
    def secure(self) -> bool:
        return self.transport == "tls"

    @property
    def asked(self) -> str:
        """The transport that it is to be sent by; empty where DNS is to say."""
        return self.transport if self.place is None else self.place.transport


def same_host(text: str) -> str:
    """A host in the one spelling that all of its spellings share: a name in lower case and without a dot at its end, an
    address without brackets and as `ipaddress` writes it; IPv4-mapped IPv6 is IPv4, as one peer has one address."""
    host = text.removeprefix("[").removesuffix("]").lower().removesuffix(".")
    if ":" not in host:
        return host
    try:
        ip = IPv6Address(host)
    except ValueError:
        return host
    return str(ip.ipv4_mapped or ip)


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


def parse_target(text: str, transport: str = "", server_name: str = "") -> Address:
    """What parse_address takes, or a host name with or without a port, which is an Address with a place."""
    try:
        address = parse_address(text, default_port(transport))
        return replace(address, transport=transport, name=server_name.lower()) if transport else address
    except ValueError:
        name, _, digits = text.partition(":")
        port = int(digits) if digits.isascii() and digits.isdigit() else 0
        if not valid_host(name) or not (port < 65536 if port else name == text):
            raise ValueError('expected an IP address such as "192.0.2.10:5060" or "[2001:db8::10]:5060", or a host '
                             f'name such as "pbx.example.com", found "{text}"') from None
    return Address(name.lower(), port, text, Place.of(name, port, transport), transport or "udp", server_name.lower())


def default_port(transport: str) -> int:
    return 5061 if transport == "tls" else 5060


def parse_host(text: str) -> str:
    """An IP literal that one peer can send to, in its usual spelling; ValueError says what was expected."""
    try:
        ip = ip_address(text)
    except ValueError:
        raise ValueError(f'expected an IP address such as "192.0.2.10" or "2001:db8::10", found "{text}"') from None
    if ip.is_unspecified or ip.is_multicast or (isinstance(ip, IPv6Address) and ip.ipv4_mapped):
        raise ValueError(f'expected the address of one interface, found "{text}"')
    return str(ip)


def check_one_host(host: str) -> None:
    """ValueError where an IP literal is not the address of one host, which nothing is sent to."""
    ip = _plain(host)
    if ip.is_unspecified or ip.is_multicast or ip == _BROADCAST:
        raise ValueError(f'expected the address of one host, found "{host}"')


def is_ipv6(host: str) -> bool:
    """Whether an IP literal is reached by IPv6; one that is IPv4-mapped is not."""
    return _plain(host).version == 6


def _plain(host: str) -> IPv4Address | IPv6Address:
    ip = ip_address(host)
    return ip.ipv4_mapped or ip if isinstance(ip, IPv6Address) else ip


def bind_address(text: str) -> tuple[str, Address]:
    """`udp:127.0.0.1:5060` as transport and address; ValueError says what was expected."""
    transport, colon, rest = text.partition(":")
    if not colon or transport not in TRANSPORTS:
        raise ValueError(f'expected transport (udp, tcp, tls, ws, wss), address and port such as '
                         f'"udp:127.0.0.1:5060", found "{text}"')
    return transport, parse_address(rest, default_port(transport))


def transports(config: Config) -> frozenset[str]:
    """Those that the edge listens on, as far as the configuration says so correctly."""
    return frozenset(listener.bind.partition(":")[0] for listener in config.listeners)


def parse_prefix(text: str) -> IPv4Network | IPv6Network:
    """A CIDR prefix or a single address; IPv4-mapped IPv6 becomes IPv4, as one peer has one address.

    ValueError says what was found and what was expected.
    """
    try:
        if "%" in text:
            # The scope of a link-local address: packets do not bring it along.
            raise ValueError
        network = ip_network(text, strict=False)
    except ValueError:
        raise ValueError(f'expected a CIDR prefix such as "192.0.2.0/24" or "2001:db8::/32", found "{text}"') from None
    if str(network.network_address) != str(ip_address(text.partition("/")[0])):
        raise ValueError(f'"{text}" has bits set after its prefix length; expected "{network}"')
    if isinstance(network, IPv6Network) and network.prefixlen >= 96 and network.network_address.ipv4_mapped:
        return IPv4Network((network.network_address.ipv4_mapped, network.prefixlen - 96))
    return network
