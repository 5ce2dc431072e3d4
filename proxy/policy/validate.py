"""What the types of the configuration cannot say: references between tables, addresses, patterns, templates."""
import re
from collections.abc import Callable, Iterator, Sequence
from functools import partial

from proxy.config import Config, Path, Problem, Refer, Route, Upstream
from sipcore.base.place import valid_host
from sipcore.wire.fingerprints import Fingerprints

from .acl import Owners, taken, trusts
from .actions import transfer_problems
from .addresses import (
    SECURE,
    Address,
    bind_address,
    check_one_host,
    default_port,
    is_ipv6,
    parse_address,
    parse_prefix,
    parse_target,
)
from .authproblems import auth_problems
from .headers import Patterns, parse_template, valid_name
from .media import media_problems
from .outside import outside_problems
from .problems import MOST_LISTENERS, check, check_all, known, known_one, unique
from .referenceproblems import reference_problems
from .routing import LOCAL, REQUEST_URI, check_domain, check_prefix, check_user
from .uris import check_uri_template

UNLISTED = "unlisted"
"""What REFER rules call the peers in no group."""

_METHOD = re.compile(r"[A-Z][A-Z0-9\-.!%*_+`'~]*", re.ASCII)
_TOKEN = re.compile(r"[A-Za-z0-9\-.!%*_+`'~]*", re.ASCII)
_PATTERN = re.compile(r"[A-Za-z0-9\-_.]+\*?", re.ASCII)


def problems_of(config: Config) -> list[Problem]:
    """Everything wrong with a configuration whose tables are well-formed."""
    found = [*_listeners(config), *_tls(config), *_groups(config), *_upstreams(config),
             *_header_sets(config), *_routes(config), *_refer(config), *media_problems(config),
             *outside_problems(config), *reference_problems(config), *auth_problems(config), *_rest(config)]
    # Actions are resolved by what stands in the other tables.
    return found or transfer_problems(config)


def _method(text: str) -> None:
    if not _METHOD.fullmatch(text):
        raise ValueError(f'expected a method in capitals such as "INVITE", found "{text}"')


def _listeners(config: Config) -> Iterator[Problem]:
    if not config.listeners:
        yield Problem((), "no [[listener]]; expected one at least (or --listen)")
    yield from unique("listener", (listener.name for listener in config.listeners), most=MOST_LISTENERS)
    bound: dict[tuple[bool, Address], str] = {}
    for index, listener in enumerate(config.listeners):
        path: Path = ("listener", index)
        wrong = list(check((*path, "bind"), bind_address, listener.bind))
        yield from wrong
        if listener.advertise:
            yield from check((*path, "advertise"), _public, listener.advertise)
        if wrong:
            continue
        transport, address = bind_address(listener.bind)
        yield from known((*path, "tls"), "tls", listener.tls, (one.name for one in config.tls))
        if bool(listener.tls) != (transport in SECURE):
            yield Problem((*path, "tls"), f'"{listener.bind}" ' + (
                "needs a certificate; expected the name of a [[tls]]" if transport in SECURE else
                "has no certificate; expected none"))
        if listener.origins and transport not in ("ws", "wss"):
            yield Problem((*path, "origins"), f'"{listener.bind}" is no WebSocket; expected none')
        if address.host in ("0.0.0.0", "::") and not listener.advertise:
            yield Problem((*path, "bind"), f'"{listener.bind}" is a wildcard; expected `advertise` with the address '
                                           "that peers can reach")
        place = transport == "udp", address
        if place in bound:
            yield Problem((*path, "bind"), f'listener "{bound[place]}" is bound to {listener.bind} already')
        bound[place] = listener.name


def _public(text: str) -> None:
    check_one_host(parse_address(text).host)


