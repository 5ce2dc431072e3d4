"""Who judges the targets of all upstreams: OPTIONS probes go out, what comes back and what real requests meet moves
each target's state machine (proxy.policy.health), and what its state makes of its weight goes to who chooses targets.

A target is an address; in several upstreams it has one state, and a name that nobody has looked up yet has none. Its
probes are apart by chance, and never is there more than one on its way. Nothing of this stands in the way of a call:
the policy reads shares that were left there, and the stack tells of failures, and of the answers of suspect targets.
"""
import random
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from proxy.calls.hop import hop_to
from proxy.calls.registration import seconds_of
from proxy.config import Health, statuses
from proxy.events import Event as Said
from proxy.events import TargetState
from proxy.policy.addresses import Address
from proxy.policy.health import Change, State
from proxy.policy.health import Target as Judged
from proxy.policy.members import FULL
from proxy.policy.upstreams import target_of
from sipcore.base.errors import SipEdgeError
from sipcore.stack.handler import Handler
from sipcore.stack.hop import Hop
from sipcore.stack.outgoing import Outgoing
from sipcore.wire.message import Message

if TYPE_CHECKING:
    from proxy.calls.services import Services
    from proxy.policy.engine import Policy
    from proxy.policy.upstreams import Peer
    from sipcore.stack.alarms import Alarm
    from sipcore.stack.proxy import Proxy
    from sipcore.stack.uac import ClientTransaction

APART = 0.1
"""A probe comes so much of its interval earlier or later, by chance."""
SOON_SECONDS = 1.0
"""Within which a target that fails is probed, whatever the interval."""
SILENCE, UNREACHABLE = 0, -1
"""What the stack says instead of a status."""
_WORDS = {SILENCE: "no answer", UNREACHABLE: "unreachable"}
_LEVELS = {State.UP: "info", State.DEGRADED: "warning", State.DOWN: "error", State.DRAINING: "info"}


class Watched(Handler):
    """One target, and the Handler of its probes."""

    def __init__(self, watch: "Watch", address: Address, settings: Health, now: int):
        self.watch = watch
        self.address = address
        self.judged = Judged(settings, now)
        self.alive = statuses(settings.alive)
        self.number = 0
        self.peers: list[Peer] = []
        self.probe: ClientTransaction | None = None
        """The one that is on its way."""
        self.next_probe: Alarm | None = None
        self.next_step: Alarm | None = None

    @property
    def names(self) -> list[str]:
        return [peer.settings.name for peer in self.peers]

    def follow(self, settings: Health) -> None:
        self.judged.follow(settings)
        self.alive = statuses(settings.alive)

    def on_response(self, tx: "ClientTransaction", response: Message) -> None:
        if response.status >= 200 and tx is self.probe:
            failure = "" if response.status in self.alive else f"probe answered {response.status}"
            self.watch.on_probed(self, failure, response.header("Retry-After") or "" if response.status == 503 else "")

    def on_timeout(self, tx: "ClientTransaction", unreachable: bool) -> None:
        if tx is self.probe:
            self.watch.on_probed(self, "probe: unreachable" if unreachable else "probe: no answer")


