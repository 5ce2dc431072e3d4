"""Our INVITE, until the leg is up."""
from sipcore.stack.dialog cimport Dialog
from sipcore.stack.handler cimport Handler
from sipcore.stack.leg cimport Leg
from sipcore.stack.outgoing cimport Outgoing
from sipcore.stack.uac cimport ClientTransaction
from sipcore.wire.message cimport Message


cdef class Calling(Handler):
    cdef public Leg leg
    cdef public Outgoing out
    cdef public tuple given             # headers
    cdef public tuple targets           # of Hop
    cdef public tuple uris
    cdef public int attempt_ms
    cdef public int at                  # index in targets
    cdef public object other_offer      # callable, None for none
    cdef public bint retold             # whether the target that is tried is made another offer
    cdef public bint by_tcp
    cdef public bint tcp_failed
    cdef public int challenges
    cdef public int raises
    cdef public tuple credentials       # headers
    cdef public bint spent              # whether they were sent
    cdef public dict forks              # To tag -> Dialog, None for none
    cdef public object pracks           # Pracks, None for none
    cdef public dict previews           # To tag -> bytes, None for none
    cdef public tuple over
    cdef public object alarm            # Alarm, None for none
    cdef public object ringing          # Alarm, None for none
    cdef public ClientTransaction tx

    cpdef object start(self)
    cpdef object _stop_attempt(self)
    cpdef object stop(self)
    cpdef object close(self)
    cpdef bint cancel(self, str by, str reason, object headers=*) except -1
    cpdef object _on_provisional(self, ClientTransaction tx, Message response)
    cpdef Dialog _fork(self, str tag, Message response)
    cpdef object _on_answer(self, ClientTransaction tx, Message response)
    cpdef object _on_refusal(self, int status, ClientTransaction tx, Message response)
