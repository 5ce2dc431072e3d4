"""Where a SIP request goes whose next hop is a name (RFC 3263 4.1 and 4.2), as a function of what DNS answers.

`locate` is a generator: it yields the questions that it needs answered next, all at once, and is sent their answers in
that order. So the rules stand in one text, whether the answers come from a cache, from a server or from a test.

Bounds, as answers are a stranger's: how many records of an answer count, how many servers are looked up, how many
addresses come out. SRV and NAPTR lead to other names once each, so nothing can lead in a circle.
"""
from collections.abc import Callable, Collection, Generator, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from typing import NamedTuple

from sipcore.base.place import Place, Reached, Unresolved, valid_host

A, AAAA, SRV, NAPTR = 1, 28, 33, 35

MOST_RECORDS = 32
"""Of one answer."""
MOST_SERVICES = 4
"""NAPTR records that are followed."""
MOST_SERVERS = 8
"""SRV records whose addresses are asked for."""
MOST_ADDRESSES = 16

_SERVICES = {"sip+d2u": "udp", "sip+d2t": "tcp", "sips+d2t": "tls", "sip+d2w": "ws", "sips+d2w": "wss"}
_SRV = {"udp": "_sip._udp", "tcp": "_sip._tcp", "tls": "_sips._tcp", "ws": "_ws._tcp", "wss": "_wss._tcp"}
_SECURED = {"": "tls", "tcp": "tls", "tls": "tls", "ws": "wss", "wss": "wss"}
"""What a transport parameter means in a sips URI (RFC 3261 26.2.2, RFC 7118 5)."""
_PORTS = {"udp": 5060, "tcp": 5060, "tls": 5061, "ws": 80, "wss": 443}


class Question(NamedTuple):
    """A name in lower case and the type of record that is asked for."""

    name: str
    type: int


class Naptr(NamedTuple):
    order: int
    preference: int
    flags: str
    service: str
    regexp: str
    replacement: str


class Srv(NamedTuple):
    priority: int
    weight: int
    port: int
    target: str


Record = str | Naptr | Srv
"""An address is a str."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back. fault: why there is no answer; without one, no records means that there are none."""

    records: tuple[Record, ...] = ()
    ttl: int = 0
    """Seconds."""
    fault: str = ""


Locating = Generator[tuple[Question, ...], Sequence[Answer], tuple[Reached, ...]]
Refuse = Callable[[str, int], str]
"""Given address and port, why nothing is sent there: `loop` where it is the edge itself, empty for nothing."""


@dataclass(frozen=True, slots=True)
class Reach:
    """What the edge can send by. transports: those of its listeners, in the order it prefers them."""

    transports: tuple[str, ...] = ("udp",)
    ipv4: bool = True
    ipv6: bool = True
    refuse: Refuse = lambda ip, port: ""


def locate(place: Place, reach: Reach) -> Locating:
    """The addresses of a place. Raises Unresolved."""
    transport = _transport(place, reach)
    try:
        ip = str(ip_address(place.host.strip("[]")))
    except ValueError:
        pass
    else:
        transport = transport or _default(place, reach)
        return _usable(place, reach, [(ip, place.port or _PORTS[transport], transport, 0, 1)])
    if not valid_host(place.host):
        raise Unresolved(place, "is no host name", status=400)
    if place.port:
        return (yield from _direct(place, reach, transport or _default(place, reach)))
    services: list[tuple[str, str]] = []
    if not transport:
        services = _services(place, reach, (yield (Question(place.host, NAPTR),))[0])
    if not services:
        services = [(one, f"{_SRV[one]}.{place.host}")
                    for one in ([transport] if transport else _allowed(place, reach))]
    answers = yield tuple(Question(name, SRV) for _, name in services)
    servers: list[tuple[int, Srv, str]] = []
    announced = False
    for index, ((one, _), answer) in enumerate(zip(services, answers, strict=True)):
        found = [record for record in answer.records if isinstance(record, Srv)][:MOST_RECORDS]
        announced |= bool(found)
        # "." says that the service is decidedly not there (RFC 2782).
        servers += [(index, record, one) for record in found
                    if record.port and valid_host(record.target.removesuffix("."))]
    if announced:
        return (yield from _served(place, reach, servers))
    # No SRV at all: the name itself, at the port of the transport that RFC 3263 4.1 has for this case.
    return (yield from _direct(place, reach, transport or _default(place, reach)))


def _transport(place: Place, reach: Reach) -> str:
    """The transport that the place itself names; empty for none."""
    transport = place.transport
    if place.secure:
        if transport not in _SECURED:
            raise Unresolved(place, f"would be reached by {transport}, which encrypts nothing", status=416)
        transport = _SECURED[transport] if transport else ""
    if transport and transport not in reach.transports:
        raise Unresolved(place, f"is reached by {transport[:16]}, for which there is no listener")
    return transport


