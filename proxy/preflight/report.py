"""What a preflight found out, and what it means for transfers, in words."""
from collections.abc import Iterator, Sequence
from typing import Literal

import msgspec


class Certificate(msgspec.Struct, frozen=True, kw_only=True):
    """What a TLS server showed."""

    names: tuple[str, ...]
    until: str
    """When it expires, ISO 8601."""


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What became of OPTIONS to one address."""

    address: str
    """`tls:192.0.2.10:5061`."""
    fault: str = ""
    """Why there was no answer; empty where there was one."""
    status: int = 0
    reason: str = ""
    ms: int = 0
    """Until the answer came; over TCP and TLS with the connection."""
    server: str = ""
    allow: tuple[str, ...] | None = None
    """Methods; None where the answer does not say."""
    supported: tuple[str, ...] = ()
    accept: tuple[str, ...] = ()
    codecs: tuple[str, ...] = ()
    """Of a session description in the answer: `PCMA/8000`."""
    realms: tuple[str, ...] = ()
    """For which it asks for a password."""
    certificate: Certificate | None = None


class Word(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that a person wants to know, answered."""

    about: Literal["reach", "password", "warm", "blind", "attended", "tls"]
    verdict: Literal["yes", "no", "open"]
    """open: what was heard does not tell."""
    text: str


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """The whole preflight of one URI."""

    uri: str
    answers: tuple[Answer, ...] = ()
    fault: str = ""
    """Why nobody could be asked: no URI, or a name that leads nowhere."""
    sizes: tuple[str, ...] = ()
    """For each header set of the configuration, `1,342 of 1,300 bytes` and what would be done."""
    words: tuple[Word, ...] = ()

    @property
    def good(self) -> bool:
        """Whether calls there can work, as far as was heard."""
        return all(word.verdict != "no" for word in self.words if word.about in ("reach", "warm", "tls"))


def words_of(answers: Sequence[Answer]) -> tuple[Word, ...]:
    """Whether blind, warm, attended and TLS will work, as far as the answers tell."""
    heard = [answer for answer in answers if not answer.fault]
    secure = [answer for answer in answers if answer.address.startswith("tls:")]
    found: list[Word] = []
    if not heard:
        found.append(Word(about="reach", verdict="no", text="Nobody answers there: a transfer to it would fail."))
    elif len(heard) < len(answers):
        dead = ", ".join(answer.address for answer in answers if answer.fault)
        found.append(Word(about="reach", verdict="open",
                          text=f"Calls go on to the next address past a dead one: {dead}."))
    if heard:
        # The one that calls go to first.
        answer = heard[0]
        if answer.realms:
            found.append(Word(about="password", verdict="open", text=(
                f"It asks for a password in the realm {', '.join(answer.realms)}: its upstream needs credentials.")))
        found += [_warm(answer), _blind(answer), _attended(answer)]
    if not secure:
        found.append(Word(about="tls", verdict="open", text="TLS: not asked for; a sips: URI asks for it."))
    elif any(not answer.fault for answer in secure):
        found.append(Word(about="tls", verdict="yes", text="TLS: works, and the certificate is good."))
    else:
        found.append(Word(about="tls", verdict="no", text=f"TLS: {secure[0].fault}."))
    return tuple(found)


def _warm(answer: Answer) -> Word:
    said = f"{answer.status} {answer.reason}".strip()
    verdict: Literal["yes", "no", "open"] = "open"
    if answer.allow is not None and "INVITE" not in answer.allow:
        verdict, text = "no", "it takes no INVITE."
    elif answer.status in (404, 604):
        verdict, text = "no", f"it knows no such user ({said})."
    elif answer.status in (403, 603):
        verdict, text = "no", f"it refuses us ({said}); does it know the edge's address?"
    elif answer.status in (480, 486, 600):
        text = f"it is there, and not free now ({said})."
    elif 200 <= answer.status < 300 or answer.status in (401, 407):
        verdict, text = "yes", "works, as far as OPTIONS tells."
    else:
        text = f"it answers OPTIONS with {said}; a call will tell."
    return Word(about="warm", verdict=verdict, text=f"Warm transfer to it: {text}")


def _blind(answer: Answer) -> Word:
    verdict: Literal["yes", "no", "open"]
    if answer.allow is None:
        verdict, text = "open", "it does not say which methods it takes (no Allow)."
    elif "REFER" in answer.allow:
        verdict, text = "yes", "it takes REFER."
    else:
        verdict, text = "no", 'it takes no REFER; use mode warm, or blind with on_failure = "bridge".'
    return Word(about="blind", verdict=verdict, text=f"Blind transfer of callers that come from it: {text}")


def _attended(answer: Answer) -> Word:
    if "replaces" in answer.supported:
        return Word(about="attended", verdict="yes", text="Attended transfer: it knows Replaces.")
    return Word(about="attended", verdict="open", text="Attended transfer: it does not say that it knows Replaces.")


def lines_of(report: Report) -> Iterator[str]:
    """The report for a terminal."""
    yield report.uri
    for answer in report.answers:
        if answer.fault:
            yield f"  {answer.address:32} {answer.fault}"
        else:
            server = f", {answer.server}" if answer.server else ""
            yield f"  {answer.address:32} {answer.status} {answer.reason}, {answer.ms} ms{server}"
        for name, values in (("Allow", answer.allow or ()), ("Supported", answer.supported), ("codecs", answer.codecs)):
            if values:
                yield f"    {name}: {', '.join(values)}"
        if answer.certificate is not None:
            names = ", ".join(answer.certificate.names) or "no names"
            yield f"    certificate: {names}; until {answer.certificate.until}"
    yield from (f"  {line}" for line in report.sizes)
    yield from (f"{word.verdict:5}{word.text}" for word in report.words)
