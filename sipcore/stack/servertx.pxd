"""Server transactions as steps over a Tx head: RFC 3261 17.2.1 (INVITE), 17.2.2, with RFC 6026."""
from libc.stdint cimport uint32_t, uint64_t
from sipcore.stack.tx cimport TimerValues, Tx


cdef int server_on_request(Tx* tx) noexcept nogil
cdef int server_on_ack(Tx* tx) noexcept nogil
cdef int server_on_response(Tx* tx, uint32_t status, uint64_t now, const TimerValues* t) noexcept nogil
cdef int server_on_timer(Tx* tx, uint64_t now, const TimerValues* t) noexcept nogil
