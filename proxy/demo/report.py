"""What the demo checked: each step with its outcome, as a table or as JSON."""
import sys
from collections.abc import Awaitable, Callable
from typing import Literal

import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from .ladder import printable

Result = Literal["ok", "failed", "skipped"]


class Step(msgspec.Struct, frozen=True):
    """One thing that is to happen. play returns what was found, or raises Unexpected."""

    name: str
    expected: str
    play: Callable[[], Awaitable[str]]


class Outcome(msgspec.Struct, frozen=True):
    """What became of a step; as JSON one line on standard output."""

    step: str
    outcome: Result
    expected: str
    found: str
    ms: int


_MARKS: dict[Result, tuple[str, str]] = {"ok": ("✓", "green"), "failed": ("✗", "red"), "skipped": ("-", "dim")}


class Report:
    """Collects outcomes; with json each is printed as it is known."""

    def __init__(self, console: Console, *, json: bool):
        self.outcomes: list[Outcome] = []
        self._console = console
        self._json = json

    def add(self, outcome: Outcome) -> None:
        self.outcomes.append(outcome)
        if self._json:
            sys.stdout.write(msgspec.json.encode(outcome).decode() + "\n")
            sys.stdout.flush()

    @property
    def ok(self) -> bool:
        """Whether every step went as expected; one that cannot be taken here has nothing to say about the edge."""
        return bool(self.outcomes) and all(outcome.outcome != "failed" for outcome in self.outcomes)

    def show(self) -> None:
        """The table of steps; nothing with json, where everything has been printed."""
        if self._json:
            return
        table = Table(box=None, pad_edge=False, header_style="bold")
        table.add_column("")
        table.add_column("step", no_wrap=True)
        table.add_column("outcome", overflow="fold")
        table.add_column("ms", justify="right")
        for outcome in self.outcomes:
            mark, colour = _MARKS[outcome.outcome]
            text = Text(printable(outcome.found))
            if outcome.outcome == "skipped":
                text = Text(f"skipped: {printable(outcome.found)}" if outcome.found else "not reached", style=colour)
            elif outcome.outcome == "failed":
                text = Text.assemble(f"expected: {outcome.expected}", (f"\n{printable(outcome.found)}", colour))
            table.add_row(Text(mark, style=colour), outcome.step, text, str(outcome.ms))
        self._console.print()
        self._console.print(table)
        done = sum(outcome.outcome == "ok" for outcome in self.outcomes)
        self._console.print(Text(f"\n{done} of {len(self.outcomes)} steps as expected",
                                 style="bold green" if self.ok else "bold red"))
