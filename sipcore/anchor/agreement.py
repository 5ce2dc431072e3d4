"""Whether what two legs have agreed on with the edge fits together, and what has to be done where it does not."""
from dataclasses import dataclass, field
from typing import Literal

from sipcore.anchor.legcodecs import Key, Said, Section, agreed, sections, speech

Outcome = Literal["same", "renumber", "reinvite", "transcode", "none"]
G711 = {"pcmu", "pcma"}
PAIRS = 8
"""Payload types that the relay replaces towards one side."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """What a bridge of two sides asks for.

    same: nothing. renumber: `maps` in the relay. reinvite: `side` is to be offered what `from_side` has, and both to be
    compared again: twice at most, for a far end may answer what it likes. transcode: G.711 of one law into the other's.
    none: they have no codec in common. maps: payload types to replace by (section, side that hears it); empty ones take
    earlier ones back. laws: of those, the ones that are converted, by the same key, and to what: "PCMU" or "PCMA".
    """

    outcome: Outcome
    why: str = ""
    side: int = -1
    from_side: int = -1
    maps: dict[tuple[int, int], dict[int, int]] = field(default_factory=dict)
    laws: dict[tuple[int, int], dict[int, str]] = field(default_factory=dict)


def compare(a: int, one: Said, b: int, two: Said, transcode: bool = False, ask: bool = True) -> Agreement:
    """How sides a and b, of which one and two are agreed, can be bridged. transcode: G.711 may be converted; ask: a
    side may be asked for another codec, which is better than that."""
    common = [number for number in range(min(len(sections(one.local)), len(sections(two.local))))
              if agreed(one, number) and agreed(two, number)]
    audio = [number for number in common if sections(one.remote)[number].media.kind == "audio"]
    if not audio:
        return Agreement("none", "no audio section that both have")
    for number in audio:
        if not (_fits(one, two, number) and _fits(two, one, number)):
            return _mend(a, one, b, two, number, transcode, ask)
    for side, other, mine in ((a, b, one), (b, a, two)):
        why = _stands_in_the_way(mine, two if mine is one else one, audio)
        if why:
            return Agreement("reinvite", why, side, other)
    maps = {}
    for number in common:
        maps[number, b] = _renumbered(one, two, number)
        maps[number, a] = _renumbered(two, one, number)
    return Agreement("renumber", "payload types differ", maps=maps) if any(maps.values()) else Agreement(
        "same", maps=maps)


def _likely(said: Said, number: int) -> set[Key]:
    """The codecs that a leg may be expected to send: the first of the answer, and the first of the offer."""
    order = speech(said, number)
    offer = sections(said.remote if said.ours else said.local)[number]
    return {order[0], next(key for key in offer.payloads if key in order)} if order else set()


def _fits(speaker: Said, listener: Said, number: int) -> bool:
    likely = _likely(speaker, number)
    return bool(likely) and likely <= set(speech(listener, number))


def _mend(a: int, one: Said, b: int, two: Said, number: int, transcode: bool, ask: bool) -> Agreement:
    """What helps where the codecs do not fit."""
    for side, mine, other, theirs in ((a, one, b, two), (b, two, a, one)):
        if ask and set(sections(mine.remote)[number].payloads) & set(speech(theirs, number)):
            return Agreement("reinvite", "another codec is in use", side, other)
    laws_of_one, laws_of_two = ({key[0] for key in _likely(said, number)} for said in (one, two))
    if transcode and len(laws_of_one) == len(laws_of_two) == 1 and laws_of_one | laws_of_two == G711:
        maps, laws = {}, {}
        for hearer, speaker, listener in ((b, one, two), (a, two, one)):
            pairs, codecs = _converted(speaker, listener, number)
            maps[number, hearer] = pairs | _renumbered(speaker, listener, number)
            laws[number, hearer] = codecs
        return Agreement("transcode", "one leg has PCMU and the other PCMA", maps=maps, laws=laws)
    return Agreement("none", "no codec that both have")


def _converted(speaker: Said, listener: Said, number: int) -> tuple[dict[int, int], dict[int, str]]:
    """The payload type of a leg's G.711 and that of the other law's at the other leg, and what it becomes."""
    told, wanted = sections(speaker.local)[number].payloads, sections(listener.remote)[number].payloads
    [(one, other)] = [(key, like) for key in _likely(speaker, number) for like in _likely(listener, number)]
    return {told[one]: wanted[other]}, {told[one]: other[0].upper()}


def _stands_in_the_way(said: Said, other: Said, audio: list[int]) -> str:
    """Why a leg has to be asked again, though the codecs fit; "" where it has not."""
    local = sections(said.local)
    for number in audio:
        if local[number].media.direction in ("sendonly", "inactive"):
            return "it was put on hold by the leg that goes"
        if _too_long(local[number], sections(other.remote)[number]):
            return "its packets are longer than the other one takes"
    for number, section in enumerate(local):
        if section.open and agreed(said, number) and section.media.connection != local[audio[0]].media.connection:
            return "a section goes to the leg that goes, past the edge"
    return ""


def _too_long(told: Section, wants: Section) -> bool:
    """Whether what a leg was told lets it send longer packets than another one's a=maxptime (RFC 8866 6.4)."""
    limit = wants.maxptime
    return bool(limit) and told.ptime > limit and not 0 < told.maxptime <= limit


def _renumbered(speaker: Said, listener: Said, number: int) -> dict[int, int]:
    """Payload types of what one leg sends, and what the other wants them to be."""
    told, wanted = sections(speaker.local)[number].payloads, sections(listener.remote)[number].payloads
    heard = set(agreed(listener, number))
    pairs = {told[key]: wanted[key] for key in agreed(speaker, number) if key in heard and told[key] != wanted[key]}
    return dict(list(pairs.items())[:PAIRS])
