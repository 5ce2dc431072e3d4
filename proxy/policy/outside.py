"""What may be wrong with the tables about servers outside: API, webhooks, requests, model, speech, database."""
import json
import re
from collections.abc import Iterator
from ipaddress import ip_address
from urllib.parse import urlsplit

from proxy.config import Config, Path, Problem

from .addresses import parse_address
from .headers import valid_value
from .problems import check, check_all, unique

_NAME = re.compile(r"[A-Za-z0-9_\-]{1,64}", re.ASCII)
_EVENTS = re.compile(r"\*|(call|transfer)\.(\*|[a-z]+)", re.ASCII)
_DATABASES = ("sqlite+aiosqlite:///", "postgresql+asyncpg://")


def check_url(text: str) -> None:
    """ValueError where a text is no URL that a request can be sent to."""
    try:
        url = urlsplit(text)
        good = url.scheme in ("http", "https") and bool(url.hostname) and url.port != 0 and not url.fragment
        if url.username is not None or url.password is not None:
            raise ValueError("has a name or password; expected secrets in a file or in the environment")
    except ValueError as error:
        raise ValueError(f'expected a URL such as "https://example.com/hook", found "{text}" ({error})') from None
    if not good or not valid_value(text) or " " in text:
        raise ValueError(f'expected a URL such as "https://example.com/hook", found "{text}"')


def check_events(pattern: str) -> None:
    if not _EVENTS.fullmatch(pattern):
        raise ValueError(f'expected a pattern such as "call.*" or "transfer.completed", found "{pattern}"')


def outside_problems(config: Config) -> list[Problem]:
    """Everything wrong with these tables."""
    return [*_api(config), *_requests(config), *_webhooks(config), *_model(config), *_speech(config),
            *_database(config)]


def _api(config: Config) -> Iterator[Problem]:
    api = config.api
    yield from _secret(("api",), "token", api.token_file, api.token_env)
    if not api.bind:
        return
    wrong = list(check(("api", "bind"), _with_port, api.bind))
    yield from wrong
    if not wrong and not (api.token_file or api.token_env) and not ip_address(parse_address(api.bind).host).is_loopback:
        yield Problem(("api", "token_file"), f"{api.bind} is open to others; expected token_file or token_env")


def _with_port(text: str) -> None:
    if not re.search(r":[0-9]+$", text):
        raise ValueError(f'expected an address and a port such as "127.0.0.1:8080", found "{text}"')
    parse_address(text)


def _requests(config: Config) -> Iterator[Problem]:
    yield from unique("request", (one.name for one in config.requests))
    for index, one in enumerate(config.requests):
        path: Path = ("request", index)
        if not _NAME.fullmatch(one.name):
            # Templates name it: {results.<name>...}.
            yield Problem((*path, "name"), f'expected letters, digits, "-" and "_", found "{one.name}"')
        yield from check((*path, "url"), check_url, one.url)
        yield from _secret(path, "secret", one.secret_file, one.secret_env)
        yield from _positive((*path, "timeout"), one.timeout)
        if one.fallback:
            yield from check((*path, "fallback"), _json_object, one.fallback)


def _json_object(text: str) -> None:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"is not JSON ({error})") from None
    if not isinstance(found, dict):
        raise ValueError(f'expected a JSON object such as {{"name": "Ann"}}, found "{text[:60]}"')


def _webhooks(config: Config) -> Iterator[Problem]:
    yield from unique("webhook", (one.name for one in config.webhooks))
    for index, one in enumerate(config.webhooks):
        path: Path = ("webhook", index)
        yield from check((*path, "url"), check_url, one.url)
        yield from check_all((*path, "events"), check_events, one.events)
        yield from _secret(path, "secret", one.secret_file, one.secret_env)
        yield from _positive((*path, "timeout"), one.timeout)


def _model(config: Config) -> Iterator[Problem]:
    model = config.model
    yield from _secret(("model",), "key", model.key_file, model.key_env)
    if model.url:
        yield from check(("model", "url"), check_url, model.url)
        if not model.model:
            yield Problem(("model", "model"), "is empty; expected the name of the model at `url`")


def _speech(config: Config) -> Iterator[Problem]:
    speech = config.speech
    yield from _secret(("speech",), "key", speech.key_file, speech.key_env)
    if speech.url:
        yield from check(("speech", "url"), check_url, speech.url)
        for name in ("model", "voice"):
            if not getattr(speech, name):
                yield Problem(("speech", name), f"is empty; expected the name of the {name} at `url`")
    elif not speech.program or not speech.program[0]:
        yield Problem(("speech", "program"), "is empty; expected a program and its arguments, or `url`")


def _database(config: Config) -> Iterator[Problem]:
    url = config.database.url
    if url and (not url.startswith(_DATABASES) or not valid_value(url)):
        # Not repeated: it may hold a password.
        yield Problem(("database", "url"), 'expected "sqlite+aiosqlite:///file" or "postgresql+asyncpg://host/name"')


def _secret(path: Path, what: str, file: str, env: str) -> Iterator[Problem]:
    if file and env:
        yield Problem((*path, f"{what}_env"), f"expected {what}_file or {what}_env, found both")


def _positive(path: Path, seconds: float) -> Iterator[Problem]:
    if not seconds > 0:
        yield Problem(path, f"expected more than 0 seconds, found {seconds:g}")
