"""The user agent client: requests of ours, and what comes back (RFC 3261 8.1)."""
from libc.stdint cimport uint8_t, uint32_t
from sipcore.base.slice cimport Slice
from sipcore.stack.holding cimport Transaction
from sipcore.stack.outgoing cimport Outgoing
from sipcore.stack.uas cimport UserAgentServer


cdef class ClientTransaction(Transaction):
    cdef readonly Outgoing request
    cdef uint32_t branch_slot       # what stood in its branch
    cdef uint32_t generation
    cdef bytes why                  # lines of the CANCEL that is wanted, or None
    cdef dict acks                  # To tag -> (ACK to its 2xx, Hop, listener), sent again when that 2xx is


cdef class UserAgentClient(UserAgentServer):
    cdef void on_silent(self, uint32_t slot) noexcept
    cdef ClientTransaction _late(self, uint32_t slot)
    cdef Slice _via(self, uint8_t* room, uint32_t listener, uint32_t slot, uint32_t generation,
                    uint32_t loop) noexcept nogil
