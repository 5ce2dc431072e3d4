"""What happens under more work than can be done, and to those who mean no good."""
from typing import Annotated

from msgspec import Meta

from .table import Count, Table, doc


class Overload(Table, frozen=True, kw_only=True):
    """While the worker falls behind, a share of the requests that begin something is answered 503 with Retry-After, so
    that calls in progress are served as ever. OPTIONS is answered always."""

    lag: Annotated[float, Meta(ge=0, le=10), doc(
        "How long packets may wait for the worker for more than a moment, in seconds. Beyond that, and where the "
        "kernel has to drop packets, a share is refused, which grows until they wait less. 0: never.")] = 0.05
    transactions: Annotated[float, Meta(gt=0, lt=1), doc(
        "Share of `limits.transactions` in use above which new requests begin to be refused.")] = 0.9
    retry_after: Annotated[int, Meta(ge=1, le=3600), doc(
        "Seconds in Retry-After, up to twice as many by chance.")] = 10


class Abuse(Table, frozen=True, kw_only=True):
    """Scanners, and bans. Only an address that is proven can earn a ban: one that a connection has come from. A UDP
    packet says what its sender likes, so UDP addresses are limited by rate, each on its own, and banned for nothing but
    wrong answers to a nonce that was sent to them."""

    scanners: Annotated[tuple[str, ...], Meta(max_length=64), doc(
        "Requests outside dialogs that are dropped without an answer: a header (or `Request-URI`), a colon and a text "
        "with `*` at its ends where the value may go on.")] = (
            "User-Agent: friendly-scanner*", "User-Agent: *sipvicious*", "User-Agent: sundayddr*",
            "User-Agent: *sipcli*", "User-Agent: VaxSIPUserAgent*", "User-Agent: sip-scan*", "User-Agent: pplsip*",
            "User-Agent: *sipsak*", "User-Agent: *iWar*", "User-Agent: *SIVuS*", "User-Agent: *smap*",
            "From: *sipvicious*", "To: *sipvicious*")
    strikes: Annotated[Count, doc(
        "So many of these within a minute earn a ban: requests of a scanner over a connection; requests from a "
        "connection that is on no access list and proves nothing, and what it sends that is no TLS, WebSocket or SIP; "
        "answers to a challenge after too many wrong ones (`realm.attempts`). 0: no bans.")] = 10
    ban: Annotated[int, Meta(ge=1, le=86400), doc(
        "How long the first ban of an address lasts, in seconds; each further one twice as long, a day at most. "
        "Meanwhile only what belongs to calls in progress passes, over any transport.")] = 600
