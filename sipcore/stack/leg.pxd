"""A leg: one dialog of the edge's own, and everything around it."""
from libc.stdint cimport uint64_t
from sipcore.stack.capabilities cimport Peer
from sipcore.stack.dialog cimport Dialog
from sipcore.stack.handler cimport Handler
from sipcore.stack.outgoing cimport Outgoing
from sipcore.stack.uac cimport ClientTransaction
from sipcore.stack.uas cimport ServerTransaction
from sipcore.stack.useragent cimport UserAgent
from sipcore.wire.message cimport Message


cdef class Leg(Handler):
    cdef public UserAgent agent
    cdef public object owner            # LegOwner
    cdef public object settings         # LegSettings
    cdef public bint uac
    cdef public str state
    cdef public Dialog dialog           # None for none yet
    cdef public Peer peer
    cdef public object phase            # Called or Calling until the INVITE's transaction is over
    cdef public bint established
    cdef public int listener
    cdef public tuple far               # Hop
    cdef public tuple hop               # Hop
    cdef public int out
    cdef public str hop_uri
    cdef public object max_forwards    # int: whatever the far end says
    cdef public bytes local_sdp
    cdef public bytes remote_sdp
    cdef public int pending
    cdef public object exchange         # Offer, None for none
    cdef public object reoffer          # Reoffer, None for none
    cdef public tuple queue             # of Reoffer
    cdef public object timer            # SessionTimer, None for none
    cdef public int least
    cdef public int forwarding
    cdef public object ending           # Goodbye, None for none
    cdef public tuple referrals         # of Referral
    cdef public tuple referrings        # of Referring

    cpdef object after(self, uint64_t ms, callback)
    cpdef tuple way(self, Outgoing out)
    cpdef object send(self, Outgoing out, handler, bint tcp=*)
    cpdef object acknowledge(self, ClientTransaction tx, bytes body, headers=*)
    cpdef tuple own_headers(self)
    cpdef object enter_early(self)
    cpdef bint was_answered_by(self, Message response) except -1
    cpdef object stop_timer(self)
    cpdef object go_on(self)
    cpdef object finish(self, str by, str reason)
