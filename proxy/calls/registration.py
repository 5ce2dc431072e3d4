"""Registrations of the edge's own at upstreams (RFC 3261 10): kept up, taken back at the end, told whoever asks.

  state        event                             to
  waiting      its time has come                 trying: REGISTER to the upstream's first address
  trying,      2xx with our contact              registered, for what was granted; again at three quarters of it
  registered   401, 407 with credentials         the same, next CSeq number (22.2)
               423                               the same, with the interval asked for (10.3 step 7)
               503, 408, silence, unreachable    the next address, else as any other refusal
               300-699                           failed (registered until that is over): again after a pause
  any          stop                              removing: REGISTER with Expires: 0, if anything was registered
  removing     an answer, or none                removed

Pauses double from `retry` to `longest_retry`, with some chance in them so that edges that failed together do not come
back together; a Retry-After may make one longer. The contact is the same after every start, so that a binding which an
edge left behind is taken over and no call comes twice.

Only the worker with number 0 registers. Looked at once a second (`advance`), so it needs no alarm of its own: whoever
uses all of those up keeps no registration from its refresh.
"""
import random
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

import msgspec

from proxy.calls.hop import hop_to, listener_to
from proxy.config import Config
from proxy.config import Registration as Settings
from proxy.events import Event
from proxy.events import Registration as Struct
from proxy.policy.addresses import bind_address, parse_address
from proxy.policy.refusals import Refused
from sipcore.base.errors import SipEdgeError
from sipcore.stack.handler import Handler
from sipcore.stack.outgoing import Outgoing
from sipcore.wire.nameaddr import NameAddress
from sipcore.wire.uri import URI

if TYPE_CHECKING:
    from proxy.calls.registry import Calls
    from sipcore.stack.hop import Hop
    from sipcore.stack.uac import ClientTransaction
    from sipcore.wire.message import Message

State = Literal["waiting", "trying", "registered", "failed", "removing", "removed"]

NEXT_ADDRESS = frozenset({408, 430, 500, 502, 503, 504})
"""Statuses that say something about that address, not about the registration."""
LONGEST_GRANT = 86_400
SHORTEST_REFRESH_MS = 5_000
AT_ONCE = 20
"""Registrations that begin in one second."""


