"""Where a URI leads: transport, address and port, as far as they stand in it."""
from libc.stdint cimport uint16_t
from sipcore.base.address cimport Address
from sipcore.base.slice cimport Slice
from sipcore.wire.uri cimport Uri

cdef enum HopFault:
    HOP_OK = 0
    HOP_NAME = 1            # a host name: somebody has to look it up


cdef int uri_transport(const Uri* uri) noexcept nogil
cdef uint16_t default_port(int transport) noexcept nogil
cdef int hop_address(Slice text, Address* out) noexcept nogil
cdef int hop_of_uri(const Uri* uri, Address* out) noexcept nogil
cdef object hop_of_address(const Address* address)
cdef int address_of_hop(object hop, Address* out) except -1
