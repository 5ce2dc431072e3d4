"""All controlled calls of a worker: the Handler that their INVITEs come to, and what they have in common.

Sans-IO: the stack's clock counts, and what goes to the services process and to the media passes through two Protocols.
"""
from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from proxy.calls.call import Call
from proxy.calls.challenges import Challenges
from proxy.calls.commands import obey
from proxy.calls.heard import Heard
from proxy.calls.hop import Loop, Way, way_of
from proxy.calls.media import Anchored
from proxy.calls.records import call_figures, printable, transfer_struct
from proxy.calls.registration import Registrations
from proxy.calls.services import NoServices, Services
from proxy.calls.size import Sizes
from proxy.calls.traced import Traced
from proxy.calls.watch import Watch
from proxy.config import Action, Config
from proxy.events import Answer, Asking, Reply
from proxy.events import Transfer as TransferStruct
from proxy.policy.acl import UNLISTED, group_of, prefixes, trusts
from proxy.policy.headers import Patterns
from proxy.policy.targets import Targets
from sipcore.base.errors import LimitExceeded, SipEdgeError
from sipcore.stack.handler import Handler
from sipcore.stack.legowner import LegSettings
from sipcore.wire.multipart import description

if TYPE_CHECKING:
    from proxy.policy.engine import Policy
    from sipcore.anchor.bridgemedia import BridgeMedia
    from sipcore.base.place import Unresolved
    from sipcore.stack.aim import Aim
    from sipcore.stack.alarms import Alarm
    from sipcore.stack.hop import Hop
    from sipcore.stack.leg import Leg
    from sipcore.stack.proxy import Proxy
    from sipcore.stack.uas import ServerTransaction
    from sipcore.wire.message import Message

PAST_TRANSFERS = 1000
"""Transfers that are over and can still be shown; their records are elsewhere."""
MOST_ADDRESSES = 10_000
"""Addresses that it is remembered of whether they are trusted, or the edge's own."""
_BY = {"caller": "caller", "agent": "callee", "target": "callee", "api": "stop"}
"""Who ended a call, as its log line calls it."""


class NoMedia(SipEdgeError):
    """A call is to be anchored where nothing can be."""

    fault = "configuration"


class MediaOpener(Protocol):
    """Whoever has the media of controlled calls: sipcore.anchor.bridgemedia.Bridges."""

    def open(self, profile: int = 1, owner: Any = None) -> "BridgeMedia": ...


def _unlogged(level: str, event: str, **fields: Any) -> None:
    """Where nobody reads a log."""