def _tls(config: Config) -> Iterator[Problem]:
    yield from unique("tls", (one.name for one in config.tls))
    for index, one in enumerate(config.tls):
        if one.client_certificate != "none" and not one.ca:
            yield Problem(("tls", index, "ca"), "is empty; expected the authorities of client certificates")
    asking = {one.name for one in config.tls if one.client_certificate != "none"}
    asked = any(listener.tls and listener.tls[0] in asking for listener in config.listeners)
    owners: dict[str, str] = {}
    for index, group in enumerate(config.groups):
        path: Path = ("group", index, "certificates")
        if not group.addresses and not group.certificates:
            yield Problem(("group", index, "addresses"), "is empty; expected addresses or certificates")
        if group.certificates and not asked:
            yield Problem(path, "no listener asks for client certificates; expected one whose first [[tls]] has "
                                "client_certificate optional or required")
        for number, name in enumerate(group.certificates):
            if not valid_host(name):
                yield Problem((*path, number), f'expected a name such as "pbx.example.com", found "{name}"')
            elif owners.setdefault(name.lower(), group.name) != group.name:
                yield Problem((*path, number), f'{name} is in group "{owners[name.lower()]}" already; expected each '
                                               "name in one group")


def _groups(config: Config) -> Iterator[Problem]:
    yield from unique("group", (group.name for group in config.groups), taken=(UNLISTED,))
    wrong = False
    for index, group in enumerate(config.groups):
        path: Path = ("group", index)
        for problem in check_all((*path, "addresses"), parse_prefix, group.addresses):
            wrong = True
            yield problem
        yield from known((*path, "listeners"), "listener", group.listeners, (one.name for one in config.listeners))
        yield from check_all((*path, "methods"), _method, group.methods)
        yield from check_all((*path, "dialog_methods"), _method, group.dialog_methods)
        if group.custom_telephony:
            yield from known_one((*path, "custom_telephony"), "upstream", group.custom_telephony,
                                 (one.name for one in config.upstreams if one.targets))
    yield from check_all(("unlisted", "dialog_methods"), _method, config.unlisted.dialog_methods)
    if not wrong:
        yield from _overlaps(config)


def _overlaps(config: Config) -> Iterator[Problem]:
    """The same prefix in two groups of one listener: the longest match would be a matter of luck."""
    owners = Owners(config)
    for index, group in enumerate(config.groups):
        for network in dict.fromkeys(map(parse_prefix, group.addresses)):
            first = owners.claim(index, network)
            if first != index:
                yield Problem(("group", index, "addresses"), taken(network, config.groups[first].name))


def _upstreams(config: Config) -> Iterator[Problem]:
    yield from unique("upstream", (upstream.name for upstream in config.upstreams), taken=(LOCAL,))
    ways = _ways(config)
    for index, upstream in enumerate(config.upstreams):
        path: Path = ("upstream", index)
        if not upstream.targets and upstream.name != REQUEST_URI:
            yield Problem((*path, "targets"), "is empty; expected one target at least")
        if upstream.targets and upstream.name == REQUEST_URI:
            yield Problem((*path, "targets"), f'"{REQUEST_URI}" goes where the request URI says; expected no targets')
        addresses = []
        for number, target in enumerate(upstream.targets):
            if target.server_name and target.transport != "tls":
                yield Problem((*path, "targets", number, "server_name"),
                              f'"{target.server_name}" is only asked for by TLS; expected transport = "tls"')
            wrong = list(check((*path, "targets", number, "address"), parse_target, target.address))
            yield from wrong
            if not wrong:
                addresses.append(parse_target(target.address, target.transport))
                yield from _target((*path, "targets", number), addresses[-1], ways)
        yield from check((*path, "uri"), partial(check_uri_template, targets=addresses), upstream.uri)
        if upstream.uri.startswith("tel:") and upstream.prefix:
            yield from check((*path, "prefix"), check_prefix, upstream.prefix)
        yield from _size_policy(path, upstream)
        for name in ("purpose", "content"):
            text = getattr(upstream.user_to_user, name)
            if not _TOKEN.fullmatch(text):
                yield Problem((*path, "user_to_user", name), f'expected letters, digits and "-", found "{text}"')
        yield from check_all((*path, "user_to_user", "names"), _header_name, upstream.user_to_user.names)


def _ways(config: Config) -> set[tuple[str, bool]]:
    """What the listeners send by: transport, and whether it is IPv6. Empty where one of them is wrong."""
    try:
        bound = [bind_address(listener.bind) for listener in config.listeners]
    except ValueError:
        return set()
    return {(transport, is_ipv6(address.host)) for transport, address in bound}


