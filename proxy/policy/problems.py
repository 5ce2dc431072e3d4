"""The small checks that all tables of the configuration share; each yields what is wrong, with its path."""
from collections.abc import Callable, Iterable, Iterator, Sequence

from proxy.config import Path, Problem

# Numbers of groups and upstreams are bytes below.
_MOST = 256
MOST_LISTENERS = 32
"""For which there is room below."""


def check(path: Path, parse: Callable[[str], object], text: str) -> Iterator[Problem]:
    """What parse has to say (ValueError) of a text."""
    try:
        parse(text)
    except ValueError as error:
        yield Problem(path, str(error))


def check_all(path: Path, parse: Callable[[str], object], texts: Iterable[str]) -> Iterator[Problem]:
    for index, text in enumerate(texts):
        yield from check((*path, index), parse, text)


def known(path: Path, what: str, names: Sequence[str], existing: Iterable[str]) -> Iterator[Problem]:
    """Names that other tables must have."""
    choices = list(dict.fromkeys(existing))
    for index, name in enumerate(names):
        if name not in choices:
            found = ", ".join(f'"{choice}"' for choice in choices) or "none is configured"
            yield Problem((*path, index), f'no {what} is called "{name}"; expected one of: {found}')


def known_one(path: Path, what: str, name: str, existing: Iterable[str]) -> Iterator[Problem]:
    for problem in known(path, what, [name], existing):
        yield Problem(path, problem.text)


def unique(key: str, names: Iterable[str], taken: Sequence[str] = (), most: int = _MOST) -> Iterator[Problem]:
    """Names of listeners, groups, upstreams, header sets: each once, and not too many."""
    seen: set[str] = set()
    for index, name in enumerate(names):
        if name in taken:
            yield Problem((key, index, "name"), f'the name "{name}" is taken; expected another')
        elif name in seen:
            yield Problem((key, index, "name"), f'a second {key} is called "{name}"; expected each name once')
        seen.add(name)
        if index == most:
            yield Problem((key, index), f"expected at most {most} of them")
