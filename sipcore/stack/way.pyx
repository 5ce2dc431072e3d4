"""Where a request goes that is forwarded (RFC 3261 16.4-16.6): its Route, its URI, the connection that its far end has
opened, a Path of ours; and whether it may go there."""
from libc.stdint cimport uint8_t, uint32_t
from sipcore.base.address cimport (
    SCOPE_FLOW, TRANSPORT_UDP, Address, address_same_host, is_secure, is_websocket,
)
from sipcore.base.slice cimport Slice
from sipcore.stack.admission cimport ADMIT_LISTED
from sipcore.stack.guarding cimport Guarding
from sipcore.stack.hop cimport HOP_NAME, HOP_OK
from sipcore.stack.record cimport Record
from sipcore.stack.routing cimport plan_routing
from sipcore.stack.verdict cimport Target
from sipcore.wire.index cimport Msg, msg_has
from sipcore.wire.tables cimport H_ROUTE
from sipcore.wire.uri cimport SCHEME_SIPS

from sipcore.base.place import Unresolved


cdef object _unheard(object outcome, object now):
    """For a name that nobody waits for."""


cdef class Wayfinding(Guarding):
    """Takes what Guarding takes."""

    cdef int _resolve(self, Slice text, Address* out, Record* record) noexcept:
        """Where a URI leads, as far as it says so itself; 0, HOP_NAME, or the status to answer with.

        record: of the dialog that the request is inside, NULL for none. Its far end may have connected to us: then the
        connection is the way there, as long as it stands, and the only one to a WebSocket client: its Contact names no
        address, or none that is its own, and says ws for wss as well (RFC 7118 5.3, 8.1).
        """
        cdef int status = self.where(text, out)
        cdef Address* end
        cdef bint connected
        if record == NULL or (status != HOP_OK and status != HOP_NAME):
            return status
        end = &record.callee if self._tag_hash(self.msg.from_.tag) == record.caller_tag else &record.caller
        connected = end.scope & SCOPE_FLOW != 0
        if out.transport == TRANSPORT_UDP:
            if not connected or end.transport != TRANSPORT_UDP:
                return status
            # It is behind NAT: only where its requests come from can it be reached.
            out[0] = end[0]
            out.scope &= ~SCOPE_FLOW
        elif connected and is_websocket(end.transport) and is_websocket(out.transport):
            out[0] = end[0]
        elif end.transport != out.transport or not (address_same_host(end, out) if status == HOP_OK else connected):
            return status
        elif connected:
            out[0] = end[0]
        elif out.scope == 0:
            # One server, one certificate: what its name was when the dialog began, it still is.
            out.scope = end.scope
        return HOP_OK

    cdef int _flow(self, Address* to) noexcept:
        """Where a Path of ours, which comes back in Route, leads (RFC 3327 5.3, RFC 5626 5.3): the listener to send
        from; -1 where there is none, -2 where it is not ours."""
        cdef Slice text
        cdef uint8_t listener
        if not self._has_flow(&text):
            return -1
        if not self.identity.get_flow(text, &listener, to) or listener >= self.listener_count:
            return -2
        return listener

    cdef bint _stays_secure(self, const Address* source, const Address* to) noexcept nogil:
        """Whether what asked for TLS on every hop came and goes that way (RFC 5630 3.1.3, 5.1.1)."""
        return is_secure(source.transport) and is_secure(to.transport)

    cdef bytes _no_way(self, int status):
        """The reason phrase of a request that cannot be sent on."""
        if status == 480:
            return b"Temporarily Unavailable - sips needs TLS on every hop"
        if status == 416 and self.msg.uri.scheme == SCHEME_SIPS:
            return b"SIPS Needs TLS, Which Is Not Available"
        return b"Service Unavailable - no address or listener for the next hop" if status == 503 else b""

    cdef bint _may_go(self, const Address* to, Record* record) noexcept:
        """An unlisted peer's token opens the way to listed peers and to the two ends of its own dialog alone."""
        cdef uint32_t i
        cdef int group
        if record != NULL and (address_same_host(to, &record.caller) or address_same_host(to, &record.callee)):
            return True
        for i in range(self.listener_count):
            if self.admission.admit(i, to, &group) == ADMIT_LISTED:
                return True
        return False

    cdef bint _ack_way(self, Address* to, Record* record) noexcept:
        """Where an ACK goes; False where it leads nowhere. It waits for no name: the next one, which the far end's next
        2xx brings, finds it known."""
        cdef int status = self._resolve(self.routing.next_hop, to, record)
        cdef tuple targets
        cdef Target target
        if status != HOP_NAME:
            return status == 0
        try:
            targets = (self._named(self.routing.next_hop, -1),)
            if self.msg.uri.scheme == SCHEME_SIPS:
                targets = self._secured(targets)
            target = <Target>self._as_known(targets, &self.msg)[0]
            if target.place is None:
                to[0] = target.address
                if target.name:
                    to.scope = <uint32_t>self.names.number(target.name)
                return True
            self.naming.resolve(target.place, _unheard)
        except Unresolved:
            pass
        except Exception as error:
            self._trouble(f"ACK not forwarded: {type(error).__name__}: {error}")
        return False

    cdef bint _goes_through(self, Msg* m) noexcept:
        """Whether a request for a dialog of our own comes by one that we forward: whom we have called has called on
        through us, and its Route leads there first (16.4)."""
        return (msg_has(m, H_ROUTE) and plan_routing(m, &self.routing, self.listeners, self.listener_count) == 0
                and self.routing.token.n != 0)