def _target(path: Path, address: Address, ways: set[tuple[str, bool]]) -> Iterator[Problem]:
    """Whether a target can be sent to. Of a name DNS says the family, and the transport where none is given."""
    transport = address.asked
    if address.place is None:
        yield from check((*path, "address"), check_one_host, address.host)
    if not ways or not transport:
        return
    if all(transport != one for one, _ in ways):
        yield Problem((*path, "transport"), f'no listener is bound to {transport}; expected one such as '
                                            f'"{transport}:203.0.113.5:{default_port(transport)}"')
    elif address.place is None and (transport, ipv6 := is_ipv6(address.host)) not in ways:
        family, example = ("IPv6", "[2001:db8::5]") if ipv6 else ("IPv4", "203.0.113.5")
        yield Problem((*path, "address"), f'no listener is bound to {transport} on an {family} address; expected one '
                                          f'such as "{transport}:{example}:{default_port(transport)}"')


def _size_policy(path: Path, upstream: Upstream) -> Iterator[Problem]:
    steps = upstream.size_policy
    for index, step in enumerate(steps):
        if step in steps[:index]:
            yield Problem((*path, "size_policy", index), f'"{step}" stands twice; expected each step once')
        elif step in ("fragment", "refuse") and index != len(steps) - 1:
            yield Problem((*path, "size_policy", index), f'"{step}" ends the policy; expected it last')
    if not {"fragment", "refuse"} & set(steps):
        yield Problem((*path, "size_policy"), f'ends with "{steps[-1]}"; expected "fragment" or "refuse" last')


def _header_name(name: str) -> None:
    if not valid_name(name):
        raise ValueError(f'expected a header name that matches ^X-[A-Za-z0-9\\-_]+$, found "{name}"')


def _header_sets(config: Config) -> Iterator[Problem]:
    yield from unique("headers", (one.name for one in config.headers))
    for index, one in enumerate(config.headers):
        for number, header in enumerate(one.add):
            path: Path = ("headers", index, "add", number)
            yield from check((*path, "name"), _header_name, header.name)
            yield from check((*path, "value"), parse_template, header.value)
    for index, pattern in enumerate(config.internal.headers):
        if not _PATTERN.fullmatch(pattern):
            yield Problem(("internal", "headers", index), f'expected a header name or a beginning such as '
                                                          f'"X-Internal-*", found "{pattern}"')


def _applied(config: Config, path: Path, names: Sequence[str], trusted: bool) -> Iterator[Problem]:
    """Header sets named by a route or a rule: known, no header twice, nothing internal for the untrusted."""
    yield from known(path, "header set", names, (one.name for one in config.headers))
    internal = Patterns(config.internal.headers)
    seen: dict[tuple[str, str], str] = {}
    for one in config.headers:
        for header in one.add if one.name in names else ():
            for method in one.on:
                first = seen.setdefault((method, header.name.lower()), one.name)
                if first != one.name or sum(header.name.lower() == other.name.lower() for other in one.add) > 1:
                    yield Problem(path, f'{header.name} is set twice on {method} (sets "{first}" and "{one.name}"); '
                                        "expected it once")
            if internal.match(header.name) and not trusted:
                yield Problem(path, f'"{one.name}" sets {header.name}, which is internal and would not leave; expected '
                                    "an upstream whose addresses are all in a trusted group")


def _conditions(path: Path, source: object) -> Iterator[Problem]:
    for name, parse in (("prefixes", check_prefix), ("users", check_user), ("domains", check_domain)):
        yield from check_all((*path, name), parse, getattr(source, name))


def _trusted(config: Config, name: str) -> bool:
    """Whether every target of the upstream is in a trusted group, or may be: what names lead to shows later."""
    addresses = [parse_target(target.address) for one in config.upstreams if one.name == name
                 for target in one.targets]
    return bool(addresses) and all(address.place is not None or trusts(config, address.host) for address in addresses)


def _routes(config: Config) -> Iterator[Problem]:
    groups = [group.name for group in config.groups]
    upstreams = [upstream.name for upstream in config.upstreams]
    for index, route in enumerate(config.routes):
        path: Path = ("route", index)
        yield from known_one((*path, "to"), "upstream", route.to, [*upstreams, REQUEST_URI, LOCAL])
        yield from known((*path, "groups"), "group", route.groups, groups)
        yield from check_all((*path, "methods"), _method, route.methods)
        yield from _conditions(path, route)
        if route.to == LOCAL and (set(route.methods) - {"OPTIONS"} or route.headers):
            yield Problem((*path, "to"), '"local" answers only OPTIONS in this version, without headers; expected '
                                         'methods = ["OPTIONS"]')
        yield from _controlled(config, path, route)
        yield from _safely(lambda path=path, route=route: list(_applied(  # type: ignore[misc]
            config, (*path, "headers"), route.headers, _trusted(config, route.to))))


