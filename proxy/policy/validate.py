"""What the types of the configuration cannot say: references between tables, addresses, patterns, templates."""
import re
from collections.abc import Callable, Iterator, Sequence

from proxy.config import Config, Path, Problem, Upstream

from .acl import prefixes, trusts
from .addresses import Address, bind_address, parse_address, parse_prefix
from .headers import Patterns, parse_template, valid_name
from .media import media_problems
from .problems import check, check_all, known, known_one, unique
from .routing import LOCAL, REQUEST_URI, check_domain, check_prefix, check_user
from .uris import check_uri_template

UNLISTED = "unlisted"
"""What REFER rules call the peers in no group."""

_METHOD = re.compile(r"[A-Z][A-Z0-9\-.!%*_+`'~]*", re.ASCII)
_TOKEN = re.compile(r"[A-Za-z0-9\-.!%*_+`'~]*", re.ASCII)
_PATTERN = re.compile(r"[A-Za-z0-9\-_.]+\*?", re.ASCII)


def problems_of(config: Config) -> list[Problem]:
    """Everything wrong with a configuration whose tables are well-formed."""
    return [*_listeners(config), *_groups(config), *_upstreams(config), *_header_sets(config), *_routes(config),
            *_refer(config), *media_problems(config), *_rest(config)]


def _method(text: str) -> None:
    if not _METHOD.fullmatch(text):
        raise ValueError(f'expected a method in capitals such as "INVITE", found "{text}"')


def _listeners(config: Config) -> Iterator[Problem]:
    if not config.listeners:
        yield Problem((), "no [[listener]]; expected one at least (or --listen)")
    yield from unique("listener", (listener.name for listener in config.listeners))
    bound: dict[Address, str] = {}
    for index, listener in enumerate(config.listeners):
        path: Path = ("listener", index)
        wrong = list(check((*path, "bind"), bind_address, listener.bind))
        yield from wrong
        if listener.advertise:
            yield from check((*path, "advertise"), parse_address, listener.advertise)
        if wrong:
            continue
        _, address = bind_address(listener.bind)
        if address.host in ("0.0.0.0", "::") and not listener.advertise:
            yield Problem((*path, "bind"), f'"{listener.bind}" is a wildcard; expected `advertise` with the address '
                                           "that peers can reach")
        if address in bound:
            yield Problem((*path, "bind"), f'listener "{bound[address]}" is bound to {listener.bind} already')
        bound[address] = listener.name


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
    found: set[tuple[int, str]] = set()
    for index in range(len(config.listeners)):
        owner: dict[str, int] = {}
        for prefix in prefixes(config, index):
            first = owner.setdefault(str(prefix.network), prefix.group)
            if first != prefix.group and (prefix.group, str(prefix.network)) not in found:
                found.add((prefix.group, str(prefix.network)))
                yield Problem(("group", prefix.group, "addresses"), f"{prefix.network} is in group "
                              f'"{config.groups[first].name}" already; expected each prefix in one group')


def _upstreams(config: Config) -> Iterator[Problem]:
    yield from unique("upstream", (upstream.name for upstream in config.upstreams), taken=(LOCAL,))
    for index, upstream in enumerate(config.upstreams):
        path: Path = ("upstream", index)
        if not upstream.targets and upstream.name != REQUEST_URI:
            yield Problem((*path, "targets"), "is empty; expected one target at least")
        if upstream.targets and upstream.name == REQUEST_URI:
            yield Problem((*path, "targets"), f'"{REQUEST_URI}" goes where the request URI says; expected no targets')
        for number, target in enumerate(upstream.targets):
            yield from check((*path, "targets", number, "address"), parse_address, target.address)
        yield from check((*path, "uri"), check_uri_template, upstream.uri)
        yield from _size_policy(path, upstream)
        for name in ("purpose", "content"):
            text = getattr(upstream.user_to_user, name)
            if not _TOKEN.fullmatch(text):
                yield Problem((*path, "user_to_user", name), f'expected letters, digits and "-", found "{text}"')
        yield from check_all((*path, "user_to_user", "names"), _header_name, upstream.user_to_user.names)


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
    """Whether every target of the upstream is in a trusted group."""
    addresses = [parse_address(target.address).host for one in config.upstreams if one.name == name
                 for target in one.targets]
    return bool(addresses) and all(trusts(config, address) for address in addresses)


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
        yield from _safely(lambda path=path, route=route: list(_applied(  # type: ignore[misc]
            config, (*path, "headers"), route.headers, _trusted(config, route.to))))


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
        yield from _applied(config, (*path, "headers"), rule.headers, trusted=False)


def _rest(config: Config) -> Iterator[Problem]:
    timers = config.timers
    if timers.t2 < timers.t1:
        yield Problem(("timers", "t2"), f"expected at least t1 ({timers.t1}), found {timers.t2}")
    if config.limits.line_length > config.limits.message_size:
        yield Problem(("limits", "line_length"), f"expected at most message_size ({config.limits.message_size}), found "
                                                 f"{config.limits.line_length}")
    if config.secrets.token_key_file and config.secrets.token_key_env:
        yield Problem(("secrets", "token_key_env"), "expected token_key_file or token_key_env, found both")
