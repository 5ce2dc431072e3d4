"""REFER and the subscription that it begins (RFC 3515, RFC 6665), for both ends, inside a dialog; the referee's half on
a leg. (The referrer's half is referring.)

Refused is a REFER with any status from 300 on; accepted is any 2xx, and says only that the referee will try.
What became of it, the NOTIFYs say; they may come before the answer to the REFER itself.
"""
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sipcore.base.errors import MalformedMessage
from sipcore.stack.dialog import Dialog
from sipcore.stack.inside import Inside
from sipcore.stack.outgoing import Headers, Outgoing, raw, uri_of
from sipcore.wire.message import Message
from sipcore.wire.nameaddr import NameAddress
from sipcore.wire.tables import phrase
from sipcore.wire.uri import URI

if TYPE_CHECKING:
    from sipcore.stack.alarms import Alarm
    from sipcore.stack.leg import Leg
    from sipcore.stack.uas import ServerTransaction

EXPIRES = 60
"""Seconds that a referee promises to report within."""
LONGEST_SUBSCRIPTION = 3600

SIPFRAG = "message/sipfrag;version=2.0"
# The version in any case (RFC 3261 7.1); some send an empty line first, or more than one space.
_STATUS_LINE = re.compile(rb"\s*SIP/2\.0[ \t]+([1-6][0-9][0-9])(?![0-9])(?:[ \t]+([^\r\n]*))?", re.IGNORECASE)
_CONTROL = re.compile(rb"[\x00-\x1f\x7f]")
_LONGEST_REASON = 512
_EXPIRES = re.compile(r"\bexpires\s*=\s*([0-9]{1,9})\b", re.IGNORECASE)
_EVENT_ID = re.compile(r";\s*id\s*=\s*([0-9]{1,10})", re.IGNORECASE)
# What a URI may bring into the request that it begins; all else could forge who calls or where it goes (19.1.5).
_CARRIED = frozenset({"user-to-user", "replaces", "subject", "require"})


@dataclass(frozen=True, slots=True)
class Progress:
    """What one NOTIFY says: status and reason of its sipfrag (0 where it has none), and whether it is the last."""

    refer: int | None
    """CSeq number of the REFER, where Event has an id."""
    status: int
    reason: str
    ended: bool
    expires: int | None = None
    """Seconds that the subscription still lasts, where it says so."""

    @property
    def final(self) -> bool:
        return self.status >= 200


def event_id(event: str) -> int | None:
    """The id of an Event value."""
    number = _EVENT_ID.search(event)
    return int(number[1]) if number else None


def read_notify(notify: Message) -> Progress | None:
    """None where it belongs to another event package."""
    event = notify.header("Event") or ""
    if event.partition(";")[0].strip().lower() != "refer":
        return None
    state, _, params = (notify.header("Subscription-State") or "").partition(";")
    expires = _EXPIRES.search(params)
    line = _STATUS_LINE.match(notify.body)
    # A body may hold what no header can: it goes on in responses and NOTIFYs of ours.
    said = _CONTROL.sub(b"?", (line[2] or b"")[:_LONGEST_REASON]) if line else b""
    status, reason = int(line[1]) if line else 0, said.decode("utf-8", "replace")
    return Progress(event_id(event), status, reason,
                    state.strip().lower() == "terminated", int(expires[1]) if expires else None)


def refer(dialog: Dialog, target: str, *, headers: Headers = ()) -> Outgoing:
    """REFER inside the dialog; target: a URI, or a whole Refer-To value in brackets."""
    value = target if "<" in target else f"<{target}>"
    return dialog.request("REFER", headers=[("Refer-To", value), ("Referred-By", dialog.local), *headers])


@dataclass(frozen=True, slots=True)
class Target:
    """Where a Refer-To leads: the request URI, and the headers that it brings along, unescaped."""

    uri: str
    headers: tuple[tuple[str, str], ...]


