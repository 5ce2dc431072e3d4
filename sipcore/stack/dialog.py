"""Dialogs of a user agent (RFC 3261 12): who the two ends are, which way requests take, what comes next.

A Dialog belongs to one leg: Call-ID, tags, CSeq, route set and remote target are its own, so that two of them can
stand back to back. It sends nothing and knows no time: it makes Outgoing requests and judges received ones.

  state       event                                     to
  (none)      101-199 with a To tag                     early
  (none)      2xx                                       confirmed
  early       2xx (UAC: route set taken anew)           confirmed
  early       300-699, or no answer                     ended
  early,      BYE sent or received, 408 or 481 to a     ended
  confirmed   request inside it (12.2.1.2)
"""
from dataclasses import replace
from enum import Enum
from typing import Any

from sipcore.base.errors import MalformedMessage
from sipcore.stack.outgoing import Headers, Outgoing, address_of, raw, uri_of
from sipcore.wire.message import Message
from sipcore.wire.nameaddr import NameAddress
from sipcore.wire.uri import URI

TARGET_REFRESH = frozenset({"INVITE", "UPDATE", "SUBSCRIBE", "NOTIFY", "REFER"})
"""Requests whose Contact, and whose 2xx's Contact, is the new remote target (RFC 3261 12.2, 3311, 5057, 6665)."""

MAX_CSEQ = 2**31 - 1
MAX_ROUTES = 32

DialogId = tuple[str, str, str]
"""Call-ID, local tag, remote tag."""


class State(Enum):
    """Of a dialog."""

    EARLY = "early"
    CONFIRMED = "confirmed"
    ENDED = "ended"


