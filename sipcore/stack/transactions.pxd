"""Transaction heads, the tables that find them, their timers and their bytes."""
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from sipcore.base.address cimport Address
from sipcore.base.linger cimport Linger
from sipcore.base.outbox cimport Outbox
from sipcore.base.pool cimport Buffer, Pool
from sipcore.base.slice cimport Slice
from sipcore.base.wheel cimport Wheel
from sipcore.stack.counters cimport C_COUNT
from sipcore.stack.identity cimport Identity
from sipcore.stack.keytable cimport KeyTable
from sipcore.stack.tx cimport TimerValues, Tx
from sipcore.wire.edit cimport Edit
from sipcore.wire.index cimport Msg


cdef class Transactions:
    cdef readonly Identity identity
    cdef readonly Wheel wheel           # by transaction: retransmissions and time-outs
    cdef readonly Linger linger         # by transaction: what is only kept to absorb what comes late
    cdef readonly Pool pool
    cdef readonly Outbox outbox
    cdef Tx* slab
    cdef KeyTable table                 # server transactions
    cdef readonly uint32_t capacity     # transactions
    cdef readonly uint32_t live
    cdef uint32_t fresh                 # heads from here on were never used
    cdef uint32_t free_head
    cdef uint32_t seed                  # first generation of a head
    cdef TimerValues timers
    cdef uint64_t now                   # ms, of the step that is being taken
    cdef uint64_t* counters             # [C_COUNT]
    cdef uint64_t own_counters[C_COUNT]
    cdef object counter_page            # keeps a shared page alive
    cdef Edit edit

    # transactions
    cdef uint32_t open(self, uint8_t role, uint8_t method) noexcept nogil
    cdef void close(self, uint32_t slot) noexcept
    cdef void settle(self, uint32_t slot) noexcept nogil
    cdef void rearm(self, uint32_t slot) noexcept nogil
    cdef uint64_t key_of(self, Msg* m, uint8_t method, Slice method_text) noexcept nogil
    cdef void remember(self, uint32_t slot, uint64_t key) noexcept nogil
    cdef void expect(self, uint64_t key) noexcept nogil
    cdef uint32_t find(self, uint64_t key) noexcept nogil
    cdef uint32_t find_branch(self, Slice branch) noexcept nogil
    cdef void on_free(self, uint32_t slot) noexcept

    # out
    cdef bint send(self, uint32_t listener, const Address* to, const uint8_t* p, uint32_t n) noexcept nogil
    cdef uint8_t* render(self, uint32_t listener, const Address* to, uint32_t* n) noexcept nogil
    cdef bint send_request(self, Tx* tx, uint32_t listener, const Address* to) noexcept nogil
    cdef bint keep_request(self, Tx* tx, const uint8_t* p, uint32_t n) noexcept nogil
    cdef bint keep_response(self, Tx* tx, const uint8_t* p, uint32_t n) noexcept nogil
    cdef void drop_request(self, Tx* tx) noexcept nogil
    cdef void drop_response(self, Tx* tx) noexcept nogil
    cdef bint _keep(self, Tx* tx, uint8_t** at, uint16_t* size, uint32_t large, const uint8_t* p,
                    uint32_t n) noexcept nogil
    cdef void _hold(self, Tx* tx, uint8_t** at, uint16_t* size, uint32_t large, const Buffer* b) noexcept nogil
    cdef void _drop(self, Tx* tx, uint8_t** at, uint16_t size, uint32_t large) noexcept nogil