class Registration(Handler):
    """One address of record at one upstream. Times are the stack's ms."""

    __slots__ = ("asked", "call_id", "challenges", "cseq", "due", "expires_at", "failures", "listener", "out",
                 "owner", "raised", "reason", "settings", "state", "status", "tag", "to", "tried", "tx", "uri")

    def __init__(self, owner: "Registrations", settings: Settings):
        calls = owner.calls
        self.owner = owner
        self.settings = settings
        self.state: State = "waiting"
        self.due: int | None = calls.stack.time
        """When it is to be sent again."""
        self.expires_at = 0
        """What was granted is over then; 0: nothing is."""
        self.failures = 0
        self.status = 0
        self.reason = ""
        self.to: Hop = ("", 0)
        self.call_id = calls.stack.new_call_id()
        self.tag = calls.stack.new_tag()
        self.cseq = 0
        self.asked = settings.expires
        self.challenges = 0
        self.raised = False
        self.tried = 0
        self.listener = 0
        self.uri = ""
        self.tx: ClientTransaction | None = None
        self.out: Outgoing | None = None

    # --- sending

    def begin(self) -> None:
        """A new round: from the first address on."""
        self.tried = 0
        self._try()

    def _try(self) -> None:
        """To the next address of the upstream."""
        addresses = self.owner.addresses(self.settings.upstream, self.call_id)
        if self.tried >= len(addresses):
            self._failed(503, "the upstream has no address that may be tried", None)
            return
        self.to = addresses[self.tried]
        self.tried += 1
        self.challenges = 0
        self.raised = False
        if self.state in ("waiting", "failed"):
            self.state = "trying"
        try:
            self.listener = self.owner.listener(self.settings, self.to)
            self.uri = self.owner.contact(self.settings, self.listener)
        except SipEdgeError as error:
            self._failed(error.status, str(error), None)
            return
        self._send()

    def _send(self, *more: tuple[str, str]) -> None:
        settings, stack = self.settings, self.owner.calls.stack
        self.cseq += 1
        self.due = None
        expires = 0 if self.state == "removing" else self.asked
        self.out = Outgoing(
            method="REGISTER", uri=f"sip:{settings.aor.rpartition('@')[2]}", call_id=self.call_id, cseq=self.cseq,
            local=f"<{settings.aor}>", local_tag=self.tag, remote=f"<{settings.aor}>", contact=f"<{self.uri}>",
            headers=(("Expires", str(expires)), *more))
        try:
            self.tx = stack.request(stack.time, self.out, self.to, self, listener=self.listener)
        except SipEdgeError as error:
            self._failed(error.status, str(error), None)

    def stop(self) -> None:
        """Take it back; whatever is under way is overtaken by the next CSeq number."""
        if self.state in ("removing", "removed"):
            return
        sent = self.expires_at or self.tx is not None
        self.state = "removing" if sent else "removed"
        self.due = self.tx = None
        if sent:
            self.challenges = 0
            self._send()

    def advance(self, now: int, begin: bool) -> bool:
        """Do what is due, if there is time for it; whether something began."""
        if self.expires_at and now >= self.expires_at and self.state == "registered":
            self.expires_at = 0
            self.state = "failed" if self.tx is None else "trying"
            self.owner.tell(self, "expired")
        if self.due is None or now < self.due or not begin:
            return False
        self.due = None
        self.begin()
        return True

    # --- what comes back

    def on_response(self, tx: "ClientTransaction", response: "Message") -> None:
        if tx is not self.tx or response.status < 200:
            return
        self.tx = None
        status = response.status
        if status in (401, 407) and self._answer(status, response):
            return
        if self.state == "removing":
            self._removed(status, response.reason)
        elif status < 300:
            self._granted(response)
        elif status == 423 and not self.raised and self._raise(response):
            self.raised = True
            self._send()
        else:
            self._refused(status, response.reason, response)

    def on_timeout(self, tx: "ClientTransaction", unreachable: bool) -> None:
        if tx is not self.tx:
            return
        self.tx = None
        status, reason = (503, "unreachable") if unreachable else (408, "no answer")
        if self.state == "removing":
            self._removed(status, reason)
        else:
            self._refused(status, reason, None)

    def _answer(self, status: int, response: "Message") -> bool:
        """Whether the REGISTER is on its way again with credentials."""
        calls = self.owner.calls
        if self.out is None:
            return False
        headers = calls.policy.answers.answer(
            self.to[:2], self.out, response, calls.upstream_index(self.settings.upstream), self.challenges)
        calls.count("challenges_answered" if headers else "challenges_refused")
        if not headers:
            return False
        self.challenges += 1
        self._send(*headers)
        return True

    def _raise(self, response: "Message") -> bool:
        """Ask for the interval that a 423 wants."""
        text = response.header("Min-Expires") or ""
        least = seconds_of(text, 0)
        if not self.asked < least <= LONGEST_GRANT:
            return False
        self.asked = least
        return True

    def _granted(self, response: "Message") -> None:
        now = self.owner.calls.stack.time
        seconds = granted(response, self.uri, self.asked)
        if seconds <= 0:
            self._refused(response.status, "granted nothing for our contact", response)
            return
        was = self.state
        self.state, self.status, self.reason = "registered", response.status, response.reason
        self.failures = 0
        self.expires_at = now + 1000 * seconds
        wait = round(1000 * seconds * self.owner.between(0.70, 0.80))
        self.due = now + max(wait, SHORTEST_REFRESH_MS)
        if was != "registered":
            self.owner.tell(self, "registered")

    def _refused(self, status: int, reason: str, response: "Message | None") -> None:
        if status in NEXT_ADDRESS and self.tried < len(
                self.owner.addresses(self.settings.upstream, self.call_id)):
            self._try()
            return
        self._failed(status, reason, response)

    def _failed(self, status: int, reason: str, response: "Message | None") -> None:
        settings, now = self.settings, self.owner.calls.stack.time
        if self.state == "removing":
            self._removed(status, reason)
            return
        self.status, self.reason = status, reason
        if now >= self.expires_at:
            self.state, self.expires_at = "failed", 0
        pause = min(settings.retry * 2 ** min(self.failures, 20), settings.longest_retry)
        self.failures += 1
        seconds = pause * self.owner.between(0.75, 1.0)
        asked = seconds_of((response.header("Retry-After") or "") if response is not None else "", 0)
        seconds = max(seconds, min(asked, settings.longest_retry))
        self.due = now + max(1000, round(1000 * seconds))
        self.owner.tell(self, "failed")

    def _removed(self, status: int, reason: str) -> None:
        self.state, self.due, self.expires_at = "removed", None, 0
        self.status, self.reason = status, reason
        self.owner.tell(self, "removed")

    def struct(self) -> Struct:
        """As others see it; times of day."""
        wall = self.owner.calls.wall
        return Struct(
            aor=self.settings.aor, upstream=self.settings.upstream, state=self.state,
            contact=self.uri, address=f"{self.to[0]}:{self.to[1]}" if self.to[0] else "",
            expires=self.expires_at + wall if self.expires_at else 0, next=self.due + wall if self.due else 0,
            status=self.status, reason=self.reason, failures=self.failures)


