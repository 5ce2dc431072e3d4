"""What the stack asks of whoever looks names up, and the requests that wait for it."""
from libc.stdint cimport uint64_t
from sipcore.base.slice cimport Slice


cdef class Pending:
    """Requests that wait for a name, by handle; so many at a time, and a share of them from one address."""
    cdef readonly uint64_t deadline_ms      # after this one that was not told of anything is given up
    cdef int most
    cdef dict waiting                       # handle -> (address, Alarm)
    cdef dict by_address                    # address -> how many

    cdef bint has_room(self, object address) except -1
    cdef void add(self, object handle, object address, object alarm) except *
    cdef bint take(self, object handle) except -1

cdef object place_of(Slice uri)
