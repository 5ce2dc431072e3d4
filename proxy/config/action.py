"""Transfer actions: where a call is handed over to, how, and with what context. Saved ones have the same types."""
from typing import Annotated, Literal

from msgspec import Meta

from .table import Count, Name, Names, Seconds, Table, doc

Missing = Literal["omit", "empty", "fail"]


class ActionHeader(Table, frozen=True, kw_only=True):
    """A header of a transfer, filled when the transfer starts."""

    name: Annotated[str, doc("`X-` and then letters, digits, `-` and `_`.")]
    value: Annotated[str, doc(
        "Text in which `{...}` is replaced: `{results.data.name}` (what a request returned), `{name}` (a flow "
        "variable), `{X-Name}` (a header of the caller's INVITE), `{call_id}`, `{from_phone_number}`, "
        "`{to_phone_number}`; `{{` and `}}` stand for braces.")]
    missing: Annotated[Missing, doc(
        "When a variable has no value: leave the header out, put empty text in the variable's place, or fail the "
        "transfer.")] = "omit"
    priority: Annotated[Count, doc("When the request is too big, the lowest are dropped first.")] = 0


class Extractor(Table, frozen=True, kw_only=True):
    """A header whose value a language model reads from the conversation when the transfer starts."""

    header: Annotated[str, doc("Name of the header: `X-` and then letters, digits, `-` and `_`.")]
    prompt: Annotated[str, Meta(min_length=1, max_length=8000), doc("What the model is asked about the "
                                                                    "conversation.")]
    allowed: Annotated[tuple[str, ...], doc("Answers that are taken; any other one counts as none. Empty: any.")] = ()
    deadline: Annotated[Seconds, doc("How long the answer is awaited; then the fallback is taken.")] = 3.0
    fallback: Annotated[str, doc("The value without an answer; empty leaves the header out.")] = ""
    limit: Annotated[int, Meta(ge=1, le=4096), doc("Most bytes (UTF-8) of the value; what is longer is cut.")] = 256
    priority: Annotated[Count, doc("As for headers.")] = 0


class Whisper(Table, frozen=True, kw_only=True):
    """What the target of a warm transfer hears before the bridge, alone. One of text, file and summary."""

    text: Annotated[str, doc("Spoken text; a template as in headers.")] = ""
    file: Annotated[str, doc("A sound file; relative to the configuration file.")] = ""
    summary: Annotated[str, doc("What the language model is asked for; its answer is spoken.")] = ""
    fallback: Annotated[str, doc("Spoken where the summary does not come in time; empty: nothing is.")] = ""
    deadline: Annotated[Seconds, doc(
        "How long summary and speech together may take; they are prepared while the target rings.")] = 8.0
    wait: Annotated[Seconds, doc("How long an answered target waits at most for a whisper that is not ready.")] = 2.0
    longest: Annotated[Seconds, doc("The whisper is cut after so many seconds.")] = 30.0
    accept: Annotated[str, Meta(pattern="^[0-9*#A-D]?$"), doc(
        "Key that the target presses to take the call; empty: no key is needed.")] = ""
    decline: Annotated[str, Meta(pattern="^[0-9*#A-D]?$"), doc("Key that refuses the call.")] = ""
    answer_within: Annotated[Seconds, doc("How long a key is awaited after the whisper; then it counts as "
                                          "refused.")] = 15.0


class Action(Table, frozen=True, kw_only=True):
    """A way to hand a call over, named by REFER rules and by the API."""

    name: Annotated[Name, doc("How REFER rules and the API call it.")]
    mode: Annotated[Literal["blind", "warm"], doc(
        "`blind`: REFER to the caller's server, which makes the new call itself. `warm`: the edge calls the target, "
        "whispers, and bridges.")]
    targets: Annotated[tuple[str, ...], Meta(max_length=16), doc(
        "`sip:user@host[:port]`, `sip:+123@host`, `tel:+123`, or a bare extension where `upstream` is given; tried in "
        "this order. Empty: whoever starts the transfer names the target.")] = ()
    upstream: Annotated[str, doc(
        "Peer that the target is reached through, and whose settings (URI template, header placement, size policy) "
        "hold. Empty: the upstream at the target's address, or the request URI.")] = ""
    ring_timeout: Annotated[Seconds, doc("How long each target may ring.")] = 30.0
    deadline: Annotated[Seconds, doc("How long the whole transfer may take, with all its targets.")] = 90.0
    on_failure: Annotated[Literal["", "end", "return", "bridge", "next"], doc(
        "`end` the call; `return` the caller to the agent; `bridge`: a blind transfer that failed is tried by INVITE; "
        "`next` target, and at the end of the list back to the agent. Empty: `end` for blind, `return` for warm.")] = ""
    headers: Annotated[tuple[ActionHeader, ...], doc("Headers that carry context.")] = ()
    extractors: Annotated[tuple[Extractor, ...], doc("Headers that a language model fills.")] = ()
    before: Annotated[Names, doc("Requests (`[[request]]`) that are made, and waited for, before it starts.")] = ()
    caller_id: Annotated[Literal["agent", "caller", "fixed"], doc(
        "Who the target of a warm transfer sees as calling.")] = "agent"
    caller_uri: Annotated[str, doc("The URI for `fixed`.")] = ""
    diversion: Annotated[bool, doc("Tell the target by Diversion (RFC 5806) for whom the call came first.")] = False
    hold: Annotated[Literal["agent", "audio"], doc(
        "Until the bridge the caller goes on with the agent, or hears hold audio.")] = "agent"
    hold_file: Annotated[str, doc("The sound for `audio`; relative to the configuration file. Empty: silence.")] = ""
    whisper: Annotated[Whisper | None, doc("What the target hears before the bridge.")] = None
    transcode: Annotated[bool, doc(
        "Where caller and target have nothing in common but G.711 of different laws, convert one into the other; "
        "without it they cannot be joined.")] = False
    keep_agent: Annotated[bool, doc("Accepted for later: the agent stays (three-way). `true` is refused in this "
                                    "version.")] = False
