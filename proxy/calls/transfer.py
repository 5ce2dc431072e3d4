"""A transfer as it runs: it feeds proxy.calls.table with what happens, and does what the table answers.

Events are queued while one is being worked on, so that whatever an action sets off at once (no way to the target, a
bridge that needs no re-INVITE) is a step of its own. One deadline holds for all of it; every wait below it ends at the
deadline at the latest, because the deadline ends the transfer.

Long because every action of the table and every event that feeds it stand here.
"""
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from proxy.calls.gone import GONE
from proxy.calls.hop import NoWay, hop_to
from proxy.calls.join import Join
from proxy.calls.prepare import Load, Preparation
from proxy.calls.records import printable, transfer_fields, transfer_struct
from proxy.calls.table import Action, Event, Status, advance, start
from proxy.calls.verdicts import Attempt
from proxy.calls.whispering import Whispering, key_of
from proxy.config import Action as Plan
from proxy.events import Event as Said
from proxy.events import Extracted, Mode, Record, SentHeader, Step, new_id
from proxy.policy.refusals import Refused
from sipcore.base.errors import SipEdgeError
from sipcore.base.place import Unresolved
from sipcore.stack.aim import Aim, Seeker, seek
from sipcore.stack.leg import Leg

if TYPE_CHECKING:
    from proxy.calls.call import Call
    from proxy.calls.media import Anchored
    from proxy.calls.prepare import Invitation
    from sipcore.stack.alarms import Alarm
    from sipcore.stack.hop import Hop
    from sipcore.stack.offer import Offer
    from sipcore.stack.referral import Referral
    from sipcore.stack.uas import ServerTransaction
    from sipcore.wire.message import Message

GRACE = 4.0
"""Seconds that a NOTIFY may come after the BYE of the caller's server (T4 would be 5; people wait)."""
MOST_CODES = 64
MOST_STEPS = 200
"""Of a record: whoever sends us progress without end fills no memory."""

_STATUS = {
    Event.RING_TIMEOUT: (408, "Request Timeout"), Event.KEY_DECLINE: (603, "Decline"),
    Event.KEY_TIMEOUT: (480, "No Key Was Pressed"), Event.CANCEL: (487, "Request Terminated"),
    Event.CALLER_GONE: (487, "Request Terminated"), Event.DEADLINE: (408, "Request Timeout"),
    Event.NOTIFY_NONE: (408, "Outcome Unknown"), Event.TARGET_GONE: (480, "Temporarily Unavailable"),
}
"""What is told to whoever asked where no far end gave a status."""


def text_of(error: SipEdgeError) -> str:
    """What was wrong, as a reason phrase: without the status, which stands beside it."""
    return str(error).removeprefix(f"{error.status} ")


