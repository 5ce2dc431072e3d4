"""Client transactions as steps over a Tx head: RFC 3261 17.1.1 (INVITE), 17.1.2, with RFC 6026."""
from libc.stdint cimport uint32_t, uint64_t
from sipcore.stack.tx cimport TimerValues, Tx


cdef void client_on_send(Tx* tx, uint64_t now, bint reliable, const TimerValues* t) noexcept nogil
cdef int client_on_response(Tx* tx, uint32_t status, uint64_t now, const TimerValues* t) noexcept nogil
cdef int client_on_timer(Tx* tx, uint64_t now, const TimerValues* t) noexcept nogil
