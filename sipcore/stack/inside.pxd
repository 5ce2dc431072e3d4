"""A request of ours inside a leg's dialog."""
from sipcore.stack.dialog cimport Dialog
from sipcore.stack.handler cimport Handler
from sipcore.stack.leg cimport Leg
from sipcore.stack.uac cimport ClientTransaction


cdef class Inside(Handler):
    cdef public Leg leg
    cdef public str method
    cdef public tuple headers
    cdef public bytes body
    cdef public str content_type
    cdef public int challenges
    cdef public bint by_tcp
    cdef public bint tcp_failed
    cdef public Dialog dialog
    cdef public ClientTransaction tx


cdef class Goodbye(Inside):
    cdef public str reason


cdef class Forwarded(Inside):
    cdef public object done             # called with the outcome, or None
