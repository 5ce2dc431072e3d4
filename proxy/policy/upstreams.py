"""An upstream, compiled: its targets, the request URI that each one gets, and all that is constant about requests
to it."""
from typing import Any

from proxy.config import Config, Upstream
from sipcore.stack.verdict import Request, Target

from .acl import trusts
from .addresses import Address
from .fragmentation import Budget
from .members import Members, Order, Parts
from .names import Found
from .refusals import Refused
from .uris import Uri, as_sips


class Peer:
    """What policy needs of an upstream for one request."""

    def __init__(self, config: Config, upstream: Upstream, index: int, found: Found | None = None):
        self.settings = upstream
        self.index = index
        self.members = Members(upstream, found)
        self.uri = Uri(upstream)
        self.budget = Budget(upstream.mtu)
        self.addresses = frozenset(self.members.addresses)
        self.trusted = bool(self.addresses) and all(trusts(config, address.host) for address in self.addresses)
        timers = config.timers
        self.verdict: dict[str, Any] = {
            "upstream": index,
            "max_calls": upstream.max_calls,
            "try_timeout": round(1000 * (upstream.try_timeout or timers.try_timeout)),
            "ring_timeout": round(1000 * (upstream.ring_timeout or timers.timer_c)),
            "max_duration": upstream.max_duration,
            # Nothing is fragmented on a stream.
            "budget": 0 if self.members.addresses and all(
                one.transport != "udp" for one in self.members.addresses) else self.budget.limit,
        }
        """Fields of every verdict that sends something there."""

    def _parts(self, address: Address) -> Parts:
        before, after = self.uri.parts(address)
        return address.host, address.port, before.encode(), after.encode(), address.asked, address.name

    @property
    def along_uri(self) -> bool:
        """Requests go where their URI says."""
        return not self.addresses

    @property
    def constant(self) -> bool:
        """The targets do not depend on the request URI."""
        return self.along_uri or self.uri.keeps

    def order(self, call_id: str) -> Order:
        """The order for a call. Raises Refused (503) where no target may be tried."""
        order = self.members.order(call_id)
        if not order.addresses and self.addresses:
            raise Refused(503, "Service Unavailable", f"upstream {self.settings.name}: no target is up")
        return order

    def secure(self, addresses: tuple[Address, ...]) -> tuple[Address, ...]:
        """Those that sips: may go to; names may lead there. Raises Refused (480) where there is none."""
        found = tuple(address for address in addresses if address.secure or not address.asked)
        if not found:
            raise Refused(480, "Temporarily Unavailable", f"upstream {self.settings.name}: sips, and no target by TLS")
        return found

    @staticmethod
    def plain(order: Order) -> tuple[Target, ...]:
        """Targets that leave the request URI as it is."""
        return tuple([target_of(address) for address in order.addresses])

    def targets(self, request: Request) -> tuple[Target, ...]:
        """The targets in order, each with its URI; the one that the request is about, where it is about one alone.
        Raises Refused: 404 where the URI template cannot take this user, 503 where no target may be tried."""
        if request.towards is not None:
            return (request.towards,)
        if not self.addresses:
            return ()
        order = self.order(request.call_id)
        if request.scheme == "sips":
            return self._sips_targets(request, self.secure(order.addresses))
        if self.uri.keeps:
            return self.plain(order)
        user = self.uri.user(request.scheme, request.user)
        if user is None:
            raise self.uri.refusal()
        if self.uri.reads_domain or not self.uri.takes_user or not user:
            return tuple([target_of(address, self.uri.fill(user, address, request.host).encode())
                          for address in order.addresses])
        name = user.encode()
        around = order.parts
        if around is None:
            around = order.parts = [self._parts(address) for address in order.addresses]
        if len(around) == 1:
            host, port, before, after, transport, server = around[0]
            return (Target(host, port, -1, before + name + after, transport, server),)
        return tuple([Target(host, port, -1, before + name + after, transport, server)
                      for host, port, before, after, transport, server in around])

    def _sips_targets(self, request: Request, addresses: tuple[Address, ...]) -> tuple[Target, ...]:
        """Targets whose URI still asks for TLS on every hop (RFC 5630 3.1.3)."""
        if self.uri.keeps:
            return tuple(target_of(address) for address in addresses)
        if self.uri.tel:
            raise Refused(416, "Unsupported URI Scheme", "the upstream takes tel: only, and sips: asks for more")
        user = self.uri.user(request.scheme, request.user)
        if user is None:
            raise self.uri.refusal()
        return tuple(target_of(address, as_sips(self.uri.fill(user, address, request.host)).encode())
                     for address in addresses)


def target_of(address: Address, uri: bytes = b"") -> Target:
    return Target(address.host, address.port, -1, uri, address.asked, address.name)


def compile_peers(config: Config, found: Found | None = None) -> dict[str, Peer]:
    """Every upstream by name; `request-uri` is always among them (index -1 where it is not configured).

    found: addresses of targets that are names.
    """
    peers = {"request-uri": Peer(config, Upstream(name="request-uri", uri=""), -1)}
    peers.update((upstream.name, Peer(config, upstream, index, found))
                 for index, upstream in enumerate(config.upstreams))
    return peers
