"""An IP address and port in a fixed 24-byte form: what sockets, the trie and the transactions share."""
from libc.stdint cimport uint8_t, uint16_t, uint32_t
from libc.string cimport memcmp, memcpy, memset
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
cdef bint address_is_host(const Address* a) noexcept nogil
cdef int parse_ip(Slice text, Address* out) noexcept nogil
cdef uint32_t render_ip(const Address* a, uint8_t* out, bint brackets) noexcept nogil
cdef object address_host(const Address* a)
cdef int address_from(str host, int port, Address* out) except -1
cdef bint is_secure(int transport) noexcept nogil
cdef bint is_websocket(int transport) noexcept nogil
cdef int transport_number(str name) except -1
cdef str transport_name(int transport)


cdef inline bint address_same_host(const Address* a, const Address* b) noexcept nogil:
    """Same IP address; an IPv6 scope counts where both have one."""
    cdef uint32_t x, y
    if a.family != b.family:
        return False
    if a.family == 4:
        memcpy(&x, a.ip, 4)
        memcpy(&y, b.ip, 4)
        return x == y
    return memcmp(a.ip, b.ip, 16) == 0 and (
        (a.scope ^ b.scope) & ~SCOPE_FLOW == 0 or (a.transport | b.transport) != TRANSPORT_UDP)


cdef inline void set_ipv4(Address* a, const uint8_t* quad) noexcept nogil:
    """Make a that IPv4 address; its port and transport stay."""
    a.family = 4
    a.scope = 0
    memset(a.ip, 0, 16)
    memcpy(a.ip, quad, 4)


cdef inline bint is_digit(uint8_t c) noexcept nogil:
    return <uint8_t>(c - c'0') <= 9


cdef inline bint read_quad(const uint8_t* p, uint32_t n, uint8_t* quad) noexcept nogil:
    """Whether the n bytes at p are four numbers up to 255, no leading zeros, with dots between; the numbers then."""
    cdef uint32_t i = 0, value, part
    for part in range(4):
        if part:
            if i == n or p[i] != c'.':
                return False
            i += 1
        if i == n or not is_digit(p[i]):
            return False
        value = p[i] - c'0'
        i += 1
        if i < n and is_digit(p[i]):
            if value == 0:
                return False
            value = value * 10 + (p[i] - c'0')
            i += 1
            if i < n and is_digit(p[i]):
                value = value * 10 + (p[i] - c'0')
                i += 1
                if value > 255:
                    return False
        quad[part] = <uint8_t>value
    return i == n
