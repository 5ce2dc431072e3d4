"""Where the audio goes: the addresses and ports of the media relay, and how it treats what comes to them."""
from typing import Annotated, Literal

from msgspec import Meta

from .table import Name, Names, Seconds, Table, doc

Learning = Literal["off", "signalled-first", "any"]


class Media(Table, frozen=True, kw_only=True):
    """An address that audio comes to and leaves from, with its ports. Routes whose `media` is `anchor` need one for
    each listener (by its address family) that their calls come in on or leave from."""

    name: Annotated[Name, doc("How the log calls it.")]
    bind: Annotated[str, doc("IPv4 or IPv6 address of this machine, such as `203.0.113.5` or `2001:db8::5`.")]
    advertise: Annotated[str, doc(
        "Address that session descriptions tell peers where it differs from the bound one, for example behind "
        "NAT.")] = ""
    ports: Annotated[str, doc(
        "First and last port; the first is even. Each side of an audio stream takes two: RTP on the even one, RTCP "
        "above it. Outside the ports that the system gives out itself (`net.ipv4.ip_local_port_range`), or "
        "`sipedge check` warns.")] = "16384-32767"
    listeners: Annotated[Names, doc(
        "Listeners whose peers get this address; empty means all of its family. Of several that fit, those that "
        "name the listener come first; the first with a free port is taken.")] = ()


class Relay(Table, frozen=True, kw_only=True):
    """How the relay treats audio."""

    learning: Annotated[Learning, doc(
        "Whose audio is accepted. `off`: only from the signalled address and port. `signalled-first`: also from "
        "another port of the signalled address, or from the address where the signalling came from, where nothing "
        "better comes within `learn_seconds`. `any`: also from whoever sends first; only where no better rule is "
        "possible.")] = "signalled-first"
    learn_seconds: Annotated[float, Meta(ge=0.1, le=60), doc(
        "How long after the answer (or after the media moved) a source may be learned.")] = 10.0
    silence_seconds: Annotated[Seconds, doc(
        "A side that should send and has not for so long is logged; 0 means never.")] = 5.0
    timeout_seconds: Annotated[Seconds, doc(
        "No audio from any side of a call that is not on hold for so long: `on_timeout`. 0 means never.")] = 60.0
    on_timeout: Annotated[Literal["warn", "end"], doc(
        "`warn`: a log line. `end`: also the edge's part of the call ends: its ports close, and the call is logged "
        'with `"ended":"media"`. No BYE is sent: a proxy begins nothing inside a dialog.')] = "warn"
    kinds: Annotated[tuple[Literal["audio", "video", "text"], ...], Meta(min_length=1), doc(
        "Kinds of media (m-lines) that go through the relay.")] = ("audio",)
    other: Annotated[Literal["refuse", "pass"], doc(
        "All other kinds: refused (port 0), or passed as they are, from end to end.")] = "refuse"
    sessions: Annotated[int, Meta(ge=0, le=1_000_000), doc(
        "Most audio streams at a time in a worker; more are answered 503. Each takes a pair of ports and two open "
        "files a side. 0 means as many as the ports of all addresses allow.")] = 0
    quarantine_seconds: Annotated[float, Meta(ge=0, le=600), doc(
        "How long a port rests before it is given to another call.")] = 2.0
