"""Requests of the edge's own, made to fit their budget before they are sent (transfers.md section 4).

The same walk over the upstream's size policy as for forwarded requests; what is dropped are the headers of the
transfer's plan, in all of their places at once.
"""
from dataclasses import dataclass

from proxy.config import Config
from sipcore.stack.outgoing import Outgoing

from .addresses import Address, bind_address, parse_address
from .fragmentation import NO_TCP, Budget, Outcome, fewer_codecs, fit
from .headers import Filled
from .placement import Plan, Sent
from .references import NOBODY, Keeper
from .upstreams import Peer

_BRANCH = "z9hG4bK" + 33 * "0"
"""As long as a branch of the edge's."""


def via_line(config: Config, listener: int) -> bytes:
    """A Via line as long as the one that a request gets that leaves from a listener (by index)."""
    one = config.listeners[listener]
    transport, bound = bind_address(one.bind)
    address: Address = parse_address(one.advertise, bound.port) if one.advertise else bound
    return f"Via: SIP/2.0/{transport.upper()} {address};branch={_BRANCH};rport\r\n".encode()


class Sending:
    """An own request, for the size policy.

    out: the whole request, with the headers of its plan among its own. target: the URI that its Refer-To is about.
    """

    def __init__(self, out: Outgoing, plan: Plan, via: bytes, target: str, ipv6: bool):
        self.filled = plan.filled
        self.ipv6 = ipv6
        self._out = out
        self._plan = plan
        self._via = via
        self._target = target
        planned = set(plan.headers())
        self._refer_to = plan.refer_to(target) if target else ""
        self._first = next((index for index, pair in enumerate(out.headers) if pair in planned), len(out.headers))
        self._before = out.headers[:self._first]
        self._after = tuple(pair for pair in out.headers[self._first:] if pair not in planned)

    def build(self, *, keep: int, instead: Filled | None, compact: bool, body: bytes | None) -> tuple[Outgoing, int]:
        before, after = self._before, self._after
        if instead is not None:
            # One that crossed from the other leg.
            name = instead.name.lower()
            before, after = (tuple(pair for pair in pairs if pair[0].lower() != name) for pairs in (before, after))
        headers = (*before, *self._plan.headers(keep, instead), *after)
        if self._refer_to:
            value = self._plan.refer_to(self._target, keep, instead)
            headers = tuple((name, value if name == "Refer-To" and text == self._refer_to else text)
                            for name, text in headers)
        made = self._out.changed(headers=headers, compact=compact, body=self._out.body if body is None else body)
        return made, len(made.render(self._via))

    def shorter(self, codecs: tuple[str, ...]) -> bytes | None:
        encoded = any(name.lower() == "content-encoding" for name, _ in self._out.headers)
        return fewer_codecs(self._out.body, self._out.content_type, encoded, codecs)


@dataclass(frozen=True, slots=True)
class Fitted:
    """What is sent, and what the record says about it."""

    made: Outgoing
    refused: bool
    """It cannot be sent (513)."""
    budget: str
    """`1,342 of 1,300 bytes`: what it would have taken without the size policy."""
    asked: int
    """Bytes without the size policy."""
    size: int
    """Bytes that are sent."""
    limit: int
    steps: tuple[str, ...]
    """What the policy did; empty where it fitted."""
    warn: str
    """For the log, where it is over its budget nevertheless."""
    counters: tuple[str, ...]
    sent: tuple[Sent, ...]
    """Where each header of the plan went."""
    tcp: bool = False
    """It goes by TCP."""


def fit_own(out: Outgoing, plan: Plan, peer: Peer, *, via: bytes, target: str = "", room: int = 0, path_mtu: int = 0,
            ipv6: bool = False, no_tcp: str = NO_TCP, keeper: Keeper = NOBODY) -> Fitted:
    """An own request as its upstream's size policy lets it be sent.

    out: the request with the headers of its plan. via: its Via line, or one as long (via_line). target: the URI that
    its Refer-To is about, for REFER. room: bytes to keep free for a digest answer. path_mtu: what the kernel knows, 0
    for nothing. no_tcp: why it cannot go by TCP, empty where it can. keeper: keeps what goes by reference. Raises
    BadText where a part of the request could break it.
    """
    draft = Sending(out, plan, via, target, ipv6)
    budget = Budget(peer.settings.mtu, path_mtu)
    _, size = draft.build(keep=len(draft.filled), instead=None, compact=False, body=None)
    outcome: Outcome[Outgoing] = fit(draft, peer.settings, budget, size + room, no_tcp, keeper)
    text = f"size {budget.line(size + room)} ({peer.settings.name}): {', '.join(outcome.steps)}; now {outcome.size:,}"
    return Fitted(outcome.made, outcome.refused, budget.line(size + room), size + room, outcome.size, budget.limit,
                  tuple(outcome.steps), text if outcome.refused or outcome.sent_over else "", tuple(outcome.counters),
                  plan.sent(outcome.keep, outcome.instead), outcome.tcp)
