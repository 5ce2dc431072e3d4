"""Where the edge listens, and who may send what to it."""
from typing import Annotated, Literal

from .table import Burst, Count, Name, Names, Rate, Table, doc

DIALOG_METHODS = ("INVITE", "ACK", "BYE", "CANCEL", "PRACK", "UPDATE", "INFO", "NOTIFY", "REFER")


class Listener(Table, frozen=True, kw_only=True):
    """A socket that the edge receives on and sends from; 32 of them at most."""

    name: Annotated[Name, doc("How groups call it.")]
    bind: Annotated[str, doc(
        "Transport, address and port: `udp:203.0.113.5:5060`, `tls:[2001:db8::5]:5061`. Transports are `udp`, `tcp`, "
        "`tls`, `ws` and `wss` (WebSocket, RFC 7118).")]
    advertise: Annotated[str, doc(
        "Address and port that peers are told (Via, Record-Route) where it differs from the bound one, for "
        "example behind NAT. Required with a wildcard address.")] = ""
    tls: Annotated[Names, doc(
        "For `tls` and `wss`: names of `tls` tables. The first one says how TLS is spoken, and is what the edge shows "
        "to targets; the certificates of all are there for clients that ask for one of their names (SNI).")] = ()
    origins: Annotated[tuple[str, ...], doc(
        "For `ws` and `wss`: web pages that may connect, such as `https://phone.example.com`; empty means all.")] = ()
    receive_buffer: Annotated[Count, doc("Size of the kernel's receive buffer in bytes; of `udp`.")] = 4 * 1024 * 1024
    send_buffer: Annotated[Count, doc("Size of the kernel's send buffer in bytes; of `udp`.")] = 1024 * 1024


class Group(Table, frozen=True, kw_only=True):
    """Peers with a name, known by their addresses or certificates. The longest prefix wins; whoever is in no group is
    unlisted."""

    name: Annotated[Name, doc("How routes and rules call it. `unlisted` is taken.")]
    addresses: Annotated[tuple[str, ...], doc("CIDR prefixes or single addresses, IPv4 and IPv6.")] = ()
    certificates: Annotated[tuple[str, ...], doc(
        "Names in client certificates (`pbx.example.com`), letter by letter. Whoever has connected by TLS with such a "
        "certificate, from whatever address, is in this group. Needs a listener whose `tls` asks for one.")] = ()
    listeners: Annotated[Names, doc("Listeners that the group may use; empty means all.")] = ()
    action: Annotated[Literal["allow", "deny", "forbid"], doc(
        "`allow`; `deny` gives no answer at all; `forbid` answers 403.")] = "allow"
    methods: Annotated[Names, doc(
        "Methods that may begin something (outside of a dialog). All others are answered 405. OPTIONS addressed "
        "to the edge itself is answered by the edge.")] = ("INVITE", "OPTIONS")
    dialog_methods: Annotated[Names, doc(
        "Methods that may be sent inside a dialog that the edge forwarded; REFER by its rules.")] = DIALOG_METHODS
    auth: Annotated[str, doc(
        "Realm (`[[realm]]`) whose users alone may begin something; empty asks nobody. Requests inside a dialog carry "
        "the edge's own proof, and are not asked again.")] = ""
    rate: Annotated[Rate, doc(
        "Requests that begin something, per second and source address; above, they are answered 503. STUN requests "
        "count too, and are dropped above. 0 means no limit.")] = 200
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
        "Messages of one unlisted source that are looked at, per second; the rest costs a counter. Responses that a "
        "request of ours waits for, and targets of upstreams, are not counted.")] = 50
    burst: Annotated[Burst, doc("How many of them may come at once; 0 means twice the rate.")] = 0
    answers: Annotated[Rate, doc("Answers (403) per second to all refused sources together.")] = 10
