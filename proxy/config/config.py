"""From the text of the file to a Config, or to every problem that it has."""
import difflib
import re
import tomllib
from collections.abc import Callable
from typing import Annotated, Any

import msgspec

from .access import Group, Listener, Unlisted
from .action import Action
from .auth import Realm, Registration
from .dns import Dns
from .errors import ConfigError, Path, Problem
from .guard import Abuse, Overload
from .lines import line_of, locate
from .media import Media, Relay
from .outside import Api, Database, HttpRequest, Model, Reference, Services, Speech, Webhook
from .process import Limits, Log, Process, Secrets, Timers
from .rules import HeaderSet, Internal, Refer, Route
from .table import Table, doc
from .tls import Streams, Tls
from .upstream import Upstream

_OWN = ("file", "epoch")
_FAULT = re.compile(r"(?P<text>.*?)(?: - at `(?P<path>\$.*)`)?", re.DOTALL)
_PART = re.compile(r"\.([^.\[]+)|\[(\d+)\]")
_WORDS = {"str": "a string", "int": "an integer", "float": "a number", "bool": "true or false", "array": "an array",
          "object": "a table"}


class Config(Table, frozen=True, kw_only=True):
    """The whole configuration. Indices of groups, listeners and upstreams are their order in the file."""

    listeners: Annotated[tuple[Listener, ...], doc("")] = msgspec.field(name="listener", default=())
    groups: Annotated[tuple[Group, ...], doc("")] = msgspec.field(name="group", default=())
    unlisted: Unlisted = Unlisted()
    tls: tuple[Tls, ...] = ()
    upstreams: Annotated[tuple[Upstream, ...], doc("")] = msgspec.field(name="upstream", default=())
    realms: Annotated[tuple[Realm, ...], doc("")] = msgspec.field(name="realm", default=())
    registrations: Annotated[tuple[Registration, ...], doc("")] = msgspec.field(name="registration", default=())
    routes: Annotated[tuple[Route, ...], doc("")] = msgspec.field(name="route", default=())
    headers: tuple[HeaderSet, ...] = ()
    internal: Internal = Internal()
    refer: tuple[Refer, ...] = ()
    media: tuple[Media, ...] = ()
    relay: Relay = Relay()
    transfers: Annotated[tuple[Action, ...], doc("")] = msgspec.field(name="transfer", default=())
    requests: Annotated[tuple[HttpRequest, ...], doc("")] = msgspec.field(name="request", default=())
    webhooks: Annotated[tuple[Webhook, ...], doc("")] = msgspec.field(name="webhook", default=())
    api: Api = Api()
    reference: Reference = Reference()
    model: Model = Model()
    speech: Speech = Speech()
    database: Database = Database()
    services: Services = Services()
    overload: Overload = Overload()
    abuse: Abuse = Abuse()
    limits: Limits = Limits()
    streams: Streams = Streams()
    timers: Timers = Timers()
    process: Process = Process()
    log: Log = Log()
    dns: Dns = Dns()
    secrets: Secrets = Secrets()
    file: str = ""
    epoch: int = 0


def needs_services(config: Config) -> bool:
    """Whether something is configured that the services process does."""
    asked = any(action.extractors or action.whisper or action.before for action in config.transfers)
    return bool(config.api.bind or config.webhooks or config.requests or config.model.url or config.database.url
                or asked)


def tables() -> list[msgspec.structs.FieldInfo]:
    """The tables that a file may have, in the order of the reference."""
    return [field for field in msgspec.structs.fields(Config) if field.name not in _OWN]


Check = Callable[["Config"], list[Problem]]
"""What else must hold, beyond the types; the problems need no lines."""


def decode(text: str, check: Check, *, file: str, listen: str = "", epoch: int = 0) -> Config:
    """The Config in the text of a file; listen (`udp:127.0.0.1:5060`) takes the place of its listeners.

    file is the name used in errors, `--listen` for those of listen. check is asked where all tables are well-formed.
    Raises ConfigError with every problem found.
    """
    try:
        document = tomllib.loads(text)
        lines = locate(text)
    except tomllib.TOMLDecodeError as error:
        where = re.search(r" \(at line (\d+), column (\d+)\)$", str(error))
        line = int(where[1]) if where else text.count("\n") + 1
        raise ConfigError(file, [Problem((), f"not TOML: {error}", line)]) from None
    except RecursionError:
        raise ConfigError(file, [Problem((), "arrays or tables stand too deep inside each other")]) from None
    if listen:
        document["listener"] = [{"name": "listen", "bind": listen}]
    found, problems = _convert(document)
    config = Config(**found, file=file, epoch=epoch)
    if not problems:
        problems = check(config)
    given = [problem for problem in problems if listen and problem.path[:1] == ("listener",)]
    if given:
        raise ConfigError("--listen", [Problem(problem.path[2:], problem.text) for problem in given])
    if problems:
        raise ConfigError(file, sorted(
            (Problem(problem.path, problem.text, line_of(lines, problem.path)) for problem in problems),
            key=lambda problem: problem.line))
    return config


