"""What happens to a request: routes, header sets, and rules for REFER."""
from typing import Annotated, Literal

from msgspec import Meta

from .media import Learning, Srtp
from .table import Count, Name, Names, Table, doc


class Route(Table, frozen=True, kw_only=True):
    """A way for requests that begin something. Of the routes that match, the one with the longest matching
    prefix is taken; among equals, the first in the file. No route: 404."""

    to: Annotated[Name, doc("Name of an upstream; `request-uri` (where the request's Route or its URI says); "
                            "`local` (answered by the edge, only OPTIONS in this version).")]
    groups: Annotated[Names, doc("Groups that it is for; empty means all.")] = ()
    methods: Annotated[Names, doc("Methods that it is for.")] = ("INVITE",)
    prefixes: Annotated[tuple[str, ...], doc(
        "Beginnings of the called number, such as `+49` or `00`; visual separators in the number are "
        "ignored.")] = ()
    users: Annotated[tuple[str, ...], doc(
        "Patterns for the user part of the request URI: `*`, `?`, `[0-9]`.")] = ()
    domains: Annotated[tuple[str, ...], doc(
        "Hosts of the request URI: `example.com`, `*.example.com`, `192.0.2.1`; in any case, IPv6 addresses in any "
        "spelling.")] = ()
    auth: Annotated[str, doc(
        "Realm (`[[realm]]`) whose users alone may take it, where the group's `auth` has not asked already; empty "
        "asks nobody.")] = ""
    auth_users: Annotated[tuple[str, ...], doc(
        "Patterns for the name that the group's `auth` has proven; the route is for these users only.")] = ()
    headers: Annotated[Names, doc("Header sets to apply.")] = ()
    record_route: Annotated[bool, doc("The edge stays in the dialog's path.")] = True
    nat: Annotated[bool, doc(
        "Its senders may be behind NAT. A REGISTER gets a Path (RFC 3327) with the way back to where it came from, so "
        "that the registrar's requests for that phone come through the edge and reach it; forwarded calls that begin "
        "here reach their caller where it sends from, whatever its Contact says.")] = False
    media: Annotated[Literal["pass", "anchor"], doc(
        "`anchor`: the audio of its calls goes through the edge, see `media` and `relay`. `pass`: from end to "
        "end.")] = "pass"
    learning: Annotated[Literal["", Learning], doc(
        "Whose audio is accepted, where it is not as `relay.learning` says.")] = ""
    srtp: Annotated[Srtp, doc(
        "SRTP with who calls, on anchored media. `pass`: a forwarded call's keys go from end to end; where the edge is "
        "an end (controlled calls, or the other side has a rule), what is offered is answered: with SRTP or without. "
        "`never`: without. `offer`: the edge also offers it, beside plain RTP (RTP/AVP with `a=crypto`), and where "
        "that is refused, once more in another profile. `require`: RTP/SAVP only; calls without are answered "
        "488.")] = "pass"
    control: Annotated[bool, doc(
        "Its calls are back-to-back: the edge is an end of each side's dialog, so that the edge itself can transfer a "
        "call. Otherwise they are forwarded.")] = False
    precall: Annotated[str, doc(
        "Request (`[[request]]`) that is made before a controlled call is routed; its answer fills "
        "`{results...}`.")] = ""
    record: Annotated[str, doc(
        "Folder where each call is recorded as a stereo WAV file (caller left, callee right); relative to the "
        "configuration file. Empty: no recording.")] = ""


class Header(Table, frozen=True, kw_only=True):
    """A header that is set. One of the same name in the received request is replaced."""

    name: Annotated[str, doc("`X-` and then letters, digits, `-` and `_`.")]
    value: Annotated[str, doc(
        "Text in which `{call_id}`, `{from_phone_number}`, `{to_phone_number}` and `{X-Name}` (a header of the "
        "received request) are replaced; `{{` and `}}` stand for braces. No control characters, neither here nor "
        "after filling: a variable that has them counts as without a value.")]
    missing: Annotated[Literal["omit", "empty", "fail"], doc(
        "When a variable has no value: leave the header out, put empty text in the variable's place, or refuse "
        "the request (400).")] = "omit"
    priority: Annotated[Count, doc("When the request is too big, the lowest are dropped first; among equals the "
                                   "last in the file.")] = 0


class HeaderSet(Table, frozen=True, kw_only=True):
    """Headers that belong together. Routes and REFER rules name the sets that they apply."""

    name: Annotated[Name, doc("How routes and rules call it.")]
    on: Annotated[tuple[Literal["INVITE", "REFER"], ...], Meta(min_length=1), doc("Requests that get them.")] = (
        "INVITE", "REFER")
    add: Annotated[tuple[Header, ...], Meta(min_length=1), doc("The headers.")]


class Internal(Table, frozen=True, kw_only=True):
    """Headers that must not leave."""

    headers: Annotated[tuple[str, ...], doc(
        "Names, or beginnings of names (`X-Internal-*`). Removed in every spelling unless they go from a trusted group "
        "to a trusted one.")] = ("X-Internal-*",)


class Refer(Table, frozen=True, kw_only=True):
    """A rule for REFER inside a dialog (a blind or attended transfer). The first rule whose groups and
    target match acts; no rule: 603. With none of the four target conditions it is for every target."""

    groups: Annotated[Names, doc(
        "Who may send it; empty means all groups whose action is `allow`. `unlisted` names peers in no group.")] = ()
    prefixes: Annotated[tuple[str, ...], doc("Beginnings of the target's number.")] = ()
    users: Annotated[tuple[str, ...], doc("Patterns for the target's user part.")] = ()
    domains: Annotated[tuple[str, ...], doc("Hosts of the target, as in `route`.")] = ()
    targets: Annotated[Names, doc(
        "Upstreams: the target's host and port must be one of their addresses, or a name that stands among their "
        "targets.")] = ()
    action: Annotated[Literal["forward", "refuse", "run"], doc(
        "Pass it on, answer 603, or (`run`, on controlled calls) let the edge carry it out by `transfer`.")] = "forward"
    transfer: Annotated[str, doc(
        "Transfer action for `run`; the REFER's target takes the place of its own unless it has targets.")] = ""
    headers: Annotated[Names, doc("Header sets to apply.")] = ()
    upstream: Annotated[str, doc(
        "Upstream whose `refer_headers`, `user_to_user`, size policy and URI template (for `tel:` targets) are "
        "used.")] = ""
