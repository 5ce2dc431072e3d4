"""An IP address and port in a fixed 24-byte form: what sockets, the trie and the transactions share."""
from libc.stdint cimport uint8_t, uint16_t, uint32_t
from .slice cimport Slice

cdef enum Transport:
    TRANSPORT_UDP = 0
    TRANSPORT_TCP = 1
    TRANSPORT_TLS = 2
    TRANSPORT_WS = 3
    TRANSPORT_WSS = 4
    TRANSPORT_SCTP = 5
    TRANSPORT_OTHER = 15

cdef struct Address:
    uint8_t family          # 4, 6, or 0 for none
    uint8_t transport       # Transport
    uint16_t port           # host byte order
    uint32_t scope          # see below
    uint8_t ip[16]          # network byte order; IPv4 in the first four bytes, the rest zero

# What scope holds. UDP, TCP: the IPv6 scope id, 0 otherwise. A target of TLS: the number of the server name that its
# certificate has to carry, 0 for the address itself. The source of a message that came over a connection which the
# peer opened: SCOPE_FLOW and the number of that connection; what is sent there takes that connection or none.
cdef extern from *:
    """
    #define SCOPE_FLOW 0x80000000u
    """
    uint32_t SCOPE_FLOW

cdef enum:
    ADDRESS_TEXT = 48       # bytes enough for any rendered address, IPv6 with brackets


cdef bint address_equal(const Address* a, const Address* b) noexcept nogil
cdef bint address_same_host(const Address* a, const Address* b) noexcept nogil
cdef bint address_is_host(const Address* a) noexcept nogil
cdef int parse_ip(Slice text, Address* out) noexcept nogil
cdef uint32_t render_ip(const Address* a, uint8_t* out, bint brackets) noexcept nogil
cdef object address_host(const Address* a)
cdef int address_from(str host, int port, Address* out) except -1
cdef bint is_secure(int transport) noexcept nogil
cdef bint is_websocket(int transport) noexcept nogil
cdef int transport_number(str name) except -1
cdef str transport_name(int transport)
