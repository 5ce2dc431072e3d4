"""What the edge sends on a controlled call, made to fit its upstream's size budget (transfers.md section 4): the INVITE
to the agent, a transfer's INVITE and REFER, and inside a dialog a re-INVITE, an UPDATE, and a REFER that is passed on.

Cost: most INVITEs surely fit, which Outgoing.most tells; only the others are measured.
"""
from typing import TYPE_CHECKING, Any

from proxy.calls.call import Call
from proxy.calls.challenges import destination
from proxy.calls.prepare import Load, sent_headers
from proxy.policy.fitting import Fitted, fit_own, via_line
from proxy.policy.fragmentation import MARGIN, NO_TCP, TCP_FAILED
from proxy.policy.placement import Plan
from proxy.policy.refusals import Refused
from sipcore.base.errors import SipEdgeError
from sipcore.stack.route import by_tcp
from sipcore.stack.verdict import Request

if TYPE_CHECKING:
    from proxy.calls.transfer import Transfer
    from proxy.policy.engine import Policy
    from proxy.policy.targets import Targets
    from sipcore.stack.hop import Hop
    from sipcore.stack.leg import Leg
    from sipcore.stack.outgoing import Outgoing

MOST_NOTES = 100
ANY = 1 << 32
"""Bytes: nothing is known of the way."""


class TooBig(SipEdgeError):
    """A request is over its budget, and the upstream's policy ends with `refuse`."""

    status = 513


class Sizes:
    """LegSettings.fit."""

    def __init__(self, policy: "Policy", targets: "Targets"):
        self.configure(policy, targets)

    def configure(self, policy: "Policy", targets: "Targets") -> None:
        """Follow another configuration."""
        self._policy = policy
        self._targets = targets
        self._vias = [via_line(policy.config, index) for index in range(len(policy.config.listeners))]

    def fit(self, leg: "Leg", out: "Outgoing", to: "Hop", tcp_failed: bool) -> "tuple[Outgoing, bool]":
        """The request as it may be sent, and whether by TCP. Raises TooBig (513).

        to: where it goes. tcp_failed: no connection came about for this request.
        """
        if len(to) > 2:
            # Nothing is fragmented on a stream.
            return out, False
        no_tcp = TCP_FAILED if tcp_failed else "" if leg.agent.listener_for(by_tcp(to), leg.listener) >= 0 else NO_TCP
        owner: Any = leg.owner
        way = _limit(leg, to)
        if out.remote_tag and out.method != "REFER":
            return self._inside(leg, out, no_tcp, way)
        if out.method == "INVITE" and isinstance(owner, Call):
            budget = min(owner.verdict.budget, way)
            fits = not budget or out.most + self._room(leg, out) <= budget
            return (out, False) if fits else self._call(owner, leg, out, no_tcp, way)
        transfer: Transfer | None = owner.transfer
        load = transfer.load if transfer is not None else None
        if transfer is None or load is None or load.plan.method != out.method:
            return self._inside(leg, out, no_tcp, way)
        fitted = self._fitted(leg, out, load, no_tcp, way)
        transfer.budget = fitted.budget
        transfer.headers = sent_headers(fitted.sent)
        if fitted.steps:
            transfer.note("size", f"{fitted.budget}: {', '.join(fitted.steps)}; now {fitted.size:,}")
        return _made(fitted)

    def _room(self, leg: "Leg", out: "Outgoing") -> int:
        """Bytes that an answer to the peer's challenge will take."""
        answers = self._policy.answers
        return answers.room(destination(leg, out)[:2], out) if answers.any else 0

    def _call(self, call: Call, leg: "Leg", out: "Outgoing", no_tcp: str, way: int) -> "tuple[Outgoing, bool]":
        """The INVITE to the agent: the route's header sets may be dropped."""
        came_in = call.caller.listener if call.caller is not None else 0
        request = Request.parse(call.request.data, group=call.group, listener=came_in)
        try:
            plan, peer = self._policy.plan(request)
        except Refused as refused:
            raise SipEdgeError(refused.reason) from None
        return _made(self._fitted(leg, out, Load(plan, peer), no_tcp, way))

    def _inside(self, leg: "Leg", out: "Outgoing", no_tcp: str, way: int) -> "tuple[Outgoing, bool]":
        """A re-INVITE or an UPDATE, or a REFER of the other leg's: nothing in it is ours to drop."""
        owner: Any = leg.owner
        called = isinstance(owner, Call) and leg is owner.peer and owner.peer_role == "agent"
        peer = self._targets.referee("", leg.far, owner.upstream if called else -1)
        if out.most + self._room(leg, out) <= min(peer.budget.limit, way):
            return out, False
        return _made(self._fitted(leg, out, Load(Plan.empty(peer.settings, out.method), peer), no_tcp, way))

    def _fitted(self, leg: "Leg", out: "Outgoing", load: Load, no_tcp: str, way: int) -> Fitted:
        via = self._vias[leg.listener]
        narrow = way < load.peer.budget.limit
        fitted = fit_own(out, load.plan, load.peer, via=via, target=load.target, room=self._room(leg, out),
                         path_mtu=way + MARGIN if narrow else 0, ipv6=b"[" in via, no_tcp=no_tcp,
                         keeper=self._policy.keeper)
        self._policy.counters.update(fitted.counters)
        troubles = leg.agent.troubles
        if fitted.warn and len(troubles) < MOST_NOTES:
            troubles.append(fitted.warn)
        return fitted


def _limit(leg: "Leg", to: "Hop") -> int:
    """Bytes that a request may have on the way to an address, as the kernel knows it."""
    agent: Any = leg.agent
    return agent.paths.of(to[0], to[1], agent.time) if agent.paths is not None else ANY


def _made(fitted: Fitted) -> "tuple[Outgoing, bool]":
    if fitted.refused:
        raise TooBig("Message Too Large")
    return fitted.made, fitted.tcp
