"""Where a transfer goes: the target formats of transfers.md section 2, as the edge itself calls or names them.

A full `sip:` URI stays byte for byte what it was (section 7 row 8), unless the upstream that was named for the
transfer has a URI template of its own, or the URI names the edge itself, which only an upstream can make sense of.
"""
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv6Address, ip_address

from proxy.config import Config, Upstream
from sipcore.base.place import Place, valid_host
from sipcore.wire.uri import URI

from .addresses import Address, bind_address, default_port, parse_address
from .headers import is_x_header, valid_value
from .refer_to import RAW, ReferTo, parse_refer_to
from .refusals import Refused
from .routing import REQUEST_URI, number_of
from .upstreams import Peer, compile_peers
from .uris import as_sips

LONGEST = 1024
"""Characters of a target."""
_MAX_RAW = 64
_PLAIN = Upstream(name=REQUEST_URI).uri
Fill = Callable[[Address], str]
"""The request URI for an address of an upstream."""
_WILDCARDS = {"0.0.0.0": IPv4Address("127.0.0.1"), "::": IPv6Address("::1")}


@dataclass(frozen=True, slots=True)
class Hop:
    """One address to send to, with the request URI that it gets."""

    uri: str
    host: str
    port: int
    listener: int
    """Index of the listener that it is sent from; -1 where a name has to be looked up first."""
    transport: str = "udp"
    name: str = ""
    """What its certificate must show, where that is not the address."""
    place: Place | None = None
    """The name that has to be looked up, None where host is an address."""


@dataclass(frozen=True, slots=True)
class Destination:
    """A target, resolved."""

    text: str
    """As it was asked for."""
    uri: str
    """The URI for Refer-To; the request URI of the first hop."""
    hops: tuple[Hop, ...]
    """Addresses in the order they are tried; none where only Refer-To needs the target."""
    peer: Peer
    """Whose settings hold."""


@dataclass(frozen=True, slots=True)
class Referred:
    """What a REFER's Refer-To asks for."""

    text: str
    """The target: its URI without headers, or a bare extension."""
    headers: tuple[tuple[str, str], ...]
    """X-headers and User-to-User that the URI brings along, unescaped."""
    replaces: str
    """Value of Replaces, empty for none."""