def refer_to(request: Message) -> Target:
    """Read a received REFER. MalformedMessage (400, 416) for none, several or one that cannot be called."""
    values = request.headers("Refer-To")
    if len(values) != 1:
        raise MalformedMessage("exactly one Refer-To is needed")
    NameAddress(raw(values[0]))
    uri = URI(raw(uri_of(values[0])))
    if uri.scheme not in ("sip", "sips", "tel"):
        raise MalformedMessage("unsupported URI scheme", status=416)
    params = [(name, value) for name, value in uri.params.items() if name != "method"]
    carried = tuple((name, value) for name, value in uri.header_list
                    if name.lower() in _CARRIED or name.lower().startswith("x-"))
    plain = uri.replace(params=params, headers=()) if uri.header_list or "method" in uri.params else uri
    return Target(plain.render(), carried)


def refers_silently(message: Message) -> bool:
    """Whether Refer-Sub says that there is no subscription (RFC 4488)."""
    return (message.header("Refer-Sub") or "").partition(";")[0].strip().lower() == "false"


class Subscription:
    """The referee's side: the one NOTIFY after another that a REFER began.

    The first one is to be sent at once (RFC 3515 2.4.4), the final one ends it.
    """

    def __init__(self, dialog: Dialog, request: Message):
        self.dialog = dialog
        self.refer = request.cseq[0]
        self.ended = False

    def notify(self, status: int, reason: str = "") -> Outgoing:
        """NOTIFY with that status as sipfrag; a final status ends the subscription. ValueError after its end."""
        headers, body = self.report(status, reason)
        return self.dialog.request("NOTIFY", headers=headers, body=body, content_type=SIPFRAG)

    def report(self, status: int, reason: str = "", expires: int = EXPIRES,
               lapsed: bool = False) -> tuple[tuple[tuple[str, str], ...], bytes]:
        """(headers, body) of such a NOTIFY. expires: seconds that it lasts from now; lapsed: it ends without a final
        status, because the time is up. ValueError after its end."""
        if self.ended:
            raise ValueError("the subscription has ended")
        self.ended = status >= 200 or lapsed
        state = f"active;expires={expires}"
        if self.ended:
            state = "terminated;reason=timeout" if lapsed else "terminated;reason=noresource"
        return (("Event", f"refer;id={self.refer}"), ("Subscription-State", state)), raw(
            f"SIP/2.0 {status} {reason or phrase(status)}\r\n")


class _Notify(Inside):
    """A NOTIFY of ours."""

    __slots__ = ("referral",)

    def __init__(self, referral: "Referral", headers: Headers, body: bytes) -> None:
        Inside.__init__(self, referral.leg, "NOTIFY", headers, body, SIPFRAG, referral.subscription.dialog)
        self.referral = referral

    def on_final(self, status: int, reason: str, response: Message | None) -> None:
        self.referral.on_notified(status)


