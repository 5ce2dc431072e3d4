"""The far end's INVITE, until its ACK."""
from sipcore.stack.dialog cimport Dialog
from sipcore.stack.handler cimport Handler
from sipcore.stack.leg cimport Leg
from sipcore.stack.uas cimport ServerTransaction


cdef class Called(Handler):
    cdef public Leg leg
    cdef public ServerTransaction tx
    cdef public Dialog dialog           # that it speaks in
    cdef public str fork                # that it speaks for, empty for none yet
    cdef public dict forks              # fork -> Called for each further early dialog, None for none
    cdef public bytes heard             # the far end's description there, empty for none yet
    cdef public bytes sdp               # our description there, empty for none yet
    cdef public bint firm               # whether it went in a reliable response
    cdef public bint lost               # whether nobody there acknowledges, or wants, what is said
    cdef public object alarm            # Alarm, None for none
    cdef public int last                # status of the last provisional response
    cdef public bint offered
    cdef public int rseq
    cdef public object reliable         # Reliable that waits for PRACK, None for none
    cdef public list waiting            # of Reliable behind it, None for none
    cdef public tuple final             # body and headers of the 2xx that waits for PRACK, None for none
    cdef public bint required           # whether the far end insists on reliable responses

    cpdef object ring(self, int status, bytes body, headers, bint reliable)
    cpdef object answer(self, bytes body, headers)
    cpdef object _answer(self, bytes body, headers)
    cpdef object respond(self, int status, bytes body, headers)
    cpdef object stop(self)
    cpdef object close(self)
    cpdef bint _awaits_prack(self) except -1
