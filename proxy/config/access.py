"""Where the edge listens, and who may send what to it."""
from typing import Annotated, Literal

from msgspec import Meta

from .table import Burst, Count, Name, Names, Rate, Table, doc

DIALOG_METHODS = ("INVITE", "ACK", "BYE", "CANCEL", "PRACK", "UPDATE", "INFO", "NOTIFY", "REFER")


class Listener(Table, frozen=True, kw_only=True):
    """A socket that the edge receives on and sends from."""

    name: Annotated[Name, doc("How groups call it.")]
    bind: Annotated[str, doc(
        "Transport, address and port: `udp:203.0.113.5:5060`, `udp:[2001:db8::5]:5060`. Only `udp` in this version.")]
    advertise: Annotated[str, doc(
        "Address and port that peers are told (Via, Record-Route) where it differs from the bound one, for "
        "example behind NAT. Required with a wildcard address.")] = ""
    receive_buffer: Annotated[Count, doc("Size of the kernel's receive buffer in bytes.")] = 4 * 1024 * 1024
    send_buffer: Annotated[Count, doc("Size of the kernel's send buffer in bytes.")] = 1024 * 1024


class Group(Table, frozen=True, kw_only=True):
    """Peers with a name, known by their addresses. The longest prefix wins; whoever is in no group is
    unlisted."""

    name: Annotated[Name, doc("How routes and rules call it. `unlisted` is taken.")]
    addresses: Annotated[tuple[str, ...], Meta(min_length=1), doc(
        "CIDR prefixes or single addresses, IPv4 and IPv6.")]
    listeners: Annotated[Names, doc("Listeners that the group may use; empty means all.")] = ()
    action: Annotated[Literal["allow", "deny", "forbid"], doc(
        "`allow`; `deny` gives no answer at all; `forbid` answers 403.")] = "allow"
    methods: Annotated[Names, doc(
        "Methods that may begin something (outside of a dialog). All others are answered 405. OPTIONS addressed "
        "to the edge itself is answered by the edge.")] = ("INVITE", "OPTIONS")
    dialog_methods: Annotated[Names, doc(
        "Methods that may be sent inside a dialog that the edge forwarded; REFER by its rules.")] = DIALOG_METHODS
    rate: Annotated[Rate, doc(
        "Requests that begin something, per second and source address; above, they are answered 503. 0 means no "
        "limit.")] = 200
    burst: Annotated[Burst, doc("How many of them may come at once; 0 means twice the rate.")] = 0
    group_rate: Annotated[Rate, doc("The same for the whole group together; 0 means no limit.")] = 0
    group_burst: Annotated[Burst, doc("How many of them may come at once; 0 means twice the rate.")] = 0
    trusted: Annotated[bool, doc(
        "Internal headers (see `internal`) are kept when they go from a trusted group to a trusted one. Everybody "
        "else neither sends nor receives them.")] = False
    custom_telephony: Annotated[str, doc(
        "Upstream for raw targets: `internal-ext-123` becomes `sip:internal-ext-123@<that upstream>`. Without it "
        "raw targets are refused.")] = ""


class Unlisted(Table, frozen=True, kw_only=True):
    """Sources in no group. Whatever is set here, their responses to requests of ours and their requests inside
    dialogs that the edge forwarded pass, because both carry a keyed proof."""

    answer: Annotated[Literal["silent", "forbid"], doc(
        "What a request that begins something gets: nothing, or 403.")] = "silent"
    dialog_methods: Annotated[Names, doc(
        "Methods that may be sent inside a dialog that the edge forwarded; REFER by its rules.")] = DIALOG_METHODS
    rate: Annotated[Rate, doc(
        "Messages of one unlisted source that are looked at, per second; the rest costs a counter.")] = 50
    burst: Annotated[Burst, doc("How many of them may come at once; 0 means twice the rate.")] = 0
    answers: Annotated[Rate, doc("Answers (403) per second to all refused sources together.")] = 10
