"""What may be wrong with a transfer action: one check for the file, the API and REFER rules.

A mode that cannot work is refused here, when it is configured, and never downgraded later.
"""
import re
from collections.abc import Iterator

from proxy.config import Action, Config, Extractor, Path, Problem, Whisper
from sipcore.wire.uri import URI

from .answers import one_line
from .context import compile_template
from .headers import Patterns, valid_name, valid_value
from .problems import check, known, known_one, unique
from .referenceproblems import reference_names
from .refusals import Refused
from .targets import Targets

MOST_HEADERS = 64
MOST_EXTRACTORS = 16
LONGEST_TEXT = 2000
"""Characters of a spoken text."""
_OUTSIDE = re.compile(r"[/\\~]|(?:.*[/\\])?\.\.(?:[/\\]|$)")


def check_action(config: Config, action: Action, *, saved: bool = False, path: Path = (),
                 targets: Targets | None = None) -> list[Problem]:
    """Everything wrong with an action; paths begin with `path`.

    config: without problems of its own. saved: it comes from an API client and is not in the file, so its files must
    stand in the configuration's folder. targets: compiled from config, to save time.
    """
    targets = targets or Targets(config)
    return [*_mode(config, action, path), *_targets(config, action, path, targets), *_times(config, action, path),
            *_headers(config, action, path, targets), *_extractors(action, path), *_caller(action, path),
            *(_whisper(action.whisper, (*path, "whisper"), saved) if action.whisper else ()),
            *_hold(action, path, saved), *_names(config, action, path, saved)]


def transfer_problems(config: Config) -> list[Problem]:
    """Everything wrong with the actions of a file."""
    found = list(unique("transfer", (action.name for action in config.transfers)))
    if not config.transfers:
        return found
    targets = Targets(config)
    for index, action in enumerate(config.transfers):
        found += check_action(config, action, path=("transfer", index), targets=targets)
    return found


def _mode(config: Config, action: Action, path: Path) -> Iterator[Problem]:
    """What a mode needs, as far as it is known before a call."""
    blind, bridges = action.mode == "blind", action.on_failure == "bridge"
    controlled = [route for route in config.routes if route.control and "INVITE" in route.methods]
    if not controlled:
        yield Problem((*path, "mode"), "no route has control = true, so no call can be handed over; expected one")
    elif (not blind or bridges) and not any(route.media == "anchor" for route in controlled):
        what = "warm" if not blind else 'on_failure = "bridge"'
        yield Problem((*path, "mode"), f"{what} joins the audio of caller and target in the edge; expected a route "
                                       'with control = true and media = "anchor"')
    if blind and any(one.name == action.upstream and not one.refer for one in config.upstreams):
        yield Problem((*path, "mode"), f'upstream "{action.upstream}" takes no REFER (refer = false), which blind '
                                       'needs; expected "warm"')
    if action.keep_agent:
        yield Problem((*path, "keep_agent"), "three-way calls come in a later version; expected false")
    if bridges and not blind:
        yield Problem((*path, "on_failure"), '"bridge" is what a blind transfer falls back to; expected "end", '
                                             '"return" or "next"')
    many = len(action.targets)
    if action.on_failure == "next" and many < 2:
        yield Problem((*path, "on_failure"), f'"next" needs a list of targets, found {many}; expected two at least')
    if action.on_failure != "next" and many > 1:
        yield Problem((*path, "targets"), f'of {many} targets only the first would ever be tried; expected '
                                          'on_failure = "next", or one target')
    if blind and not bridges:
        for name in ("whisper", "caller_uri", "diversion"):
            if getattr(action, name):
                yield Problem((*path, name), 'acts on an INVITE of the edge; expected mode = "warm" or '
                                             'on_failure = "bridge" beside it')
        if action.caller_id != "agent":
            yield Problem((*path, "caller_id"), "a blind transfer shows the caller's own number, as the caller's "
                                                'server makes the call; expected mode = "warm"')


