"""The way of a request inside a dialog of the edge's own: address and listener, by the URI that says where it goes."""
from typing import TYPE_CHECKING

from sipcore.base.errors import SipEdgeError
from sipcore.base.place import Unresolved, in_order
from sipcore.stack.hop import Hop
from sipcore.stack.naming import place_in

if TYPE_CHECKING:
    from sipcore.stack.useragent import UserAgent

_FLOW = 0x80000000
"""In the scope of a Hop: a connection that the far end opened (SCOPE_FLOW of sipcore.base.address)."""
_SECURE = ("tls", "wss")
_WEBSOCKET = ("ws", "wss")


def is_settled(agent: "UserAgent", uri: str) -> bool:
    """Whether the way that a URI leads is known, so that it need not be asked for again."""
    place = place_in(uri) if agent.hop(uri) is None else None
    return place is None or agent.naming.known(place) is not None


def _named(agent: "UserAgent", uri: str, listener: int) -> Hop | None:
    """The first address of a name that a listener reaches; None, and asked for, where it is not known."""
    place = place_in(uri)
    if place is None:
        return None
    outcome = agent.naming.known(place) or agent.naming.resolve(place, _unheard)
    if outcome is None or isinstance(outcome, Unresolved):
        return None
    for one in in_order(outcome, 0):
        hop: Hop = (one.ip, one.port) if one.transport == "udp" else (
            one.ip, one.port, one.transport, agent.name_number(one.name) if one.transport in _SECURE else 0)
        if agent.listener_for(hop, listener) >= 0:
            return hop
    return None


def _unheard(outcome: object, now: int) -> None:
    """Nobody waits for it."""


class Insecure(SipEdgeError):
    """sips: asks for TLS on every hop, and there is no such way (RFC 5630)."""

    status = 480


def is_sips(uri: str) -> bool:
    return uri[3:4] in ("s", "S") and uri[:5].lower() == "sips:"


def is_secure(hop: Hop) -> bool:
    return len(hop) > 2 and hop[2] in _SECURE


def by_tcp(hop: Hop) -> Hop:
    """The same address by TCP."""
    return hop[0], hop[1], "tcp", 0


def way_to(agent: "UserAgent", uri: str, far: Hop, listener: int) -> tuple[Hop, int]:
    """The Hop for a URI, and the listener to send from.

    far: where the dialog's INVITE went to or came from, by listener. It is the way where the URI names no address, or
    one that no listener of ours reaches, and where it is a name until that is known; a connection that the far end
    opened is also the way to the URI's address, for a client behind a NAT or firewall takes no other, and to that of a
    WebSocket client whatever it is (RFC 7118 5.3). Raises Insecure where sips: would go without TLS.
    """
    hop = agent.hop(uri) or _named(agent, uri, listener)
    if hop is not None and len(hop) > 2 and hop[2] in _WEBSOCKET and len(far) > 2 and far[2] in _WEBSOCKET:
        hop = far
    if hop is not None and len(hop) > 2 and len(far) > 2 and (hop[0], hop[2]) == (far[0], far[2]):
        if far[3] & _FLOW:
            hop = far
        elif not hop[3]:
            hop = hop[0], hop[1], hop[2], far[3]
    out = agent.listener_for(hop, listener) if hop is not None else -1
    if hop is None or out < 0:
        hop, out = far, listener
    if is_sips(uri) and not is_secure(hop):
        raise Insecure(f"{uri} needs TLS, and there is no way to it by TLS")
    return hop, out
