"""The one decision: access, route, headers and size joined into `decide`.

Everything that the configuration makes constant is made when it is loaded. A request whose verdict depends on
nothing but its group and method gets the same Verdict object every time (scope 1).
"""
from collections import Counter
from collections.abc import Callable
from typing import Any

from proxy.config import Config, Route
from sipcore.stack.verdict import Request, Verdict

from .accounts import Accounts, Answers
from .acl import UNLISTED, group_of, prefixes
from .addresses import Address, bind_address, transports
from .auth import Askers
from .drafts import Draft, Injection, Received
from .fragmentation import NO_TCP, TCP_FAILED, Budget, Outcome, fit
from .headers import Patterns
from .media import anchor_of
from .members import MOST_ORDERS, Order
from .names import Found
from .placement import Plan
from .refer_to import ReferTo
from .references import NOBODY, Keeper
from .refusals import Refused, forbidden, not_allowed, refuse, silent
from .routing import LOCAL, REQUEST_URI, Condition, Table
from .transfers import Rule, Transfers
from .upstreams import Peer, compile_peers

Drafted = tuple[Draft, Peer]
_ANSWERED = Verdict(action=Verdict.LOCAL, status=200, reason="OK", note="route: answered by the edge")


class Way:
    """A route, compiled for one group and method."""

    def __init__(self, engine: "Policy", route: Route, group: int, method: str):
        config = engine.config
        self.condition = Condition(route)
        self.local = route.to == LOCAL
        self.asker = engine.askers.get(route.auth)
        self.ends_here = self.local or (route.control and method == "INVITE")
        """The edge answers as the end, not as a proxy."""
        self.peer = engine.peers[REQUEST_URI if self.local else route.to]
        trusting = config.groups[group].trusted
        sets = [one for one in config.headers if one.name in route.headers]
        self.injection = Injection(sets, method, self.peer.settings, engine.internal, from_trusted=trusting,
                                   to_trusted=self.peer.trusted)
        self.fields: dict[str, Any] = {
            **self.peer.verdict, "record_route": route.record_route, "nat": route.nat, "remove": self.injection.remove,
            "control": route.control and method == "INVITE", "anchor": anchor_of(config, route, method),
            "precall": route.precall if route.control else ""}
        # Along the request URI the receiver may be trusted as well; only then its host is looked up.
        self._looks_up_trust = trusting and self.peer.along_uri and engine.trusts
        self._reads_maddr = not self.ends_here and self.peer.along_uri and self.condition.reads_host
        self._engine = engine
        self._base = Verdict(**self.fields)
        self._constant = not self.local and self.peer.constant and self.injection.constant and not self._looks_up_trust
        self._ready: dict[Order, tuple[Verdict, Verdict]] = {}
        self._only = False
        self._answered = _ANSWERED

    def prepare(self, only: bool) -> "Way":
        """only: the choice of this way needs no look at the request either."""
        self._only = only
        self._answered = _ANSWERED.changed(scope=int(only))
        return self

    def _make(self, order: Order) -> tuple[Verdict, Verdict]:
        """The verdicts for an order where nothing of a request goes into them: for one call, and for all of them."""
        if len(self._ready) >= MOST_ORDERS:
            self._ready.clear()
        draft = Draft(self.fields, self.injection, self.injection.fill_constant(), [], self.peer.plain(order))
        made = self._ready[order] = draft.verdict(), draft.verdict(scope=1)
        return made

    def decide(self, request: Request) -> Verdict:
        """Raises Refused."""
        if request.routed or self._reads_maddr:
            self._confine(request)
        if self.local:
            return self._answered
        if self._constant:
            order = self.peer.order(request.call_id)
            made = self._ready.get(order) or self._make(order)
            return made[self._only and self.peer.members.fixed is order]
        if not self._looks_up_trust:
            lines = self.injection.quick_lines(request)
            if lines is not None:
                return self._base.routed(self.peer.targets(request), lines)
        return self._draft(request).verdict()

    def draft(self, request: Request) -> Draft:
        """Raises Refused."""
        if request.routed or self._reads_maddr:
            self._confine(request)
        return self._draft(request)

    def _confine(self, request: Request) -> None:
        """Raises Refused where Route, or maddr in the request URI, leads elsewhere than the route does."""
        if request.routed and not self.ends_here and (self._reads_maddr or not self.peer.along_uri):
            raise Refused(403, "Route Leads Elsewhere", "route: Route names another next hop")
        if self._reads_maddr and request.maddr and not self.condition.matches_host(request.maddr):
            raise Refused(403, "Route Leads Elsewhere", "route: maddr names another next hop")

    def _draft(self, request: Request) -> Draft:
        fields = self.fields
        if self._looks_up_trust and self._engine.trusted_host(request):
            fields = {**fields, "remove": tuple(name for name in self.injection.remove
                                                if name not in self._engine.internal.patterns)}
        filled, notes = self.injection.fill(request)
        return Draft(fields, self.injection, filled, notes, self.peer.targets(request))