def _targets(config: Config, action: Action, path: Path, targets: Targets) -> Iterator[Problem]:
    if action.upstream:
        names = (one.name for one in config.upstreams)
        wrong = list(known_one((*path, "upstream"), "upstream", action.upstream, names))
        yield from wrong
        if wrong:
            return
    reaches = action.mode == "warm" or action.on_failure == "bridge"
    for index, text in enumerate(action.targets):
        try:
            targets.resolve(text, upstream=action.upstream, custom=targets.custom, reach=reaches)
        except Refused as refused:
            yield Problem((*path, "targets", index), f"{refused.note} ({refused.status} {refused.reason})")


def _times(config: Config, action: Action, path: Path) -> Iterator[Problem]:
    """One deadline holds in every layer: nothing inside may be longer."""
    for name in ("ring_timeout", "deadline"):
        if getattr(action, name) < 1:
            yield Problem((*path, name), f"expected 1 second at least, found {getattr(action, name):g}")
    whole = f"the deadline of the whole transfer ({action.deadline:g})"
    if action.ring_timeout > action.deadline:
        yield Problem((*path, "ring_timeout"), f"is longer than {whole}; expected at most that")
    for index, extractor in enumerate(action.extractors):
        if not 0 < extractor.deadline < action.deadline:
            yield Problem((*path, "extractors", index, "deadline"),
                          f"expected more than 0 and less than {whole}, found {extractor.deadline:g}")
    for index, name in enumerate(action.before):
        if any(one.name == name and one.timeout >= action.deadline for one in config.requests):
            yield Problem((*path, "before", index), f'request "{name}" may take as long as {whole}; expected less')
    if action.whisper and not 0 < action.whisper.deadline < action.deadline:
        yield Problem((*path, "whisper", "deadline"),
                      f"expected more than 0 and less than {whole}, found {action.whisper.deadline:g}")


def _headers(config: Config, action: Action, path: Path, targets: Targets) -> Iterator[Problem]:
    internal = Patterns(config.internal.headers)
    peer = targets.peers.get(action.upstream) if action.upstream else None
    names = [(("headers", index, "name"), one.name) for index, one in enumerate(action.headers)]
    names += [(("extractors", index, "header"), one.header) for index, one in enumerate(action.extractors)]
    for table, found, most in (("headers", action.headers, MOST_HEADERS),
                               ("extractors", action.extractors, MOST_EXTRACTORS)):
        if len(found) > most:
            yield Problem((*path, table), f"expected at most {most}, found {len(found)}")
    seen: set[str] = set()
    tokens = reference_names(config)
    for where, name in names:
        if not valid_name(name):
            yield Problem((*path, *where), f'expected a header name that matches ^X-[A-Za-z0-9\\-_]+$, found "{name}"')
        elif name.lower() in tokens:
            yield Problem((*path, *where), f"{name} is the reference_header of an upstream; expected another name")
        elif name.lower() in seen:
            yield Problem((*path, *where), f"{name} is set twice; expected it once")
        elif internal.match(name) and not (peer is not None and peer.trusted):
            yield Problem((*path, *where), f"{name} is internal and would not leave; expected an upstream whose "
                                           "addresses are all in a trusted group")
        seen.add(name.lower())
    for index, header in enumerate(action.headers):
        yield from check((*path, "headers", index, "value"), compile_template, header.value)


def _extractors(action: Action, path: Path) -> Iterator[Problem]:
    for index, extractor in enumerate(action.extractors):
        yield from _extractor(extractor, (*path, "extractors", index))


def _extractor(extractor: Extractor, path: Path) -> Iterator[Problem]:
    seen: set[str] = set()
    for number, text in enumerate((*extractor.allowed, extractor.fallback)):
        where = (*path, "allowed", number) if number < len(extractor.allowed) else (*path, "fallback")
        if not valid_value(text):
            yield Problem(where, "contains a control character; expected printable text")
        elif len(text.encode()) > extractor.limit:
            yield Problem(where, f"expected at most limit = {extractor.limit} bytes, found {len(text.encode())}")
        elif number < len(extractor.allowed) and (not one_line(text) or one_line(text).casefold() in seen):
            yield Problem(where, f'expected answers that differ, each with text, found "{text}"')
        seen.add(one_line(text).casefold())
    if not extractor.prompt.strip():
        yield Problem((*path, "prompt"), "is empty; expected what the model is asked")