class Watch:
    """stack: the Proxy, whose clock counts. log: takes level, event and fields. wall: ms from the stack's clock to the
    time of day."""

    def __init__(self, stack: "Proxy", services: "Services", chance: random.Random | None = None):
        self.stack = stack
        self.services = services
        self.log: Callable[..., None] = lambda level, event, **fields: None
        self.wall = 0
        self.counters: Counter[str] = Counter()
        self._chance = chance or random.Random()
        self._watched: dict[Address, Watched] = {}
        self._by_number: dict[int, Watched] = {}
        self._peers: list[Peer] = []
        self._draining: frozenset[str] = frozenset()
        self._started = False
        stack.targets.told = self._on_told

    def configure(self, policy: "Policy") -> None:
        """Follow a configuration, or other addresses of its upstreams: what is known of the targets that stay stays."""
        self._peers = [peer for peer in policy.peers.values() if peer.addresses]
        before, self._watched = self._watched, {}
        now = self.stack.time
        for peer in self._peers:
            for address in peer.members.addresses:
                if address.place is not None:
                    continue
                one = self._watched.get(address)
                if one is None:
                    one = before.pop(address, None)
                    if one is None:
                        one = Watched(self, address, peer.settings.health, now)
                    one.follow(peer.settings.health)
                    one.peers = []
                    self._watched[address] = one
                if peer not in one.peers:
                    one.peers.append(peer)
        for gone in before.values():
            self._stop(gone)
        numbers = self.stack.targets.use([target_of(address) for address in self._watched])
        self._by_number = {}
        for one, number in zip(self._watched.values(), numbers, strict=True):
            one.number = number
            self._by_number[number] = one
            self.stack.targets.suspect(number, one.judged.suspect)
        for peer in self._peers:
            peer.members.loads = self._loads(peer)
            health = peer.settings.health
            self.stack.targets.limit_retries(peer.index, round(1000 * health.retry_share), health.retry_rate,
                                             health.retry_burst)
        self._follow_draining()
        self._share(self._peers)
        if self._started:
            self.start()

    def start(self) -> None:
        """Begin to probe, now that the stack's clock runs."""
        for one in self._watched.values():
            if not self._started:
                one.judged.since = one.judged.started = self.stack.time
            self._step_later(one)
            if one.judged.settings.probe_interval and one.next_probe is None:
                # The first ones too are spread over the whole interval.
                self._probe_in(one, self._chance.uniform(0, one.judged.settings.probe_interval))
        self._started = True

    def drain(self, addresses: frozenset[str]) -> None:
        """These addresses get nothing new, all others do."""
        self._draining = addresses
        self._follow_draining()

    def may_retry(self, failed: Hop) -> bool:
        """Whether a controlled call that failed at an address may go on to the next one; takes that from the budget of
        the address's upstream."""
        one = self._watched.get(Address(failed[0], failed[1]))
        if one is None or self.stack.targets.allow_retry(one.peers[0].index, self.stack.time):
            return True
        self.counters["calls_retries_refused"] += 1
        return False

    def states(self) -> list[TargetState]:
        """The targets of each upstream, in the order of the file."""
        return [self._state(peer, self._watched[address]) for peer in self._peers
                for address in peer.members.addresses if address in self._watched]

    def statistics(self) -> dict[str, int]:
        """Gauges and counters for the page."""
        states = Counter(one.judged.state for one in self._watched.values())
        return {f"targets_{state.value}": states[state] for state in State} | self.counters

    # --- what happens

    def on_probed(self, one: Watched, failure: str, retry_after: str = "") -> None:
        """A probe has its final answer, or none. retry_after: of a 503."""
        one.probe = None
        if failure:
            self.counters["probes_failed"] += 1
        self._judge(one, failure, seconds_of(retry_after))

    def _on_told(self, number: int, status: int, retry_after: str) -> None:
        """Of a real request: its status, SILENCE or UNREACHABLE; retry_after: of a 503."""
        one = self._by_number.get(number)
        if one is None:
            return
        if status > 0 and (status != 503 or status in one.alive):
            self._judge(one, "")
        else:
            self._judge(one, _WORDS.get(status) or str(status), seconds_of(retry_after))

    def _judge(self, one: Watched, failure: str, pause: int = 0) -> None:
        judged, now = one.judged, self.stack.time
        if failure:
            first = not judged.failures
            change = judged.failed(now, failure, self.stack.targets.begun(one.number), pause)
            if first and one.probe is None and judged.settings.probe_interval:
                # One failure may be the caller's: ask, and do not wait for the next round.
                self._probe_in(one, min(judged.settings.probe_interval, self._chance.uniform(0, SOON_SECONDS)))
        else:
            change = judged.answered(now)
        self.stack.targets.suspect(one.number, judged.suspect)
        self._changed(one, change)
        if pause and change is None:
            # One that was down already, and is to get nothing even as the last one, or for longer.
            self._share(one.peers)
            self._step_later(one)

    def _changed(self, one: Watched, change: Change | None) -> None:
        if change is None:
            return
        self.counters["target_changes"] += 1
        self.log(_LEVELS[change.now], f"target {change.now.value}", target=str(one.address), upstreams=one.names,
                 was=change.was.value, why=change.why)
        name = f"target.{change.now.value}"
        if self.services.used and self.services.wants(name):
            detail: dict[str, Any] = {"target": str(one.address), "upstreams": one.names, "was": change.was.value,
                                      "why": change.why}
            self.services.emit(Said(name=name, at=self.stack.time + self.wall, detail=detail))
        self.stack.targets.suspect(one.number, one.judged.suspect)
        self._share(one.peers)
        self._step_later(one)

    def _share(self, peers: "list[Peer]") -> None:
        """Hand over what the targets of these upstreams are to get."""
        now = self.stack.time
        for peer in peers:
            peer.members.follow([self._watched[address].judged.share(now) if address in self._watched else FULL
                                 for address in peer.members.addresses])
        self.stack.forget_decisions()

    def _follow_draining(self) -> None:
        now = self.stack.time
        for one in self._watched.values():
            drains = str(one.address) in self._draining
            if drains != (one.judged.state is State.DRAINING):
                self._changed(one, one.judged.drain(now) if drains else one.judged.resume(now))

    # --- time

    def _step_later(self, one: Watched) -> None:
        """See to it that the target's state goes on by itself when it has to."""
        if one.next_step is not None:
            one.next_step.cancel()
        due = one.judged.due(self.stack.time)
        one.next_step = self.stack.call_at(due, lambda: self._on_step(one)) if due is not None else None

    def _on_step(self, one: Watched) -> None:
        one.next_step = None
        change = one.judged.advance(self.stack.time)
        if change is not None:
            self._changed(one, change)
        else:
            self._share(one.peers)
            self._step_later(one)

    def _probe_in(self, one: Watched, seconds: float) -> None:
        if one.next_probe is not None:
            one.next_probe.cancel()
        one.next_probe = self.stack.call_at(self.stack.time + max(1, round(1000 * seconds)),
                                            lambda: self._on_probe_due(one))

    def _on_probe_due(self, one: Watched) -> None:
        settings = one.judged.settings
        one.next_probe = None
        if not settings.probe_interval:
            return
        if one.probe is None:
            self._send_probe(one, settings)
        self._probe_in(one, settings.probe_interval * self._chance.uniform(1 - APART, 1 + APART))

    def _send_probe(self, one: Watched, settings: Health) -> None:
        stack, address = self.stack, one.address
        uri = f"sip:{address}" + (f";transport={address.transport}" if address.transport != "udp" else "")
        hop = hop_to(stack, address.host, address.port, address.transport, address.name)
        listener = stack.listener_for(hop, 0)
        if listener < 0:
            self.counters["probes_unsent"] += 1
            return
        try:
            contact = stack.contact("", listener)
            out = Outgoing(method="OPTIONS", uri=uri, call_id=stack.new_call_id(), cseq=1, local=contact,
                           local_tag=stack.new_tag(), remote=f"<{uri}>", contact=contact,
                           headers=(("Accept", "application/sdp"),))
            one.probe = stack.request(stack.time, out, hop, one, listener=listener,
                                      timeout=round(1000 * settings.probe_timeout))
            self.counters["probes_sent"] += 1
        except SipEdgeError:
            # No room for it says nothing of the target.
            self.counters["probes_unsent"] += 1

    def _stop(self, one: Watched) -> None:
        for alarm in (one.next_probe, one.next_step):
            if alarm is not None:
                alarm.cancel()
        one.next_probe = one.next_step = one.probe = None

    # --- as others see it

    def _loads(self, peer: "Peer") -> Callable[[], list[int]]:
        calls = self.stack.targets.calls
        # Number 0 is no target's, and has no calls.
        numbers = [self._watched[address].number if address in self._watched else 0
                   for address in peer.members.addresses]
        return lambda: [calls(number) for number in numbers]

    def _state(self, peer: "Peer", one: Watched) -> TargetState:
        judged = one.judged
        return TargetState(
            upstream=peer.settings.name, address=str(one.address), state=judged.state.value,
            since=judged.since + self.wall, share=(judged.share(self.stack.time) or 0) / FULL,
            calls=self.stack.targets.calls(one.number), failures=judged.failures, last_failure=judged.last_failure)
