"""Where the INVITE of a controlled call goes on, by its verdict."""
import contextlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from sipcore.base.errors import Fault, SipEdgeError
from sipcore.base.place import Unresolved
from sipcore.stack.aim import Aim
from sipcore.stack.naming import place_in
from sipcore.stack.route import is_secure, is_sips

if TYPE_CHECKING:
    from sipcore.stack.hop import Hop
    from sipcore.stack.useragent import UserAgent
    from sipcore.stack.verdict import Target, Verdict
    from sipcore.wire.message import Message


class NoWay(SipEdgeError):
    """The request URI leads to no address."""

    status = 404
    fault: Fault = "peer"

    def __init__(self, text: str, *, status: int = 404) -> None:
        super().__init__(text)
        self.status = status


class Loop(SipEdgeError):
    """The next hop is the edge itself."""

    status = 482
    fault: Fault = "peer"


class Way(NamedTuple):
    """The request URI for the first address, and all addresses in the order that is tried."""

    uri: str
    to: "Hop"
    others: "tuple[Hop, ...]"
    """Further addresses that the same listener reaches: what is offered names that listener's address."""
    listener: int
    uris: tuple[str, ...] = ()
    """The request URIs for the others."""


def hop_to(stack: "UserAgent", host: str, port: int, transport: str, name: str) -> "Hop":
    """The Hop of an address that a policy named."""
    return (host, port) if transport == "udp" else (host, port, transport, stack.name_number(name))


def aims_of(stack: "UserAgent", verdict: "Verdict", request: "Message") -> list[Aim]:
    """What a verdict says of where a request goes, as it is. Raises NoWay where that is nowhere."""
    if verdict.targets:
        aims = []
        for target in verdict.targets:
            uri = _uri(target, verdict, request)
            place = target.place
            if place is not None and is_sips(uri):
                place = place._replace(secure=True)
            aims.append(Aim(uri, target.host, target.port, target.transport, target.name, target.listener, place))
        return aims
    uri = (verdict.uri or b"").decode() or request.uri
    hop = stack.hop(request.uri)
    if hop is not None:
        name = (stack.server_name(hop[3]) or "") if len(hop) > 2 else ""
        return [Aim(uri, hop[0], hop[1], hop[2] if len(hop) > 2 else "udp", name)]
    place = place_in(request.uri)
    if place is None:
        raise NoWay("the request URI is no address")
    return [Aim(uri, place=place)]


def way_of(stack: "UserAgent", aims: Sequence[Aim] | Unresolved, came_in: int) -> Way:
    """came_in: the listener that the call came in at. Raises NoWay where no listener reaches the first address, and
    Unresolved as it is."""
    if isinstance(aims, Unresolved):
        raise aims
    first, others = aims[0], aims[1:]
    to = hop_to(stack, first.host, first.port, first.transport, first.name)
    listener = _listener(stack, first.uri, to, came_in, first.listener)
    hops, uris = [], []
    for aim in others:
        hop = hop_to(stack, aim.host, aim.port, aim.transport, aim.name)
        with contextlib.suppress(NoWay):
            if _listener(stack, aim.uri, hop, came_in, aim.listener) == listener:
                hops.append(hop)
                uris.append(aim.uri)
    return Way(first.uri, to, tuple(hops), listener, tuple(uris))


def _listener(stack: "UserAgent", uri: str, hop: "Hop", came_in: int, wanted: int = -1) -> int:
    if is_sips(uri) and not is_secure(hop):
        raise NoWay(f"{uri} needs TLS on every hop", status=480)
    return listener_to(stack, hop, came_in, wanted)


def listener_to(stack: "UserAgent", hop: "Hop", first: int, wanted: int = -1) -> int:
    """The listener to send from: the wanted one, the first choice, any that fits. Raises NoWay."""
    listener = stack.listener_for(hop, first, wanted)
    if listener < 0:
        raise NoWay(f"no listener reaches {hop[0]} by {hop[2] if len(hop) > 2 else 'udp'}")
    return listener


def _uri(target: "Target", verdict: "Verdict", request: "Message") -> str:
    return (target.uri or verdict.uri).decode("utf-8", "surrogateescape") or request.uri