class Transfer:
    """One transfer of a call. Made by `begin`; lives in call.transfer until its terminal state."""

    def __init__(self, call: "Call", plan: Plan, targets: list[str], *, started_by: Literal["refer", "api"],
                 variables: dict[str, str], referral: "Referral | None" = None,
                 carried: tuple[tuple[str, str], ...] = (), mode: Mode = "blind"):
        self.call = call
        self.action = plan
        self.targets = targets
        self.started_by = started_by
        self.referral = referral
        self.flow = variables
        self.carried = carried
        self.caller = call.caller
        self.agent = call.peer
        self.id = new_id(call.calls.worker)
        if mode != "attended":
            mode = plan.mode
        self.status: Status = start(
            mode, plan.on_failure if mode != "attended" else "return", len(targets), whisper=plan.whisper is not None,
            key=plan.whisper is not None and bool(plan.whisper.accept), audio=plan.hold == "audio",
            agent=call.peer is not None)
        self.at = 0
        self.began = call.calls.stack.time
        self.ended = 0
        self.accepted = False
        self.sip_status = 0
        self.reason = ""
        self.codes: list[int] = []
        self.steps: list[Step] = []
        self.headers: list[SentHeader] = []
        self.budget = ""
        self.load: Load | None = None
        """What is sent at present, for the size check."""
        self.extracted: list[Extracted] = []
        self.attempts: list[Attempt] = []
        self.why = ""
        self.leg: Leg | None = None
        self._token: Any = None
        self._told: Any = None
        self._held = False
        self._events: deque[tuple[Event, int, str]] = deque()
        self._working = False
        self._alarms: list[Alarm] = [self._after(plan.deadline, Event.DEADLINE)]
        self._ringing: Alarm | None = None
        self._seeker: Seeker | None = None
        self.preparation = Preparation(self)
        self.whispering = Whispering(self) if plan.whisper is not None else None
        self.join: Join | None = None

    # --- how it goes on

    def begin(self) -> None:
        self.note("preparing")
        self._tell()
        self.preparation.begin()

    def happen(self, event: Event, status: int = 0, reason: str = "") -> None:
        """Something happened; status and reason: the far end's, where it said any."""
        self._events.append((event, status, reason))
        if self._working:
            return
        self._working = True
        try:
            while self._events:
                self._work(*self._events.popleft())
        finally:
            self._working = False

    def _work(self, event: Event, status: int, reason: str) -> None:
        before = self.status
        after, actions = advance(before, event)
        if before.terminal:
            return
        seen = status and len(self.codes) < MOST_CODES
        if seen:
            self.codes.append(status)
        if actions or after is not before or seen:
            self.note(event.value, f"{status} {reason}".strip() if status else reason)
        self._judge(before, after, event, status, reason)
        self.status = after
        if before.state != after.state and not after.terminal:
            self._tell()
        for action in actions:
            try:
                getattr(self, _DO[action])()
            except Refused as refused:
                self._failed(action, refused.status, refused.reason, refused.note)
            except SipEdgeError as error:
                self._failed(action, error.status, text_of(error), str(error))

    def _judge(self, before: Status, after: Status, event: Event, status: int, reason: str) -> None:
        """Keep how an attempt ended: when its target is left, or with the transfer."""
        begun = before.state != "preparing"
        moved = after.terminal or (begun and (after.left < before.left or after.on_failure != before.on_failure))
        if not moved:
            return
        if not status:
            status, reason = _STATUS.get(event, (0, ""))
        if after.state == "completed":
            status, reason = status or 200, reason or "OK"
        self.sip_status, self.reason = status, reason
        if begun:
            shown = Event.CALLER_GONE if event is Event.NOTIFY_NONE and not before.caller else event
            self.attempts.append(Attempt(
                printable(self.targets[self.at]), before.state in ("referring", "accepted"), shown, status,
                printable(reason), self.accepted, self.action.ring_timeout))
        elif event is Event.DEADLINE:
            self.why = self.why or "the time for the transfer was over before it could begin"
        elif event is Event.CALLER_GONE:
            self.why = "the caller hung up before the transfer began"
        elif event is Event.CANCEL:
            self.why = "the transfer was cancelled before it began"

    def _failed(self, action: Action, status: int, reason: str, why: str) -> None:
        """An action could not be done."""
        self.note(f"{action.value} failed", why or reason)
        if action is Action.REFER:
            self.happen(Event.REFER_REFUSED, status, reason)
        elif action is Action.INVITE:
            self.happen(Event.TARGET_FAILED, status, reason)
        elif action in (Action.BRIDGE, Action.WHISPER):
            self.happen(Event.REINVITE_FAILED, status, reason)

    def note(self, what: str, detail: str = "") -> None:
        """A step of the record. detail: may be a stranger's words."""
        if len(self.steps) < MOST_STEPS:
            self.steps.append(Step(self.call.calls.now, what, printable(detail)))

    def _after(self, seconds: float, event: Event) -> "Alarm":
        return self.call.calls.after(seconds, lambda: self.happen(event))

    def _tell(self, name: str = "") -> None:
        services = self.call.calls.services
        name = f"transfer.{name or self.status.state}"
        if services.wants(name):
            services.emit(Said(name=name, at=self.call.calls.now, call=self.call.struct(),
                               transfer=transfer_struct(self)))

    # --- actions of the table

    def _refer(self) -> None:
        caller = self.call.caller
        assert caller is not None
        if caller.peer_allows("REFER") is False:
            raise Refused(405, "Method Not Allowed", "the caller's server does not take REFER")
        value, headers = self.preparation.refer(self.targets[self.at])
        self.accepted = False
        self.note("refer", self.targets[self.at])
        self._token = caller.refer(value, headers, wait_ms=self.call.calls.refer_ms)
        if self._token is None:
            raise Refused(481, "Call/Transaction Does Not Exist", "the caller's dialog is about to end")

    def _next(self) -> None:
        self.at += 1

    def _invite(self) -> None:
        """Call the target, once it is known where that is."""
        invitation = self.preparation.invitation(self.targets[self.at])
        aims = [Aim(hop.uri, hop.host, hop.port, hop.transport, hop.name, hop.listener, hop.place)
                for hop in invitation.destination.hops]
        self._ringing = self._after(self.action.ring_timeout, Event.RING_TIMEOUT)
        call = self.call
        self._seeker = seek(call.calls.stack, aims, call.request.call_id, partial(self._found, invitation))

    def _found(self, invitation: "Invitation", aims: "list[Aim] | Unresolved") -> None:
        try:
            if isinstance(aims, Unresolved):
                raise Refused(aims.status, aims.reason, str(aims))
            self._call_target(invitation, aims)
        except Refused as refused:
            self._failed(Action.INVITE, refused.status, refused.reason, refused.note)
        except SipEdgeError as error:
            self._failed(Action.INVITE, error.status, text_of(error), str(error))

    def _call_target(self, invitation: "Invitation", aims: "list[Aim]") -> None:
        call = self.call
        caller = call.caller
        assert caller is not None
        # A leg of its own for each attempt: fresh Call-ID and tag, or the peer merges it with the last one (482).
        leg = Leg.outgoing(call.calls.stack, self, call.calls.settings)
        first, *rest = self._reached(aims)
        # What is offered names the address of one listener.
        others = [aim for aim in rest if aim.listener == first.listener]
        if len(others) < len(rest):
            self.note("addresses", f"{len(rest) - len(others)} by another listener are not tried")
        side = self.media.media.free_side()
        if side < 0:
            raise Refused(503, "No Side Is Free", "the last target has not gone yet")
        self.media.take(leg, side, "target", invitation.destination.peer.settings.srtp)
        try:
            body = self.media.invite(leg, caller, first.listener)
            leg.invite(first.uri, self._hop(first), local=invitation.local, remote=invitation.remote,
                       headers=invitation.headers, body=body, listener=first.listener,
                       targets=tuple(self._hop(aim) for aim in others), uris=tuple(aim.uri for aim in others),
                       max_forwards=caller.max_forwards - 1, other_offer=partial(self._retell, leg))
        except SipEdgeError:
            self.media.over(leg)
            raise
        self.note("invite", self.targets[self.at])
        call.open += 1
        self.leg = leg
        if self.whispering is not None:
            self.whispering.prepare()

    def _retell(self, leg: Leg, response: "Message | None") -> bytes:
        body = self.call.calls.retell(self.call, leg, response)
        if body and response is not None:
            self.note("srtp", f"{response.status} {response.reason}: offered in another profile")
        return body

    def _hop(self, aim: Aim) -> "Hop":
        return hop_to(self.call.calls.stack, aim.host, aim.port, aim.transport, aim.name)

    def _reached(self, aims: list[Aim]) -> list[Aim]:
        """The aims that a listener reaches, each with its listener. Raises NoWay where there is none."""
        stack = self.call.calls.stack
        found = [aim if aim.listener >= 0 else aim._replace(listener=stack.listener_for(self._hop(aim), 0))
                 for aim in aims]
        reached = [aim for aim in found if aim.listener >= 0]
        if not reached:
            raise NoWay(f"no listener reaches {aims[0].host} by {aims[0].transport}", status=503)
        return reached

    @property
    def media(self) -> "Anchored":
        """Of a call whose audio goes through the edge: others have no transfer that needs it."""
        return self.call.media  # type: ignore[return-value]

    def _hold(self) -> None:
        """The caller hears the hold sound, or nothing, and nobody the caller."""
        caller, peer = self.call.caller, self.call.peer
        if self._held or not self.call.media.anchored or caller is None:
            return
        self._held = True
        self.media.isolate(caller)
        if peer is not None:
            self.media.isolate(peer)
        self.hold_ready()

    def hold_ready(self) -> None:
        """The hold sound is there, or was already."""
        sound, caller = self.preparation.hold_sound, self.call.caller
        if self._held and sound and caller is not None:
            self.media.play(caller, sound, self.preparation.hold_codec, loop=True)

    def _return(self) -> None:
        caller, peer = self.call.caller, self.call.peer
        if self._held and caller is not None and peer is not None:
            self._held = False
            self.media.join(caller, peer)

    def _whisper(self) -> None:
        if self.whispering is not None:
            self.whispering.begin()

    def _await_key(self) -> None:
        if self.whispering is not None:
            self.whispering.await_key()

    def _bridge(self) -> None:
        if self.whispering is not None:
            self.whispering.end()
        self.join = Join(self)
        self.join.begin()

    def _await_notify(self) -> None:
        self._alarms.append(self._after(GRACE, Event.NOTIFY_NONE))

    def _drop(self) -> None:
        leg, self.leg = self.leg, None
        self._stop_ringing()
        if self.whispering is not None:
            self.whispering.end(leg)
        if leg is not None:
            # Its owner stays this transfer, which hears nothing of it any more but its end.
            self.media.isolate(leg)
            leg.bye()

    def _finish(self) -> None:
        call = self.call
        self.ended = call.calls.stack.time
        for alarm in self._alarms:
            alarm.cancel()
        self._stop_ringing()
        self.preparation.end()
        if self.whispering is not None:
            self.whispering.end(self.leg)
            self.whispering = None
        if self.status.state == "completed" and self.leg is not None:
            call.adopt(self.leg)
            self.leg = None
        if self.referral is not None:
            self.referral.final(self.sip_status or 500, self.reason)
        self.note(self.status.state, f"{self.sip_status} {self.reason}".strip() if self.sip_status else "")
        call.transfer_over(self)
        self._tell()
        journal = call.calls.stack.records.journal
        if journal.enabled or call.calls.services.used:
            record = transfer_struct(self)
            if journal.enabled:
                journal.write(record.ended, transfer_fields(record, call.request.call_id))
            if call.calls.services.used:
                call.calls.services.emit(Record(at=record.ended, transfer=record))
        call.calls.count(f"transfers_{self.status.state}")

    def _end_caller(self) -> None:
        if self.caller is not None:
            if self.call.caller is self.caller:
                self.call.cause = self.call.cause or "transfer"
            self.caller.bye()

    def _end_agent(self) -> None:
        if self.agent is not None:
            self.agent.bye()

    def _stop_ringing(self) -> None:
        if self._seeker is not None:
            self._seeker.cancel()
            self._seeker = None
        if self._ringing is not None:
            self._ringing.cancel()
            self._ringing = None

    # --- the REFER in the caller's dialog

    def refer_progress(self, token: Any, kind: str, status: int, reason: str) -> None:
        """kind: accepted, refused, progress, final, unknown."""
        if token is not self._token:
            return
        if kind == "accepted":
            self.accepted = True
            self.happen(Event.REFER_ACCEPTED, status, reason)
        elif kind == "refused":
            self.happen(Event.REFER_REFUSED, status, reason)
        elif kind == "progress":
            self.happen(Event.NOTIFY_PROGRESS, status, reason)
            self._pass_on(status, reason)
        elif kind == "final":
            self.accepted = True
            self.happen(Event.NOTIFY_OK if 200 <= status < 300 else Event.NOTIFY_FAILED, status, reason)
        elif kind == "unknown":
            if self.call.caller is None or self.call.caller.state != "up":
                self.happen(Event.CALLER_GONE)
            self.happen(Event.NOTIFY_NONE, 0, reason)

    def caller_answered(self, token: Any, status: int, reason: str) -> bool:
        """Whether that was the caller's answer to a re-INVITE of ours; see Attended."""
        return False

    def _pass_on(self, status: int, reason: str) -> None:
        """Progress goes to the referrer as it comes, not only the end."""
        if self.referral is not None and 100 < status < 200:
            self.referral.progress(status, reason)

    # --- LegOwner of the target, until it is joined with the caller

    def on_progress(self, leg: Leg, response: "Message") -> None:
        if leg is self.leg:
            self.happen(Event.TARGET_RINGING, response.status, response.reason)
            self._pass_on(response.status, response.reason)

    def on_answered(self, leg: Leg, response: "Message") -> None:
        if leg is not self.leg:
            leg.bye()
            return
        self._stop_ringing()
        try:
            self.media.answered(leg, leg.remote_sdp)
        except SipEdgeError as error:
            self.happen(Event.TARGET_FAILED, error.status, text_of(error))
            return
        self.happen(Event.TARGET_ANSWERED, response.status, response.reason)

    def on_failed(self, leg: Leg, status: int, reason: str, response: "Message | None") -> None:
        if leg is self.leg:
            self.happen(Event.TARGET_FAILED, status, reason)

    def on_ended(self, leg: Leg, by: str, reason: str) -> None:
        self.call.open -= 1
        self.call.keep(leg, "target")
        leg.owner = GONE
        self.call.media.over(leg)
        if leg is self.leg:
            self.happen(Event.TARGET_GONE, 0, reason)
        self.call.close()

    def on_offer(self, leg: Leg, exchange: "Offer") -> None:
        """The target offers anew while it hears nobody but the whisper."""
        try:
            if exchange.body:
                exchange.accept(self.media.own_answer(leg, exchange.body))
            else:
                exchange.reject(491)
        except SipEdgeError as error:
            exchange.reject(error.status)

    def on_reoffer_done(self, leg: Leg, token: Any, status: int, reason: str, body: bytes) -> None:
        if self.join is not None:
            self.join.done(leg, token, status, reason, body)

    def on_renewed(self, leg: Leg, body: bytes) -> None:
        """What it has moved to is for the relay alone, until it is joined."""
        self.call.media.renewed(leg, body)

    def on_message(self, leg: Leg, tx: "ServerTransaction") -> bool:
        """DTMF by INFO counts as a key too."""
        key = key_of(tx.request)
        if not key or self.whispering is None or leg is not self.leg:
            return False
        tx.respond(self.call.calls.stack.time, 200)
        self.whispering.pressed(key)
        return True

    def on_refer(self, leg: Leg, referral: "Referral") -> None:
        """A target that is not in the call yet transfers nobody."""
        referral.reject(603)

    def on_refer_progress(self, leg: Leg, token: Any, kind: str, status: int, reason: str) -> None:
        """The edge refers no target."""

    def on_cancelled(self, leg: Leg) -> None:
        """Targets are called; they do not call."""

    def on_established(self, leg: Leg, ack: "Message | None") -> None:
        """As above."""


_DO = {action: f"_{action.value}" for action in Action}
