"""Media addresses, their ports, and which of them the two sides of a call get."""
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations

from proxy.config import Config, Learning, Media, Path, Problem, Relay, Route, Srtp

from .addresses import Address, bind_address, parse_host
from .names import parsed
from .problems import check, known, unique
from .routing import REQUEST_URI

_RANGE = re.compile(r"([0-9]{1,5})-([0-9]{1,5})", re.ASCII)
_WILDCARDS = ("0.0.0.0", "::")
MOST_PROFILES = 64
SIDES = 2
"""Of a proxied call: the caller's and the callee's."""
GROWTH = 16384
"""Streams for which there is room at least where only the ports bound them: another configuration may have more."""


def parse_ports(text: str) -> range:
    """`16384-32767`; ValueError says what was expected. The last port is in the range."""
    match = _RANGE.fullmatch(text)
    if match is None:
        raise ValueError(f'expected a range of ports such as "16384-32767", found "{text}"')
    first, last = int(match[1]), int(match[2])
    if not 0 < first <= 65535 or not 0 < last <= 65535:
        raise ValueError(f'expected ports from 1 to 65535, found "{text}"')
    if first % 2:
        raise ValueError(f'expected an even first port (RTP has the even one of each pair), found "{text}"')
    if last <= first:
        raise ValueError(f'has no pair of ports, found "{text}"; expected a last port above the first')
    return range(first, last + 1)


def pairs(media: Media) -> int:
    """How many RTP and RTCP pairs its ports make."""
    return len(parse_ports(media.ports)) // 2


def sessions(config: Config) -> int:
    """Streams that the relay has room for."""
    return config.relay.sessions or sum(pairs(media) for media in config.media) // SIDES


def sessions_ever(config: Config) -> int:
    """Streams that the relay has to have room for from its start on: its ports may become more."""
    return config.relay.sessions or max(sessions(config), GROWTH)


@dataclass(frozen=True, slots=True)
class Profile:
    """How the audio of a route's calls is treated, where that differs between routes."""

    learning: Learning
    record: str
    """Folder, empty: not recorded."""
    srtp: tuple[Srtp, Srtp]
    """With who calls, and with who is called."""


def profiles(config: Config) -> list[Profile]:
    """One for each way in which routes anchor, in the order of the file. A verdict names them by number, from 1."""
    return list(dict.fromkeys(_profile(config, route) for route in config.routes if route.media == "anchor"))


def anchor_of(config: Config, route: Route, method: str) -> int:
    """The number of a route's profile for a verdict; 0 where the audio is none of the edge's business."""
    if route.media != "anchor" or method != "INVITE":
        return 0
    return profiles(config).index(_profile(config, route)) + 1


def _profile(config: Config, route: Route) -> Profile:
    return Profile(route.learning or config.relay.learning, route.record, (route.srtp, _srtp_of(config, route.to)))


def _srtp_of(config: Config, name: str) -> Srtp:
    """What the upstream of that name has; `request-uri` may be none."""
    return next((upstream.srtp for upstream in config.upstreams if upstream.name == name), "pass")


def without_keys(config: Config) -> list[int]:
    """Listeners (by index) whose peers are told no keys."""
    if config.relay.srtp_signalling == "any":
        return []
    return [index for index, listener in enumerate(config.listeners)
            if bind_address(listener.bind)[0] not in ("tls", "wss")]


def choices(config: Config, listener: int) -> list[int]:
    """Media addresses (by index) for peers of a listener, those that name it first."""
    name, family = config.listeners[listener].name, ":" in _bound(config, listener).host
    fitting = [index for index, media in enumerate(config.media) if (":" in parse_host(media.bind)) == family]
    return ([index for index in fitting if name in config.media[index].listeners]
            + [index for index in fitting if not config.media[index].listeners])


def _bound(config: Config, listener: int) -> Address:
    return bind_address(config.listeners[listener].bind)[1]


# --- what may be wrong


def media_problems(config: Config) -> list[Problem]:
    """Everything wrong with [[media]], with [relay], and with routes that anchor."""
    wrong = [*_addresses(config)]
    try:
        return [*wrong, *_ports(config), *_relay(config), *_routes(config)]
    except ValueError:
        # An address or a range that cannot be read: its own problem is already there.
        return wrong


def _addresses(config: Config) -> Iterator[Problem]:
    yield from unique("media", (media.name for media in config.media))
    names = [listener.name for listener in config.listeners]
    for index, media in enumerate(config.media):
        path: Path = ("media", index)
        wrong = [*check((*path, "bind"), parse_host, media.bind)]
        if media.advertise:
            wrong += check((*path, "advertise"), parse_host, media.advertise)
        yield from wrong
        yield from check((*path, "ports"), parse_ports, media.ports)
        yield from known((*path, "listeners"), "listener", media.listeners, names)
        if wrong:
            continue
        if media.advertise and (":" in media.advertise) != (":" in media.bind):
            yield Problem((*path, "advertise"), f'expected an address of the family of "{media.bind}", found '
                                                f'"{media.advertise}"')
        for number, listener in enumerate(config.listeners):
            if listener.name in media.listeners and (":" in media.bind) != (":" in _bound(config, number).host):
                yield Problem((*path, "listeners"), f'listener "{listener.name}" is bound to {listener.bind}; expected '
                                                    f'listeners of the family of "{media.bind}"')


