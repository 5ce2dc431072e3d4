"""Where each value stands in a TOML file: tomllib gives values without positions.

The text has already been accepted by tomllib, so this walk only has to tell keys, strings, arrays and tables
apart; it decodes a key only as far as a configuration's own keys need it.
"""
import re

from .errors import Path

_SPACE = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_BLANK = re.compile(r"[ \t]*")
_KEY = re.compile(r'[A-Za-z0-9_-]+|"((?:[^"\\]|\\.)*)"|\'([^\']*)\'')
_STRING = re.compile(
    r'"""(?:[^\\]|\\.)*?"{3,5}|\'\'\'.*?\'{3,5}|"(?:[^"\\]|\\.)*"|\'[^\']*\'', re.DOTALL)
_BARE = re.compile(r"[^,\]}\n#]*")


class _Walk:
    def __init__(self, text: str):
        self.text = text
        self.position = 0
        self.seen = 0
        self.line_number = 1
        self.lines: dict[Path, int] = {(): 1}
        self.arrays: dict[Path, int] = {}

    def line(self) -> int:
        self.line_number += self.text.count("\n", self.seen, self.position)
        self.seen = self.position
        return self.line_number

    def skip(self, pattern: re.Pattern[str]) -> str:
        match = pattern.match(self.text, self.position)
        if match is None:
            return ""
        self.position = match.end()
        return match[0]

    def take(self, literal: str) -> bool:
        if self.text.startswith(literal, self.position):
            self.position += len(literal)
            return True
        return False

    def key(self) -> Path:
        parts: list[str] = []
        while True:
            self.skip(_BLANK)
            match = _KEY.match(self.text, self.position)
            if match is None:
                return tuple(parts)
            self.position = match.end()
            parts.append(next((group for group in match.groups() if group is not None), match[0]))
            self.skip(_BLANK)
            if not self.take("."):
                return tuple(parts)

    def resolve(self, keys: Path) -> Path:
        """The path with the position of the latest element after each array of tables."""
        path: Path = ()
        for key in keys:
            path += (key,)
            if path in self.arrays:
                path += (self.arrays[path] - 1,)
        return path

    def mark(self, path: Path) -> None:
        line = self.line()
        for length in range(1, len(path) + 1):
            self.lines.setdefault(path[:length], line)

    def document(self) -> None:
        table: Path = ()
        while True:
            self.skip(_SPACE)
            if self.position >= len(self.text):
                return
            if self.take("[["):
                keys = self.key()
                array = self.resolve(keys[:-1]) + keys[-1:]
                table = (*array, self.arrays.get(array, 0))
                self.arrays[array] = self.arrays.get(array, 0) + 1
                self.mark(table)
                self.take("]]")
            elif self.take("["):
                table = self.resolve(self.key())
                self.mark(table)
                self.take("]")
            elif not self.pair(table):
                return

    def pair(self, table: Path) -> bool:
        keys = self.key()
        if not keys or not self.take("="):
            return False
        self.skip(_BLANK)
        self.mark(table + keys)
        self.value(table + keys)
        return True

    def value(self, path: Path) -> None:
        if self.take("["):
            index = 0
            while True:
                self.skip(_SPACE)
                if self.take("]") or self.position >= len(self.text):
                    return
                self.mark((*path, index))
                self.value((*path, index))
                index += 1
                self.skip(_SPACE)
                self.take(",")
        elif self.take("{"):
            while True:
                self.skip(_SPACE)
                if self.take("}") or not self.pair(path):
                    return
                self.skip(_SPACE)
                self.take(",")
        elif not self.skip(_STRING):
            self.skip(_BARE)


def locate(text: str) -> dict[Path, int]:
    """The 1-based line of every table, key and array element of a valid TOML document."""
    walk = _Walk(text)
    walk.document()
    return walk.lines


def line_of(lines: dict[Path, int], path: Path) -> int:
    """The line of path, or of the nearest table around it."""
    while path not in lines:
        path = path[:-1]
    return lines[path]
