"""The transaction layer: matching, timers, answers; what a proxy or a user agent adds stands in its subclass."""
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from sipcore.base.address cimport Address
from sipcore.base.slice cimport Slice
from sipcore.stack.listener cimport MAX_LISTENERS, Listener
from sipcore.stack.transactions cimport Transactions
from sipcore.wire.index cimport Limits, Msg


cdef Limits STORED_LIMITS        # for what the stack has made itself


cdef class Layer(Transactions):
    cdef Limits limits
    cdef Listener listeners[MAX_LISTENERS]
    cdef uint32_t listener_count
    cdef public int proven_group        # group of a certificate, for the next `receive` alone; -1: none
    cdef uint16_t alias_port            # where the peer of the last `receive` is reached by its connection; 0: nowhere
    cdef uint64_t moved                 # responses that moved a transaction on; a repetition moves none
    cdef object names                   # ServerNames
    cdef Msg msg                        # the message that is being handled
    cdef Msg stored                     # one of our own, indexed again

    # in
    cdef void receive(self, uint32_t listener, const Address* source, const uint8_t* data, uint32_t n,
                      uint64_t now) noexcept
    cdef void receive_admitted(self, uint32_t listener, const Address* source, const uint8_t* data,
                               uint32_t n) noexcept
    cdef void expire(self, uint64_t now) noexcept
    cdef uint64_t next_deadline(self) noexcept nogil
    cdef void transport_error(self, const uint8_t* data, uint32_t n) noexcept
    cdef void _response_failed(self, const uint8_t* data, uint32_t n) noexcept
    cdef bint _connects(self, uint32_t slot, const uint8_t* data, uint32_t n) noexcept

    cdef void _take_response(self) noexcept
    cdef void _fire(self, uint32_t slot) noexcept

    # what is known of the work and of those who make it
    cdef void note_lag(self, uint32_t lag, bint lost, uint64_t now) noexcept
    cdef bint is_banned(self, const Address* source, uint64_t now) noexcept

    # what a core adds
    cdef void on_malformed(self, uint32_t listener, const Address* source, int fault) noexcept
    cdef void on_request(self, uint32_t listener, const Address* source, uint64_t key) noexcept
    cdef void on_ack(self, uint32_t listener, const Address* source, uint32_t slot, uint64_t key) noexcept
    cdef void on_cancel(self, uint32_t listener, const Address* source, uint32_t slot) noexcept
    cdef void on_response(self, uint32_t slot) noexcept
    cdef void on_timeout(self, uint32_t slot, bint transport) noexcept
    cdef void on_slow(self, uint32_t slot) noexcept

    # out
    cdef void answer(self, uint32_t listener, const Address* source, uint32_t status, Slice reason,
                     Slice headers) noexcept nogil
    cdef void respond(self, uint32_t slot, uint32_t status, Slice reason, Slice headers) noexcept nogil
    cdef int where(self, Slice uri, Address* out) noexcept
    cdef void reply_address(self, const Address* source, Address* out) noexcept nogil
    cdef void send_ack(self, uint32_t slot) noexcept nogil
    cdef void send_cancel(self, uint32_t slot, Slice lines) noexcept