class Referral:
    """A REFER that came on a leg, and the reports on it: `accept` (202 and NOTIFY 100) or `reject`, once; then
    `progress` as often as there is news, and `final` once.

    It outlives its leg: the referrer's BYE right after the 202 changes nothing for it (RFC 5057 4.1), and where its
    NOTIFYs find nobody any more, nobody hears of it. One NOTIFY is under way at a time, so that they arrive in order;
    of news that waits only the latest is told. target: the Refer-To as it stands; to: what it leads to.
    """

    __slots__ = ("_alarm", "_finishing", "_next", "_under_way", "_until", "asked_for_none", "leg", "request", "status",
                 "subscription", "target", "to", "tx")

    def __init__(self, leg: "Leg", tx: "ServerTransaction", to: Target) -> None:
        self.leg = leg
        self.tx: ServerTransaction | None = tx
        self.request = tx.request
        self.target = tx.request.header("Refer-To") or ""
        self.to = to
        self.status = 100
        """The last one that was reported."""
        self.asked_for_none = refers_silently(tx.request) or any(
            option.lower() == "nosub" for option in tx.request.headers("Require"))
        """Whether the referrer wants no NOTIFY (RFC 4488, RFC 7614)."""
        assert leg.dialog is not None
        self.subscription = Subscription(leg.dialog, tx.request)
        self._alarm: Alarm | None = None
        self._until = 0
        self._under_way: _Notify | None = None
        self._next: tuple[int, str, bool] | None = None
        self._finishing = False
        leg.referrals += (self,)

    @property
    def referred_by(self) -> str:
        """Referred-By (RFC 3892) as it stands; empty where there is none."""
        return self.request.header("Referred-By") or ""

    @property
    def over(self) -> bool:
        """Whether there is nothing more to send."""
        return self.tx is None and self._under_way is None and (self.subscription.ended or self._finishing)

    @property
    def reporting(self) -> bool:
        """Whether the final NOTIFY is still to be answered."""
        return self._finishing and (self._under_way is not None or self._next is not None)

    def accept(self, headers: Headers = (), expires: int = 180, status: int = 202) -> bool:
        """202 (or another 2xx), and NOTIFY 100 unless none is wanted; whether it was still possible. expires: seconds
        that the outcome is promised within: then the subscription ends, whatever has come by then."""
        leg, tx = self.leg, self.tx
        if tx is None or not tx.waiting:
            return False
        more = (*headers, ("Refer-Sub", "false")) if self.asked_for_none else headers
        tx.respond(leg.agent.time, status, headers=[*leg.own_headers(), *more])
        self.tx = None
        if self.asked_for_none:
            self.subscription.ended = True
            leg.settle_referrals()
            return True
        self._extend(expires)
        self._report(100, "", False)
        return True

    def reject(self, status: int, reason: str = "", headers: Headers = ()) -> bool:
        """Refuse it (300-699); whether it was still possible."""
        tx, self.tx = self.tx, None
        if tx is None or not tx.respond(self.leg.agent.time, status, reason, headers=headers):
            return False
        self.subscription.ended = True
        self.leg.settle_referrals()
        return True

    def progress(self, status: int, reason: str = "") -> None:
        """Tell a provisional status of the new call."""
        if status < 200:
            self._report(status, reason, False)

    def final(self, status: int, reason: str = "") -> None:
        """Tell what became of it; the subscription ends."""
        if status >= 200:
            self._report(status, reason, False)

    def close(self) -> None:
        """The leg is over: a REFER that nobody answered is answered (RFC 3261 15.1.2)."""
        if self.tx is not None:
            self.reject(487)

    def on_subscribe(self, tx: "ServerTransaction") -> None:
        """The referrer makes it last longer, or ends it (RFC 6665 4.1.2.2, 4.1.2.3): the transfer goes on."""
        leg = self.leg
        if self.tx is not None or self.subscription.ended or self._finishing:
            tx.respond(leg.agent.time, 481)
            return
        wanted = tx.request.header("Expires") or str(EXPIRES)
        seconds = min(int(wanted), LONGEST_SUBSCRIPTION) if wanted.isascii() and wanted.isdigit() else EXPIRES
        tx.respond(leg.agent.time, 200, headers=[*leg.own_headers(), ("Expires", str(seconds))])
        if seconds:
            self._extend(seconds)
        self._report(self.status, "", seconds == 0)

    def _extend(self, seconds: int) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
        self._until = self.leg.agent.time + seconds * 1000
        self._alarm = self.leg.after(seconds * 1000, self._on_expiry)

    def _on_expiry(self) -> None:
        self._alarm = None
        self._report(self.status, "", True)

    def _report(self, status: int, reason: str, lapsed: bool) -> None:
        if self.tx is not None or self._finishing or self.subscription.ended:
            return
        self._finishing = status >= 200 or lapsed
        self._next = status, reason, lapsed
        if self._under_way is None:
            self._send()

    def _send(self) -> None:
        assert self._next is not None
        (self.status, reason, lapsed), self._next = self._next, None
        left = max((self._until - self.leg.agent.time) // 1000, 0)
        headers, body = self.subscription.report(self.status, reason, left, lapsed)
        self._under_way = _Notify(self, headers, body)
        if not self._under_way.launch():
            self.on_notified(503)

    def on_notified(self, status: int) -> None:
        """A NOTIFY was answered. 481, or nothing at all: the referrer is gone (RFC 6665 4.2.2)."""
        self._under_way = None
        if status in (408, 481):
            self._finishing = True
            self.subscription.ended = True
            self._next = None
        if self._next is not None:
            self._send()
            return
        if self._finishing and self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        self.leg.settle_referrals()
