"""What workers and the services process say to each other about calls: questions, commands, events, records.

All are msgspec Structs, sent as msgpack, one a datagram, over the AF_UNIX SEQPACKET socket that the supervisor makes
for each worker (see proxy.link). Times of day are ms since 1970. Nothing here blocks either side: what does not fit in
the socket waits in a bounded queue.
"""
import secrets
from typing import Any, Literal

from msgspec import Struct

CallState = Literal["asking", "calling", "ringing", "up", "ended"]
Role = Literal["caller", "agent", "target"]
Mode = Literal["blind", "warm", "attended"]
TransferState = Literal[
    "preparing",                                        # webhooks, extractors, checks
    "referring", "accepted",                            # blind: REFER sent; any 2xx came
    "inviting", "ringing", "whispering", "bridging",    # warm
    "completed", "failed", "cancelled", "unknown", "refused",   # terminal
]
TERMINAL = frozenset({"completed", "failed", "cancelled", "unknown", "refused"})


_WORKER_DIGITS = 2
_RANDOM_BYTES = 12


def new_id(worker: int) -> str:
    """An identifier of a call or a transfer: the number of its worker (two hexadecimal digits), then random ones."""
    return f"{worker:0{_WORKER_DIGITS}x}{secrets.token_hex(_RANDOM_BYTES)}"


def worker_of(identifier: str) -> int:
    """The worker whose call or transfer that is; -1 for what is no such identifier."""
    head = identifier[:_WORKER_DIGITS]
    good = len(identifier) == _WORKER_DIGITS + 2 * _RANDOM_BYTES and identifier.isascii() and identifier.isalnum()
    try:
        return int(head, 16) if good else -1
    except ValueError:
        return -1


class Leg(Struct, kw_only=True):
    """One side of a controlled call."""

    role: Role
    uri: str
    address: str
    sip_call_id: str
    state: str
    codec: str = ""
    upstream: str = ""
    group: str = ""


class Call(Struct, kw_only=True):
    """A controlled call as others see it."""

    id: str
    state: CallState
    began: int
    answered: int = 0
    ended: int = 0
    caller: str = ""                    # URIs
    called: str = ""
    legs: list[Leg] = []
    variables: dict[str, Any] = {}
    transfer: str = ""                  # id of the one that runs
    ended_by: str = ""                  # caller, agent, target, edge, api
    status: int = 0                     # the SIP status that the caller's INVITE ended with
    reason: str = ""
    audio: dict[str, Any] = {}          # quality by leg, when the call has ended


class Step(Struct):
    """One thing that happened in a transfer."""

    at: int
    what: str
    detail: str = ""


class SentHeader(Struct, kw_only=True):
    """A header of a transfer and what became of it."""

    name: str
    where: Literal["header", "refer-to", "user-to-user", "reference", "left out"]
    why: str = ""


class Extracted(Struct, kw_only=True):
    """What an extractor or a summary came to."""

    name: str
    value: str
    source: Literal["model", "fallback", "none"]
    ms: int
    why: str = ""


class Transfer(Struct, kw_only=True):
    """A transfer: as it runs, and in its final form the record."""

    id: str
    call: str
    action: str                         # name of the action; empty where it was given whole
    mode: Mode
    started_by: Literal["refer", "api"]
    state: TransferState
    began: int
    ended: int = 0
    target: str = ""                    # the one that was tried last
    targets: list[str] = []
    accepted: bool = False              # a 2xx to REFER; says nothing about the outcome
    status: int = 0                     # the outcome's SIP status: the far end's, unchanged
    reason: str = ""
    codes: list[int] = []               # every SIP status seen, in order
    steps: list[Step] = []
    headers: list[SentHeader] = []      # names and places, never values
    budget: str = ""                    # "1,342 of 1,300 bytes"
    extracted: list[Extracted] = []
    fell_back: str = ""                 # what on_failure did: end, return, bridge, next
    verdict: str = ""                   # in plain language


class Registration(Struct, kw_only=True):
    """A registration of the edge's own at an upstream."""

    aor: str
    upstream: str
    state: Literal["waiting", "trying", "registered", "failed", "removing", "removed"]
    contact: str = ""
    address: str = ""                   # where it was sent last
    expires: int = 0                    # when what is granted is over, 0: nothing is
    next: int = 0                       # when it is sent again, 0: not yet known
    status: int = 0                     # of the last answer
    reason: str = ""
    failures: int = 0                   # in a row


# --- worker to services: questions. Each gets one Answer with its number, within its deadline or not at all.


class AskRequests(Struct, tag="ask_requests", kw_only=True):
    """Make these HTTP requests ([[request]]) at once; Answer.values: {"results": merged JSON}."""

    ask: int
    call: Call
    names: list[str]
    deadline: float                     # seconds


class Question(Struct):
    """An extractor as the services process is asked it."""

    name: str
    prompt: str
    allowed: tuple[str, ...]
    deadline: float
    fallback: str
    limit: int


class AskExtractors(Struct, tag="ask_extractors", kw_only=True):
    """Ask the language model about a call's conversation; Answer.extracted has one for each, in order."""

    ask: int
    call: str
    questions: list[Question]


