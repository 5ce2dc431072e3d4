"""The user agent core: transactions that begin or end here, on top of the transaction layer (RFC 3261 8)."""
from libc.stdint cimport uint32_t, uint64_t
from sipcore.base.address cimport Address
from sipcore.base.wheel cimport Wheel
from sipcore.stack.layer cimport Layer
from sipcore.wire.message cimport Message


cdef class ServerTransaction:
    cdef readonly UserAgent agent
    cdef readonly Message request
    cdef readonly uint32_t listener
    cdef Address source             # the packet's
    cdef readonly str tag           # ours, in To
    cdef readonly int status        # of the last response sent, 0 for none
    cdef readonly bint cancelled
    cdef public object dialog       # Dialog of a request inside one, or None
    cdef public object handler      # Handler that hears what becomes of it
    cdef uint32_t slot              # NO_TX once the head is gone
    cdef uint32_t interval          # ms to the next time that the 2xx is sent
    cdef bytes unacknowledged       # the 2xx to an INVITE until its ACK comes
    cdef tuple merge                # key in UserAgent.begun, or None

    cdef bytes _build(self, int status, str reason, bytes lines, bytes end)


cdef class ClientTransaction:
    cdef readonly UserAgent agent
    cdef readonly object request    # Outgoing
    cdef readonly bytes data        # as it was sent
    cdef readonly int status        # of the last response, 0 for none
    cdef readonly uint32_t listener
    cdef public object handler
    cdef uint32_t slot
    cdef dict acks                  # To tag -> ACK to its 2xx, sent again when that 2xx is


cdef class UserAgent(Layer):
    cdef public object handler      # for requests that belong to no dialog
    cdef readonly dict dialogs      # Dialog.id -> Dialog
    cdef readonly frozenset extensions
    cdef readonly list troubles     # texts for the log: what a handler did wrong
    cdef dict held                  # slot -> ServerTransaction or ClientTransaction
    cdef dict begun                 # (Call-ID, From tag, CSeq number, method) -> slot of a request without To tag
    cdef dict awaited               # (Call-ID, To tag, From tag, CSeq number) -> ServerTransaction that waits for ACK
    cdef Wheel resends              # by transaction: 2xx to an INVITE
    cdef uint64_t drawn             # tags, Call-IDs and ACK branches made so far
    cdef uint64_t salt

    cdef bint _tell(self, object tx, str what, object more) noexcept
    cdef void _trouble(self, str where, object error) noexcept
    cdef void _refuse(self, uint32_t listener, const Address* source, uint32_t status, bytes headers) noexcept
    cdef void _resend_2xx(self, uint32_t slot) noexcept
    cdef bytes _via(self, uint32_t listener, uint32_t slot, uint32_t generation, uint32_t loop)
