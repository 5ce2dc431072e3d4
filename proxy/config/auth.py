"""Digest authentication (RFC 7616, RFC 8760): whom the edge asks for a password, and where it has one itself."""
from typing import Annotated, Literal

from msgspec import Meta

from .table import Count, Name, Table, doc

Algorithm = Literal["SHA-256", "MD5"]


class Credentials(Table, frozen=True, kw_only=True):
    """What the edge answers a challenge of this upstream with, on controlled calls and registrations."""

    realm: Annotated[str, Meta(min_length=1, max_length=256), doc(
        "The realm, exactly as the peer's challenge names it. A challenge in any other realm is not answered, nor one "
        "from any other address.")]
    user: Annotated[str, Meta(min_length=1, max_length=256), doc("Name that it proves to be.")]
    secret_file: Annotated[str, doc(
        "File with the password, or with its hashes; relative to the configuration file.")] = ""
    secret_env: Annotated[str, doc("Environment variable with it instead.")] = ""
    hashed: Annotated[bool, doc(
        "The secret is no password but its hashes `H(user:realm:password)` (HA1) in hex, one a line: 32 digits for "
        "MD5, 64 for SHA-256.")] = False


class Realm(Table, frozen=True, kw_only=True):
    """Users that peers prove to be by digest authentication. Groups and routes name it with `auth`."""

    name: Annotated[Name, doc("How groups and routes call it.")]
    realm: Annotated[str, Meta(min_length=1, max_length=128, pattern=r'^[ -!#-\[\]-~]+$'), doc(
        "The realm that challenges name: part of every hash. Printable ASCII without quotes and backslashes.")]
    users_file: Annotated[str, doc(
        "File with the users, one a line; relative to the configuration file. `user:realm:hash`, as `htdigest` writes "
        "it (32 hex digits for MD5, 64 for SHA-256, a line for each), or `user:{PLAIN}password`.")] = ""
    users_env: Annotated[str, doc("Environment variable with such lines instead.")] = ""
    algorithms: Annotated[tuple[Algorithm, ...], Meta(min_length=1, max_length=2), doc(
        "What is offered, in the order of preference (RFC 8760 2.2). Each user needs a hash for each one.")] = (
            "SHA-256", "MD5")
    integrity: Annotated[bool, doc("`auth-int` is offered too, which protects the body.")] = False
    nonce_seconds: Annotated[int, Meta(ge=5, le=86400), doc(
        "How long a nonce is good; then the peer is told that it is stale, and asked again.")] = 300
    attempts: Annotated[int, Meta(ge=1, le=1000), doc(
        "Wrong answers in a row that one source may give; more are answered 403 without a look, until some time has "
        "passed.")] = 10
    attempts_a_minute: Annotated[int, Meta(ge=1, le=6000), doc("So many of them come back a minute.")] = 6
    nonces: Annotated[int, Meta(ge=64, le=1_000_000), doc(
        "Most nonces in use that a worker remembers the counts of; of more, the oldest become stale.")] = 50_000


class Registration(Table, frozen=True, kw_only=True):
    """An address that the edge itself registers at an upstream (RFC 3261 10), so that the upstream sends its calls
    here."""

    upstream: Annotated[Name, doc("Where it registers. Its `credentials` answer the challenge.")]
    aor: Annotated[str, Meta(min_length=5, max_length=512), doc(
        "Address of record: `sip:4930123@trunk.example`. Its domain is the request URI.")]
    contact: Annotated[str, Meta(max_length=256), doc(
        "User part of the contact that is registered; empty takes that of the address of record.")] = ""
    expires: Annotated[int, Meta(ge=30, le=86400), doc(
        "Seconds that are asked for. It is refreshed before what the upstream grants is over.")] = 600
    listener: Annotated[str, doc(
        "Listener that it is sent from, and that the contact names; empty: the first that reaches the upstream.")] = ""
    retry: Annotated[int, Meta(ge=1, le=3600), doc(
        "Seconds until the next attempt after a failure; they double with each one, with some chance in them.")] = 30
    longest_retry: Annotated[Count, doc("Seconds between two attempts at most.")] = 1800
