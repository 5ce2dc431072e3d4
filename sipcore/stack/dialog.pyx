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
from libc.stdint cimport int64_t, uint32_t
from sipcore.base.slice cimport Slice, slice_of
from sipcore.stack.outgoing cimport Outgoing, address_of, raw, uri_of
from sipcore.wire.index cimport FORM_FOLDED, Msg, msg_has, msg_value
from sipcore.wire.message cimport Message, slice_text
from sipcore.wire.nameaddr cimport NameAddr
from sipcore.wire.tables cimport (
    H_CALL_ID, H_CONTACT, H_FROM, H_RECORD_ROUTE, H_TO, METHOD_INVITE, METHOD_NOTIFY, METHOD_REFER, METHOD_SUBSCRIBE,
    METHOD_UPDATE,
)
from sipcore.wire.uri cimport Uri, parse_uri, uri_param
from sipcore.wire.values cimport msg_contact, msg_cseq, msg_from, msg_to

from enum import Enum

from sipcore.base.errors import MalformedMessage
from sipcore.wire.nameaddr import NameAddress
from sipcore.wire.uri import URI

TARGET_REFRESH = frozenset({"INVITE", "UPDATE", "SUBSCRIBE", "NOTIFY", "REFER"})
"""Requests whose Contact, and whose 2xx's Contact, is the new remote target (RFC 3261 12.2, 3311, 5057, 6665)."""

MAX_ROUTES = 32

DialogId = tuple[str, str, str]
"""Call-ID, local tag, remote tag."""

cdef enum:
    LAST_CSEQ = 0x7FFFFFFF
    REFRESH = 1 << METHOD_INVITE | 1 << METHOD_UPDATE | 1 << METHOD_SUBSCRIBE | 1 << METHOD_NOTIFY | 1 << METHOD_REFER


class State(Enum):
    """Of a dialog."""

    EARLY = "early"
    CONFIRMED = "confirmed"
    ENDED = "ended"


cdef object _EARLY = State.EARLY
cdef object _CONFIRMED = State.CONFIRMED
cdef object _ENDED = State.ENDED


