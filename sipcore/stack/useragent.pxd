"""The user agent core: transactions that begin or end here, on top of the transaction layer (RFC 3261 8)."""
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from sipcore.base.address cimport Address
from sipcore.base.slice cimport Slice
from sipcore.base.wheel cimport Wheel
from sipcore.stack.alarms cimport Alarms
from sipcore.stack.layer cimport Layer
from sipcore.stack.outgoing cimport Outgoing
from sipcore.stack.verdict cimport Verdict
from sipcore.wire.message cimport Message, Msg


cdef class Transaction:
    cdef readonly UserAgent agent
    cdef readonly uint32_t listener
    cdef readonly int status        # of the last response, 0 for none
    cdef public object handler      # Handler that hears what becomes of it; None once nothing more can
    cdef uint32_t slot              # NO_TX once nothing can come of it any more: the head may linger on


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
    cdef uint64_t ack               # key in UserAgent.awaited

    cdef bytes _build(self, int status, str reason, bytes lines, bytes end)


cdef class ClientTransaction(Transaction):
    cdef readonly Outgoing request
    cdef uint32_t branch_slot       # what stood in its branch
    cdef uint32_t generation
    cdef bytes why                  # lines of the CANCEL that is wanted, or None
    cdef dict acks                  # To tag -> (ACK to its 2xx, Hop, listener), sent again when that 2xx is


cdef class UserAgent(Layer):
    cdef public object handler      # for requests that belong to no dialog
    cdef public object naming       # Naming: who looks host names up
    cdef readonly dict dialogs      # Dialog.id -> Dialog
    cdef readonly frozenset extensions
    cdef readonly list troubles     # texts for the log: what a handler, a policy or a configuration did wrong
    cdef bint keyed                 # our Contacts carry a token
    cdef list held                  # Transaction or None by slot: a head that only lingers has none
    cdef dict begun                 # hash of what a merged request shares -> slot of a request without To tag
    cdef dict awaited               # hash of dialog and CSeq number -> ServerTransaction that waits for ACK
    cdef Wheel resends              # by transaction: 2xx to an INVITE
    cdef Alarms alarms
    cdef uint64_t drawn             # tags, Call-IDs and ACK branches made so far
    cdef uint64_t salt

    cdef bint _tell(self, object handler, str what, Transaction tx, object more) noexcept
    cdef void _trouble(self, str text) noexcept
    cdef void _refuse(self, uint32_t listener, const Address* source, uint32_t status, bytes reason,
                      bytes headers) noexcept
    cdef object _dialog_of(self, const Msg* m)
    cdef uint64_t _merge_key(self, const Msg* m) noexcept nogil
    cdef uint64_t _ack_key(self, Msg* m, Slice tag) noexcept nogil
    cdef ServerTransaction _take(self, uint32_t listener, const Address* source, uint64_t key, object dialog)
    cdef void _hand(self, ServerTransaction server) noexcept
    cdef void on_silent(self, uint32_t slot) noexcept
    cdef void on_responded(self, ServerTransaction server, uint32_t status) noexcept
    cdef bint _acknowledged(self) noexcept
    cdef void _keep_object(self, uint32_t slot, Transaction tx) noexcept
    cdef Transaction _object(self, uint32_t slot)
    cdef void _let_go(self, uint32_t slot) noexcept
    cdef ClientTransaction _late(self, uint32_t slot)
    cdef void _resend_2xx(self, uint32_t slot) noexcept
    cdef Slice _via(self, uint8_t* room, uint32_t listener, uint32_t slot, uint32_t generation,
                    uint32_t loop) noexcept nogil
