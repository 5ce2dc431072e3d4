"""REFER and the subscription that it begins (RFC 3515, RFC 6665), for both ends, inside a dialog.

Refused is a REFER with any status from 300 on; accepted is any 2xx, and says only that the referee will try.
What became of it, the NOTIFYs say; they may come before the answer to the REFER itself.
"""
import re
from dataclasses import dataclass

from sipcore.base.errors import MalformedMessage
from sipcore.stack.dialog import Dialog
from sipcore.stack.outgoing import Headers, Outgoing, raw, uri_of
from sipcore.wire.message import Message
from sipcore.wire.nameaddr import NameAddress
from sipcore.wire.tables import phrase
from sipcore.wire.uri import URI

EXPIRES = 60
"""Seconds that a referee promises to report within."""

SIPFRAG = "message/sipfrag;version=2.0"
_STATUS_LINE = re.compile(rb"SIP/2\.0 ([1-6][0-9][0-9])(?: ([^\r\n]*))?")
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

    @property
    def final(self) -> bool:
        return self.status >= 200


def read_notify(notify: Message) -> Progress | None:
    """None where it belongs to another event package."""
    event = notify.header("Event") or ""
    if event.partition(";")[0].strip().lower() != "refer":
        return None
    number = _EVENT_ID.search(event)
    state = (notify.header("Subscription-State") or "").partition(";")[0].strip().lower()
    line = _STATUS_LINE.match(notify.body)
    status, reason = (int(line[1]), (line[2] or b"").decode("utf-8", "replace")) if line else (0, "")
    return Progress(int(number[1]) if number else None, status, reason, state == "terminated")


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
    if uri.scheme not in ("sip", "tel"):
        raise MalformedMessage("unsupported URI scheme", status=416)
    params = [(name, value) for name, value in uri.params.items() if name != "method"]
    carried = tuple((name, value) for name, value in uri.header_list
                    if name.lower() in _CARRIED or name.lower().startswith("x-"))
    plain = uri.replace(params=params, headers=()) if uri.header_list or "method" in uri.params else uri
    return Target(plain.render(), carried)


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
        if self.ended:
            raise ValueError("the subscription has ended")
        self.ended = status >= 200
        state = "terminated;reason=noresource" if self.ended else f"active;expires={EXPIRES}"
        return self.dialog.request("NOTIFY", headers=[
            ("Event", f"refer;id={self.refer}"), ("Subscription-State", state),
        ], body=raw(f"SIP/2.0 {status} {reason or phrase(status)}\r\n"), content_type=SIPFRAG)
