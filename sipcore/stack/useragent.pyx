"""The user agent core (RFC 3261 8, 12.2, 13, 14): a Layer whose transactions begin and end here.

What it answers stands in uas.pyx, what it asks in uac.pyx; here is what both need: dialogs with their owners, Contacts,
and alarms.

Sans-IO like every Layer: `feed`, `advance`, `drain`, `deadline`; `now` (ms) is an argument of all that sends.
"""
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from sipcore.base.address cimport TRANSPORT_WSS, is_secure, transport_name
from sipcore.base.slice cimport slice_bytes, slice_of
from sipcore.stack.alarms cimport Alarms
from sipcore.stack.identity cimport Identity, TOKEN_TEXT
from sipcore.stack.uac cimport UserAgentClient

from sipcore.stack.handler import Handler
from sipcore.stack.naming import Naming

cdef enum:
    ALARMS = 1 << 16        # at once, at least


cdef class UserAgent(UserAgentClient):
    """The core of one or more endpoints. handler: a Handler for what belongs to no dialog; extensions: option tags
    that a Require may name."""

    def __init__(self, Identity identity=None, *, handler=None, extensions=(), **_):
        self.handler = handler if handler is not None else Handler()
        self.naming = Naming()
        self.extensions = frozenset(extensions)
        self.alarms = Alarms(max(self.capacity, <uint32_t>ALARMS), self.troubles)

    def call_at(self, uint64_t at, callback not None):
        """Call callback() once when `advance` gets to at (ms), never early; `cancel` of the returned Alarm forgets it.

        One that is set for the past fires at the next `advance`. What it raises goes to `troubles`. LimitExceeded where
        as many are set as there may be transactions.
        """
        return self.alarms.at(at, callback)

    def contact(self, str user not None="", uint32_t listener=0, bint secure=False):
        """A Contact value at the listener's advertised address; an edge's has a token of its own, so that it is made
        once for a dialog. secure: a sips: URI, where the listener's transport is encrypted."""
        cdef uint8_t text[TOKEN_TEXT]
        if listener >= self.listener_count:
            raise ValueError(f"no listener of number {listener}")
        host = slice_bytes(slice_of(self.listeners[listener].contact, self.listeners[listener].contact_n)).decode()
        transport = self.listeners[listener].bound.transport
        secure = secure and is_secure(transport)
        token = ""
        if transport and not secure:
            token = ";transport=" + transport_name(transport)
        elif transport == TRANSPORT_WSS:
            token = ";transport=ws"
        if self.keyed:
            self.drawn += 1
            self.identity.put_contact(text, self.drawn ^ self.salt)
            token += ";t=" + slice_bytes(slice_of(text, TOKEN_TEXT)).decode("ascii")
        scheme = "sips" if secure else "sip"
        return f"<{scheme}:{user}@{host}{token}>" if user else f"<{scheme}:{host}{token}>"

    def add(self, dialog, owner):
        """Let owner (a Handler) hear requests inside the dialog."""
        dialog.owner = owner
        self.dialogs[dialog.id] = dialog

    def remove(self, dialog):
        """Requests inside the dialog are answered 481 from now on."""
        self.dialogs.pop(dialog.id, None)
        # Owners hold their dialogs: what both held would wait for the garbage collector.
        dialog.owner = None

    cdef void expire(self, uint64_t now) noexcept:
        UserAgentClient.expire(self, now)
        self.alarms.expire(now)

    cdef uint64_t next_deadline(self) noexcept nogil:
        cdef uint64_t a = UserAgentClient.next_deadline(self), b = self.alarms.wheel.next_deadline()
        return a if a < b else b