def _ports(config: Config) -> Iterator[Problem]:
    ranges = [(parse_host(media.bind), parse_ports(media.ports)) for media in config.media]
    for (first, (host, ports)), (second, (other, others)) in combinations(enumerate(ranges), 2):
        if host == other and ports.start < others.stop and others.start < ports.stop:
            yield Problem(("media", second, "ports"), f'overlaps with {config.media[first].ports} of media '
                          f'"{config.media[first].name}" on {host}; expected ranges apart')
    for index, (host, ports) in enumerate(ranges):
        for number, listener in enumerate(config.listeners):
            bound = _bound(config, number)
            same = bound.host == host or (bound.host in _WILDCARDS and (":" in bound.host) == (":" in host))
            if same and bound.port in ports:
                yield Problem(("media", index, "ports"), f'{config.media[index].ports} has port {bound.port} of '
                              f'listener "{listener.name}"; expected a range without it')


def _relay(config: Config) -> Iterator[Problem]:
    relay: Relay = config.relay
    needed, found = SIDES * relay.sessions, sum(pairs(media) for media in config.media)
    if config.media and needed > found:
        yield Problem(("relay", "sessions"), f"{relay.sessions} sessions take {needed} pairs of ports, the ranges of "
                      f"[[media]] have {found}; expected wider ranges, or at most {found // SIDES} sessions")
    if relay.silence_seconds and 0 < relay.timeout_seconds < relay.silence_seconds:
        yield Problem(("relay", "timeout_seconds"), f"expected at least silence_seconds ({relay.silence_seconds:g}), "
                                                    f"found {relay.timeout_seconds:g}")


def _routes(config: Config) -> Iterator[Problem]:
    many = len(profiles(config))
    if many > MOST_PROFILES:
        yield Problem(("route",), f"{many} combinations of learning, record and srtp; expected at most {MOST_PROFILES}")
    for index, route in enumerate(config.routes):
        path: Path = ("route", index)
        if route.media == "pass":
            for name in ("learning", "record"):
                if getattr(route, name):
                    yield Problem((*path, name), 'acts on anchored media only; expected media = "anchor" beside it')
            if route.srtp != "pass":
                yield Problem((*path, "srtp"), 'acts on anchored media only; expected media = "anchor" beside it')
            if "INVITE" in route.methods and _srtp_of(config, route.to) != "pass":
                yield Problem((*path, "media"), f'upstream "{route.to}" has srtp = "{_srtp_of(config, route.to)}", '
                              'which acts on anchored media only; expected "anchor"')
            continue
        if not config.media:
            yield Problem((*path, "media"), '"anchor" needs an address for the audio; expected a [[media]]')
            continue
        if "INVITE" not in route.methods:
            yield Problem((*path, "media"), '"anchor" acts on calls; expected "INVITE" among the methods')
        if not route.record_route:
            # Without Record-Route neither re-INVITE nor BYE passes here: ports would never come back.
            yield Problem((*path, "media"), '"anchor" needs the edge to stay in the dialog; expected record_route = '
                                            "true")
        for listener in sorted(_listeners_of(config, route)):
            if not choices(config, listener):
                name, bind = config.listeners[listener].name, config.listeners[listener].bind
                yield Problem((*path, "media"), f'its calls may use listener "{name}" ({bind}), and no [[media]] is '
                              f"for that; expected one with an {'IPv6' if '[' in bind else 'IPv4'} address")


def _listeners_of(config: Config, route: Route) -> set[int]:
    """Listeners that calls of a route come in on or leave from."""
    names = [listener.name for listener in config.listeners]
    found: set[int] = set()
    for group in config.groups:
        if group.action == "allow" and (not route.groups or group.name in route.groups):
            found |= {index for index, name in enumerate(names) if not group.listeners or name in group.listeners}
    # A request leaves from the first listener of its target's transport and family.
    first: dict[tuple[str, bool], int] = {}
    for index, listener in enumerate(config.listeners):
        transport, bound = bind_address(listener.bind)
        first.setdefault((transport, ":" in bound.host), index)
    targets = [parsed(target) for upstream in config.upstreams if upstream.name == route.to
               for target in upstream.targets]
    # What a name leads to may be of any family.
    kinds = set(first) if route.to == REQUEST_URI or any(target.place is not None for target in targets) else {
        (target.transport, ":" in target.host) for target in targets}
    return found | {first[kind] for kind in kinds if kind in first}
