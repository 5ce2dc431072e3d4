"""Where requests go: named sets of targets, and how each peer wants URIs, headers and sizes."""
from typing import Annotated, Literal

from msgspec import Meta

from .auth import Credentials
from .health import Health
from .media import Srtp
from .table import Count, Mtu, Name, Names, Seconds, Table, doc

Step = Literal["compact", "drop", "codecs", "tcp", "reference", "fragment", "refuse"]


class UpstreamTarget(Table, frozen=True, kw_only=True):
    """One address of an upstream."""

    address: Annotated[str, doc(
        "IP address and port: `192.0.2.10:5060`, `[2001:db8::10]:5060`; the port is 5060 where it is left out. Or a "
        "host name: `pbx.example.com` is looked up as RFC 3263 says (NAPTR, SRV, addresses), `pbx.example.com:5060` by "
        "its addresses alone; see `dns`.")]
    transport: Annotated[Literal["", "udp", "tcp", "tls"], doc(
        "How it is reached; a listener of that transport and of its family (IPv4, IPv6) is needed. Empty: `udp`, or "
        "for a host name what DNS says. With `tls` the port is 5061 where it is left out.")] = ""
    server_name: Annotated[str, doc(
        "With `tls`: the name that its certificate must show. Empty: the host name, or for an IP address that "
        "address.")] = ""
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
    balance: Annotated[Literal["weight", "call-id", "least-load"], doc(
        "How calls are shared among targets of equal priority: by `weight`; by a consistent hash of the `call-id`, in "
        "which a target that comes or goes moves no calls but its own; or to the one with the least calls in progress "
        "for its weight.")] = "weight"
    health: Annotated[Health, doc("When a target is left out, and when it comes back.")] = Health()
    uri: Annotated[str, doc(
        "Template of the request URI: `{user}` (the number of a `tel:` URI, the user part of a `sip:` one), "
        "`{host}` (address and port of the target), `{domain}` (host of the received URI; that of the target and its "
        "port where it has none). `tel:{user}` sends `tel:`. `{user}` stands once; without it, as in `sip:ivr@{host}`, "
        "the received one is left out. Empty keeps the URI as it came.")] = "sip:{user}@{host}"
    strip: Annotated[str, doc(
        "Text taken off the front of `{user}` where it stands there. Where nothing is left then, the request is "
        "answered 404.")] = ""
    prefix: Annotated[str, doc(
        "Text put in front of `{user}` (after `strip`). With `tel:{user}` digits alone, with or without `+` in front; "
        "what is no number with it is answered 404.")] = ""
    mtu: Annotated[Mtu, doc(
        "MTU towards this peer in bytes. The budget of a request is 200 less. 0 means unknown: the budget is "
        "1300. A lower path MTU that the kernel knows counts.")] = 0
    size_policy: Annotated[tuple[Step, ...], Meta(min_length=1), doc(
        "What is tried, in this order, when a request is over its budget: `compact` header names; `drop` set "
        "headers, lowest priority first; keep only `codecs`; `tcp`: this request alone goes by TCP to the same address "
        "and port, for a peer that takes it, and where no connection comes about, on with the next step; `reference`: "
        "one header with a token in place of set headers, lowest priority first, and of those that `drop` has dropped, "
        "see `[reference]`; at last `fragment` (send with a warning) or `refuse` (513).")] = (
            "compact", "drop", "codecs", "fragment")
    codecs: Annotated[Names, doc(
        "Codecs that the step `codecs` keeps, by their SDP names: `PCMA`, `opus`. telephone-event always stays, "
        "red and rtx go with the codec that they are for, and where no codec would be left all stay. "
        "Empty: the step does nothing.")] = ()
    reference_header: Annotated[str, doc(
        "Header with the token of the step `reference`: `X-` and then letters, digits, `-` and `_`. It goes where the "
        "headers go that it stands for.")] = "X-Context-Ref"
    srtp: Annotated[Srtp, doc(
        "SRTP with this peer, on anchored media; as a route's `srtp` says it of who calls. Where one of the two is not "
        "`pass`, the edge is an end of both sides' SRTP, and the sides need not agree.")] = "pass"
    invite_headers: Annotated[tuple[Literal["header", "user-to-user"], ...], Meta(min_length=1), doc(
        "Where set headers go on INVITE.")] = ("header",)
    refer_headers: Annotated[tuple[Literal["header", "refer-to", "user-to-user"], ...], Meta(min_length=1), doc(
        "Where set headers go on REFER: on the REFER itself, inside Refer-To as escaped URI headers, packed into "
        "`User-to-User`; one or several.")] = ("header",)
    refer: Annotated[bool, doc(
        "It takes REFER. Where not, a blind transfer that names it is refused when it is configured; "
        "`on_failure = \"bridge\"` or a warm one does without.")] = True
    user_to_user: Annotated[UserToUser, doc("How `User-to-User` is packed.")] = UserToUser()
    try_timeout: Annotated[Seconds, doc(
        "Without a provisional answer for this long, the next target is tried, in seconds; 0 takes "
        "`timers.try_timeout`.")] = 0.0
    ring_timeout: Annotated[Seconds, doc(
        "How long an INVITE may ring (Timer C), in seconds; 0 takes `timers.timer_c`.")] = 0.0
    max_duration: Annotated[Count, doc("After this many seconds a call is no longer counted as one.")] = 43200
    max_calls: Annotated[Count, doc("Most calls at a time; more are answered 503. 0 means no limit.")] = 0
    credentials: Annotated[tuple[Credentials, ...], doc(
        "What answers its challenges, on controlled calls and registrations; on forwarded ones they pass to the "
        "caller.")] = ()