cdef class Dialog:
    """One end's view of a dialog. Made by `of_request` (UAS) or `of_response` (UAC)."""

    def __init__(self, *, str call_id not None, str local_tag not None, str remote_tag not None, str local not None,
                 str remote not None, str target not None, tuple route not None, str contact not None, bint uac,
                 int64_t local_cseq=0, remote_cseq=None, state=State.CONFIRMED):
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
        self.last = -1 if remote_cseq is None else remote_cseq
        self.state = state
        self.inviting = uac and state is _EARLY
        self.invited = not uac and state is _EARLY

    @property
    def id(self):
        """The DialogId."""
        return self.call_id, self.local_tag, self.remote_tag

    @property
    def remote_cseq(self):
        """CSeq number of the last request received, None for none."""
        return None if self.last < 0 else self.last

    def __repr__(self):
        return f"Dialog({self.call_id!r}, {self.local_tag!r}, {self.remote_tag!r}, {self.state.value})"

    # --- how a dialog begins

    @staticmethod
    def of_request(Message request not None, str local_tag not None, str contact not None, *, state=State.EARLY):
        """The UAS's end (12.1.1). contact: our Contact value. MalformedMessage where the request cannot begin one."""
        cdef str target = _contact(request)
        if not target:
            raise MalformedMessage("Contact is missing")
        cdef Dialog dialog = Dialog.__new__(Dialog)
        dialog.call_id = slice_text(msg_value(request.msg, H_CALL_ID))
        dialog.local_tag = local_tag
        dialog.remote_tag = request.from_tag
        dialog.local = _address(request, H_TO)
        dialog.remote = _address(request, H_FROM)
        dialog.target = target
        dialog.route = _routes(request)
        dialog.contact = contact
        msg_cseq(request.msg)
        dialog.last = request.msg.cseq
        dialog.state = state
        dialog.invited = state is _EARLY
        return dialog

    @staticmethod
    def of_response(Outgoing request not None, Message response not None):
        """The UAC's end (12.1.2), from a 101-199 or 2xx with a To tag. A response without Contact leaves the request
        URI as the target. MalformedMessage where the response can begin none."""
        cdef int status = response.msg.status
        if not 100 < status < 300:
            raise ValueError(f"a {status} begins no dialog")
        cdef Dialog dialog = Dialog.__new__(Dialog)
        dialog.call_id = request.call_id
        dialog.local_tag = request.local_tag
        dialog.remote_tag = response.to_tag
        dialog.local = request.local
        dialog.remote = request.remote
        dialog.target = _contact(response) or request.uri
        dialog.route = tuple(reversed(_routes(response)))
        dialog.contact = request.contact
        dialog.uac = True
        dialog.local_cseq = request.cseq
        dialog.last = -1
        dialog.state = _EARLY if status < 200 else _CONFIRMED
        dialog.inviting = status < 200
        return dialog

    # --- sending

    def request(self, str method not None, *, headers=(), bytes body not None=b"",
                str content_type not None="application/sdp"):
        """The next request inside the dialog (12.2.1.1). Raises ValueError for ACK and CANCEL, which have the CSeq
        number of their INVITE, and for an INVITE while another one is under way (14.1)."""
        cdef bint invite = method == "INVITE"
        if method == "ACK" or method == "CANCEL":
            raise ValueError(f"{method} takes its INVITE's CSeq number")
        if invite and (self.inviting or self.invited):
            raise ValueError("an INVITE is under way")
        if self.local_cseq >= LAST_CSEQ:
            raise ValueError("the dialog's CSeq numbers are used up")
        self.local_cseq = self.local_cseq + 1 if self.local_cseq else 1
        if method == "BYE":
            self.state = _ENDED
        self.inviting |= invite
        return self._outgoing(method, self.local_cseq, self.contact if method in TARGET_REFRESH else "", headers, body,
                              content_type)

    def ack(self, int64_t cseq, *, headers=(), bytes body not None=b"", str content_type not None="application/sdp"):
        """The ACK to a 2xx (13.2.2.4); cseq: the INVITE's number."""
        return self._outgoing("ACK", cseq, "", headers, body, content_type)

    cdef Outgoing _outgoing(self, str method, int64_t cseq, str contact, headers, bytes body, str content_type):
        cdef Outgoing out = Outgoing.__new__(Outgoing)
        cdef str first
        out.uri = self.target
        out.route = self.route
        out.next_hop = self.target
        if self.route:
            first = uri_of(self.route[0])
            out.next_hop = first
            if "lr" not in URI(raw(first)).params:
                # A strict router: it is addressed itself, and the target ends the list (12.2.1.1). What a request URI
                # may not hold (19.1.1) goes: method and headers.
                out.uri = _request_uri(first)
                out.route = (*self.route[1:], f"<{self.target}>")
                out.next_hop = out.uri
        out.method = method
        out.call_id = self.call_id
        out.cseq = <uint32_t>cseq
        out.local = self.local
        out.local_tag = self.local_tag
        out.remote = self.remote
        out.remote_tag = self.remote_tag
        out.contact = contact
        out.headers = tuple(headers)
        out.body = body
        out.content_type = content_type
        out.max_forwards = 70
        return out

    # --- receiving

    def receive(self, Message request not None):
        """Take a request inside the dialog; 0, or the status that it is to be answered with.

        481 for another dialog's or after its end, 500 for a CSeq number that is too low (12.2.2), 491 and 500 for an
        INVITE while ours or theirs is under way (14.2). An ACK and a CANCEL have the number of their INVITE and change
        nothing.
        """
        cdef str method = request.method
        if (request.call_id != self.call_id or request.to_tag != self.local_tag
                or request.from_tag != self.remote_tag):
            return 481
        if method == "ACK" or method == "CANCEL":
            return 0
        msg_cseq(request.msg)
        if <int64_t>request.msg.cseq <= self.last:
            # UDP may deliver the last NOTIFY behind the BYE that was sent after it.
            return 0 if method == "NOTIFY" and self.state is _ENDED else 500
        self.last = request.msg.cseq
        if self.state is _ENDED and method != "NOTIFY" and method != "BYE":
            # A NOTIFY of a subscription may still come after the BYE (RFC 5057 4.2), and a BYE may cross ours.
            return 481
        if method == "BYE":
            self.state = _ENDED
        elif method == "INVITE":
            if self.inviting or self.invited:
                return 491 if self.inviting else 500
            self.invited = True
        return 0

    def responded(self, Message request not None, int status):
        """A response of ours to a request inside the dialog was sent."""
        if request.msg.method == METHOD_INVITE and status >= 200:
            self.invited = False
        if 200 <= status < 300:
            self._refresh(request)

    def refresh(self, Message message not None):
        """Take the remote target of a target refresh request that is accepted, or of the 2xx to ours (12.2)."""
        self._refresh(message)

    cdef int _refresh(self, Message message) except -1:
        cdef str target
        msg_cseq(message.msg)
        if REFRESH >> message.msg.method & 1:
            target = _contact(message)
            if target:
                self.target = target
        return 0

    def answered(self, Message response not None):
        """Take a response to a request of ours: an early dialog is confirmed or ended, a target is refreshed."""
        cdef int status = response.msg.status
        msg_cseq(response.msg)
        if response.msg.method == METHOD_INVITE and status >= 200:
            self.inviting = False
            if self.state is _EARLY:
                if status >= 300:
                    self.state = _ENDED
                    return
                # 13.2.2.4: the 2xx says anew which way requests take.
                self.route = tuple(reversed(_routes(response)))
                self.state = _CONFIRMED
        if 200 <= status < 300:
            self._refresh(response)
        elif (status == 408 or status == 481) and self.state is _CONFIRMED and response.msg.method != METHOD_NOTIFY:
            self.state = _ENDED

    def unanswered(self, str method not None):
        """No final answer came to a request of ours: as if it were 408 (8.1.3.1, 12.2.1.2)."""
        self.inviting &= method != "INVITE"
        if method != "NOTIFY":
            self.state = _ENDED

    def accept(self):
        """The UAS's 2xx to the INVITE that began the dialog was sent."""
        self.invited = False
        if self.state is _EARLY:
            self.state = _CONFIRMED


