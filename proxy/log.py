"""The log: one event a line on standard error, as JSON or for a terminal.

The lines of calls and transfers are rendered by the stack and go to standard output; what stands here is what
happens to the edge itself. Values that a stranger chose are escaped by the JSON encoder or by repr.
"""
import datetime
import os
import select
import sys
from typing import Any

import msgspec

LEVELS = ("debug", "info", "warning", "error")
STDERR = 2


class Stream:
    """Lines to a descriptor, never waiting for its reader: what it does not take at once is lost and counted."""

    def __init__(self, descriptor: int = STDERR):
        self.lost = 0
        self._descriptor = descriptor
        self._poll = select.poll()
        self._poll.register(descriptor, select.POLLOUT)
        self._cut = False

    def write(self, line: bytes) -> None:
        data, at = b"\n" + line if self._cut else line, 0
        # So much a pipe that polls as writable takes without blocking.
        while at < len(data) and any(event & select.POLLOUT for _, event in self._poll.poll(0)):
            try:
                at += os.write(self._descriptor, data[at:at + select.PIPE_BUF])
            except OSError:
                break
        if at < len(data):
            self.lost += 1
        self._cut = at < len(data) if at else self._cut


class Log:
    """level: the least important that is written; style: auto (console on a terminal), console, json."""

    def __init__(self, level: str = "info", style: str = "auto", stream: Stream | None = None, **bound: Any):
        self._stream = stream or Stream()
        self._least = LEVELS.index(level)
        self._console = _for_console(style)
        self._bound = bound

    @property
    def lost(self) -> int:
        """Lines that standard error did not take."""
        return self._stream.lost

    def changed(self, level: str, style: str) -> "Log":
        """The same log in another level and style."""
        return Log(level, style, self._stream, **self._bound)

    def change(self, level: str, style: str) -> None:
        """Go on in another level and style, for all who write to this log."""
        self._least = LEVELS.index(level)
        self._console = _for_console(style)

    def debug(self, event: str, **fields: Any) -> None:
        self.write("debug", event, **fields)

    def info(self, event: str, **fields: Any) -> None:
        self.write("info", event, **fields)

    def warning(self, event: str, **fields: Any) -> None:
        self.write("warning", event, **fields)

    def error(self, event: str, **fields: Any) -> None:
        self.write("error", event, **fields)

    def write(self, level: str, event: str, **fields: Any) -> None:
        """One line, of one of LEVELS."""
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
        self._stream.write(line.encode() + b"\n")


def _for_console(style: str) -> bool:
    return style == "console" or (style == "auto" and sys.stderr.isatty())


def _console(value: Any) -> str:
    text = str(value)
    return text if text.isascii() and text.isprintable() and " " not in text else repr(text)