def _convert(document: dict[str, Any]) -> tuple[dict[str, Any], list[Problem]]:
    """Each table as its Struct, one by one, so that one bad table does not hide the next."""
    known = {field.encode_name: field for field in tables()}
    found: dict[str, Any] = {}
    problems = [_unknown((key,), list(known)) for key in document if key not in known]
    for key in document.keys() & known.keys():
        field, value = known[key], document[key]
        many = isinstance(field.default, tuple)
        kind: Any = _element(field.type) if many else field.type
        if isinstance(value, list) != many:
            problems.append(Problem((key,), f"expected {f'[[{key}]]' if many else f'[{key}]'}, found "
                                            f"{'an array' if isinstance(value, list) else _shown(value)}"))
            continue
        structs = []
        for index, item in enumerate(value if many else [value]):
            path: Path = (key, index) if many else (key,)
            try:
                structs.append(msgspec.convert(item, kind))
            except msgspec.ValidationError as error:
                problems.append(_problem(error, path, item, kind))
        found[field.name] = tuple(structs) if many else next(iter(structs), field.default)
    return found, problems


def _element(kind: Any) -> Any:
    """The X of `tuple[X, ...]`, with or without an annotation around it."""
    info = msgspec.inspect.type_info(kind)
    while isinstance(info, msgspec.inspect.Metadata):
        info = info.type
    assert isinstance(info, msgspec.inspect.VarTupleType)
    assert isinstance(info.item_type, msgspec.inspect.StructType)
    return info.item_type.cls


def _problem(error: msgspec.ValidationError, path: Path, item: Any, kind: Any) -> Problem:
    """What the decoder said, with the value that it found and, for a choice, what there is to choose from."""
    fault = _FAULT.fullmatch(str(error))
    assert fault is not None
    info: Any = msgspec.inspect.type_info(kind)
    value = item
    for key, index in _PART.findall(fault["path"] or ""):
        info = _inside(info, key)
        value = value[int(index)] if index else value[key]
        path += (int(index) if index else key,)
    text = fault["text"]
    info = _bare(info)
    if unknown := re.fullmatch(r"Object contains unknown field `(.*)`", text, re.DOTALL):
        return _unknown((*path, unknown[1]), [field.encode_name for field in info.fields])
    if missing := re.fullmatch(r"Object missing required field `(.*)`", text):
        return Problem((*path, missing[1]), "is missing")
    if isinstance(info, msgspec.inspect.LiteralType):
        choices = ", ".join(f'"{choice}"' for choice in info.values)
        return Problem(path, f"expected one of {choices}, found {_shown(value)}")
    expected = re.sub("`([a-z]+)`", lambda match: _WORDS.get(match[1], match[1]), text.partition(", got ")[0])
    return Problem(path, f"{expected[:1].lower()}{expected[1:]}, found {_shown(value)}")


def _inside(info: Any, key: str) -> Any:
    """The type of a field, or of an element where key is empty."""
    info = _bare(info)
    if not key:
        return info.item_type
    return next((field.type for field in info.fields if field.encode_name == key), info)


def _bare(info: Any) -> Any:
    while isinstance(info, msgspec.inspect.Metadata):
        info = info.type
    return info


def _unknown(path: Path, known: list[str]) -> Problem:
    near = difflib.get_close_matches(str(path[-1]), known, 1)
    hint = f'did you mean "{near[0]}"?' if near else f"expected one of {', '.join(known)}"
    return Problem(path, f"unknown key; {hint}")


def _shown(value: Any) -> str:
    """A value as it could stand in the file, shortened."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return "a table"
    if isinstance(value, list):
        return f"an array of {len(value)}"
    text = msgspec.json.encode(str(value)).decode() if isinstance(value, str) else str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
