"""The log: one event a line on standard error, as JSON or for a terminal.

The lines of calls and transfers are rendered by the stack and go to standard output; what stands here is what
happens to the edge itself. Values that a stranger chose are escaped by the JSON encoder or by repr.
"""
import datetime
import sys
from typing import Any

import msgspec

LEVELS = ("debug", "info", "warning", "error")


class Log:
    """level: the least important that is written; style: auto (console on a terminal), console, json."""

    def __init__(self, level: str = "info", style: str = "auto", **bound: Any):
        self._least = LEVELS.index(level)
        self._console = style == "console" or (style == "auto" and sys.stderr.isatty())
        self._style = style
        self._bound = bound

    def bind(self, **fields: Any) -> "Log":
        """A log whose every line has these fields too."""
        return Log(LEVELS[self._least], self._style, **self._bound, **fields)

    def debug(self, event: str, **fields: Any) -> None:
        self._write("debug", event, fields)

    def info(self, event: str, **fields: Any) -> None:
        self._write("info", event, fields)

    def warning(self, event: str, **fields: Any) -> None:
        self._write("warning", event, fields)

    def error(self, event: str, **fields: Any) -> None:
        self._write("error", event, fields)

    def _write(self, level: str, event: str, fields: dict[str, Any]) -> None:
        if LEVELS.index(level) < self._least:
            return
        now = datetime.datetime.now(datetime.UTC)
        if self._console:
            shown = " ".join(f"{name}={_console(value)}" for name, value in (self._bound | fields).items())
            line = f"{now:%H:%M:%S} {level:7} {event} {shown}".rstrip()
        else:
            stamp = now.isoformat(timespec="milliseconds").replace("+00:00", "Z")
            line = msgspec.json.encode(
                {"time": stamp, "level": level, "event": event} | self._bound | fields, enc_hook=str).decode()
        print(line, file=sys.stderr, flush=True)


def _console(value: Any) -> str:
    text = str(value)
    return text if text.isascii() and text.isprintable() and " " not in text else repr(text)
