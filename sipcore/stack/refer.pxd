"""What becomes of a REFER that passes through a proxied dialog."""
from libc.stdint cimport uint32_t
from sipcore.stack.record cimport Record, Refer
from sipcore.wire.index cimport Msg


cdef Refer* refer_sent(Record* r, uint32_t cseq, bint by_caller) noexcept nogil
cdef Refer* refer_answered(Record* r, uint32_t tx, uint32_t status) noexcept nogil
cdef Refer* refer_notified(Record* r, Msg* m, bint by_caller) noexcept nogil
cdef bint refer_pending(const Refer* refer) noexcept nogil
cdef bint refers_pending(const Record* r) noexcept nogil
