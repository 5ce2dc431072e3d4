"""The one decision: access, route, headers and size joined into `decide`.

Everything that the configuration makes constant is made when it is loaded. A request whose verdict depends on
nothing but its group and method gets the same Verdict object every time (scope 1).
"""
from collections import Counter
from collections.abc import Callable
from typing import Any

from proxy.config import Config, Route
from sipcore.stack.verdict import Request, Verdict

from .acl import UNLISTED, group_of, prefixes
from .addresses import Address
from .drafts import Draft, Injection
from .fragmentation import Budget, fit
from .headers import Patterns
from .media import anchor_of
from .refusals import Refused, forbidden, not_allowed, refuse, silent
from .routing import LOCAL, REQUEST_URI, Condition, Table
from .transfers import Transfers
from .upstreams import Peer, compile_peers

Drafted = tuple[Draft, Peer]
_ANSWERED = Verdict(action=Verdict.LOCAL, status=200, reason="OK", note="route: answered by the edge")


class Way:
    """A route, compiled for one group and method."""

    def __init__(self, engine: "Policy", route: Route, group: int, method: str):
        config = engine.config
        self.condition = Condition(route)
        self.local = route.to == LOCAL
        self.peer = engine.peers[REQUEST_URI if self.local else route.to]
        trusting = config.groups[group].trusted
        sets = [one for one in config.headers if one.name in route.headers]
        self.injection = Injection(sets, method, self.peer.settings, engine.internal, from_trusted=trusting,
                                   to_trusted=self.peer.trusted)
        self.fields: dict[str, Any] = {
            **self.peer.verdict, "record_route": route.record_route, "remove": self.injection.remove,
            "anchor": anchor_of(config, route, method)}
        # Along the request URI the receiver may be trusted as well; only then its host is looked up.
        self._looks_up_trust = trusting and self.peer.along_uri and engine.trusts
        self._engine = engine
        self._base = Verdict(**self.fields)
        self.ready: tuple[Verdict, ...] = ()

    def prepare(self, only: bool) -> "Way":
        """Build verdicts ahead where nothing of a request goes into them; only: the choice needs no look either."""
        if self.local:
            self.ready = (_ANSWERED.changed(scope=int(only)),)
        elif self.peer.constant and self.injection.constant and not self._looks_up_trust:
            orders = self.peer.members.orders
            filled = self.injection.fill_constant()
            scope = int(only and len(orders) == 1)
            self.ready = tuple(
                Draft(self.fields, self.injection, filled, [], self.peer.plain(order)).verdict(scope=scope)
                for order in orders)
        return self

    def decide(self, request: Request) -> Verdict:
        ready = self.ready
        if ready:
            return ready[0] if len(ready) == 1 else ready[self.peer.members.slot(request.call_id)]
        if not self._looks_up_trust:
            lines = self.injection.quick_lines(request)
            if lines is not None:
                return self._base.routed(self.peer.targets(request), lines)
        return self.draft(request).verdict()

    def draft(self, request: Request) -> Draft:
        """Raises Refused."""
        fields = self.fields
        if self._looks_up_trust and self._engine.trusted_host(request):
            fields = {**fields, "remove": tuple(name for name in self.injection.remove
                                                if name not in self._engine.internal.patterns)}
        filled, notes = self.injection.fill(request)
        return Draft(fields, self.injection, filled, notes, self.peer.targets(request))


class Policy:
    """A configuration, compiled. `decide` and `oversize` are functions of the request and the configuration;
    `counters` only counts what they did."""

    def __init__(self, config: Config, counters: Counter[str] | None = None):
        """counters: go on counting in these."""
        self.config = config
        self.epoch = config.epoch
        self.counters: Counter[str] = Counter() if counters is None else counters
        self.internal = Patterns(config.internal.headers)
        self.peers = compile_peers(config)
        self.trusts = any(group.trusted for group in config.groups)
        self._at = {address: peer for peer in reversed(self.peers.values()) for address in peer.addresses}
        self.dialog_budget = min(peer.budget.limit for peer in self.peers.values())
        """Bytes up to which a request inside a dialog needs no size check, wherever it goes."""
        self._access = [prefixes(config, index) for index in range(len(config.listeners))]
        # The last one is that of sources in no group: index -1.
        self._groups = [GroupRules(self, index) for index in [*range(len(config.groups)), UNLISTED]]

    def decide(self, request: Request) -> Verdict:
        """What to do with a request that begins something, or with a REFER inside a dialog."""
        group = self._groups[request.group]
        if request.in_dialog:
            return group.inside(request)
        handler = group.methods.get(request.method)
        if handler is None:
            return group.closed
        return handler if isinstance(handler, Verdict) else handler(request)

    def oversize(self, request: Request, verdict: Verdict, size: int, path_mtu: int = 0) -> Verdict:
        """A verdict under which a request fits that has `size` bytes under the one given, or one that refuses or
        warns, by the upstream's size policy.

        size may hold room for a digest answer. path_mtu: what the kernel knows, 0 for nothing.
        """
        draft, peer = self._groups[request.group].draft(request)
        budget = Budget(peer.settings.mtu, path_mtu)
        outcome = fit(request, draft, peer.settings, budget, size)
        self.counters.update(outcome.counters)
        text = f"size {budget.line(size)}: {', '.join(outcome.steps)}; now {outcome.size:,}"
        note = "; ".join(part for part in (outcome.verdict.note, text) if part)
        over = outcome.size > budget.limit
        return outcome.verdict.changed(note=note, warn=text if over else "", budget=0 if over else budget.limit)

    def peer_at(self, request: Request) -> Peer:
        """Whose settings a request inside a dialog follows: the first upstream with the address that the request URI
        names, or `request-uri` where there is none or where that is configured with less."""
        along_uri = self.peers[REQUEST_URI]
        peer = self._at.get(Address(request.host, request.port or 5060), along_uri)
        return along_uri if along_uri.index >= 0 and along_uri.budget.limit < peer.budget.limit else peer

    def trusted_host(self, request: Request) -> bool:
        """Whether the request URI's host is an address in a trusted group of the request's listener."""
        if not 0 <= request.listener < len(self._access):
            return False
        group = group_of(self._access[request.listener], request.host)
        return group != UNLISTED and self.config.groups[group].trusted


