"""A controlled call's place among the calls, for whoever runs it."""
from libc.stdint cimport uint32_t
from sipcore.stack.bookkeeping cimport Bookkeeper


cdef class CallRecord:
    cdef Bookkeeper keeper
    cdef uint32_t slot
    cdef uint32_t generation

    @staticmethod
    cdef CallRecord of(Bookkeeper keeper, uint32_t slot)