class Dialog:
    """One end's view of a dialog. Made by `of_request` (UAS) or `of_response` (UAC).

    owner: whoever the user agent tells about requests inside the dialog.
    """

    __slots__ = ("call_id", "contact", "invited", "inviting", "local", "local_cseq", "local_tag", "owner", "remote",
                 "remote_cseq", "remote_tag", "route", "state", "target", "uac")

    def __init__(self, *, call_id: str, local_tag: str, remote_tag: str, local: str, remote: str, target: str,
                 route: tuple[str, ...], contact: str, uac: bool, local_cseq: int = 0,
                 remote_cseq: int | None = None, state: State = State.CONFIRMED):
        self.call_id = call_id
        self.local_tag = local_tag
        self.remote_tag = remote_tag
        self.local = local
        self.remote = remote
        self.target = target
        self.route = route
        self.contact = contact
        self.uac = uac
        self.local_cseq = local_cseq
        self.remote_cseq = remote_cseq
        self.state = state
        self.inviting = uac and state is State.EARLY
        """Our INVITE waits for its final answer."""
        self.invited = not uac and state is State.EARLY
        """The other side's INVITE waits for ours."""
        self.owner: Any = None

    @property
    def id(self) -> DialogId:
        return self.call_id, self.local_tag, self.remote_tag

    def __repr__(self) -> str:
        return f"Dialog({self.call_id!r}, {self.local_tag!r}, {self.remote_tag!r}, {self.state.value})"

    # --- how a dialog begins

    @classmethod
    def of_request(cls, request: Message, local_tag: str, contact: str, *, state: State = State.EARLY) -> "Dialog":
        """The UAS's end (12.1.1). contact: our Contact value. MalformedMessage where the request cannot begin one."""
        target = _contact(request)
        if not target:
            raise MalformedMessage("Contact is missing")
        return cls(call_id=request.call_id, local_tag=local_tag, remote_tag=request.from_tag,
                   local=address_of(request.header("To") or ""), remote=address_of(request.header("From") or ""),
                   target=target, route=_routes(request), contact=contact, uac=False, remote_cseq=request.cseq[0],
                   state=state)

    @classmethod
    def of_response(cls, request: Outgoing, response: Message) -> "Dialog":
        """The UAC's end (12.1.2), from a 101-199 or 2xx with a To tag. A response without Contact leaves the request
        URI as the target. MalformedMessage where the response can begin none."""
        if not 100 < response.status < 300:
            raise ValueError(f"a {response.status} begins no dialog")
        return cls(call_id=request.call_id, local_tag=request.local_tag, remote_tag=response.to_tag,
                   local=request.local, remote=request.remote, target=_contact(response) or request.uri,
                   route=tuple(reversed(_routes(response))), contact=request.contact, uac=True,
                   local_cseq=request.cseq, state=State.EARLY if response.status < 200 else State.CONFIRMED)

    # --- sending

    def request(self, method: str, *, headers: Headers = (), body: bytes = b"",
                content_type: str = "application/sdp") -> Outgoing:
        """The next request inside the dialog (12.2.1.1). Raises ValueError for ACK and CANCEL, which have the CSeq
        number of their INVITE, and for an INVITE while another one is under way (14.1)."""
        if method in ("ACK", "CANCEL"):
            raise ValueError(f"{method} takes its INVITE's CSeq number")
        if method == "INVITE" and (self.inviting or self.invited):
            raise ValueError("an INVITE is under way")
        if self.local_cseq >= MAX_CSEQ:
            raise ValueError("the dialog's CSeq numbers are used up")
        self.local_cseq = self.local_cseq + 1 if self.local_cseq else 1
        if method == "BYE":
            self.state = State.ENDED
        self.inviting |= method == "INVITE"
        contact = self.contact if method in TARGET_REFRESH else ""
        return self._outgoing(method, self.local_cseq, contact, tuple(headers), body, content_type)

    def ack(self, cseq: int, *, headers: Headers = (), body: bytes = b"",
            content_type: str = "application/sdp") -> Outgoing:
        """The ACK to a 2xx (13.2.2.4); cseq: the INVITE's number."""
        return self._outgoing("ACK", cseq, "", tuple(headers), body, content_type)

    def _outgoing(self, method: str, cseq: int, contact: str, headers: tuple[tuple[str, str], ...], body: bytes,
                  content_type: str) -> Outgoing:
        uri, route, next_hop = self.target, self.route, self.target
        if route:
            first = uri_of(route[0])
            next_hop = first
            if "lr" not in URI(raw(first)).params:
                # A strict router: it is addressed itself, and the target ends the list (12.2.1.1). What a request URI
                # may not hold (19.1.1) goes: method and headers.
                uri, route = _request_uri(first), (*route[1:], f"<{self.target}>")
                next_hop = uri
        return Outgoing(method=method, uri=uri, call_id=self.call_id, cseq=cseq, local=self.local,
                        local_tag=self.local_tag, remote=self.remote, remote_tag=self.remote_tag, route=route,
                        contact=contact, headers=headers, body=body, content_type=content_type, next_hop=next_hop)

    # --- receiving

    def receive(self, request: Message) -> int:
        """Take a request inside the dialog; 0, or the status that it is to be answered with.

        481 for another dialog's or after its end, 500 for a CSeq number that is too low (12.2.2), 491 and 500 for an
        INVITE while ours or theirs is under way (14.2). An ACK and a CANCEL have the number of their INVITE and change
        nothing.
        """
        if (request.call_id, request.to_tag, request.from_tag) != self.id:
            return 481
        number, method = request.cseq
        if method in ("ACK", "CANCEL"):
            return 0
        if self.remote_cseq is not None and number <= self.remote_cseq:
            return 500
        self.remote_cseq = number
        if self.state is State.ENDED and method != "NOTIFY":
            # A NOTIFY of a subscription may still come after the BYE (RFC 5057 4.2).
            return 481
        if method == "BYE":
            self.state = State.ENDED
        if method == "INVITE":
            if self.inviting or self.invited:
                return 491 if self.inviting else 500
            self.invited = True
        return 0

    def responded(self, request: Message, status: int) -> None:
        """A response of ours to a request inside the dialog was sent."""
        if request.method == "INVITE" and status >= 200:
            self.invited = False
        if 200 <= status < 300:
            self.refresh(request)

    def refresh(self, message: Message) -> None:
        """Take the remote target of a target refresh request that is accepted, or of the 2xx to ours (12.2)."""
        if message.method in TARGET_REFRESH:
            self.target = _contact(message) or self.target

    def answered(self, response: Message) -> None:
        """Take a response to a request of ours: an early dialog is confirmed or ended, a target is refreshed."""
        method = response.method
        if method == "INVITE" and response.status >= 200:
            self.inviting = False
        if self.state is State.EARLY and method == "INVITE" and response.status >= 200:
            if response.status >= 300:
                self.state = State.ENDED
                return
            # 13.2.2.4: the 2xx says anew which way requests take.
            self.route = tuple(reversed(_routes(response)))
            self.state = State.CONFIRMED
        if 200 <= response.status < 300:
            self.refresh(response)
        elif response.status in (408, 481) and self.state is State.CONFIRMED and method != "NOTIFY":
            self.state = State.ENDED

    def unanswered(self, method: str) -> None:
        """No final answer came to a request of ours: as if it were 408 (8.1.3.1, 12.2.1.2)."""
        self.inviting &= method != "INVITE"
        if method != "NOTIFY":
            self.state = State.ENDED

    def accept(self) -> None:
        """The UAS's 2xx to the INVITE that began the dialog was sent."""
        self.invited = False
        if self.state is State.EARLY:
            self.state = State.CONFIRMED


def _contact(message: Message) -> str:
    """The URI of the first Contact; empty where there is none. MalformedMessage where it is no URI."""
    values = message.headers("Contact")
    if not values:
        return ""
    address = NameAddress(raw(values[0]))
    if address.uri is None:
        raise MalformedMessage("Contact is no URI")
    return _request_uri(uri_of(values[0]))


def _request_uri(uri: str) -> str:
    """A URI without what stands in none that a request goes to (RFC 3261 19.1.1): headers and the method parameter."""
    parsed = URI(raw(uri))
    if parsed.header_list or "method" in parsed.params:
        params = [(name, value) for name, value in parsed.params.items() if name != "method"]
        return parsed.replace(params=params, headers=()).render()
    return uri


def _routes(message: Message) -> tuple[str, ...]:
    """Record-Route as it stands. MalformedMessage for a value that is no URI, or for too many."""
    values = tuple(message.headers("Record-Route"))
    if len(values) > MAX_ROUTES:
        raise MalformedMessage("too many Record-Route values")
    for value in values:
        if NameAddress(raw(value)).uri is None:
            raise MalformedMessage("Record-Route is no URI")
    return values


def outbound(request: Outgoing, proxy: str) -> Outgoing:
    """The same request by way of an outbound proxy (8.1.2), without a Route of its own."""
    return replace(request, next_hop=proxy)
