"""Session timers (RFC 4028), for both roles, each leg with its own: what is asked for, granted and agreed, and when.

  who refreshes   after                                  what
  we do           half the interval                      UPDATE without a body, or a re-INVITE with the same description
                  half of what is then left              the same, where the first came to nothing
                  interval - min(32 s, interval / 3)     BYE, where no refresh was answered with 2xx (10)
  the far end     interval - min(32 s, interval / 3)     BYE, where none came

Every 2xx to an INVITE or UPDATE, in either direction, agrees anew. A refresh of the far end's is answered by its leg,
whatever the other leg of the call is doing: an UPDATE without a body, and a request that names an interval and says
what the far end has said before (7.4).
"""
from typing import TYPE_CHECKING

from sipcore.wire.message import Message
from sipcore.wire.multipart import description

if TYPE_CHECKING:
    from sipcore.stack.leg import Leg
    from sipcore.stack.legowner import Pairs

LEAST = 90
"""Seconds: what Min-SE is where nobody says more (5)."""


class SessionTimer:
    """A running one. interval: seconds; refreshes: whether that is our duty."""

    __slots__ = ("alarm", "interval", "leg", "refreshes")

    def __init__(self, leg: "Leg", interval: int, refreshes: bool) -> None:
        self.leg = leg
        self.interval = interval
        self.refreshes = refreshes
        if refreshes:
            self.alarm = leg.after(interval * 500, self._on_half)
        else:
            self.alarm = leg.after(_last(interval) * 1000, self._on_expiry)

    def stop(self) -> None:
        if self.alarm is not None:
            self.alarm.cancel()

    def _on_half(self) -> None:
        self.alarm = self.leg.after(self._rest() // 2, self._on_rest)
        self.leg.refresh()

    def _on_rest(self) -> None:
        """Refused, or there was no room for it, or an exchange that was under way then has not refreshed it."""
        self.alarm = self.leg.after(self._rest() - self._rest() // 2, self._on_expiry)
        self.leg.refresh()

    def _rest(self) -> int:
        """ms from the first refresh to the end."""
        return _last(self.interval) * 1000 - self.interval * 500

    def _on_expiry(self) -> None:
        self.leg.lose("session-timer", "session expired")


def _last(interval: int) -> int:
    return interval - min(32, interval // 3)


def _seconds(value: str) -> tuple[int, str]:
    """(interval, refresher) of a Session-Expires or Min-SE value; 0 where it cannot be read."""
    number, _, params = value.partition(";")
    number = number.strip()
    if not (number.isascii() and number.isdigit() and len(number) <= 9):
        return 0, ""
    for param in params.lower().split(";"):
        name, _, who = param.partition("=")
        if name.strip() == "refresher" and who.strip() in ("uac", "uas"):
            return int(number), who.strip()
    return int(number), ""


def _least(message: Message) -> int:
    """What a message's Min-SE asks for."""
    value = message.header("Min-SE")
    return max(LEAST, _seconds(value)[0]) if value is not None else LEAST


def asked(leg: "Leg") -> "Pairs":
    """What our INVITE or UPDATE asks for; who refreshes stays who it is (7.4)."""
    settings = leg.settings
    if leg.timer is not None:
        who = "uac" if leg.timer.refreshes else "uas"
        return _lines(f"{max(leg.timer.interval, leg.least)};refresher={who}", leg.least)
    if leg.least == LEAST or not settings.session_expires:
        return settings.asks
    return _lines(str(max(settings.session_expires, leg.least)), leg.least)


def _lines(value: str, least: int) -> "Pairs":
    return (("Session-Expires", value), ("Min-SE", str(least))) if least > LEAST else (("Session-Expires", value),)


def too_small(leg: "Leg", request: Message) -> bool:
    """Whether a request has to be answered 422 (9): only one who knows session timers is told."""
    value = request.header("Session-Expires")
    if value is None or leg.peer.supports("timer") is not True:
        return False
    return _seconds(value)[0] < leg.settings.min_se


def unchanged(leg: "Leg", request: Message) -> bool:
    """Whether a request with a description is a refresh of theirs and nothing else (7.4; RFC 3264 8)."""
    return (leg.local_sdp != b"" and request.header("Session-Expires") is not None
            and description(request) == leg.remote_sdp)


def same(one: bytes, other: bytes) -> bool:
    """Whether two descriptions say the same but for o=, whose version many raise with whatever they say."""
    return one == other or _said(one) == _said(other)


def _said(sdp: bytes) -> list[bytes]:
    return [line for line in sdp.splitlines() if not line.startswith(b"o=")]


def grant(leg: "Leg", request: Message) -> "Pairs":
    """The headers of our 2xx to an INVITE or UPDATE, and the timer that starts with it (9)."""
    if leg.timer is not None:
        leg.stop_timer()
    value = request.header("Session-Expires")
    knows = leg.peer.supports("timer") is True
    ours = leg.settings.session_expires
    if value is None and not (knows and ours):
        return ()
    interval, who = _seconds(value) if value is not None else (ours, "")
    if value is not None and ours:
        interval = min(interval, max(ours, _least(request)))
    if interval < leg.settings.min_se:
        # It was a proxy on the way that asked, or it cannot be read: there is nobody to tell.
        return ()
    who = (who or "uac") if knows else "uas"
    leg.timer = SessionTimer(leg, interval, who == "uas")
    expires = ("Session-Expires", f"{interval};refresher={who}")
    return (expires, ("Require", "timer")) if who == "uac" else (expires,)


def agreed(leg: "Leg", response: Message) -> None:
    """Take the 2xx to our INVITE or UPDATE (7.2): without Session-Expires the session expires never."""
    if leg.timer is not None:
        leg.stop_timer()
    value = response.header("Session-Expires")
    if value is None:
        return
    interval, who = _seconds(value)
    if interval:
        leg.timer = SessionTimer(leg, max(interval, leg.settings.min_se), who != "uas")


def raised(leg: "Leg", response: Message) -> bool:
    """Take a 422: whether asking for the longer interval that it names makes sense (7.3)."""
    least = _least(response)
    if response.header("Min-SE") is None or least <= leg.least:
        return False
    leg.least = least
    return True