def _caller(action: Action, path: Path) -> Iterator[Problem]:
    if action.caller_id != "fixed":
        if action.caller_uri and action.mode == "warm":
            yield Problem((*path, "caller_uri"), 'acts beside caller_id = "fixed" only')
        return
    try:
        uri = URI(action.caller_uri.encode("utf-8", "surrogateescape"))
        good = uri.scheme in ("sip", "tel") and not uri.header_list and valid_value(action.caller_uri)
    except ValueError:
        good = False
    if not good:
        yield Problem((*path, "caller_uri"), f'expected a URI such as "sip:+4930123@example.com" for '
                                             f'caller_id = "fixed", found "{action.caller_uri}"')


def _whisper(whisper: Whisper, path: Path, saved: bool) -> Iterator[Problem]:
    given = [name for name in ("text", "file", "summary") if getattr(whisper, name)]
    if len(given) > 1:
        yield Problem((*path, given[1]), f"expected one of text, file and summary, found {' and '.join(given)}")
    if not given and not whisper.accept and not whisper.decline:
        yield Problem(path, "expected text, file or summary, or a key to take the call")
    if len(whisper.text) > LONGEST_TEXT:
        yield Problem((*path, "text"), f"expected at most {LONGEST_TEXT} characters, found {len(whisper.text)}")
    yield from check((*path, "text"), compile_template, one_line(whisper.text))
    if whisper.fallback and not whisper.summary:
        yield Problem((*path, "fallback"), "is spoken where a summary does not come; expected `summary` beside it")
    if whisper.accept and whisper.accept == whisper.decline:
        yield Problem((*path, "decline"), f'"{whisper.accept}" takes the call; expected another key')
    if whisper.decline and not whisper.accept:
        yield Problem((*path, "accept"), "is empty; expected the key that takes the call beside the one that "
                                          "refuses it")
    if whisper.accept and whisper.answer_within < 1:
        yield Problem((*path, "answer_within"), f"expected 1 second at least, found {whisper.answer_within:g}")
    if given and whisper.longest < 1:
        yield Problem((*path, "longest"), f"expected 1 second at least, found {whisper.longest:g}")
    yield from _file((*path, "file"), whisper.file, saved)


def _hold(action: Action, path: Path, saved: bool) -> Iterator[Problem]:
    if action.hold_file and action.hold != "audio" and action.on_failure != "bridge":
        yield Problem((*path, "hold_file"), 'is heard with hold = "audio" only; expected that beside it')
    if action.hold == "audio" and action.mode == "blind" and action.on_failure != "bridge":
        yield Problem((*path, "hold"), 'a blind transfer has no hold audio; expected mode = "warm"')
    yield from _file((*path, "hold_file"), action.hold_file, saved)


def _file(path: Path, name: str, saved: bool) -> Iterator[Problem]:
    """An API client names files of the configuration's folder only."""
    if not valid_value(name):
        yield Problem(path, "contains a control character; expected a file name")
    elif saved and name and _OUTSIDE.match(name):
        yield Problem(path, f'expected a file in the folder of the configuration file, found "{name}"')


def _names(config: Config, action: Action, path: Path, saved: bool) -> Iterator[Problem]:
    yield from known((*path, "before"), "request", action.before, (one.name for one in config.requests))
    for index, name in enumerate(action.before):
        if name in action.before[:index]:
            yield Problem((*path, "before", index), f'"{name}" stands twice; expected each request once')
    if not valid_value(action.name) or action.name != action.name.strip():
        yield Problem((*path, "name"), "expected printable text without white space around it")
    if saved and any(one.name == action.name for one in config.transfers):
        yield Problem((*path, "name"), f'the configuration file has an action "{action.name}"; expected another name')
