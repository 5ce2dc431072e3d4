"""What the services process talks to: HTTP clients of its API, webhooks, a language model, speech, a database."""
from typing import Annotated, Literal

from msgspec import Meta

from .table import Count, Name, Seconds, Table, doc


class Api(Table, frozen=True, kw_only=True):
    """The HTTP API. Without `bind` there is none."""

    bind: Annotated[str, doc("Address and port, such as `127.0.0.1:8080`.")] = ""
    token_file: Annotated[str, doc(
        "File with the tokens, one a line, that requests carry as `Authorization: Bearer`; relative to the "
        "configuration file.")] = ""
    token_env: Annotated[str, doc("Environment variable with one token instead.")] = ""
    body_limit: Annotated[int, Meta(ge=1024, le=16_777_216), doc("Largest body of a request in bytes.")] = 262_144


class Reference(Table, frozen=True, kw_only=True):
    """Context by reference, for upstreams with the step `reference` in their `size_policy`: the headers of a request
    that has no room for all of them are kept, and `GET /v1/context/{token}` gives them out to whoever shows the token
    that stood in the request. It needs `[api]`, where the tokens of the API are good for it, too."""

    key_file: Annotated[str, doc(
        "File with the keys that tokens are signed with (HMAC-SHA256), one a line, each of 32 bytes at least; relative "
        "to the configuration file. The first one signs, all are accepted.")] = ""
    key_env: Annotated[str, doc("Environment variable with them instead.")] = ""
    seconds: Annotated[int, Meta(ge=1, le=86400), doc(
        "How long a token is good, as often as it is shown; then it is answered 410.")] = 600
    most: Annotated[int, Meta(ge=1, le=1_000_000), doc(
        "Most contexts that a worker has kept at a time; above, the step is passed over.")] = 20_000
    most_bytes: Annotated[int, Meta(ge=65_536, le=2**31 - 1), doc("Most bytes of all of them, with the same end.")] = (
        33_554_432)
    token_file: Annotated[str, doc(
        "File with tokens of the API, one a line, that are good for `GET /v1/context/...` and for nothing else: for a "
        "PBX, which needs no operator's token then.")] = ""
    token_env: Annotated[str, doc("Environment variable with them instead.")] = ""
    open_to: Annotated[tuple[str, ...], doc(
        "Addresses and prefixes (`192.0.2.0/24`) that need no token of the API: the one that the request carried is "
        "enough. As the API sees them: behind a server that ends TLS, all have that one's address.")] = ()


class Database(Table, frozen=True, kw_only=True):
    """Where records and saved transfer actions are kept."""

    url: Annotated[str, doc("`sqlite+aiosqlite:///file` (relative to the configuration file) or "
                            "`postgresql+asyncpg://...`. Empty: SQLite in the folder of the control socket.")] = ""
    keep_days: Annotated[Count, doc("Records older than this are deleted; 0 keeps them.")] = 90


class Webhook(Table, frozen=True, kw_only=True):
    """Where events of calls and transfers are sent, signed, in order for each call, repeated until taken."""

    name: Annotated[Name, doc("How the log calls it.")]
    url: Annotated[str, doc("`http://` or `https://`.")]
    events: Annotated[tuple[str, ...], doc("Patterns of event names: `call.*`, `transfer.completed`. Empty: all.")] = ()
    secret_file: Annotated[str, doc("File with the key of the signature (HMAC-SHA256).")] = ""
    secret_env: Annotated[str, doc("Environment variable with it instead.")] = ""
    timeout: Annotated[Seconds, doc("How long one attempt may take.")] = 5.0
    attempts: Annotated[int, Meta(ge=1, le=20), doc("After so many attempts an event is given up, and logged.")] = 8


class HttpRequest(Table, frozen=True, kw_only=True):
    """A request to a server of the user's: the pre-call webhook of a route, or an action during the call."""

    name: Annotated[Name, doc("How routes and transfer actions call it.")]
    url: Annotated[str, doc("`http://` or `https://`.")]
    secret_file: Annotated[str, doc("File with the key of the signature (HMAC-SHA256).")] = ""
    secret_env: Annotated[str, doc("Environment variable with it instead.")] = ""
    timeout: Annotated[Seconds, doc("How long the answer is awaited.")] = 3.0
    fallback: Annotated[str, doc("JSON that is taken where no good answer comes; empty: nothing.")] = ""
    body_limit: Annotated[int, Meta(ge=1, le=65_536), doc("Largest answer in bytes.")] = 16_384


class Model(Table, frozen=True, kw_only=True):
    """The language model: any server with the OpenAI-compatible chat API."""

    url: Annotated[str, doc("Base URL, such as `http://127.0.0.1:8000/v1`. Empty: no model; extractors take their "
                            "fallbacks.")] = ""
    model: Annotated[str, doc("Name of the model.")] = ""
    key_file: Annotated[str, doc("File with the API key.")] = ""
    key_env: Annotated[str, doc("Environment variable with it instead.")] = ""
    concurrency: Annotated[int, Meta(ge=1, le=1000), doc("Most questions at a time over all calls.")] = 32
    turns: Annotated[int, Meta(ge=1, le=2000), doc(
        "Most turns of the conversation, the latest, that it is shown.")] = 200


class Speech(Table, frozen=True, kw_only=True):
    """How text becomes sound."""

    program: Annotated[tuple[str, ...], doc(
        "A local program that reads text from its input and writes a sound (WAV) to its output. Of the environment it "
        "gets paths and language, no keys.")] = ("espeak-ng", "--stdin", "--stdout")
    url: Annotated[str, doc("Base URL of an OpenAI-compatible speech API; takes the program's place.")] = ""
    model: Annotated[str, doc("Name of its model.")] = ""
    voice: Annotated[str, doc("Name of its voice.")] = ""
    key_file: Annotated[str, doc("File with its API key.")] = ""
    key_env: Annotated[str, doc("Environment variable with it instead.")] = ""


class Services(Table, frozen=True, kw_only=True):
    """The process that does all of this beside the calls."""

    queue: Annotated[int, Meta(ge=16, le=1_000_000), doc("Most events that wait for it in a worker; more are counted "
                                                        "and dropped, records last.")] = 10_000
    conversation_bytes: Annotated[Count, doc(
        "Most bytes of a call's conversation that are kept, the latest.")] = 262_144
    reply_timeout: Annotated[float, Meta(ge=0.1, le=60), doc(
        "How long a worker's reply to a request of the API is awaited; it takes well below a millisecond, unless the "
        "worker hangs. Then the request is answered 503.")] = 2.0
    log: Annotated[Literal["debug", "info", "warning", "error"], doc("Least important line that it writes.")] = "info"