class Calls(Handler):
    """The controlled calls. stack: the Proxy. media: None where nothing is anchored. wall: ms from
    the stack's clock to the time of day. log: takes level, event and fields of a log line."""

    def __init__(self, stack: "Proxy", policy: "Policy", *, worker: int = 0, services: Services | None = None,
                 media: MediaOpener | None = None, wall: int = 0):
        self.stack = stack
        self.worker = worker
        self.services: Services = services if services is not None else NoServices()
        self.media = media
        self.wall = wall
        self.all: dict[Call, None] = {}
        """In the order in which they began."""
        self.named: dict[str, Call] = {}
        """Those that somebody asked for by name, until they end."""
        self.past: dict[str, TransferStruct] = {}
        self.saved: dict[str, Action] = {}
        self.counters: Counter[str] = Counter()
        self.log: Callable[..., None] = _unlogged
        self.watch = Watch(stack, self.services)
        self._sizes: Sizes | None = None
        self.registrations = Registrations(self)
        self.configure(policy)

    def configure(self, policy: "Policy") -> None:
        """Follow another configuration from the next step on; calls and transfers go on."""
        self.policy = policy
        self.config: Config = policy.config
        self.refer_ms = round(1000 * self.config.timers.refer_outcome)
        """How long the outcome of a REFER is awaited."""
        self.internal = Patterns(self.config.internal.headers)
        self.targets = Targets(self.config, policy.peers)
        self._groups = {group.name: index for index, group in enumerate(self.config.groups)}
        self.trusting = any(group.trusted for group in self.config.groups)
        if self._sizes is None:
            self._sizes = Sizes(policy, self.targets)
            challenges = Challenges(self)
            self.settings = LegSettings(fit=self._sizes.fit, authenticate=challenges.authenticate,
                                        renew=challenges.renew, retry=self.watch.may_retry)
        else:
            self._sizes.configure(policy, self.targets)
        self.actions = {action.name: action for action in self.config.transfers}
        self._requests = {request.name: request.timeout for request in self.config.requests}
        self.fallbacks: dict[str, dict[str, Any]] = {
            one.name: msgspec.json.decode(one.fallback) for one in self.config.requests if one.fallback}
        """Of requests: what stands in for an answer where the services process gives none."""
        self._trust: dict[str, bool] = {}
        self._own: dict[Hop, bool] = {}
        self._access = [prefixes(self.config, index) for index in range(len(self.config.listeners))]
        self.registrations.configure(self.config)
        self.watch.configure(policy)

    # --- calls

    def on_request(self, tx: "ServerTransaction") -> None:
        """An INVITE that the policy wants controlled."""
        if tx.request.method != "INVITE":
            Handler.on_request(self, tx)
            return
        call = Call(self, tx)
        if call.caller is not None:
            self.all[call] = None
            call.begin()

    def over(self, call: Call) -> None:
        """A call has ended: nothing of it is kept here but its last transfers."""
        self.all.pop(call, None)
        if call.identifier:
            self.named.pop(call.identifier, None)
        for transfer in call.past:
            self.past[transfer.id] = transfer_struct(transfer)
        while len(self.past) > PAST_TRANSFERS:
            del self.past[next(iter(self.past))]
        if call.record is not None:
            media = call_figures(call) if self.stack.records.journal.enabled else b""
            call.record.end(self.stack.time, call.cause or _BY.get(call.ended_by, "timeout"), media)

    def traced(self, call_id: str) -> Traced | None:
        """The call one leg of which has this Call-ID."""
        return next((one for one in map(Traced, self.all) if call_id in one.call_ids()), None)

    def finish(self) -> None:
        """The worker stops: hang up on everybody, and take back what is registered."""
        self.registrations.finish()
        for call in list(self.all):
            call.end("edge", "stop")

    def abandon(self) -> None:
        """The worker ends: whoever has not answered a BYE by now is waited for no longer, and the records are told."""
        for call in list(self.all):
            call.abandon()

    def way(self, call: Call, aims: "Sequence[Aim] | Unresolved") -> Way:
        """Where a call's INVITE goes, by what its aims turned out to be. Raises NoWay (proxy.calls.hop), Loop,
        Unresolved."""
        assert call.caller is not None
        way = way_of(self.stack, aims, call.caller.listener)
        own = self._own.get(way.to)
        if own is None:
            if len(self._own) >= MOST_ADDRESSES:
                self._own.clear()
            own = self._own[way.to] = self.targets.is_own(way.to[0], way.to[1])
        if own:
            # No Via tells: it would be a new call each time, until Max-Forwards is used up.
            raise Loop("the call would come back to the edge")
        if way.others:
            self.stack.targets.earn_retry(call.upstream)
        return way

    def open_media(self, call: Call) -> Anchored:
        if self.media is None:
            raise NoMedia("the route anchors, and this worker has no media")
        return Anchored(self.media.open(call.verdict.anchor, Heard(call)))

    def retell(self, call: Call, leg: "Leg", response: "Message | None") -> bytes:
        """Another offer for a leg that has refused the first, where its rule lets go of that; empty for none. None: the
        first one, for another address."""
        if response is None:
            return call.media.retell_first(leg)
        body = call.media.retell(leg, description(response))
        if body:
            self.log("info", "srtp refused, offered otherwise", call_id=printable(call.request.call_id),
                     peer=f"{leg.far[0]}:{leg.far[1]}", upstream=self.upstream_at(leg.far), status=response.status,
                     profile="RTP/SAVP" if b" RTP/SAVP" in body else "RTP/AVP")
        return body

    def timeout_of(self, request: str) -> float:
        """The deadline, in seconds, of a request that is made before a call is routed."""
        return self._requests.get(request, 3.0)

    def group_at(self, listener: int, host: str) -> int:
        """The group of an address, for requests of a leg that the edge has called."""
        return group_of(self._access[listener], host) if 0 <= listener < len(self._access) else UNLISTED

    def group_name(self, group: int) -> str:
        return self.config.groups[group].name if group != UNLISTED else ""

    def group_index(self, name: str) -> int:
        return self._groups.get(name, UNLISTED)

    def upstream_name(self, index: int) -> str:
        return self.config.upstreams[index].name if index >= 0 else ""

    def upstream_index(self, name: str) -> int:
        peer = self.policy.peers.get(name)
        return peer.index if peer is not None else -1

    def upstream_at(self, hop: "Hop") -> str:
        """The upstream with that address; empty for none."""
        peer = self.targets.referee("", hop)
        return peer.settings.name if peer.addresses else ""

    def trusted(self, group: int) -> bool:
        return group != UNLISTED and self.config.groups[group].trusted

    def trusts(self, host: str) -> bool:
        """Whether an address is in a trusted group wherever it is listed."""
        known = self._trust.get(host)
        if known is None:
            if len(self._trust) >= MOST_ADDRESSES:
                self._trust.clear()
            known = self._trust[host] = trusts(self.config, host)
        return known

    def count(self, name: str) -> None:
        self.counters[name] += 1

    # --- time

    @property
    def now(self) -> int:
        """ms since 1970, of the step that is being taken."""
        return self.stack.time + self.wall

    def after(self, seconds: float, then: Callable[[], None]) -> "Alarm":
        """Call then, in 1 ms at the soonest."""
        return self.stack.call_at(self.stack.time + max(1, round(seconds * 1000)), then)

    # --- questions

    def ask(self, question: Asking, seconds: float, then: Callable[[Answer, bytes], None]) -> None:
        """Ask the services process; then is called exactly once, after so many seconds at the latest."""
        waiting = True
        alarm: Alarm | None = None

        def answered(answer: Answer, sound: bytes) -> None:
            nonlocal waiting
            if not waiting:
                self.counters["services_late"] += 1
                return
            waiting = False
            if alarm is not None:
                alarm.cancel()
            then(answer, sound)

        # Set before asking: an answer may come at once.
        try:
            alarm = self.after(seconds, lambda: answered(Answer(ask=0, error="no answer in time"), b""))
        except LimitExceeded as error:
            # Nothing would end the wait.
            then(Answer(ask=0, error=str(error)), b"")
            return
        self.services.ask(question, answered)

    # --- commands

    def obey(self, command: Any) -> Reply:
        """Carry out a command at once; the Reply says what came of it."""
        return obey(self, command)

    def action(self, name: str) -> Action | None:
        """A transfer action by its name; the configuration's come first."""
        return self.actions.get(name) or self.saved.get(name)

    def statistics(self) -> dict[str, int]:
        """Gauges and counters for the page."""
        return {"controlled_calls": len(self.all),
                "transfers_running": sum(call.transfer is not None for call in self.all),
                **self.registrations.statistics(), **self.watch.statistics(), **self.counters}
