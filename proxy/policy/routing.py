"""Which route a request takes: by number prefix, user pattern and domain (all compiled when loaded)."""
import fnmatch
import re
from collections.abc import Sequence
from typing import Generic, Protocol, TypeVar

from .addresses import same_host
from .headers import unescape

REQUEST_URI, LOCAL = "request-uri", "local"
"""What a route's `to` can be besides the name of an upstream."""

_SEPARATORS = {ord(character): None for character in "-.() "}
_NUMBER = re.compile(r"\+?[0-9]+", re.ASCII)
_PREFIX = re.compile(r"\+?[0-9]*", re.ASCII)
_DOMAIN = re.compile(
    r"(\*\.)?[A-Za-z0-9_]([A-Za-z0-9_.\-]*[A-Za-z0-9_])?|\[?[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*\]?", re.ASCII)
_MAX_PATTERN = 128


def number_of(user: str) -> str:
    """The telephone number in a user part (digits, `+` in front), without visual separators and parameters;
    empty where it is none."""
    if _NUMBER.fullmatch(user):
        return user
    if "%" in user:
        user = unescape(user)
    number = user.partition(";")[0].translate(_SEPARATORS)
    return number if _NUMBER.fullmatch(number) else ""


def check_prefix(text: str) -> None:
    if not text or not _PREFIX.fullmatch(text):
        raise ValueError(f'expected digits, with or without "+" in front, found "{text}"')


def check_user(pattern: str) -> None:
    """A pattern costs at most its length times the text's, and has at most 128 characters."""
    if not pattern or len(pattern) > _MAX_PATTERN:
        raise ValueError(f"expected a pattern of 1 to {_MAX_PATTERN} characters, found {len(pattern)}")


def check_domain(pattern: str) -> None:
    if not _DOMAIN.fullmatch(pattern):
        raise ValueError(f'expected a host such as "example.com", "*.example.com" or "192.0.2.1", found "{pattern}"')


class Conditional(Protocol):
    """A table of the configuration with conditions on a URI."""

    @property
    def prefixes(self) -> tuple[str, ...]: ...
    @property
    def users(self) -> tuple[str, ...]: ...
    @property
    def domains(self) -> tuple[str, ...]: ...


class Condition:
    """Prefixes, user patterns and domains: each kind that is given must match, by one of its members."""

    def __init__(self, source: Conditional):
        self.prefixes = tuple(sorted(source.prefixes, key=len, reverse=True))
        self.reads_user = bool(source.users)
        self.reads_host = bool(source.domains)
        names: tuple[str, ...] = getattr(source, "auth_users", ())
        self._names = re.compile("|".join(fnmatch.translate(pattern) for pattern in names)) if names else None
        self._users = re.compile("|".join(fnmatch.translate(pattern) for pattern in source.users))
        self._hosts = frozenset(same_host(domain) for domain in source.domains if not domain.startswith("*."))
        self._suffixes = tuple(same_host(domain[1:]) for domain in source.domains if domain.startswith("*."))

    @property
    def always(self) -> bool:
        return not (self.prefixes or self.reads_user or self.reads_host or self._names)

    def prefix_length(self, number: str) -> int:
        """Length of the longest prefix that the number begins with; 0 where none is asked for, -1 for no
        match."""
        if not self.prefixes:
            return 0
        return next((len(prefix) for prefix in self.prefixes if number.startswith(prefix)), -1)

    def matches_rest(self, user: str, host: str, name: str = "") -> bool:
        """User pattern and domain, and the name that was proven; user is still escaped."""
        if self._names is not None and not (name and self._names.match(name)):
            return False
        return self.matches_user(user) and self.matches_host(host)

    def matches_user(self, user: str) -> bool:
        return not self.reads_user or self._users.match(unescape(user) if "%" in user else user) is not None

    def matches_host(self, host: str) -> bool:
        if not self.reads_host:
            return True
        host = same_host(host)
        return host in self._hosts or (bool(self._suffixes) and host.endswith(self._suffixes))


class HasCondition(Protocol):
    @property
    def condition(self) -> Condition: ...


Way = TypeVar("Way", bound=HasCondition)


class Table(Generic[Way]):
    """Ways to choose from: the longest number prefix first, and the order in the file among equals."""

    def __init__(self, ways: Sequence[Way]):
        by_prefix: dict[str, list[Way]] = {}
        plain: list[Way] = []
        for way in ways:
            for prefix in dict.fromkeys(way.condition.prefixes):
                by_prefix.setdefault(prefix, []).append(way)
            if not way.condition.prefixes:
                plain.append(way)
        self.ways = tuple(ways)
        self._by_prefix = by_prefix
        self._lengths = tuple(sorted({len(prefix) for prefix in by_prefix}, reverse=True))
        self._plain = tuple(plain)

    @property
    def only(self) -> Way | None:
        """The way that everything takes, where the choice needs no look at the request."""
        return self._plain[0] if self._plain and self._plain[0].condition.always and not self._by_prefix else None

    def choose(self, user: str, host: str, name: str = "") -> Way | None:
        """The way for a request URI (user part still escaped) from a user with that name, or None."""
        if self._lengths and (number := number_of(user)):
            for length in self._lengths:
                for way in self._by_prefix.get(number[:length], ()):
                    if len(number) >= length and way.condition.matches_rest(user, host, name):
                        return way
        for way in self._plain:
            if way.condition.matches_rest(user, host, name):
                return way
        return None
