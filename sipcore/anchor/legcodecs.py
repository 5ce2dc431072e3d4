"""The codecs of a leg's descriptions: which are agreed, in which order they are offered on, and answers made here.

A codec is the same as another one when its encoding, clock and channels are, and the parameters without which one
cannot read the other's packets; its payload type may differ. The numbers of a description are those by which its
sender wants to be sent to (RFC 3264 5.1), so a leg sends by the numbers that it was told.
"""
import re
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from sipcore.anchor.mediaerror import MediaError
from sipcore.wire.sdp import Media, Sdp, keep_codecs

# Parameters that say how packets are laid out (RFC 4867 8, RFC 3952 5, RFC 5577 5).
LAYOUT = {
    "amr": ("octet-align", "crc", "robust-sorting", "interleaving"),
    "amr-wb": ("octet-align", "crc", "robust-sorting", "interleaving"),
    "ilbc": ("mode",),
    "g7221": ("bitrate",),
}
BESIDE = ("telephone-event", "cn")
"""What is no codec of its own."""
MIRRORED = {"sendrecv": "sendrecv", "sendonly": "recvonly", "recvonly": "sendonly", "inactive": "inactive"}

Key = tuple[str, int, int, str]
"""Encoding name, clock, channels, layout."""


class Section(NamedTuple):
    """One media section, its payload types by codec; the first number of a codec counts."""

    media: Media
    payloads: dict[Key, int]
    ptime: int
    maxptime: int

    @property
    def open(self) -> bool:
        return self.media.port != 0

    def speech(self) -> list[Key]:
        """Codecs without telephone-event and CN."""
        return [key for key in self.payloads if key[0] not in BESIDE]


class Said(NamedTuple):
    """What offer and answer of a leg came to. ours: the answer is `local`, what the leg was told."""

    local: bytes
    remote: bytes
    ours: bool


@lru_cache(maxsize=64)
def sections(description: bytes) -> tuple[Section, ...]:
    """The sections of a description; WireFault where it is malformed."""
    return tuple(_section(description, media) for media in Sdp(description).media)


def _section(description: bytes, media: Media) -> Section:
    text = description[media.start:media.stop].decode("latin-1")
    layout = dict(re.findall(r"^a=fmtp:(\d+) ([^\r\n]*)", text, re.MULTILINE))
    payloads: dict[Key, int] = {}
    for payload, name, clock, channels in media.codecs:
        key = (name.lower() or f"payload {payload}", clock, channels,
               _layout(name.lower(), layout.get(str(payload), "")))
        payloads.setdefault(key, payload)
    found = re.search(r"^a=maxptime:(\d{1,5})\b", text, re.MULTILINE)
    return Section(media, payloads, media.ptime or 20, int(found[1]) if found else 0)


def _layout(name: str, parameters: str) -> str:
    """The parameters of a codec that change its packets, in one form."""
    given = dict(part.strip().lower().split("=", 1) for part in parameters.split(";") if "=" in part)
    return ";".join(f"{one}={given[one]}" for one in LAYOUT.get(name, ()) if given.get(one, "0") != "0")


def agreed(said: Said, number: int) -> list[Key]:
    """The codecs that offer and answer of a section have both, in the answer's order; telephone-event and CN too."""
    local, remote = _of(said.local, number), _of(said.remote, number)
    if local is None or remote is None or not local.open or not remote.open:
        return []
    first, second = (local, remote) if said.ours else (remote, local)
    return [key for key in first.payloads if key in second.payloads]


def speech(said: Said, number: int) -> list[Key]:
    """`agreed` without telephone-event and CN."""
    return [key for key in agreed(said, number) if key[0] not in BESIDE]


def _of(description: bytes, number: int) -> Section | None:
    found = sections(description)
    return found[number] if number < len(found) else None


def names(said: Said, number: int) -> tuple[str, ...]:
    """Encodings agreed in a section, in capitals."""
    return tuple(dict.fromkeys(key[0].upper() for key in speech(said, number)))


def payload(said: Said, number: int, codec: str) -> int | None:
    """The number by which a leg wants to be sent an encoding; None where it is not agreed."""
    remote = _of(said.remote, number)
    for key in speech(said, number):
        if remote is not None and key[0] == codec.lower():
            return remote.payloads[key]
    return None


def in_use_first(said: Said) -> bytes:
    """What a leg said, with the codecs in use before the others: an offer made of it is most likely answered so."""
    parts, position = [], 0
    for number, section in enumerate(sections(said.remote)):
        used = [section.payloads[key] for key in speech(said, number)]
        wanted = [str(payload) for payload in used]
        wanted += [word for word in section.media.formats if word not in wanted]
        if not used or tuple(wanted) == section.media.formats:
            continue
        line = said.remote[section.media.start:section.media.stop].splitlines()[0]
        parts += [said.remote[position:section.media.start], b" ".join(line.split()[:3]), b" ",
                  " ".join(dict.fromkeys(wanted)).encode()]
        position = section.media.start + len(line)
    return b"".join([*parts, said.remote[position:]])


def only(description: bytes, codecs: Sequence[str]) -> bytes:
    """A description without other encodings than these and telephone-event."""
    return keep_codecs(description, codecs)


def answer(offer: bytes, template: bytes | None, allowed: int) -> bytes:
    """An answer to an offer: of each section the codecs that the template's has too, with the offer's numbers.

    template: a description of the same sections; None: whatever is offered. allowed: bit of each section that may be
    answered, the others are refused. The addresses are to be filled in. MediaError 488 where there is nothing.
    """
    lines = ["v=0", "o=- 0 0 IN IP4 0.0.0.0", "s=-", "c=IN IP4 0.0.0.0", "t=0 0"]
    some = False
    for number, section in enumerate(sections(offer)):
        media = section.media
        common = _common(section, template, number) if allowed >> number & 1 else []
        if not [key for key in common if key[0] not in BESIDE]:
            lines.append(f"m={media.kind} 0 {media.proto} {' '.join(media.formats)}")
            continue
        some = True
        numbers = [section.payloads[key] for key in common]
        lines.append(f"m={media.kind} 9 {media.proto} {' '.join(map(str, numbers))}")
        text = offer[media.start:media.stop].decode("latin-1").splitlines()
        for kind in ("rtpmap", "fmtp"):
            lines += [line for one in numbers for line in text if line.startswith(f"a={kind}:{one} ")]
        lines += [line for line in text if line.startswith("a=ptime:") or line == "a=rtcp-mux"]
        lines.append(f"a={MIRRORED[media.direction]}")
    if allowed and not some:
        raise MediaError(488, "305 none of the codecs in use is offered")
    return "".join(f"{line}\r\n" for line in lines).encode("latin-1")


def _common(offered: Section, template: bytes | None, number: int) -> list[Key]:
    """Codecs of an offered section that the template has too, in the template's order."""
    if template is None:
        return list(offered.payloads)
    found = _of(template, number)
    if found is None or not found.open or found.media.kind != offered.media.kind:
        return []
    return [key for key in found.payloads if key in offered.payloads]
