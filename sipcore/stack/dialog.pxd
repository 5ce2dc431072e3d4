"""One end's view of a dialog."""
from libc.stdint cimport int64_t
from sipcore.stack.outgoing cimport Outgoing
from sipcore.wire.message cimport Message


cdef class Dialog:
    cdef public str call_id
    cdef public str local_tag
    cdef public str remote_tag
    cdef public str local               # From of requests that are sent, without the tag
    cdef public str remote              # their To
    cdef public str target              # URI that requests go to
    cdef public tuple route             # Record-Route values in the order in which requests take them
    cdef public str contact             # our Contact value
    cdef public bint uac                # our INVITE began it
    cdef public bint inviting           # our INVITE waits for its final answer
    cdef public bint invited            # the other side's INVITE waits for ours
    cdef public object state            # State
    cdef public object owner            # whoever the user agent tells about requests inside the dialog
    cdef public int64_t local_cseq      # of the last request sent, 0 for none
    cdef int64_t last                   # CSeq number of the last request received, -1 for none

    cdef Outgoing _outgoing(self, str method, int64_t cseq, str contact, headers, bytes body, str content_type)
    cdef int _refresh(self, Message message) except -1
