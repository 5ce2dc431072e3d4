"""Where the audio goes: the addresses and ports of the media relay, and how it treats what comes to them."""
from typing import Annotated, Literal

from msgspec import Meta

from .table import Name, Names, Seconds, Table, doc

Learning = Literal["off", "signalled-first", "any"]
Srtp = Literal["pass", "never", "offer", "require"]
Suite = Literal[
    "AEAD_AES_256_GCM", "AEAD_AES_128_GCM", "AES_256_CM_HMAC_SHA1_80", "AES_256_CM_HMAC_SHA1_32",
    "AES_CM_128_HMAC_SHA1_80", "AES_CM_128_HMAC_SHA1_32",
]


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
        'with `"ended":"media"`. No BYE is sent to a forwarded call, because a proxy begins nothing inside a dialog; '
        "a controlled one is hung up on.")] = "warn"
    kinds: Annotated[tuple[Literal["audio", "video", "text"], ...], Meta(min_length=1), doc(
        "Kinds of media (m-lines) that go through the relay.")] = ("audio",)
    other: Annotated[Literal["refuse", "pass"], doc(
        "All other kinds: refused (port 0), or passed as they are, from end to end.")] = "refuse"
    srtp_suites: Annotated[tuple[Suite, ...], Meta(min_length=1, max_length=6), doc(
        "What is offered where the edge offers SRTP, in order of preference. Each one makes the offer about 90 bytes "
        "longer. Of what a peer offers the strongest of all six is taken.")] = (
            "AEAD_AES_256_GCM", "AES_CM_128_HMAC_SHA1_80")
    srtp_signalling: Annotated[Literal["any", "tls"], doc(
        "`tls`: keys pass only over signalling that nobody can read on the way (RFC 4568 8). A side that is reached in "
        'another way counts as one whose `srtp` is `never`; `require` is refused there (488). `any`: as most phones '
        "do it.")] = "any"
    sessions: Annotated[int, Meta(ge=0, le=1_000_000), doc(
        "Most audio streams at a time in a worker; more are answered 503. Each takes a pair of ports and two open "
        "files a side. 0 means as many as the ports of all addresses allow.")] = 0
    offload: Annotated[bool, doc(
        "Audio that has settled (half a second after its source was learned; not while it is played to, captured, "
        "converted or encrypted) is passed on by a program in the kernel, at the interface that it comes in by, and "
        "takes next to nothing of the worker's time. It does not pass the packet filter of the system there. Needs "
        "Linux 5.10, CAP_BPF and CAP_NET_ADMIN (root has them) and libbpf; `sipedge check` says what is missing, and "
        "without it the relay does all by itself. For the addresses of [[media]] at the start.")] = False
    ready: Annotated[int, Meta(ge=0, le=32_000), doc(
        "Pairs of ports of each media address that are bound before a call needs them and stay bound between calls, "
        "which makes setting up a call cheaper. Each takes two open files and 6 KiB of the kernel's memory. 0: every "
        "call binds its own.")] = 256
    quarantine_seconds: Annotated[float, Meta(ge=0, le=600), doc(
        "How long a port rests before it is given to another call.")] = 2.0
