"""Where requests go: named sets of targets, and how each peer wants URIs, headers and sizes."""
from typing import Annotated, Literal

from msgspec import Meta

from .table import Count, Mtu, Name, Names, Seconds, Table, doc

Step = Literal["compact", "drop", "codecs", "tcp", "reference", "fragment", "refuse"]
LATER_STEPS = ("tcp", "reference")
"""Steps that are accepted, ordered and named, and act in a later version."""


class UpstreamTarget(Table, frozen=True, kw_only=True):
    """One address of an upstream."""

    address: Annotated[str, doc("IP address and port: `192.0.2.10:5060`, `[2001:db8::10]:5060`; the port is 5060 "
                                "where it is left out. Names (DNS) come in a later version.")]
    priority: Annotated[Count, doc("Lower ones are tried first.")] = 0
    weight: Annotated[int, Meta(ge=0, le=1000), doc(
        "Share of the calls among targets of equal priority; 0 only gets what the others fail to take.")] = 100


class UserToUser(Table, frozen=True, kw_only=True):
    """How headers are packed into `User-to-User` (RFC 7433)."""

    names: Annotated[Names, doc("Headers that are packed; empty means all that are set.")] = ()
    where: Annotated[tuple[Literal["header", "refer-to"], ...], Meta(min_length=1), doc(
        "For REFER: a header of the REFER, a URI header inside Refer-To, or both. On INVITE it is a header.")] = (
            "refer-to",)
    encoding: Annotated[Literal["hex"], doc("How the packed bytes are written.")] = "hex"
    packing: Annotated[Literal["pairs", "json", "value"], doc(
        "`pairs`: `X-A=1&X-B=two%20words`; `json`: a compact object; `value`: only the value of the first "
        "header.")] = "pairs"
    purpose: Annotated[str, doc("Value of the `purpose` parameter; empty leaves it out.")] = ""
    content: Annotated[str, doc("Value of the `content` parameter; empty leaves it out.")] = ""
    limit: Annotated[int, Meta(ge=1, le=4096), doc(
        "Most bytes before encoding. What does not fit is left out by priority, lowest first, and noted.")] = 128


class Upstream(Table, frozen=True, kw_only=True):
    """A peer that requests are sent to: its targets, and what it understands. An upstream named `request-uri`
    has no targets: it sets the size policy for requests that go where their URI says."""

    name: Annotated[Name, doc("How routes and rules call it.")]
    targets: Annotated[tuple[UpstreamTarget, ...], doc("Its addresses, tried one after the other.")] = ()
    uri: Annotated[str, doc(
        "Template of the request URI: `{user}` (the number of a `tel:` URI, the user part of a `sip:` one), "
        "`{host}` (address and port of the target), `{domain}` (host of the received URI). `tel:{user}` sends "
        "`tel:`. Empty keeps the URI as it came.")] = "sip:{user}@{host}"
    strip: Annotated[str, doc("Text taken off the front of `{user}` where it stands there.")] = ""
    prefix: Annotated[str, doc("Text put in front of `{user}` (after `strip`).")] = ""
    mtu: Annotated[Mtu, doc(
        "MTU towards this peer in bytes. The budget of a request is 200 less. 0 means unknown: the budget is "
        "1300. A lower path MTU that the kernel knows counts.")] = 0
    size_policy: Annotated[tuple[Step, ...], Meta(min_length=1), doc(
        "What is tried, in this order, when a request is over its budget: `compact` header names; `drop` set "
        "headers, lowest priority first; keep only `codecs`; `tcp` and `reference` (accepted here, and act in a "
        "later version); at last `fragment` (send with a warning) or `refuse` (513).")] = (
            "compact", "drop", "codecs", "fragment")
    codecs: Annotated[Names, doc(
        "Codecs that the step `codecs` keeps, by their SDP names: `PCMA`, `opus`. telephone-event always stays. "
        "Empty: the step does nothing.")] = ()
    invite_headers: Annotated[tuple[Literal["header", "user-to-user"], ...], Meta(min_length=1), doc(
        "Where set headers go on INVITE.")] = ("header",)
    refer_headers: Annotated[tuple[Literal["header", "refer-to", "user-to-user"], ...], Meta(min_length=1), doc(
        "Where set headers go on REFER: on the REFER itself, inside Refer-To as escaped URI headers, packed into "
        "`User-to-User`; one or several.")] = ("header",)
    user_to_user: Annotated[UserToUser, doc("How `User-to-User` is packed.")] = UserToUser()
    try_timeout: Annotated[Seconds, doc(
        "Without a provisional answer for this long, the next target is tried, in seconds; 0 takes "
        "`timers.try_timeout`.")] = 0.0
    ring_timeout: Annotated[Seconds, doc(
        "How long an INVITE may ring (Timer C), in seconds; 0 takes `timers.timer_c`.")] = 0.0
    max_duration: Annotated[Count, doc("After this many seconds a call is no longer counted as one.")] = 43200
    max_calls: Annotated[Count, doc("Most calls at a time; more are answered 503. 0 means no limit.")] = 0
