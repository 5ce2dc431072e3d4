"""REFER of ours on a leg, and what the far end reports on it (RFC 3515, RFC 4488, RFC 6665).

  what comes                              what the owner hears
  any 2xx, or a NOTIFY before it          accepted, once: the far end will try, and nothing more
  300-699                                 refused, with that status; also without an answer: 408, 503
  NOTIFY with 100-199                     progress
  NOTIFY with 200-699                     final, after it was answered
  no NOTIFY for 64*T1 after the 2xx       unknown
  no final one for as long as is waited   unknown
  the subscription ends without one       unknown
  the far end's BYE, or a lost dialog     unknown, unless a NOTIFY still comes within GRACE
  2xx with Refer-Sub: false               accepted, unknown: nobody will tell

Exactly one of refused, final and unknown ends it. NOTIFYs that come later are answered 200 for 64*T1 after the leg's
end, and tell nothing. A subscription that runs out while the outcome is waited for is renewed by SUBSCRIBE where the
far end takes that (RFC 6665 4.1.2.2).
"""
from typing import TYPE_CHECKING

from sipcore.stack.inside import Inside
from sipcore.stack.outgoing import Headers
from sipcore.stack.referral import SIPFRAG, Progress, refers_silently
from sipcore.wire.message import Message

if TYPE_CHECKING:
    from sipcore.stack.alarms import Alarm
    from sipcore.stack.leg import Leg

GRACE = 4000
"""How long, in ms, a NOTIFY is still awaited when the far end has hung up: T4 would be 5 s, and people wait."""
_RENEW_BEFORE = 10
"""Seconds before its end that a subscription is renewed; a short one at its half."""


class Referring(Inside):
    """The token of `Leg.refer`. wait_ms: how long the outcome is waited for from the acceptance on; notify_ms: how
    long the first NOTIFY is."""

    __slots__ = ("accepted", "alarm", "deadline", "ended_at", "known_by", "notified", "notify_ms", "outcome", "renewal",
                 "wait_ms")

    def __init__(self, leg: "Leg", refer_to: str, headers: Headers, wait_ms: int, notify_ms: int) -> None:
        value = refer_to if "<" in refer_to else f"<{refer_to}>"
        given = tuple(headers)
        assert leg.dialog is not None
        by = () if any(name.lower() in ("referred-by", "b") for name, _ in given) else (
            ("Referred-By", leg.dialog.local),)
        Inside.__init__(self, leg, "REFER", (("Refer-To", value), *by, *given))
        self.wait_ms = wait_ms
        self.notify_ms = min(notify_ms, wait_ms)
        self.known_by: list[int] = []
        """CSeq numbers that it was sent with: what Event names it by."""
        self.accepted = False
        self.notified = False
        self.outcome = ""
        """refused, final or unknown once it has ended."""
        self.ended_at = 0
        self.deadline = 0
        self.alarm: Alarm | None = None
        self.renewal: Alarm | None = None

    def send(self, more: Headers = ()) -> None:
        Inside.send(self, more)
        self.known_by.append(self.dialog.local_cseq)

    def begin(self) -> None:
        """Send what has waited for the leg."""
        if not self.known_by and not self.outcome and not self.launch():
            self._end("refused", 503, "Service Unavailable")

    def on_final(self, status: int, reason: str, response: Message | None) -> None:
        if self.outcome:
            return
        if 200 <= status < 300 and response is not None:
            if self._accept(status, reason) and not self.notified and refers_silently(response):
                self._end("unknown", 0, "no subscription")
        elif response is None and self.notified:
            # It did arrive: its reports say so.
            return
        else:
            self._end("refused", status, reason)

    def _accept(self, status: int, reason: str) -> bool:
        """Whether its outcome is still to come."""
        if not self.accepted:
            self.accepted = True
            leg = self.leg
            self.deadline = leg.agent.time + self.wait_ms
            self.alarm = leg.after(self.notify_ms, self._on_silence)
            leg.owner.on_refer_progress(leg, self, "accepted", status, reason)
        return not self.outcome

    def _on_silence(self) -> None:
        self.alarm = None
        self._end("unknown", 0, "no final NOTIFY" if self.notified else "no NOTIFY")

    def on_notify(self, progress: Progress) -> None:
        """Take a NOTIFY that was answered 200."""
        if self.outcome:
            return
        leg = self.leg
        first, self.notified = not self.notified, True
        if not self._accept(202, "Accepted"):
            return
        if progress.final:
            self._end("final", progress.status, progress.reason)
        elif progress.ended:
            self._end("unknown", progress.status, "subscription terminated")
        else:
            if first:
                if self.alarm is not None:
                    self.alarm.cancel()
                self.alarm = leg.after(max(self.deadline - leg.agent.time, 0), self._on_silence)
            if progress.expires is not None:
                self._renew_in(progress.expires)
            if progress.status:
                leg.owner.on_refer_progress(leg, self, "progress", progress.status, progress.reason)

    def _renew_in(self, seconds: int) -> None:
        """Renew what ends before the outcome is given up."""
        leg = self.leg
        if self.renewal is not None:
            self.renewal.cancel()
            self.renewal = None
        if seconds and leg.agent.time + seconds * 1000 < self.deadline and leg.peer.allows("SUBSCRIBE"):
            self.renewal = leg.after(max(seconds - _RENEW_BEFORE, seconds // 2) * 1000, self._renew)

    def _renew(self) -> None:
        self.renewal = None
        seconds = (self.deadline - self.leg.agent.time) // 1000 + 1
        _Renewal(self, seconds).launch()

    def lost(self) -> None:
        """The far end has hung up, or is gone. Its subscription outlives the call (RFC 5057 3): what it has to tell may
        be on its way, or be told at once."""
        if self.outcome:
            return
        if self.alarm is not None:
            self.alarm.cancel()
        self.alarm = self.leg.after(GRACE, self._on_gone)
        if self.alarm is None:
            self._on_gone()

    def _on_gone(self) -> None:
        self.alarm = None
        self._end("unknown", 0, "the far end hung up")

    def _end(self, kind: str, status: int, reason: str) -> None:
        if self.outcome:
            return
        self.outcome = kind
        self.ended_at = self.leg.agent.time
        for alarm in (self.alarm, self.renewal):
            if alarm is not None:
                alarm.cancel()
        self.alarm = self.renewal = None
        self.leg.owner.on_refer_progress(self.leg, self, kind, status, reason)


class _Renewal(Inside):
    """SUBSCRIBE for a subscription that REFER began. Refused, it changes nothing: the outcome is still waited for."""

    __slots__ = ("referring",)

    def __init__(self, referring: Referring, seconds: int) -> None:
        Inside.__init__(self, referring.leg, "SUBSCRIBE", (
            ("Event", f"refer;id={referring.known_by[-1]}"), ("Expires", str(seconds)), ("Accept", SIPFRAG),
        ), dialog=referring.dialog)
        self.referring = referring
