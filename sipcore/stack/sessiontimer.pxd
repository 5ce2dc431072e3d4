"""Session timers of a leg."""
from libc.stdint cimport int64_t
from sipcore.stack.leg cimport Leg
from sipcore.wire.message cimport Message


cdef class SessionTimer:
    cdef public object alarm            # Alarm, None where all are in use
    cdef public int64_t interval            # seconds
    cdef public Leg leg
    cdef public bint refreshes

    cpdef object stop(self)


cpdef bint too_small(Leg leg, Message request) except -1
cpdef tuple grant(Leg leg, Message request)
cpdef object agreed(Leg leg, Message response)
