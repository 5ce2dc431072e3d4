"""`sipedge preflight`: will calls to a SIP URI, and transfers there, work from here?

Resolves it as the edge would, asks each address OPTIONS over the edge's own stack, and says what that means.
"""
import asyncio
from collections.abc import Sequence

import msgspec

from proxy.config import Config
from proxy.naming import name_servers, reach_of, resolver_of
from proxy.pathmtu import path_mtu
from proxy.policy.addresses import bind_address
from proxy.policy.outline import outline
from proxy.streaming import contexts
from sipcore.base.errors import MalformedMessage
from sipcore.base.place import Place, Reached, Unresolved, in_order
from sipcore.net.locate import Reach
from sipcore.net.resolve import Outcome
from sipcore.net.tls import TlsContext
from sipcore.wire.uri import URI

from .probe import ask
from .report import Report, Word, lines_of, words_of

MOST_ADDRESSES = 4
"""That are asked."""
ANYWHERE = Reach(("udp", "tcp", "tls"))
_USUAL_MTU = 1500

__all__ = ["Report", "lines_of", "preflight"]


async def preflight(uri: str, config: Config, *, as_configured: bool, seconds: float = 5.0) -> Report:
    """Ask whoever answers for a sip: or sips: URI.

    as_configured: by the transports and from the addresses of the configured listeners, with the budgets of its
    header sets; else by any, from anywhere.
    seconds: for each address; they are asked at the same time. The name has the deadline of the configuration.
    """
    try:
        parsed = URI(uri)
    except MalformedMessage as error:
        return _failed(uri, f"{uri} is no URI: {error}.")
    if parsed.scheme not in ("sip", "sips") or not parsed.host:
        return _failed(uri, f"Expected a sip: or sips: URI, found {uri}. A bare extension or a tel: URI goes where its "
                            "upstream says: ask that upstream's address.")
    place = Place.of(parsed.param("maddr") or parsed.host, parsed.port, parsed.param("transport") or "",
                     parsed.scheme == "sips")
    reach = reach_of(config) if as_configured else ANYWHERE
    outcome = await _resolved(place, config, reach)
    if isinstance(outcome, Unresolved):
        return _failed(uri, f"{outcome}.")
    found = in_order(outcome, 0)[:MOST_ADDRESSES]
    sources = _sources(config) if as_configured else {}
    context = _context(config, as_configured)
    answers = await asyncio.gather(*(
        ask(uri, one, context, seconds, sources.get((one.transport, ":" in one.ip), "")) for one in found))
    return Report(uri=uri, answers=tuple(answers), sizes=_sizes(config, found) if as_configured else (),
                  words=words_of(answers))


def _failed(uri: str, why: str) -> Report:
    return Report(uri=uri, fault=why, words=(Word(about="reach", verdict="no", text=why),))


async def _resolved(place: Place, config: Config, reach: Reach) -> Outcome:
    loop = asyncio.get_running_loop()
    servers = name_servers(config, loop)
    try:
        resolver = resolver_of(config, servers, loop, reach)
        told: asyncio.Future[Outcome] = loop.create_future()
        outcome = resolver.resolve(place, told.set_result, urgent=True)
        return outcome if outcome is not None else await told
    finally:
        servers.close()


def _context(config: Config, as_configured: bool) -> TlsContext | None:
    """What the edge opens TLS connections with; None where it has no listener for them."""
    if not as_configured:
        return TlsContext(server=False)
    return next((pair[1] for pair in contexts(config) if pair is not None), None)


def _sources(config: Config) -> dict[tuple[str, bool], str]:
    """The address of the first listener by transport and family; none where it listens on all of them."""
    found: dict[tuple[str, bool], str] = {}
    for listener in config.listeners:
        transport, address = bind_address(listener.bind)
        found.setdefault((transport, ":" in address.host), "" if address.host in ("0.0.0.0", "::") else address.host)
    return found


def _sizes(config: Config, found: Sequence[Reached]) -> tuple[str, ...]:
    """The budgets of all configured header sets, as they would be on the way there."""
    least = min((mtu for one in found if (mtu := path_mtu(one.ip, one.port))), default=0)
    upstreams = tuple(msgspec.structs.replace(upstream, mtu=min(least or _USUAL_MTU, upstream.mtu or _USUAL_MTU))
                      if least else upstream for upstream in config.upstreams)
    return tuple(str(line) for line in outline(msgspec.structs.replace(config, upstreams=upstreams)))
