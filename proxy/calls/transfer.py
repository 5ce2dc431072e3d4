"""A transfer as it runs: it feeds proxy.calls.table with what happens, and does what the table answers.

Events are queued while one is being worked on, so that whatever an action sets off at once (no way to the target, a
bridge that needs no re-INVITE) is a step of its own. One deadline holds for all of it; every wait below it ends at the
deadline at the latest, because the deadline ends the transfer.
"""
from collections import deque
from typing import TYPE_CHECKING, Any, Literal

from proxy.calls.hold import Hold
from proxy.calls.join import Join
from proxy.calls.prepare import Load, Preparation
from proxy.calls.records import printable, transfer_fields, transfer_struct
from proxy.calls.table import Action, Event, Status, advance, start
from proxy.calls.target import Target
from proxy.calls.verdicts import Attempt
from proxy.calls.whispering import Whispering
from proxy.config import Action as Plan
from proxy.events import Event as Said
from proxy.events import Extracted, Mode, Record, SentHeader, Step, new_id
from proxy.policy.refusals import Refused
from sipcore.base.errors import SipEdgeError

if TYPE_CHECKING:
    from proxy.calls.call import Call
    from proxy.calls.media import Anchored
    from sipcore.stack.alarms import Alarm
    from sipcore.stack.leg import Leg
    from sipcore.stack.referral import Referral

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
        self._token: Any = None
        self._events: deque[tuple[Event, int, str]] = deque()
        self._working = False
        self._alarms: list[Alarm] = [self.after(plan.deadline, Event.DEADLINE)]
        self.preparation = Preparation(self)
        self.hold = Hold(self)
        self.target = Target(self)
        self.whispering = Whispering(self) if plan.whisper is not None else None
        self.join: Join | None = None

    @property
    def leg(self) -> "Leg | None":
        """Of the target."""
        return self.target.leg

    @property
    def media(self) -> "Anchored":
        """Of a call whose audio goes through the edge: others have no transfer that needs it."""
        return self.call.media  # type: ignore[return-value]

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
            except (Refused, SipEdgeError) as error:
                self.failed(action, error)

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

    def failed(self, action: Action, error: Refused | SipEdgeError) -> None:
        """An action could not be done."""
        self.note(f"{action.value} failed", (error.note or error.reason) if isinstance(error, Refused) else str(error))
        if action is Action.REFER:
            self.wrong(Event.REFER_REFUSED, error)
        elif action is Action.INVITE:
            self.wrong(Event.TARGET_FAILED, error)
        elif action in (Action.BRIDGE, Action.WHISPER):
            self.wrong(Event.REINVITE_FAILED, error)

    def wrong(self, event: Event, error: Refused | SipEdgeError) -> None:
        """An event that is the edge's own doing: its status, and as a reason phrase what was wrong."""
        reason = error.reason if isinstance(error, Refused) else str(error).removeprefix(f"{error.status} ")
        self.happen(event, error.status, reason)

    def note(self, what: str, detail: str = "") -> None:
        """A step of the record. detail: may be a stranger's words."""
        if len(self.steps) < MOST_STEPS:
            self.steps.append(Step(self.call.calls.now, what, printable(detail)))

    def after(self, seconds: float, event: Event) -> "Alarm":
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
        self.target.invite()

    def _drop(self) -> None:
        self.target.drop()

    def _hold(self) -> None:
        self.hold.begin()

    def _return(self) -> None:
        self.hold.end()

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
        self._alarms.append(self.after(GRACE, Event.NOTIFY_NONE))

    def _finish(self) -> None:
        call = self.call
        self.ended = call.calls.stack.time
        for alarm in self._alarms:
            alarm.cancel()
        self.target.stop_ringing()
        self.preparation.end()
        self.hold.forget()
        if self.whispering is not None:
            self.whispering.end(self.target.leg)
            self.whispering = None
        if self.status.state == "completed" and self.target.leg is not None:
            call.adopt(self.target.leg)
            self.target.leg = None
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
            self.pass_on(status, reason)
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

    def pass_on(self, status: int, reason: str) -> None:
        """Progress goes to the referrer as it comes, not only the end."""
        if self.referral is not None and 100 < status < 200:
            self.referral.progress(status, reason)


_DO = {action: f"_{action.value}" for action in Action}
