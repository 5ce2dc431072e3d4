"""How names are looked up."""
from typing import Annotated

from msgspec import Meta

from .table import Seconds, Table, doc


class Dns(Table, frozen=True, kw_only=True):
    """Names in upstreams' targets, request URIs and Route headers, looked up as RFC 3263 says. The system's file of
    hosts is not read, and no search list is appended."""

    servers: Annotated[tuple[str, ...], Meta(max_length=8), doc(
        "Name servers, with a port where it is not 53: `192.0.2.53`, `[2001:db8::53]:5353`. Empty takes the "
        "system's.")] = ()
    deadline: Annotated[float, Meta(ge=0.1, le=30), doc(
        "How long one request may wait for all that has to be looked up for it, in seconds; then it is answered "
        "503.")] = 4.0
    ttl_min: Annotated[Seconds, doc(
        "An address is used for so many seconds, if its own time to live is shorter.")] = 10.0
    ttl_max: Annotated[Seconds, doc("And for no more than these, if that is longer.")] = 3600.0
    negative: Annotated[Seconds, doc("How long it is believed that a name is not there, in seconds.")] = 30.0
    stale: Annotated[Seconds, doc(
        "While no name server answers, the last addresses are used for so many seconds after their time is over; 0 "
        "never uses them.")] = 3600.0
    entries: Annotated[int, Meta(ge=16, le=1_000_000), doc(
        "Most answers that are remembered in a worker; the least used go first.")] = 10_000
    waiting: Annotated[int, Meta(ge=1, le=100_000), doc(
        "Most requests in a worker that wait for names at a time, a quarter of them from one address; above, they are "
        "answered 503.")] = 1_000
