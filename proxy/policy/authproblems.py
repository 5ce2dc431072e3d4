"""What may be wrong with the tables about digest authentication: realms, credentials, registrations."""
from collections.abc import Iterator

from proxy.config import Config, Path, Problem
from sipcore.wire.uri import URI

from .problems import known_one, unique


def auth_problems(config: Config) -> list[Problem]:
    """Everything wrong with these tables, and with what names them."""
    return [*_realms(config), *_named(config), *_credentials(config), *_registrations(config)]


def _realms(config: Config) -> Iterator[Problem]:
    yield from unique("realm", (realm.name for realm in config.realms))
    for index, realm in enumerate(config.realms):
        path: Path = ("realm", index)
        yield from _one_of(path, "users", realm.users_file, realm.users_env)
        if len(set(realm.algorithms)) < len(realm.algorithms):
            yield Problem((*path, "algorithms"), "one stands twice; expected each once")


def _named(config: Config) -> Iterator[Problem]:
    realms = [realm.name for realm in config.realms]
    for index, group in enumerate(config.groups):
        if group.auth:
            yield from known_one(("group", index, "auth"), "realm", group.auth, realms)
    asked = {group.name for group in config.groups if group.auth}
    for index, route in enumerate(config.routes):
        if route.auth:
            yield from known_one(("route", index, "auth"), "realm", route.auth, realms)
        if route.auth_users and not asked & set(route.groups or (group.name for group in config.groups)):
            yield Problem(("route", index, "auth_users"), "nobody that it is for has proven a name; expected a group "
                                                          "with `auth`")


def _credentials(config: Config) -> Iterator[Problem]:
    for index, upstream in enumerate(config.upstreams):
        seen: set[str] = set()
        for number, one in enumerate(upstream.credentials):
            path: Path = ("upstream", index, "credentials", number)
            yield from _one_of(path, "secret", one.secret_file, one.secret_env)
            if one.realm in seen:
                yield Problem((*path, "realm"), f'"{one.realm}" stands twice; expected each realm once')
            seen.add(one.realm)
        if upstream.credentials and not upstream.targets:
            yield Problem(("upstream", index, "credentials"), "are for its targets alone; expected one at least")


def _registrations(config: Config) -> Iterator[Problem]:
    upstreams = [upstream.name for upstream in config.upstreams if upstream.targets]
    listeners = [listener.name for listener in config.listeners]
    seen: set[tuple[str, str]] = set()
    for index, one in enumerate(config.registrations):
        path: Path = ("registration", index)
        yield from known_one((*path, "upstream"), "upstream", one.upstream, upstreams)
        if one.listener:
            yield from known_one((*path, "listener"), "listener", one.listener, listeners)
        try:
            uri = URI(one.aor.encode())
        except ValueError as error:
            yield Problem((*path, "aor"), f'expected an address such as "sip:4930123@trunk.example", found "{one.aor}" '
                                          f"({error})")
        else:
            if uri.scheme != "sip" or not uri.user or uri.header_list or uri.params:
                yield Problem((*path, "aor"), 'expected "sip:", a user and a host, without parameters, found '
                                              f'"{one.aor}"')
        if (one.upstream, one.aor) in seen:
            yield Problem((*path, "aor"), f'"{one.aor}" is registered there already; expected it once')
        seen.add((one.upstream, one.aor))
        if one.longest_retry < one.retry:
            yield Problem((*path, "longest_retry"), f"expected at least retry ({one.retry}), found "
                                                    f"{one.longest_retry}")


def _one_of(path: Path, what: str, file: str, env: str) -> Iterator[Problem]:
    if bool(file) == bool(env):
        found = "both" if file else "neither"
        yield Problem((*path, f"{what}_{'env' if file else 'file'}"), f"expected {what}_file or {what}_env, found "
                                                                      f"{found}")


def auth_remarks(config: Config) -> list[str]:
    """What works, and may not be what was meant."""
    remarks = []
    registering = {one.upstream for one in config.registrations}
    called = {route.to for route in config.routes if route.control}
    called |= {action.upstream for action in config.transfers if action.upstream}
    forwarded = {route.to for route in config.routes if not route.control}
    for upstream in config.upstreams:
        if upstream.credentials and upstream.name not in called | registering:
            how = "only forwarded there" if upstream.name in forwarded else "sent there by no route"
            remarks.append(f'upstream "{upstream.name}" has credentials, but calls are {how}: its challenges pass to '
                           "the caller; they are answered on routes with control = true, and by registrations")
    remarks += [f'upstream "{one.upstream}" has no credentials: the registration of {one.aor} answers no challenge'
                for one in config.registrations
                if not any(upstream.credentials for upstream in config.upstreams if upstream.name == one.upstream)]
    return remarks