class Targets:
    """Resolves targets by a configuration."""

    def __init__(self, config: Config, peers: dict[str, Peer] | None = None):
        self.peers = peers if peers is not None else compile_peers(config)
        self.custom = next((group.custom_telephony for group in config.groups if group.custom_telephony), "")
        """The first upstream for bare extensions: enough to check one before it is known whose agent transfers."""
        self._at: dict[Address, Peer] = {}
        self._hosts: dict[str, Peer] = {}
        self._said: dict[str, Peer] = {}
        """By the names that stand in the configuration."""
        for peer in self.peers.values():
            for address in peer.addresses:
                self._at.setdefault(address, peer)
                self._hosts.setdefault(address.host, peer)
                if address.said:
                    self._said.setdefault(address.said_at[0], peer)
        self._own: set[Address] = set()
        self._everywhere: set[int] = set()
        self._listeners: dict[tuple[str, bool], int] = {}
        for index, listener in enumerate(config.listeners):
            transport, bound = bind_address(listener.bind)
            self._own.add(bound)
            if listener.advertise:
                self._own.add(parse_address(listener.advertise, bound.port))
            if bound.host in _WILDCARDS:
                self._own.add(Address(str(_WILDCARDS[bound.host]), bound.port))
                self._everywhere.add(bound.port)
            self._listeners.setdefault((transport, ":" in bound.host), index)

    def resolve(self, text: str, *, upstream: str = "", custom: str = "", referee: Peer | None = None,
                reach: bool = True, call_id: str = "") -> Destination:
        """The destination for a target.

        upstream: the action's. custom: upstream for bare extensions of the agent's group, where the action names none.
        referee: whose server is asked by REFER; its template turns `tel:` where no upstream is named. reach: the edge
        itself has to send there. call_id: chooses among targets of equal priority.

        Raises Refused with a status, a phrase, and (note) what was found and expected.
        """
        text = text.strip(" ")
        if not text or len(text) > LONGEST or not valid_value(text):
            raise Refused(400, "Malformed Transfer Target", f"expected a target of 1 to {LONGEST} printable characters")
        named = self._named(upstream)
        if RAW.fullmatch(text):
            return self._raw(text, named or self._named(custom), call_id)
        uri = _parsed(text)
        if uri.scheme == "tel":
            return self._tel(text, named, referee, reach, call_id)
        return self._sip(text, uri, named, reach, call_id)

    def referee(self, upstream: str, hop: tuple[str, int] | tuple[str, int, str, int], index: int = -1) -> Peer:
        """Whose settings a request follows that is sent to a Hop: the action's upstream, else the one there, of several
        the one with that index, else `request-uri`. A connection that a peer opened shows its host alone."""
        address = Address(hop[0], hop[1])
        peer = self._named(upstream) or next(
            (one for one in self.peers.values() if one.index == index >= 0 and address in one.addresses),
            self._at.get(address))
        if peer is None and len(hop) > 2:
            peer = self._hosts.get(hop[0])
        return peer or self.peers[REQUEST_URI]

    def is_own(self, host: str, port: int = 0, transport: str = "udp") -> bool:
        """Whether an address is the edge's."""
        ip = _literal(host)
        if ip is None:
            return False
        port = port or default_port(transport)
        return Address(str(ip), port) in self._own or (ip.is_loopback and port in self._everywhere)

    def _named(self, upstream: str) -> Peer | None:
        if not upstream:
            return None
        if upstream not in self.peers:
            raise Refused(404, "No Such Upstream", f'no upstream is called "{upstream}"')
        return self.peers[upstream] if self.peers[upstream].addresses else None

    def _raw(self, text: str, named: Peer | None, call_id: str) -> Destination:
        if named is None:
            raise Refused(400, "A Raw Transfer Target Needs Custom Telephony",
                          f'"{text}" is a bare extension; expected a sip: URI, or an upstream (`upstream` of the '
                          "action, `custom_telephony` of the agent's group)")
        if len(text) > _MAX_RAW:
            raise Refused(400, "Malformed Transfer Target", f"expected an extension of at most {_MAX_RAW} characters")
        return self._through(text, named, call_id, lambda address: f"sip:{text}@{address.uri_host}")

    def _tel(self, text: str, named: Peer | None, referee: Peer | None, reach: bool, call_id: str) -> Destination:
        number = number_of(text[4:])
        if not number:
            raise Refused(400, "Malformed Transfer Target", f'expected "tel:" and a telephone number, found "{text}"')
        peer = named or (None if reach else referee)
        if peer is None or not peer.addresses:
            if reach:
                raise Refused(416, "A tel URI Needs an Upstream",
                              f'"{text}" says no host; expected an upstream that numbers are called through')
            return Destination(text, text, (), peer or self.peers[REQUEST_URI])
        if peer.uri.keeps:
            return self._through(text, peer, call_id, lambda _: text)
        user = peer.uri.user("tel", text[4:])
        if user is None:
            raise peer.uri.refusal(f'"{text}"')
        return self._through(text, peer, call_id, lambda address: peer.uri.fill(user, address))

    def _sip(self, text: str, uri: URI, named: Peer | None, reach: bool, call_id: str) -> Destination:
        transport = transport_of(uri)
        if transport not in ("udp", "tcp", "tls"):
            raise Refused(416 if uri.scheme == "sips" else 400, "Unsupported Transport",
                          f'expected transport udp, tcp or tls, found "{text}"')
        if uri.scheme == "sips" and not self._reaches("tls"):
            # Section 2: TLS on every hop, never downgraded silently.
            raise Refused(416, "SIPS Needs TLS, Which Is Not Available",
                          f'"{text}" asks for TLS on every hop; expected a sip: URI, or a listener such as '
                          '"tls:203.0.113.5:5061"')
        own = self.is_own(uri.host, uri.port, transport)
        if named is not None:
            settings = named.settings
            if own or (settings.uri and settings.uri != _PLAIN) or settings.strip or settings.prefix:
                user = named.uri.user("sip", text.partition(":")[2].rpartition("@")[0].partition(":")[0])
                if user is None:
                    raise named.uri.refusal(f'"{text}"')
                domain = "" if own else uri.host
                if uri.scheme == "sips":
                    if named.uri.tel:
                        raise Refused(416, "Unsupported URI Scheme",
                                      f'upstream "{settings.name}" takes tel: only, and "{text}" asks for more')
                    return self._through(text, named, call_id,
                                         lambda address: as_sips(named.uri.fill(user, address, domain)), True)
                return self._through(text, named, call_id, lambda address: named.uri.fill(user, address, domain))
            return self._through(text, named, call_id, lambda _: text, uri.scheme == "sips")
        if own:
            raise Refused(482, "Loop Detected", f'"{text}" is the edge itself; expected the target\'s own address, or '
                                                "an upstream")
        ip = _literal(uri.host)
        if ip is None:
            if not valid_host(uri.host.lower().removesuffix(".")):
                raise Refused(400, "Malformed Transfer Target", f'expected a host name, found "{uri.host}"')
            place = Place.of(uri.host, uri.port, uri.params.get("transport") or "", uri.scheme == "sips")
            hops = (Hop(text, place.host, place.port, -1, transport, "", place),) if reach else ()
            return Destination(text, text, hops, self._said.get(place.host, self.peers[REQUEST_URI]))
        if ip.is_unspecified or ip.is_multicast:
            raise Refused(400, "Malformed Transfer Target", f'expected the address of one host, found "{uri.host}"')
        address = Address(str(ip), uri.port or default_port(transport), transport=transport)
        peer = self._at.get(address, self.peers[REQUEST_URI])
        if not reach:
            return Destination(text, text, (), peer)
        known = next((one for one in peer.addresses if one == address), address)
        address = replace(address, name=known.name)
        return Destination(text, text, (self._hop(text, address),), peer)

    def _reaches(self, transport: str) -> bool:
        return any(one == transport for one, _ in self._listeners)

    def _through(self, text: str, peer: Peer, call_id: str, fill: Fill, secure: bool = False) -> Destination:
        addresses = peer.order(call_id).addresses
        if secure:
            addresses = peer.secure(addresses)
        if any(self.is_own(address.host, address.port) for address in addresses):
            raise Refused(482, "Loop Detected", f'upstream "{peer.settings.name}" is the edge itself')
        hops = tuple(self._hop(fill(address), address) for address in addresses)
        return Destination(text, hops[0].uri, hops, peer)

    def _hop(self, uri: str, address: Address) -> Hop:
        if address.place is not None:
            place = address.place._replace(secure=True) if uri[:5].lower() == "sips:" else address.place
            return Hop(uri, address.host, address.port, -1, address.asked, address.name, place)
        ipv6 = ":" in address.host
        listener = self._listeners.get((address.transport, ipv6))
        if listener is None:
            family = "IPv6" if ipv6 else "IPv4"
            kind = family if address.transport == "udp" or ("udp", ipv6) not in self._listeners else (
                address.transport.upper())
            raise Refused(503, f"No {kind} Listener", f"{address} needs a listener with an {family} address that is "
                                                      f"bound to {address.transport}")
        return Hop(uri, address.host, address.port, listener, address.transport, address.name)