def _allowed(place: Place, reach: Reach) -> list[str]:
    """Transports that a place without one may be reached by, the preferred one first."""
    wanted = ("tls",) if place.secure else ("udp", "tcp", "tls")
    return [one for one in reach.transports if one in wanted]


def _default(place: Place, reach: Reach) -> str:
    """RFC 3263 4.1: UDP for sip, TLS for sips, where neither name nor record says more."""
    allowed = _allowed(place, reach)
    if not allowed:
        raise Unresolved(place, "needs TLS, for which there is no listener" if place.secure
                         else "is reached by no transport that there is a listener for")
    return allowed[0]


def _services(place: Place, reach: Reach, answer: Answer) -> list[tuple[str, str]]:
    """(transport, name of SRV records) by NAPTR; none where there are no such records."""
    rules = sorted(record for record in answer.records if isinstance(record, Naptr)
                   and record.service.lower() in _SERVICES)[:MOST_RECORDS]
    found: list[tuple[int, str, str]] = []
    for rule in rules:
        transport = _SERVICES[rule.service.lower()]
        name = rule.replacement.lower().removesuffix(".")
        if (transport in reach.transports and (not place.secure or transport in ("tls", "wss"))
                and rule.flags.lower() == "s" and not rule.regexp and valid_host(name)):
            found.append((rule.order, transport, name))
    if rules and not found:
        raise Unresolved(place, "offers no transport that there is a listener for")
    # A rule of a higher order counts only where none of a lower one fits (RFC 3403 4.1).
    return [(transport, name) for order, transport, name in found if order == found[0][0]][:MOST_SERVICES]


def _served(place: Place, reach: Reach, servers: list[tuple[int, Srv, str]]) -> Locating:
    """The addresses of SRV records; those of one server share its weight."""
    servers = sorted(servers, key=lambda one: (one[0], one[1].priority, -one[1].weight, one[1].target, one[1].port))
    servers = servers[:MOST_SERVERS]
    if not servers:
        raise Unresolved(place, "offers no SIP service", status=480)
    levels = sorted({(index, record.priority) for index, record, _ in servers})
    names = list(dict.fromkeys(record.target.lower().removesuffix(".") for _, record, _ in servers))
    addresses = yield from _addresses(place, reach, names)
    found = []
    for index, record, transport in servers:
        level = 2 * levels.index((index, record.priority))
        ips = addresses[record.target.lower().removesuffix(".")]
        for ip in ips:
            of_family = sum((":" in other) == (":" in ip) for other in ips)
            # A weight is shared without loss: 65535 times the addresses that count fits an int of any language.
            found.append((ip, record.port, transport, level + (":" in ip),
                          record.weight * MOST_ADDRESSES // of_family))
    return _usable(place, reach, found)


def _direct(place: Place, reach: Reach, transport: str) -> Locating:
    """The addresses of the name itself."""
    addresses = yield from _addresses(place, reach, [place.host])
    return _usable(place, reach, [(ip, place.port or _PORTS[transport], transport, int(":" in ip), 1)
                                  for ip in addresses[place.host]])


def _addresses(place: Place, reach: Reach, names: Collection[str],
               ) -> Generator[tuple[Question, ...], Sequence[Answer], dict[str, list[str]]]:
    """IPv4 before IPv6 addresses of each name. Raises Unresolved where no name has any."""
    types = [A] * reach.ipv4 + [AAAA] * reach.ipv6
    questions = tuple(Question(name, type) for name in names for type in types)
    answers = yield questions
    found: dict[str, list[str]] = {name: [] for name in names}
    for question, answer in zip(questions, answers, strict=True):
        found[question.name] += sorted(record for record in answer.records if isinstance(record, str))[:MOST_RECORDS]
    if not any(found.values()):
        fault = next((answer.fault for answer in answers if answer.fault), "")
        if fault:
            raise Unresolved(place, f"does not resolve: {fault}")
        raise Unresolved(place, "has no address", status=480)
    return found


def _usable(place: Place, reach: Reach, found: list[tuple[str, int, str, int, int]]) -> tuple[Reached, ...]:
    """What can be sent to. Raises Unresolved where nothing is left."""
    kept: dict[tuple[str, int, str], Reached] = {}
    why = ""
    name = place.host if valid_host(place.host) else ""
    for ip, port, transport, level, weight in found:
        if (refused := reach.refuse(ip, port)) or not (reach.ipv6 if ":" in ip else reach.ipv4):
            why = why or refused or "is of a family without listener"
            continue
        kept.setdefault((ip, port, transport), Reached(ip, port, transport, name, level, weight))
    if not kept:
        raise Unresolved(place, "leads back to the edge" if why == "loop" else f"leads to an address that {why}",
                         status=482 if why == "loop" else 480)
    return tuple(sorted(kept.values(), key=lambda one: (one.level, -one.weight, one))[:MOST_ADDRESSES])