class Policy:
    """A configuration, compiled. `decide` and `oversize` are functions of the request and the configuration;
    `counters` only counts what they did."""

    def __init__(self, config: Config, counters: Counter[str] | None = None, found: Found | None = None,
                 askers: Askers | None = None, accounts: Accounts | None = None, keeper: Keeper = NOBODY):
        """counters: go on counting in these. found: addresses of upstreams' targets that are names. askers: of the
        configuration's realms, with their users. accounts: what answers challenges of upstreams. keeper: keeps what
        goes by reference."""
        self.config = config
        self.epoch = config.epoch
        self.keeper = keeper
        self.counters: Counter[str] = Counter() if counters is None else counters
        self.askers = Askers(config, counters=self.counters) if askers is None else askers
        self.internal = Patterns(config.internal.headers)
        self.peers = compile_peers(config, found)
        self.answers = Answers(config, self.peers, accounts)
        self.secure = not transports(config).isdisjoint(("tls", "wss"))
        """Whether sips: can come in and go out."""
        self._tcp = {":" in bound.host for transport, bound in map(
            bind_address, (listener.bind for listener in config.listeners)) if transport == "tcp"}
        """For IPv6 and not, whether a request may be sent by TCP that would be too big for UDP."""
        self.trusts = any(group.trusted for group in config.groups)
        self._upstreams = [self.peers[upstream.name] for upstream in config.upstreams]
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
        received = Received(request, draft)
        no_tcp = "" if received.ipv6 in self._tcp else NO_TCP
        outcome = fit(received, peer.settings, budget, size, no_tcp, self.keeper)
        self.counters.update(outcome.counters)
        name = peer.settings.name
        verdict = _fitting(outcome, budget, size, name)
        if outcome.tcp:
            # Made now, while the request is here: a connection may fail when it is long gone.
            verdict = verdict.changed(tcp=True, fallback=_fitting(
                fit(received, peer.settings, budget, size, TCP_FAILED, self.keeper), budget, size, name))
        return verdict

    def peer_at(self, request: Request) -> Peer:
        """Whose settings a request inside a dialog follows: the upstream that the call went to, or whose address the
        dialog's other end has, or that the request URI names (a Contact may name another address); `request-uri` where
        there is none, or where that is configured with less."""
        along_uri = self.peers[REQUEST_URI]
        peer = None
        if request.far is not None:
            far = Address(*request.far)
            peer = self._at.get(far)
            if 0 <= request.upstream < len(self._upstreams) and far in self._upstreams[request.upstream].addresses:
                peer = self._upstreams[request.upstream]
        peer = peer or self._at.get(Address(request.host, request.port or 5060), along_uri)
        return along_uri if along_uri.index >= 0 and along_uri.budget.limit < peer.budget.limit else peer

    def refer(self, request: Request) -> tuple[Rule, ReferTo]:
        """The rule for a REFER inside a dialog of the edge's own, and its target. Raises Refused."""
        group = self._groups[request.group]
        if "REFER" not in group.dialog_methods:
            raise Refused(405, "Method Not Allowed", "acl: method closed")
        return group.transfers.rule(request)

    def plan(self, request: Request) -> tuple[Plan, Peer]:
        """The set headers of an INVITE that `decide` wants controlled, for the INVITE of the edge's own that it becomes
        and that may have to be made smaller (proxy.policy.fitting). Raises Refused."""
        draft, peer = self._groups[request.group].draft(request)
        return Plan(request.method, tuple(draft.filled), (), draft.injection.placement), peer

    def trusted_host(self, request: Request) -> bool:
        """Whether the request URI's host is an address in a trusted group of the request's listener."""
        if not 0 <= request.listener < len(self._access):
            return False
        group = group_of(self._access[request.listener], request.host)
        return group != UNLISTED and self.config.groups[group].trusted


def _fitting(outcome: Outcome[Verdict], budget: Budget, size: int, name: str) -> Verdict:
    """The verdict that the size policy of an upstream came to."""
    text = f"size {budget.line(size)} ({name}): {', '.join(outcome.steps)}; now {outcome.size:,}"
    if outcome.refused:
        return refuse(513, "Message Too Large", text).changed(warn=text)
    note = "; ".join(part for part in (outcome.made.note, text) if part)
    over = outcome.sent_over
    return outcome.made.changed(note=note, warn=text if over else "",
                                budget=0 if over or outcome.tcp else budget.limit)


