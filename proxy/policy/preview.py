"""The size budget of a transfer action before there is a call: shown when it is saved, and by `sipedge check`."""
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from proxy.config import Action, Config, Upstream
from sipcore.stack.outgoing import Outgoing

from .addresses import bind_address, parse_target, transports
from .context import Variables, compile_template, lookup
from .fitting import fit_own, via_line
from .fragmentation import NO_TCP
from .headers import Patterns
from .placement import Plan, Sent, plan_headers
from .references import PRETENDED
from .routing import REQUEST_URI
from .samples import OWN_HEADERS, SAMPLE_AGENT, SAMPLE_CALLER, SAMPLE_HOST, SAMPLE_SDP, SAMPLE_VALUE
from .targets import Destination, Targets
from .upstreams import Peer

_CALL_ID = "3c26700857a87f8421d04b9c7e"
_TAG = "a73kszlfl9x1y"


@dataclass(frozen=True, slots=True)
class Preview:
    """One request of an action, as a sample call would send it."""

    method: str
    """INVITE or REFER."""
    target: str
    line: str
    """`1,342 of 1,300 bytes`."""
    size: int
    limit: int
    fits: bool
    """Without any step of the size policy."""
    refused: bool
    """The size policy would refuse it (513)."""
    headers: tuple[str, ...]
    """Names, the ones that are dropped last first."""
    sent: tuple[Sent, ...]
    """Where each header would go."""
    steps: tuple[str, ...]
    """What the size policy would do; empty where it fits."""
    remarks: tuple[str, ...]


def budget_preview(config: Config, action: Action, variables: Variables | None = None,
                   targets: Targets | None = None) -> list[Preview]:
    """What an action sends, with sizes: its REFER (blind), its INVITE (warm, or after a blind one that failed).

    variables: sample values; those that are missing stand as a sample text, and what a model answers counts with the
    longest of its allowed answers or its limit. The action has no problems (check_action). Raises Refused where a
    header whose `missing` is `fail` cannot have the value given.
    """
    targets = targets or Targets(config)
    previews = []
    if action.mode == "blind":
        previews.append(_preview(config, action, variables or {}, targets, "REFER"))
    if action.mode == "warm" or action.on_failure == "bridge":
        previews.append(_preview(config, action, variables or {}, targets, "INVITE"))
    return previews


def policy_remarks(config: Config, upstream: Upstream) -> tuple[str, ...]:
    """Steps of a size policy that do nothing."""
    remarks = []
    if "codecs" in upstream.size_policy and not upstream.codecs:
        remarks.append("codecs: no list, the step does nothing")
    if "tcp" in upstream.size_policy and (why := no_way_by_tcp(config, upstream)):
        remarks.append(f"tcp: {why}, the step does nothing")
    return tuple(remarks)


def no_way_by_tcp(config: Config, upstream: Upstream) -> str:
    """Why no request of the upstream's can go by TCP in the place of UDP; empty where one can. Where a name leads shows
    later."""
    ipv6 = {":" in address.host for transport, address in (bind_address(one.bind) for one in config.listeners)
            if transport == "tcp"}
    if not ipv6:
        return NO_TCP
    by_udp = [target for target in upstream.targets if target.transport in ("", "udp")]
    if upstream.targets and not by_udp:
        return "no target is reached by UDP"
    addresses = [parse_target(target.address) for target in by_udp]
    if addresses and all(one.place is None and (":" in one.host) not in ipv6 for one in addresses):
        return f"no listener of tcp reaches {addresses[0]}"
    return ""


