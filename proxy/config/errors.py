"""What is wrong with a configuration, and where."""
from dataclasses import dataclass

from sipcore.base.errors import ConfigurationError

Path = tuple[str | int, ...]
"""Keys and array positions from the top of the file to a value."""


def dotted(path: Path) -> str:
    """`("group", 0, "name")` as `group[0].name`."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong: where (path, and 1-based line or 0), what was found and what was expected."""

    path: Path
    text: str
    line: int = 0


class ConfigError(ConfigurationError):
    """The file cannot be used; its text has one line for each problem: `file:line: path: what`."""

    def __init__(self, file: str, problems: list[Problem]):
        super().__init__("\n".join(
            f"{file}{f':{problem.line}' if problem.line else ''}: "
            f"{dotted(problem.path) + ': ' if problem.path else ''}{problem.text}"
            for problem in problems))
        self.file = file
        self.problems = problems