class Registrations:
    """All registrations of a worker. between(low, high): a number in between, by chance."""

    def __init__(self, calls: "Calls", between: Callable[[float, float], float] = random.uniform):
        self.calls = calls
        self.between = between
        self.all: list[Registration] = []
        self._leaving: list[Registration] = []

    def configure(self, config: Config) -> None:
        """Begin what is new in a configuration and take back what is no longer in it; the rest goes on."""
        if self.calls.worker != 0:
            return
        running = {one.settings: one for one in self.all}
        kept = []
        for settings in config.registrations:
            known = running.pop(settings, None)
            kept.append(known or Registration(self, settings))
        for gone in running.values():
            self._leave(gone)
        self.all = kept

    def advance(self, now: int) -> None:
        """Once a second."""
        left = AT_ONCE
        for one in self.all:
            left -= one.advance(now, left > 0)
        self._leaving = [one for one in self._leaving if one.state == "removing"]

    def finish(self) -> None:
        """The worker stops: take all of them back."""
        for one in self.all:
            self._leave(one)
        self.all = []

    def _leave(self, one: Registration) -> None:
        one.stop()
        if one.state == "removing":
            self._leaving.append(one)

    def structs(self) -> list[Struct]:
        return [one.struct() for one in (*self.all, *self._leaving)]

    def statistics(self) -> dict[str, int]:
        """Gauges for the page."""
        return {"registrations": len(self.all),
                "registrations_up": sum(one.state == "registered" for one in self.all)}

    # --- for the registrations

    def addresses(self, upstream: str, call_id: str) -> "list[Hop]":
        """Addresses of an upstream in the order they are tried."""
        try:
            order = self.calls.policy.peers[upstream].order(call_id)
        except (KeyError, Refused):
            return []
        return [hop_to(self.calls.stack, one.host, one.port, one.transport, one.name) for one in order.addresses
                if one.place is None]

    def listener(self, settings: Settings, to: "Hop") -> int:
        """The listener that it is sent from. Raises NoWay."""
        names = [one.name for one in self.calls.config.listeners]
        first = names.index(settings.listener) if settings.listener in names else 0
        return listener_to(self.calls.stack, to, first)

    def contact(self, settings: Settings, listener: int) -> str:
        """The contact's URI: always the same for the same configuration."""
        one = self.calls.config.listeners[listener]
        transport, bound = bind_address(one.bind)
        address = parse_address(one.advertise, bound.port) if one.advertise else bound
        user = settings.contact or settings.aor.partition(":")[2].rpartition("@")[0]
        return f"sip:{user}@{address}{'' if transport == 'udp' else f';transport={transport}'}"

    def tell(self, one: Registration, what: str) -> None:
        """The log, and who listens to events."""
        calls = self.calls
        shown = one.struct()
        level = "info" if what in ("registered", "removed") else "warning"
        text = {"registered": "registered", "removed": "registration taken back", "failed": "registration failed",
                "expired": "registration is over"}[what]
        wait = {"again_in": round((one.due - calls.stack.time) / 1000)} if what == "failed" and one.due else {}
        calls.count(f"registrations_{what}")
        calls.log(level, text, aor=shown.aor, upstream=shown.upstream, address=shown.address, status=shown.status,
                  reason=shown.reason, **wait)
        name = f"registration.{what}"
        if calls.services.used and calls.services.wants(name):
            calls.services.emit(Event(name=name, at=calls.now, detail=msgspec.to_builtins(shown)))


def granted(response: "Message", uri: str, asked: int) -> int:
    """Seconds that a 2xx grants for a contact of ours (10.2.4): of its own value among all that are bound, else of the
    Expires header. Registrars that list no contacts, or ours in a way that is no longer known again, grant what they
    say, or what was asked for."""
    ours = URI(uri)
    general = seconds_of(response.header("Expires") or "", asked)
    values = response.headers("Contact")
    for value in values:
        try:
            contact = NameAddress(value.encode("utf-8", "surrogateescape"))
            found = contact.uri
        except (SipEdgeError, ValueError):
            continue
        if found is not None and (found.user, found.host.lower(), found.port or 5060) == (
                ours.user, ours.host.lower(), ours.port or 5060):
            return min(seconds_of(contact.param("expires") or "", general), LONGEST_GRANT)
    return min(general, LONGEST_GRANT)


def seconds_of(text: str, default: int = 0) -> int:
    """delta-seconds (Expires, Retry-After) in front of whatever else stands there; the default where there are none."""
    digits = text.strip().partition(";")[0].partition("(")[0].strip()
    return int(digits) if digits.isascii() and digits.isdigit() and len(digits) <= 10 else default