def _parsed(text: str) -> URI:
    """A full URI of a target. Raises Refused."""
    try:
        uri = URI(text.encode("utf-8", "surrogateescape"))
    except ValueError as error:
        raise Refused(400, "Malformed Transfer Target",
                      f'expected "sip:user@host", "tel:+123" or a bare extension, found "{text}" ({error})') from None
    if uri.scheme not in ("sip", "sips", "tel"):
        raise Refused(416, "Unsupported URI Scheme", f'expected sip:, sips: or tel:, found "{text}"')
    if uri.header_list:
        raise Refused(400, "Malformed Transfer Target",
                      f'expected a URI without headers ("?"), found "{text}"; headers are set by the action')
    for name in ("method", "maddr"):
        if name in uri.params:
            raise Refused(400, "Malformed Transfer Target", f'expected a URI without `{name}`, found "{text}"')
    return uri


def transport_of(uri: URI) -> str:
    """The transport that a sip: or sips: URI asks for, in lower case (RFC 3261 19.1.1, 26.2.2)."""
    asked = (uri.params.get("transport") or "").lower()
    if uri.scheme != "sips":
        return asked or "udp"
    return {"": "tls", "tcp": "tls", "ws": "wss"}.get(asked, "tls" if asked == "tls" else asked + " for sips")


def _literal(host: str) -> IPv4Address | IPv6Address | None:
    """The address that a host is, one peer in one spelling; None for a name."""
    try:
        ip = ip_address(host.strip("[]"))
    except ValueError:
        return None
    return ip.ipv4_mapped or ip if isinstance(ip, IPv6Address) else ip


def referred(values: Sequence[str]) -> Referred:
    """Read the Refer-To values of a REFER that the edge carries out. Raises Refused as parse_refer_to does."""
    parsed: ReferTo = parse_refer_to(list(values))
    if parsed.scheme == "raw":
        return Referred(parsed.uri, (), "")
    uri = URI(parsed.uri.encode("utf-8", "surrogateescape"))
    carried: dict[str, tuple[str, str]] = {}
    replaces = ""
    for name, value in uri.header_list:
        if name.lower() == "replaces":
            replaces = value
        elif (is_x_header(name) or name.lower() == "user-to-user") and valid_value(value):
            carried.setdefault(name.lower(), (name, value))
    return Referred(_bare(parsed.uri), tuple(carried.values()), replaces)


def _bare(uri: str) -> str:
    """A URI without headers and `method`, which no request URI has (RFC 3261 19.1.1); the rest as it stands."""
    user, at, rest = uri.rpartition("@")
    parts = rest.partition("?")[0].split(";")
    kept = [part for part in parts if part.partition("=")[0].lower() != "method"]
    return user + at + ";".join(kept)