class AskSpeech(Struct, tag="ask_speech", kw_only=True):
    """Turn text, a file or a summary of the conversation into sound; the Answer comes with a memory file of encoded
    frames for the relay (sipcore.media.sound) where all went well."""

    ask: int
    call: str
    codec: Literal["PCMU", "PCMA", "G722"]
    deadline: float
    text: str = ""
    file: str = ""
    summary: str = ""
    fallback: str = ""
    longest: float = 30.0


class Answer(Struct, tag="answer", kw_only=True):
    """Services to worker."""

    ask: int
    error: str = ""
    values: dict[str, Any] = {}
    extracted: list[Extracted] = []
    frames: int = 0                     # of a sound; 0: none comes along
    spoken: str = ""                    # the text that is heard


# --- worker to services: what happened


class Event(Struct, tag="event", kw_only=True):
    """name: call.started, call.ringing, call.answered, call.ended, call.silent, transfer.<state>, transfer.progress;
    and of no call: target.<state>, registration.<registered, failed, expired or removed>, address.banned,
    address.unbanned, edge.draining, edge.resumed."""

    name: str
    at: int
    call: Call | None = None
    transfer: Transfer | None = None
    detail: dict[str, Any] = {}

    @property
    def about(self) -> str:
        """The id of its call; empty for none."""
        return self.call.id if self.call is not None else ""


class Record(Struct, tag="record", kw_only=True):
    """The final form of a call or a transfer: kept, never dropped before any event. number: set by the worker's end of
    the link; the record is sent again until it is Kept."""

    at: int
    number: int = 0
    call: Call | None = None
    transfer: Transfer | None = None


class Context(Struct, tag="context", kw_only=True):
    """The headers of a request that went by reference, to be had by the token that it carried."""

    name: str                           # as proxy.policy.references.Token
    expires: int                        # seconds since 1970
    headers: dict[str, str]


# --- services to worker: commands. Each gets one Reply with its number.


class ListCalls(Struct, tag="list_calls", kw_only=True):
    """Reply.calls: a page of the calls in progress, in the order they began."""

    ask: int
    after: str = ""
    limit: int = 100


class ShowCall(Struct, tag="show_call", kw_only=True):
    """Reply.calls: the one; Reply.transfers: its transfers, latest last."""

    ask: int
    call: str


class HangUp(Struct, tag="hang_up", kw_only=True):
    ask: int
    call: str


class SetVariables(Struct, tag="set_variables", kw_only=True):
    """Set flow variables; a value of None takes one away."""

    ask: int
    call: str
    variables: dict[str, str | None]


class StartTransfer(Struct, tag="start_transfer", kw_only=True):
    """action: a msgpack-encoded proxy.config.Action, validated by the sender; the worker validates it again, with the
    same code. target: in place of the action's. Reply.transfers: the one that began."""

    ask: int
    call: str
    action: bytes
    target: str = ""
    variables: dict[str, str] = {}


class ShowTransfer(Struct, tag="show_transfer", kw_only=True):
    ask: int
    transfer: str


class CancelTransfer(Struct, tag="cancel_transfer", kw_only=True):
    ask: int
    transfer: str


class SavedActions(Struct, tag="saved_actions", kw_only=True):
    """The saved transfer actions, all of them, msgpack-encoded: sent at the start and after each change, so that a
    REFER can name them too."""

    ask: int
    actions: list[bytes]


class ListUpstreams(Struct, tag="list_upstreams", kw_only=True):
    """Reply.upstreams: the calls up of each; Reply.targets: how their targets are."""

    ask: int


class ListRegistrations(Struct, tag="list_registrations", kw_only=True):
    """Reply.registrations: those of the worker, which has them all or none."""

    ask: int


# --- services to worker: what needs no reply


class Kept(Struct, tag="kept"):
    """The records up to this number are on disk."""

    number: int


class Wanted(Struct, tag="wanted"):
    """Patterns (`call.*`) of the names of events that somebody listens to; no others need to be sent."""

    patterns: list[str]


class TargetState(Struct, kw_only=True):
    """A target of an upstream as a worker sees it."""

    upstream: str
    address: str
    state: Literal["up", "degraded", "down", "draining"]
    since: int                          # ms since 1970
    share: float                        # of its weight, 0 to 1
    calls: int                          # in progress
    failures: int                       # in a row
    last_failure: str = ""


class Reply(Struct, tag="reply", kw_only=True):
    """Worker to services. status: as an HTTP status (200, 202, 404, 409, 422, 503); field: the one that is wrong."""

    ask: int
    status: int = 200
    error: str = ""
    field: str = ""
    calls: list[Call] = []
    transfers: list[Transfer] = []
    upstreams: dict[str, int] = {}
    registrations: list[Registration] = []
    targets: list[TargetState] = []
    more: bool = False


Asking = AskRequests | AskExtractors | AskSpeech
Command = (ListCalls | ShowCall | HangUp | SetVariables | StartTransfer | ShowTransfer | CancelTransfer | SavedActions
           | ListUpstreams | ListRegistrations)
FromWorker = Asking | Context | Event | Record | Reply
ToWorker = Command | Answer | Kept | Wanted
