"""How TLS is spoken, and what connections may cost."""
from typing import Annotated, Literal

from msgspec import Meta

from .table import Count, Name, Seconds, Table, doc


class Tls(Table, frozen=True, kw_only=True):
    """A certificate and how TLS is spoken with it. The files are read again at a reload (SIGHUP): new connections get
    the new certificate, those that are there stay. Paths are relative to the configuration file."""

    name: Annotated[Name, doc("How listeners call it.")]
    certificate: Annotated[str, Meta(min_length=1), doc(
        "PEM file with the certificate, and behind it the chain up to the authority. Its names (subject alternative "
        "names) say to whom it is shown, where a listener has several.")]
    key: Annotated[str, Meta(min_length=1), doc("PEM file with its private key, without a password.")]
    ca: Annotated[str, doc(
        "PEM file with the authorities that the certificates of peers must come from. Empty: the system's, for targets "
        "that the edge connects to; client certificates need a file.")] = ""
    client_certificate: Annotated[Literal["none", "optional", "required"], doc(
        "Whether clients are asked for a certificate. One that does not verify ends the connection; see `certificates` "
        "of `group` for what a good one opens.")] = "none"
    minimum_version: Annotated[Literal["1.2", "1.3"], doc("Oldest version of TLS that is spoken.")] = "1.2"


class Streams(Table, frozen=True, kw_only=True):
    """Bounds for connections of TCP, TLS and WebSocket, in each worker."""

    connections: Annotated[int, Meta(ge=16, le=1_000_000), doc(
        "Most connections. When all are taken, a new one takes the place of the one that was silent for longest, "
        "those of unlisted sources first.")] = 16384
    per_source: Annotated[int, Meta(ge=1, le=1_000_000), doc(
        "Most connections from one address (IPv6: one /64); more are closed at once.")] = 200
    rate: Annotated[int, Meta(ge=1, le=1_000_000), doc(
        "Connections of one address that are accepted in a second; four times as many at once.")] = 50
    unlisted: Annotated[int, Meta(ge=1, le=1_000_000), doc(
        "Most connections of all unlisted sources together.")] = 1000
    queue: Annotated[int, Meta(ge=65536, le=16_777_216), doc(
        "Most bytes that wait for a peer that does not read; beyond, its connection is ended.")] = 262_144
    connect_timeout: Annotated[Seconds, doc(
        "Time for a connection to a target, with its TLS handshake; then the next target is tried.")] = 3.0
    handshake_timeout: Annotated[Seconds, doc("Time for the handshake of a connection that came in.")] = 5.0
    message_timeout: Annotated[Seconds, doc("Time within which a message that was begun must be complete.")] = 5.0
    write_timeout: Annotated[Seconds, doc("How long a peer may take nothing of what it is sent.")] = 10.0
    idle_timeout: Annotated[Seconds, doc("Connections without any traffic are closed after this time.")] = 900.0
    unlisted_idle_timeout: Annotated[Seconds, doc("The same for unlisted sources.")] = 32.0
    keepalive: Annotated[Count, doc(
        "Seconds of silence after which a target gets an empty line to keep the way open (RFC 5626 4.4.1), and a "
        "WebSocket client of a group a ping (RFC 6455 5.5.2); a target that has answered such lines and stops doing so "
        "is given up, and so is a client that has gone. 0 means never.")] = 0
