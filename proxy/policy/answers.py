"""What becomes of the text that a language model answers: one line, of bounded length, among the allowed answers.

Nothing that a caller can make a model say passes here as anything but the text of a value.
"""
import re
import unicodedata
from collections.abc import Sequence
from typing import NamedTuple

NONE = "NONE"
"""What the model is told to answer where the conversation holds no answer."""

_THOUGHTS = re.compile(r"\s*<think>.*?</think>", re.DOTALL)
# Joiners are part of the spelling of some scripts; what else has no width can only deceive a reader.
_JOINERS = "\u200c\u200d"
_QUOTES = "\"'`\u2018\u2019\u201c\u201d\u201e\xab\xbb"


class Settled(NamedTuple):
    """A value that may be used, or none and why."""

    value: str
    why: str = ""


def one_line(text: str) -> str:
    """Text without control characters, line ends and invisible ones, each run of white space one space; encodable."""
    kept = []
    for character in text:
        match unicodedata.category(character):
            case "Cc" | "Zl" | "Zp":
                kept.append(" ")
            case "Cs":
                continue
            case "Cf" if character not in _JOINERS:
                continue
            case _:
                kept.append(character)
    return " ".join("".join(kept).split())


def cut(text: str, limit: int) -> str:
    """The beginning of a text, at most `limit` bytes of UTF-8, whole characters; surrogates are left out."""
    return text.encode(errors="ignore")[:limit].decode(errors="ignore")


def settle(answer: str, allowed: Sequence[str], limit: int) -> Settled:
    """What a model's answer comes to.

    allowed: the answers that are taken, in their own spelling, whatever the case of the model's; none: any. limit:
    bytes of UTF-8.
    """
    line = one_line(_THOUGHTS.sub("", answer, count=1))
    plain = _plain(line)
    if allowed:
        for choice in allowed:
            value = one_line(choice)
            if _plain(value) == plain:
                return Settled(value) if len(value.encode()) <= limit else Settled("", "the answer is too long")
    if plain == NONE.casefold():
        return Settled("", "the conversation does not say")
    if allowed:
        return Settled("", "not an allowed answer" if line else "an empty answer")
    value = cut(line, limit).rstrip()
    return Settled(value) if value else Settled("", "an empty answer")


def _plain(line: str) -> str:
    return line.strip(_QUOTES + " ").rstrip(".").casefold()
