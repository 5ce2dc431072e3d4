"""The bodies of requests and answers, where they are not what proxy.events and proxy.config have already."""
from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from proxy.config import Action
from proxy.events import Call, Registration, TargetState, Transfer

Text = Annotated[str, Meta(max_length=8192)]


class Body(Struct, forbid_unknown_fields=True, kw_only=True):
    """Of a request: a field that nobody knows is an error."""


class CallPage(Struct):
    calls: list[Call]
    next: Annotated[str, Meta(description="Continue with `after`; empty at the end.")]


class CallDetail(Struct):
    call: Call
    transfers: list[Transfer]


class Variables(Struct):
    variables: dict[str, Any]


class Turn(Body):
    """What one of the two said."""

    role: Literal["caller", "agent"]
    text: Annotated[str, Meta(min_length=1, max_length=65_536)]
    at: Annotated[int, Meta(ge=0, le=2**53, description="Milliseconds since 1970; 0: now.")] = 0


class Transcript(Body):
    turns: Annotated[list[Turn], Meta(min_length=1, max_length=1000)]


class TransferStart(Body):
    action: Annotated[str | Action, Meta(description="Name of a configured or saved action, or a whole one.")]
    target: Annotated[str, Meta(max_length=1024, description="In place of the action's targets.")] = ""
    variables: Annotated[dict[str, Text], Meta(
        max_length=200, description="Flow variables to set before the headers are filled.")] = {}


class SavedAction(Struct):
    action: Action
    source: Literal["configuration", "saved"]


class ActionList(Struct):
    actions: list[SavedAction]


class PreviewRequest(Body):
    action: Action
    variables: Annotated[dict[str, Text], Meta(max_length=200, description="Sample values.")] = {}


class Finding(Struct):
    """line: in the text that was checked, or 0."""

    field: str
    detail: str
    line: int = 0


class RequestSize(Struct):
    """One request of the action, as a sample call would send it."""

    method: Literal["INVITE", "REFER"]
    target: str
    budget: Annotated[str, Meta(description="Such as `1,342 of 1,300 bytes`.")]
    size: int
    limit: int
    fits: bool
    refused: Annotated[bool, Meta(description="The size policy would refuse it (513).")]
    headers: tuple[str, ...]
    steps: Annotated[tuple[str, ...], Meta(description="What the size policy would do.")]
    remarks: tuple[str, ...]


class Preview(Struct):
    problems: Annotated[list[Finding], Meta(description="Why it could not be saved.")]
    requests: list[RequestSize]


class ContextHeaders(Struct):
    headers: Annotated[dict[str, str], Meta(description="By name, as they were set for the request.")]
    expires: Annotated[int, Meta(description="Milliseconds since 1970.")]


class AccessGroup(Struct):
    name: str
    action: Literal["allow", "deny", "forbid"]
    listeners: tuple[str, ...]
    addresses: tuple[str, ...]
    trusted: bool


class NewEntry(Body):
    group: Annotated[str, Meta(max_length=64, description="Name of a group of the configuration.")]
    prefix: Annotated[str, Meta(max_length=64, description="A CIDR prefix or an address.")]
    note: Annotated[str, Meta(max_length=200)] = ""
    expires: Annotated[int, Meta(ge=0, le=2**53, description="Milliseconds since 1970; 0: never.")] = 0


class AccessEntry(Struct):
    """An entry that the API has made."""

    id: str
    group: str
    prefix: str
    note: str
    created: int
    expires: int
    problem: Annotated[str, Meta(description="Why it is not in effect; empty where it is.")] = ""


class AccessList(Struct):
    groups: Annotated[list[AccessGroup], Meta(description="Of the configuration.")]
    entries: Annotated[list[AccessEntry], Meta(description="Made by the API, and in effect beside them.")]


class NewBan(Body):
    address: Annotated[str, Meta(max_length=64, description="An IP address; of IPv6 its /64 is banned.")]
    seconds: Annotated[int, Meta(ge=1, le=86_400, description="How long from now.")]


class Ban(Struct):
    """An address that is banned, by strikes or by the API."""

    address: Annotated[str, Meta(description="Of an IPv6 /64 the first address.")]
    until: Annotated[int, Meta(description="Milliseconds since 1970.")]
    seconds: Annotated[int, Meta(description="From now until then.")]
    count: Annotated[int, Meta(description="Bans that its strikes have earned so far.")]


class BanList(Struct):
    bans: Annotated[list[Ban], Meta(description="Those that last longest first, 1000 of each worker at most.")]


class Drained(Struct):
    address: str
    known: Annotated[bool, Meta(description="Whether it is a target of an upstream now; it is remembered anyway.")]


class UpstreamState(Struct):
    name: str
    targets: tuple[str, ...]
    calls: int
    max_calls: int
    states: list[TargetState]
    """How each of its addresses is, as each worker sees it."""


class UpstreamList(Struct):
    upstreams: list[UpstreamState]


class RegistrationList(Struct):
    registrations: list[Registration]


class CallRecords(Struct):
    """A page of records; next: continue with `after`, empty at the end."""

    records: list[Call]
    next: str


class TransferRecords(Struct):
    records: list[Transfer]
    next: str


class Checked(Struct):
    good: bool
    problems: list[Finding]


class Reloaded(Struct):
    epoch: int


class Health(Struct):
    status: Literal["ok", "unready"]
    workers: list[int] | UnsetType = UNSET
    database: str | UnsetType = UNSET
    records_waiting: int | UnsetType = UNSET


BODIES = (
    CallPage, CallDetail, Variables, Transcript, TransferStart, SavedAction, ActionList, PreviewRequest, Preview,
    NewEntry, AccessEntry, AccessList, NewBan, Ban, BanList, Drained, UpstreamList, RegistrationList, CallRecords,
    TransferRecords, Checked, Reloaded, Health,
)
"""All that stands in the OpenAPI document."""