def _controlled(config: Config, path: Path, route: Route) -> Iterator[Problem]:
    """What the edge needs to be an end of a call."""
    if route.control and ("INVITE" not in route.methods or route.to == LOCAL):
        yield Problem((*path, "control"), 'acts on calls; expected "INVITE" among the methods, and an upstream or '
                                          f'"{REQUEST_URI}"')
    if route.control and route.record:
        yield Problem((*path, "record"), "controlled calls are not recorded in this version; expected no folder beside "
                                         "control = true")
    if route.precall:
        yield from known_one((*path, "precall"), "request", route.precall, (one.name for one in config.requests))
        if not route.control:
            yield Problem((*path, "precall"), "is asked for controlled calls only; expected control = true beside it")


def _safely(found: Callable[[], list[Problem]]) -> list[Problem]:
    """Checks that build on others: nothing where those failed, as their own problem is already there."""
    try:
        return found()
    except ValueError:
        return []


def _refer(config: Config) -> Iterator[Problem]:
    groups = [group.name for group in config.groups] + [UNLISTED]
    upstreams = [upstream.name for upstream in config.upstreams]
    for index, rule in enumerate(config.refer):
        path: Path = ("refer", index)
        yield from known((*path, "groups"), "group", rule.groups, groups)
        yield from known((*path, "targets"), "upstream", rule.targets,
                         (one.name for one in config.upstreams if one.targets))
        yield from _conditions(path, rule)
        if rule.upstream:
            yield from known_one((*path, "upstream"), "upstream", rule.upstream, [*upstreams, REQUEST_URI])
        if rule.action == "refuse" and (rule.headers or rule.upstream):
            yield Problem((*path, "action"), '"refuse" applies no headers and no upstream; expected neither')
        if rule.action == "forward" and any(one.name == rule.upstream and not one.refer for one in config.upstreams):
            yield Problem((*path, "upstream"), f'"{rule.upstream}" takes no REFER (refer = false); expected another '
                                               'upstream, or action = "run" with a warm transfer')
        yield from _run(config, path, rule)
        yield from _applied(config, (*path, "headers"), rule.headers, trusted=False)


def _run(config: Config, path: Path, rule: Refer) -> Iterator[Problem]:
    """A REFER that the edge itself carries out."""
    if rule.action != "run":
        if rule.transfer:
            yield Problem((*path, "transfer"), 'acts with action = "run" only; expected that beside it')
        return
    if rule.headers or rule.upstream:
        yield Problem((*path, "action"), '"run" takes headers and upstream from its transfer action; expected neither')
    if not any(route.control for route in config.routes):
        yield Problem((*path, "action"), '"run" acts on controlled calls; expected a route with control = true')
    if not rule.transfer:
        yield Problem((*path, "transfer"), 'is empty; expected the name of a transfer action for "run"')
    elif not config.api.bind:
        # With the API, actions may be saved that are not in the file.
        yield from known_one((*path, "transfer"), "transfer action", rule.transfer,
                             (one.name for one in config.transfers))


def _rest(config: Config) -> Iterator[Problem]:
    timers = config.timers
    yield from check_all(("abuse", "scanners"), lambda text: Fingerprints((text,)), config.abuse.scanners)
    yield from check_all(("dns", "servers"), lambda text: parse_address(text, 53), config.dns.servers)
    if config.dns.ttl_max < config.dns.ttl_min:
        yield Problem(("dns", "ttl_max"), f"expected at least ttl_min ({config.dns.ttl_min}), found "
                                          f"{config.dns.ttl_max}")
    if timers.t2 < timers.t1:
        yield Problem(("timers", "t2"), f"expected at least t1 ({timers.t1}), found {timers.t2}")
    if config.limits.line_length > config.limits.message_size:
        yield Problem(("limits", "line_length"), f"expected at most message_size ({config.limits.message_size}), found "
                                                 f"{config.limits.line_length}")
    if config.secrets.token_key_file and config.secrets.token_key_env:
        yield Problem(("secrets", "token_key_env"), "expected token_key_file or token_key_env, found both")
