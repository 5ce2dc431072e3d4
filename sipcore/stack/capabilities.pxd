"""What the far end of a leg can do."""
from sipcore.wire.message cimport Message


cdef class Peer:
    cdef object _allow              # frozenset of methods, None where nothing is known
    cdef object _supported          # frozenset of option tags, None where nothing is known
    cdef object _refused            # frozenset of methods

    cpdef object learn(self, Message message)
    cpdef object allows(self, str method)
    cpdef object supports(self, str option)
