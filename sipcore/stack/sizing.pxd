"""Requests that are too big for UDP."""
from libc.stdint cimport uint32_t
from sipcore.base.address cimport Address
from sipcore.stack.failover cimport Search
from sipcore.stack.pathlimits cimport PathLimits
from sipcore.stack.plan cimport Passage
from sipcore.stack.verdict cimport Target, Verdict
from sipcore.stack.way cimport Wayfinding


cdef class Sizing(Wayfinding):
    cdef object oversize            # (Request, Verdict, size) -> Verdict
    cdef uint32_t dialog_budget     # bytes above which a request inside a dialog is decided; 0: never
    cdef public PathLimits paths    # what the kernel knows of the ways to next hops, None for nothing

    cdef bint _exceeds(self, const Address* to, uint32_t size, uint32_t budget) noexcept
    cdef Verdict _shrink(self, uint32_t listener, const Address* source, Verdict verdict, uint32_t size,
                         bint in_dialog, uint32_t record_slot, Target target, int out)
    cdef Verdict _smaller(self, uint32_t owner, Search search, Target target, int out, bint in_dialog,
                          uint32_t record_slot)
    cdef int _shorten_ack(self, uint32_t listener, const Address* source, uint32_t record_slot, const Passage* passage,
                          uint32_t out, const Address* to) except -1
