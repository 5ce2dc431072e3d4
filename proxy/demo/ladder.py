"""The ladder diagram: one line for each message as it passes, and the bytes of those worth reading.

What the wire says reaches the terminal as plain text only: no control characters, no markup.
"""
from rich.console import Console
from rich.text import Text

from sipcore.base.errors import MalformedMessage
from sipcore.wire.message import Message

PARTS = ("caller", "edge", "agent", "PBX")
_WIDTH = 22
_LEFT = 5


def printable(text: str) -> str:
    """Text with everything that a terminal might act on written out."""
    return "".join(one if one.isprintable() else f"\\x{ord(one):02x}" for one in text)


def label(message: Message) -> str:
    """`INVITE`, `486 Busy Here`, `202 (REFER)`, `NOTIFY 486`: short enough for its place."""
    if message.is_request:
        status = message.body[8:11].decode("ascii", "replace") if message.body.startswith(b"SIP/2.0 ") else ""
        return printable(f"{message.method} {status}".strip())
    of = message.cseq[1]
    return printable(f"{message.status} {message.reason}" if of == "INVITE" else f"{message.status} ({of})")


def style(message: Message) -> str:
    if message.is_request:
        return "cyan"
    return "yellow" if message.status < 200 else "green" if message.status < 300 else "red"


def line(source: str, to: str, text: str) -> str:
    """One rung: an arrow between two columns, its label beside the sender, the other columns' lines crossed."""
    places = [_LEFT + _WIDTH * index for index in range(len(PARTS))]
    row = [" "] * (places[-1] + 1)
    for place in places:
        row[place] = "│"
    begin, end = places[PARTS.index(source)], places[PARTS.index(to)]
    step = 1 if end > begin else -1
    for place in range(begin + step, end, step):
        row[place] = "┼" if place in places else "─"
    row[end - step] = ">" if step > 0 else "<"
    room = _WIDTH - 5
    text = f" {text[:room - 2]} "
    start = begin + 2 if step > 0 else begin - 2 - len(text)
    row[start:start + len(text)] = text
    return "".join(row)


class Ladder:
    """Prints on a console, as it happens."""

    def __init__(self, console: Console):
        self.console = console

    def head(self) -> None:
        row = [" "] * (_LEFT + _WIDTH * len(PARTS))
        for index, name in enumerate(PARTS):
            start = _LEFT + _WIDTH * index - len(name) // 2
            row[start:start + len(name)] = name
        self.console.print(Text("".join(row).rstrip(), style="bold"))

    def message(self, part: str, direction: str, data: bytes) -> None:
        """What passed at the end of that part (every message has the edge as its other end)."""
        try:
            message = Message(data, check=False)
        except MalformedMessage:
            return
        source, to = (part, "edge") if direction == "out" else ("edge", part)
        row = Text(line(source, to, label(message)), style=style(message), no_wrap=True)
        self.console.print(row.append(f"  {len(data):5,}", style="dim"), overflow="ignore", crop=False)

    def audio(self, text: str) -> None:
        """Which way audio goes, and what was heard there."""
        self.console.print(Text(f"  ♪ {printable(text)}", style="bold green"), soft_wrap=True)

    def verdict(self, text: str) -> None:
        """What became of a transfer, in the edge's words."""
        self.console.print(Text(f"  = {printable(text)}", style="bold yellow"), soft_wrap=True)

    def note(self, text: str) -> None:
        self.console.print(Text(f"\n{printable(text)}", style="bold"))

    def headers(self, title: str, message: Message, budget: str) -> None:
        """The header bytes as they arrived; the ones that the edge put in stand out."""
        self.console.print(Text(f"  {title}, as it arrived ({budget}):", style="bold"))
        for text in message.data.partition(b"\r\n\r\n")[0].split(b"\r\n"):
            shown = Text(f"  | {printable(text.decode('utf-8', 'replace'))}", style="dim")
            if text.lower().startswith((b"x-", b"refer-to:", b"user-to-user:")):
                shown.stylize("bold magenta")
            self.console.print(shown, soft_wrap=True)
