"""The user agent server: requests that end here, and what is sent back (RFC 3261 8.2)."""
from libc.stdint cimport uint32_t, uint64_t
from sipcore.base.address cimport Address
from sipcore.base.slice cimport Slice
from sipcore.base.wheel cimport Wheel
from sipcore.stack.holding cimport Holding, Transaction
from sipcore.stack.verdict cimport Verdict
from sipcore.wire.index cimport Msg
from sipcore.wire.message cimport Message


cdef class ServerTransaction(Transaction):
    cdef readonly Message request
    cdef Address source             # the packet's
    cdef public str tag             # ours, in To: of the early dialog that is spoken in
    cdef readonly bint cancelled
    cdef readonly str why           # the Reason of its CANCEL (RFC 3326), empty: none
    cdef public object dialog       # Dialog of a request inside one, or None
    cdef readonly Verdict verdict   # under which an INVITE is controlled, None for any other request
    cdef readonly int group         # of the source in the access list, -1: none
    cdef readonly object record     # CallRecord of a controlled INVITE, or None
    cdef uint32_t interval          # ms to the next time that the 2xx is sent
    cdef bytes unacknowledged       # the 2xx to an INVITE until its ACK comes
    cdef uint64_t ack               # key in UserAgentServer.awaited

    cdef bytes _build(self, int status, str reason, bytes lines, bytes end)


cdef class UserAgentServer(Holding):
    cdef public object handler      # for requests that belong to no dialog
    cdef readonly dict dialogs      # Dialog.id -> Dialog
    cdef readonly frozenset extensions
    cdef dict begun                 # hash of what a merged request shares -> slot of a request without To tag
    cdef dict awaited               # hash of dialog and CSeq number -> ServerTransaction that waits for ACK
    cdef Wheel resends              # by transaction: 2xx to an INVITE

    cdef object _dialog_of(self, const Msg* m)
    cdef uint64_t _merge_key(self, const Msg* m) noexcept nogil
    cdef uint64_t _ack_key(self, Msg* m, Slice tag) noexcept nogil
    cdef ServerTransaction _take(self, uint32_t listener, const Address* source, uint64_t key, object dialog)
    cdef void _hand(self, ServerTransaction server) noexcept
    cdef void on_responded(self, ServerTransaction server, uint32_t status) noexcept
    cdef bint _acknowledged(self) noexcept
    cdef void _resend_2xx(self, uint32_t slot) noexcept
