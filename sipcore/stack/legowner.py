"""Who a leg tells, and what legs have in common."""
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from sipcore.stack.capabilities import ALLOW
from sipcore.stack.hop import Hop
from sipcore.stack.outgoing import Outgoing
from sipcore.wire.message import Message

if TYPE_CHECKING:
    from sipcore.stack.leg import Leg
    from sipcore.stack.offer import Offer
    from sipcore.stack.referral import Referral
    from sipcore.stack.uas import ServerTransaction

Authenticate = Callable[["Leg", Outgoing, Message, int], "Pairs"]
"""Given a request, the 401 or 407 to it, and how often it was repeated so far: all credentials to repeat it with, or
none. Whoever gives them sees to it that there is an end."""

Renew = Callable[["Leg", Outgoing, "Pairs", bool], "Pairs"]
"""Given a request that is about to be sent without another challenge, the credentials of an earlier one, and whether
they were sent before: those to send it with."""

OtherOffer = Callable[[Message | None], bytes]
"""Given the refusal of an INVITE's offer: the offer to make instead, empty for none. Given None: the first one, for
another target that has refused nothing yet."""

Pairs = tuple[tuple[str, str], ...]


class LegOwner(Protocol):
    """What a leg tells; see each method for when. on_ended is the last, but for on_refer_progress after a bye."""

    def on_progress(self, leg: "Leg", response: Message) -> None:
        """101-199 to our INVITE; its body may be early media."""

    def on_answered(self, leg: "Leg", response: Message) -> None:
        """The 2xx that the leg has chosen; ACK was sent, but where it brings an offer: on_offer follows."""

    def on_failed(self, leg: "Leg", status: int, reason: str, response: Message | None) -> None:
        """Our INVITE ended without a call, unless by cancel. None: 408 nobody answered, 503 unreachable."""

    def on_cancelled(self, leg: "Leg") -> None:
        """The far end took its INVITE back; the leg answered 487."""

    def on_established(self, leg: "Leg", ack: Message | None) -> None:
        """ACK to our 2xx; None: it never came, and the leg ends."""

    def on_offer(self, leg: "Leg", exchange: "Offer") -> None:
        """An exchange of the far end: accept or reject it."""

    def on_reoffer_done(self, leg: "Leg", token: object, status: int, reason: str, body: bytes) -> None:
        """The outcome of reinvite and update, with the far end's description; the answer to an offer that we made in a
        2xx (token: the Offer) or in a reliable provisional response (token: that of ring); 487 for a re-INVITE of
        theirs that was cancelled (token: the Offer), for ours when the leg ended, and for both where another early
        dialog has become the leg's."""

    def on_renewed(self, leg: "Leg", body: bytes) -> None:
        """The far end has answered a refresh of the session with another description than before (RFC 3264 8)."""

    def on_refer(self, leg: "Leg", referral: "Referral") -> None:
        """A REFER of the far end: accept or reject it."""

    def on_refer_progress(self, leg: "Leg", token: object, kind: str, status: int, reason: str) -> None:
        """What a REFER of ours came to: accepted, progress; and at the end one of refused, final, unknown."""

    def on_message(self, leg: "Leg", tx: "ServerTransaction") -> bool | None:
        """INFO, MESSAGE and methods that the leg does not know; True where the owner answers it, now or later. Else it
        is 405 or 501."""

    def on_ended(self, leg: "Leg", by: str, reason: str) -> None:
        """The leg is over; by: far, us, timeout, session-timer, error."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LegSettings:
    """What legs have in common. session_expires: seconds, 0 asks for no session timer; reliable: whether 100rel is
    offered and used where the far end supports it. fit: makes an INVITE, UPDATE or REFER fit before it is sent to a
    Hop, and says whether it goes by TCP, this request alone; asked again, with True, where no connection came about.
    renew: without it, credentials are sent once.
    retry: whether a call that failed at an address may be tried at the next one."""

    session_expires: int = 1800
    min_se: int = 90
    reliable: bool = True
    authenticate: Authenticate | None = None
    renew: Renew | None = None
    fit: Callable[["Leg", Outgoing, Hop, bool], tuple[Outgoing, bool]] | None = None
    retry: Callable[[Hop], bool] | None = None

    says: Pairs = field(init=False)
    """What we can do: Allow and Supported of requests and responses that make or refresh a dialog."""
    asks: Pairs = field(init=False)
    """What an INVITE asks for by itself: a session that expires."""

    def __post_init__(self) -> None:
        more = (("timer", self.session_expires), ("100rel", self.reliable))
        supported = ", ".join(["replaces", "norefersub", *(option for option, used in more if used)])
        object.__setattr__(self, "says", (("Allow", ALLOW), ("Supported", supported)))
        object.__setattr__(self, "asks", (("Session-Expires", str(self.session_expires)),) * bool(self.session_expires))


PLAIN = LegSettings()