cdef str _address(Message message, int id):
    """From or To without its parameters. They are there: every message is checked for them."""
    cdef Msg* m = message.msg
    cdef NameAddr* address = &m.from_ if id == H_FROM else &m.to
    if (msg_from(m) if id == H_FROM else msg_to(m)) != 0 or m.forms & FORM_FOLDED or not address.brackets:
        return address_of(message.header("From" if id == H_FROM else "To") or "")
    return slice_text(slice_of(address.text.p, <uint32_t>(address.uri.p - address.text.p) + address.uri.n + 1))


cdef str _contact(Message message):
    """The URI of the first Contact; empty where there is none. MalformedMessage where it is no URI."""
    cdef Msg* m = message.msg
    cdef Uri uri
    cdef Slice ignored
    if not msg_has(m, H_CONTACT):
        return ""
    if (not m.forms & FORM_FOLDED and msg_contact(m) == 0 and not m.contact.star
            and parse_uri(m.contact.uri, &uri) == 0 and uri.headers.n == 0
            and not uri_param(&uri, b"method", 6, &ignored)):
        return slice_text(m.contact.uri)
    values = message.headers("Contact")
    if not values:
        return ""
    if NameAddress(raw(values[0])).uri is None:
        raise MalformedMessage("Contact is no URI")
    return _request_uri(uri_of(values[0]))


cdef str _request_uri(str uri):
    """A URI without what stands in none that a request goes to (RFC 3261 19.1.1): headers and the method parameter."""
    parsed = URI(raw(uri))
    if parsed.header_list or "method" in parsed.params:
        params = [(name, value) for name, value in parsed.params.items() if name != "method"]
        return parsed.replace(params=params, headers=()).render()
    return uri


cdef tuple _routes(Message message):
    """Record-Route as it stands. MalformedMessage for a value that is no URI, or for too many."""
    if not msg_has(message.msg, H_RECORD_ROUTE):
        return ()
    values = tuple(message.headers("Record-Route"))
    if len(values) > MAX_ROUTES:
        raise MalformedMessage("too many Record-Route values")
    for value in values:
        if NameAddress(raw(value)).uri is None:
            raise MalformedMessage("Record-Route is no URI")
    return values


def outbound(Outgoing request not None, str proxy not None):
    """The same request by way of an outbound proxy (8.1.2), without a Route of its own."""
    return request.changed(next_hop=proxy)
