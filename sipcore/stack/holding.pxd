"""Transactions as Python has them: an object beside a head, for as long as something can come of it."""
from libc.stdint cimport uint32_t, uint64_t
from sipcore.base.address cimport Address
from sipcore.stack.layer cimport Layer


cdef class Transaction:
    cdef readonly Holding agent
    cdef readonly uint32_t listener
    cdef readonly int status        # of the last response, 0 for none
    cdef public object handler      # Handler that hears what becomes of it; None once nothing more can
    cdef uint32_t slot              # NO_TX once nothing can come of it any more: the head may linger on


cdef class Holding(Layer):
    cdef readonly list troubles     # texts for the log: what a handler, a policy or a configuration did wrong
    cdef list held                  # Transaction or None by slot: a head that only lingers has none
    cdef uint64_t drawn             # tags, Call-IDs and ACK branches made so far
    cdef uint64_t salt

    cdef bint _tell(self, object handler, str what, Transaction tx, object more) noexcept
    cdef void _trouble(self, str text) noexcept
    cdef void _refuse(self, uint32_t listener, const Address* source, uint32_t status, bytes reason,
                      bytes headers) noexcept
    cdef void _keep_object(self, uint32_t slot, Transaction tx) noexcept
    cdef Transaction _object(self, uint32_t slot)
    cdef void _let_go(self, uint32_t slot) noexcept