class GroupRules:
    """What one group may do, by method."""

    def __init__(self, engine: Policy, group: int):
        config = engine.config
        self._engine = engine
        self.transfers = Transfers(config, group, engine.peers, engine.internal)
        # Where a request inside a dialog ends is known when it leaves: the core takes out there what must not reach
        # that peer.
        trusted = group != UNLISTED and config.groups[group].trusted
        injection = Injection((), "INVITE", engine.peers[REQUEST_URI].settings, engine.internal, from_trusted=trusted,
                              to_trusted=True)
        self._dialog = Draft({**engine.peers[REQUEST_URI].verdict, "remove": injection.remove}, injection, [], [])
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
            routes = routes_of(engine, group, method)
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
            if not request.in_dialog:
                self._routes["REFER"].prove(request)
            return self._refer_draft(request)[0].verdict()
        except Refused as refused:
            return refused.verdict

    def _refer_draft(self, request: Request) -> Drafted:
        draft, peer, named = self.transfers.draft(request)
        if not request.in_dialog:
            routed, _ = self._routes["REFER"].draft(request)
            draft.targets = routed.targets
            draft.fields = {**routed.fields, "remove": draft.fields["remove"]}
        elif not named:
            # What it may weigh is for whoever gets it.
            peer = self._engine.peer_at(request)
            draft.fields = {**draft.fields, "budget": peer.budget.limit}
        return draft, peer

    def draft(self, request: Request) -> Drafted:
        """What was drafted for a request that `decide` has let pass."""
        if request.method == "REFER":
            return self._refer_draft(request)
        if request.in_dialog:
            return self._dialog, self._engine.peer_at(request)
        if request.method not in self._routes:
            # It was let pass by another configuration.
            raise Refused(405, "Method Not Allowed", "acl: method closed")
        return self._routes[request.method].draft(request)


def routes_of(engine: Policy, group: int, method: str) -> "Routes":
    """The routes of one group and method; they ask for a password where the group or one of them wants it."""
    routes = Routes(engine, group, method)
    asking = bool(engine.config.groups[group].auth) or any(way.asker is not None for way in routes.ways)
    return AskingRoutes(engine, group, method) if asking else routes


class Routes:
    """The routes of one group and method."""

    remembered = True
    """A verdict that reads nothing but group and method stands for the next request, too."""

    def __init__(self, engine: Policy, group: int, method: str):
        config = engine.config
        name = config.groups[group].name
        self._method = method
        self._engine = engine
        self._table = Table([Way(engine, route, group, method) for route in config.routes
                             if method in route.methods and (not route.groups or name in route.groups)])
        self._only = self._table.only
        for way in self._table.ways:
            way.prepare(only=self.remembered and way is self._only)

    @property
    def ways(self) -> tuple[Way, ...]:
        return self._table.ways

    def prove(self, request: Request) -> str:
        """The name of the user that sends a request which begins something. Raises Refused."""
        return ""

    def decide(self, request: Request) -> Verdict:
        try:
            if request.scheme == "sip":
                way = self._only or self._table.choose(request.user, request.host)
                if way is not None:
                    return way.decide(request)
            else:
                way = self._choose(request)
                if way is not None and request.scheme == "sips" and not way.local:
                    return way.draft(request).verdict()
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
        if scheme == "sips" and not self._engine.secure:
            # RFC 5630 3.1.2: what asked for TLS on every hop is never sent without.
            raise Refused(416, "SIPS Needs TLS, Which Is Not Available", "route: sips")
        if scheme not in ("sip", "sips", "tel"):
            raise Refused(416, "Unsupported URI Scheme", "route: scheme")
        way = self._table.choose(request.user, request.host, self._user(request))
        if way is not None and scheme == "tel" and way.peer.along_uri and not way.local:
            raise Refused(416, "A tel URI Needs an Upstream", "route: tel along the request URI")
        return way

    def _user(self, request: Request) -> str:
        """The name of the user of a request that was proven before."""
        return ""


class AskingRoutes(Routes):
    """Routes that only users of a realm may take. The group's realm is asked first, before a route is chosen."""

    remembered = False

    def __init__(self, engine: Policy, group: int, method: str):
        super().__init__(engine, group, method)
        self._asker = engine.askers.get(engine.config.groups[group].auth)
        ends = [way.ends_here for way in self.ways] or [method == "OPTIONS"]
        self._proxy = not all(ends)

    def prove(self, request: Request) -> str:
        if self._asker is not None:
            return self._asker.prove(request, proxy=self._proxy)
        way = self._choose(request)
        return way.asker.prove(request, proxy=not way.ends_here) if way is not None and way.asker is not None else ""

    def decide(self, request: Request) -> Verdict:
        try:
            name = self.prove(request)
            way = self._choose(request)
            verdict = way.decide(request) if way is not None else super().decide(request)
        except Refused as refused:
            return refused.verdict
        if not name or verdict.action == Verdict.REJECT:
            return verdict
        return verdict.changed(note="; ".join(part for part in (f"user {name}", verdict.note) if part), scope=0)

    def _user(self, request: Request) -> str:
        return self._asker.name_in(request, proxy=self._proxy) if self._asker is not None else ""
