"""What may be wrong with context by reference: the table, the upstreams with that step, and the names of headers."""
from collections.abc import Iterator

from proxy.config import Config, Path, Problem, Upstream

from .addresses import parse_prefix
from .headers import Filled, Patterns, pack_user_to_user, valid_name
from .problems import check_all
from .references import LENGTH


def reference_problems(config: Config) -> list[Problem]:
    """Everything wrong with [reference], and with upstreams whose size policy has that step."""
    found = [*_table(config)]
    for index, upstream in enumerate(config.upstreams):
        found += _upstream(config, upstream, ("upstream", index))
    return found


def reference_names(config: Config) -> frozenset[str]:
    """Headers, in lower case, that carry a token: nothing else may set them."""
    return frozenset(one.reference_header.lower() for one in config.upstreams if "reference" in one.size_policy)


def _table(config: Config) -> Iterator[Problem]:
    table, api = config.reference, config.api
    for what, file, env in (("key", table.key_file, table.key_env), ("token", table.token_file, table.token_env)):
        if file and env:
            yield Problem(("reference", f"{what}_env"), f"expected {what}_file or {what}_env, found both")
    yield from check_all(("reference", "open_to"), parse_prefix, table.open_to)
    narrow = [name for name in ("token_file", "token_env", "open_to") if getattr(table, name)]
    if narrow and not (api.token_file or api.token_env):
        yield Problem(("reference", narrow[0]), "lets some do without a token of the API, which asks for none; "
                                                "expected api.token_file or api.token_env beside it")


def _upstream(config: Config, upstream: Upstream, path: Path) -> Iterator[Problem]:
    if "reference" not in upstream.size_policy:
        return
    step: Path = (*path, "size_policy", upstream.size_policy.index("reference"))
    if not (config.reference.key_file or config.reference.key_env):
        yield Problem(step, '"reference" signs its tokens; expected reference.key_file or reference.key_env')
    if not config.api.bind:
        yield Problem(step, "\"reference\" is redeemed at the HTTP API, and there is none; expected api.bind")
    name = upstream.reference_header
    where: Path = (*path, "reference_header")
    if not valid_name(name):
        yield Problem(where, f'expected a header name that matches ^X-[A-Za-z0-9\\-_]+$, found "{name}"')
    if Patterns(config.internal.headers).match(name):
        yield Problem(where, f"{name} is internal; expected a name that is not in internal.headers")
    for one in config.headers:
        if any(header.name.lower() == name.lower() for header in one.add):
            yield Problem(where, f'{name} is set by the header set "{one.name}"; expected a name of its own')
    yield from _packed(upstream, path)


def _packed(upstream: Upstream, path: Path) -> Iterator[Problem]:
    """Where headers are only packed into User-to-User the token must find a place there."""
    for method, places in (("INVITE", upstream.invite_headers), ("REFER", upstream.refer_headers)):
        if set(places) != {"user-to-user"}:
            continue
        token = Filled(upstream.reference_header, LENGTH * "x", 0)
        names = {name.lower() for name in upstream.user_to_user.names}
        if names and token.name.lower() not in names:
            yield Problem((*path, "user_to_user", "names"), f"on {method} headers stand in User-to-User alone, and "
                          f"{token.name} is not among the names; expected it there")
        elif not pack_user_to_user([token], upstream.user_to_user)[0]:
            yield Problem((*path, "user_to_user", "limit"), f"on {method} headers stand in User-to-User alone, which "
                          f"has no room for {token.name} with its {LENGTH} characters; expected a higher limit")
        return
