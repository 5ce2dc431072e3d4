"""How the edge runs: bounds, timers, processes, logs and secrets."""
from typing import Annotated, Literal

from msgspec import Meta

from .table import Count, Seconds, Table, doc


class Limits(Table, frozen=True, kw_only=True):
    """Bounds on what one message and all of them together may take."""

    message_size: Annotated[int, Meta(ge=1024, le=65535), doc("Largest message in bytes.")] = 16384
    header_count: Annotated[int, Meta(ge=16, le=200), doc(
        "Most header lines in a message, continuation lines counted.")] = 128
    line_length: Annotated[int, Meta(ge=256, le=65535), doc("Longest line in bytes, folded lines joined.")] = 8192
    transactions: Annotated[int, Meta(ge=16, le=100_000_000), doc(
        "Most transactions at a time in a worker, about 160 bytes each; above, requests get 503. A finished one "
        "lingers for 64 times T1 (RFC 3261 17), so this is about 64 times the calls per second.")] = 1_000_000
    dialogs: Annotated[int, Meta(ge=16, le=100_000_000), doc(
        "Most forwarded calls at a time in a worker, 256 bytes each; above, calls get 503.")] = 250_000
    calls: Annotated[Count, doc(
        "Most calls at a time over all upstreams; more are answered 503. 0 means no limit.")] = 0
    sources: Annotated[int, Meta(ge=64, le=16_777_216), doc(
        "Most source addresses whose rates are remembered, for each group.")] = 65536
    memory: Annotated[int, Meta(ge=16, le=1_000_000), doc(
        "Most memory for the bytes of messages in a worker, in MiB.")] = 1024


class Timers(Table, frozen=True, kw_only=True):
    """Times in seconds (RFC 3261, table 4)."""

    t1: Annotated[float, Meta(ge=0.01, le=10), doc("Estimate of the round trip; retransmissions start here.")] = 0.5
    t2: Annotated[float, Meta(ge=0.1, le=32), doc("Longest pause between retransmissions.")] = 4.0
    t4: Annotated[float, Meta(ge=0.1, le=60), doc("How long a message may stay in the network.")] = 5.0
    try_timeout: Annotated[Seconds, doc("Time until the next target of an upstream is tried.")] = 2.0
    timer_c: Annotated[Seconds, doc("How long an INVITE may ring.")] = 180.0
    keepalive: Annotated[Seconds, doc(
        "How often phones that have registered through the edge over UDP are sent an empty packet, so that a NAT on "
        "the way keeps its binding, in seconds; 0: never.")] = 0.0
    refer_outcome: Annotated[float, Meta(ge=1, le=3600), doc(
        "How long the last NOTIFY of a transfer is awaited; then its outcome is `unknown`.")] = 120.0


class Process(Table, frozen=True, kw_only=True):
    """Supervisor and workers."""

    workers: Annotated[int, Meta(ge=1, le=1), doc("Worker processes; one in this version.")] = 1
    stop_timeout: Annotated[Seconds, doc("At a stop, running transactions have this many seconds to finish.")] = 10.0
    directory: Annotated[str, doc(
        "Folder for the control socket and the counters; empty takes `$RUNTIME_DIRECTORY`, else a folder of the "
        "user's own under the system's temporary folder.")] = ""


class Log(Table, frozen=True, kw_only=True):
    """What is written, and how."""

    level: Annotated[Literal["debug", "info", "warning", "error"], doc("Least important line that is written.")] = (
        "info")
    format: Annotated[Literal["auto", "console", "json"], doc("`auto`: console on a terminal, else JSON.")] = "auto"
    calls: Annotated[bool, doc("One line for each call when it ends.")] = True
    trace: Annotated[bool, doc("Every message in full.")] = False


class Secrets(Table, frozen=True, kw_only=True):
    """Secrets stand in files or in the environment, never in this file."""

    token_key_file: Annotated[str, doc(
        "File with the key for dialog tokens and branches (32 bytes at least); relative to the configuration "
        "file. Machines that share calls share it.")] = ""
    token_key_env: Annotated[str, doc(
        "Environment variable with the key instead. Without either, a new key is made at each start.")] = ""