class GroupRules:
    """What one group may do, by method."""

    def __init__(self, engine: Policy, group: int):
        config = engine.config
        self._engine = engine
        self._transfers = Transfers(config, group, engine.peers, engine.internal)
        self._dialog = Draft(
            {**engine.peers[REQUEST_URI].verdict, "remove": engine.internal.patterns},
            Injection((), "INVITE", engine.peers[REQUEST_URI].settings, engine.internal, from_trusted=False,
                      to_trusted=False), [], [])
        self._forwarded = {peer.budget.limit: self._dialog.verdict().changed(budget=peer.budget.limit)
                           for peer in engine.peers.values()}
        self.methods: dict[str, Verdict | Callable[[Request], Verdict]] = {}
        self._routes: dict[str, Routes] = {}
        self.dialog_methods = (config.unlisted if group == UNLISTED else config.groups[group]).dialog_methods
        if group == UNLISTED:
            self.closed = forbidden() if config.unlisted.answer == "forbid" else silent()
            return
        settings = config.groups[group]
        if settings.action != "allow":
            self.closed = forbidden() if settings.action == "forbid" else silent()
            return
        self.closed = not_allowed(settings.methods, scope=1)
        for method in settings.methods:
            routes = Routes(engine, group, method)
            self._routes[method] = routes
            self.methods[method] = self._refer if method == "REFER" else routes.decide
        self.methods.setdefault("ACK", silent())

    def inside(self, request: Request) -> Verdict:
        """A request inside a forwarded dialog."""
        method = request.method
        if method not in self.dialog_methods:
            return not_allowed(self.dialog_methods)
        return self._refer(request) if method == "REFER" else self._forwarded[
            self._engine.peer_at(request).budget.limit]

    def _refer(self, request: Request) -> Verdict:
        try:
            return self._refer_draft(request)[0].verdict()
        except Refused as refused:
            return refused.verdict

    def _refer_draft(self, request: Request) -> Drafted:
        draft, peer = self._transfers.draft(request)
        if not request.in_dialog:
            routed, _ = self._routes["REFER"].draft(request)
            draft.targets = routed.targets
            draft.fields = {**routed.fields, "remove": draft.fields["remove"]}
        return draft, peer

    def draft(self, request: Request) -> Drafted:
        """What was drafted for a request that `decide` has let pass."""
        if request.method == "REFER":
            return self._refer_draft(request)
        if request.in_dialog:
            return self._dialog, self._engine.peer_at(request)
        return self._routes[request.method].draft(request)


class Routes:
    """The routes of one group and method."""

    def __init__(self, engine: Policy, group: int, method: str):
        config = engine.config
        name = config.groups[group].name
        self._method = method
        self._table = Table([Way(engine, route, group, method) for route in config.routes
                             if method in route.methods and (not route.groups or name in route.groups)])
        self._only = self._table.only
        for way in self._table.ways:
            way.prepare(only=way is self._only)

    def decide(self, request: Request) -> Verdict:
        try:
            if request.scheme == "sip":
                way = self._only or self._table.choose(request.user, request.host)
                if way is not None:
                    return way.decide(request)
            else:
                way = self._choose(request)
                if way is not None:
                    # What is memoised stands for sip: alone; a scheme of its own has been read here.
                    return way.decide(request).changed(scope=0)
        except Refused as refused:
            return refused.verdict
        if self._method == "OPTIONS" and not request.user:
            return _ANSWERED
        return refuse(404, "Not Found", "route: none")

    def draft(self, request: Request) -> Drafted:
        """Raises Refused."""
        way = self._choose(request)
        if way is None:
            raise Refused(404, "Not Found", "route: none")
        return way.draft(request), way.peer

    def _choose(self, request: Request) -> Way | None:
        """The way of a request with any scheme. Raises Refused."""
        scheme = request.scheme
        if scheme == "sips":
            # RFC 5630 3.1.2: what asked for TLS on every hop is never sent without.
            raise Refused(416, "SIPS Needs TLS, Which Is Not Available", "route: sips")
        if scheme not in ("sip", "tel"):
            raise Refused(416, "Unsupported URI Scheme", "route: scheme")
        way = self._table.choose(request.user, request.host)
        if way is not None and scheme == "tel" and way.peer.along_uri and not way.local:
            raise Refused(416, "A tel URI Needs an Upstream", "route: tel along the request URI")
        return way
