"""A request of our own as values, and as bytes."""
from libc.stdint cimport uint8_t, uint32_t
from sipcore.base.slice cimport Slice
from sipcore.wire.index cimport Msg


cdef class Outgoing:
    cdef readonly str method
    cdef readonly str uri
    cdef readonly str call_id
    cdef readonly uint32_t cseq
    cdef readonly str local             # From without its tag
    cdef readonly str local_tag
    cdef readonly str remote            # To without its tag
    cdef readonly str remote_tag
    cdef readonly tuple route           # Route values
    cdef readonly str contact
    cdef readonly tuple headers         # (name, value)
    cdef readonly bytes body
    cdef readonly str content_type
    cdef readonly str next_hop          # URI that says where it goes, empty for the request URI
    cdef readonly int max_forwards
    cdef readonly bint compact          # short header names

    cdef Slice write(self, Slice via) except *


cpdef bytes raw(str text)
cpdef bytes header_lines(headers)
cpdef bytes tail(bytes body, str content_type, bint compact=*)
cpdef str uri_of(str value)
cpdef str address_of(str value)