def _preview(config: Config, action: Action, variables: Variables, targets: Targets, method: str) -> Preview:
    destination = _destination(action, targets, method == "INVITE")
    peer = destination.peer
    if method == "REFER":
        peer = targets.peers[action.upstream or REQUEST_URI]
    filled = _with_samples(action, variables)
    extracted = {one.header: max(one.allowed, key=lambda text: len(text.encode()), default="x" * one.limit)
                 for one in action.extractors}
    plan = plan_headers(action, filled, extracted, peer.settings, method, internal=Patterns(config.internal.headers),
                        trusted=peer.trusted)
    if method == "REFER":
        plan = plan.towards(destination.uri)
    # A name may lead to any.
    listener = max(destination.hops[0].listener, 0) if destination.hops else 0
    out = _request(action, plan, destination, peer)
    target = destination.uri if method == "REFER" else ""
    ipv6 = bool(destination.hops) and ":" in destination.hops[0].host
    no_tcp = "" if "tcp" in transports(config) else NO_TCP
    fitted = fit_own(out, plan, peer, via=via_line(config, listener), target=target, ipv6=ipv6, no_tcp=no_tcp,
                     keeper=PRETENDED)
    steps = fitted.steps
    if steps and not fitted.refused:
        steps = (*steps, f"then {fitted.size:,} bytes")
    return Preview(method, destination.text, fitted.budget, fitted.asked, fitted.limit, not fitted.steps,
                   fitted.refused, tuple(plan.names), fitted.sent, steps,
                   (*_counted(action), *policy_remarks(config, peer.settings)))


def _counted(action: Action) -> tuple[str, ...]:
    return tuple(f"{one.header} counted with all {one.limit} bytes" for one in action.extractors if not one.allowed)


def _destination(action: Action, targets: Targets, reach: bool) -> Destination:
    """The first target, or one of a usual length where whoever starts the transfer names it."""
    if action.targets:
        return targets.resolve(action.targets[0], upstream=action.upstream, custom=targets.custom, reach=reach)
    peer = targets.peers[action.upstream or REQUEST_URI]
    text = f"sip:+12025550188@{peer.members.addresses[0] if peer.addresses else SAMPLE_HOST}"
    return Destination(text, text, (), peer)


def _request(action: Action, plan: Plan, destination: Destination, peer: Peer) -> Outgoing:
    contact = f"<sip:{SAMPLE_HOST}>"
    if plan.method == "REFER":
        headers = (("Refer-To", plan.refer_to(destination.uri)), ("Referred-By", SAMPLE_AGENT), *plan.headers())
        return Outgoing(method="REFER", uri="sip:+12025550143@192.0.2.10:5060", call_id=_CALL_ID, cseq=1,
                        local=SAMPLE_AGENT, local_tag=_TAG, remote=SAMPLE_CALLER, remote_tag="a73kszlfl9",
                        contact=contact, headers=headers)
    local = {"caller": SAMPLE_CALLER, "fixed": f"<{action.caller_uri}>"}.get(action.caller_id, SAMPLE_AGENT)
    identity = [("P-Asserted-Identity", local)] if peer.trusted else []
    if action.diversion:
        identity.append(("Diversion", f"{SAMPLE_AGENT};reason=unconditional"))
    return Outgoing(method="INVITE", uri=destination.uri, call_id=_CALL_ID, cseq=1, local=local, local_tag=_TAG,
                    remote=f"<{destination.uri}>", contact=contact, headers=(*identity, *plan.headers(), *OWN_HEADERS),
                    body=SAMPLE_SDP.replace("\n", "\r\n").encode())


def _with_samples(action: Action, variables: Variables) -> dict[str, Any]:
    """The variables, with a sample text for each that the action reads and that is missing."""
    filled: dict[str, Any] = dict(variables)
    for header in action.headers:
        for _, name, _ in compile_template(header.value).pieces:
            if name and lookup(filled, name)[0] is None:
                filled = _set(filled, name.split("."), SAMPLE_VALUE)
    return filled


def _set(table: Mapping[str, Any], path: list[str], value: str) -> dict[str, Any]:
    inner = table.get(path[0])
    below: Any = value
    if len(path) > 1:
        below = _set(inner if isinstance(inner, Mapping) else {}, path[1:], value)
    return {**table, path[0]: below}
