"""Addresses between text and the fixed form. IPv4 text is read by hand (it stands in every Via and URI);
IPv6 goes through inet_pton, and IPv4-mapped addresses become IPv4 (one peer, one address)."""
from libc.stdint cimport uint8_t, uint16_t, uint32_t
from libc.string cimport memchr, memcmp, memcpy, memset
from .slice cimport Slice

cdef extern from "arpa/inet.h" nogil:
    int inet_pton(int family, const char* text, void* out)
    const char* inet_ntop(int family, const void* source, char* out, uint32_t size)

cdef extern from "sys/socket.h" nogil:
    int AF_INET6


# Each octet as text with a dot behind it, and how many bytes that is.
cdef uint8_t[256][4] _OCTETS
cdef uint8_t[256] _OCTET_LENGTHS


cdef void _load_octets() noexcept:
    cdef int i
    cdef bytes text
    for i in range(256):
        text = b"%d." % i
        _OCTET_LENGTHS[i] = <uint8_t>len(text)
        memcpy(_OCTETS[i], <const char*>text, len(text))


_load_octets()


cdef bint address_equal(const Address* a, const Address* b) noexcept nogil:
    """Same host, port and transport."""
    return a.port == b.port and a.transport == b.transport and address_same_host(a, b)


cdef bint is_secure(int transport) noexcept nogil:
    """Whether the transport is encrypted: TLS and WSS."""
    return transport == TRANSPORT_TLS or transport == TRANSPORT_WSS


cdef bint is_websocket(int transport) noexcept nogil:
    """WS and WSS."""
    return transport == TRANSPORT_WS or transport == TRANSPORT_WSS


cdef int parse_ip(Slice text, Address* out) noexcept nogil:
    """Read an IPv4 literal or an IPv6 literal (with or without brackets) into out.

    Port and transport of out stay as they are. Returns 0, or -1 where text is no address literal; leading
    zeros in IPv4 are refused because peers read them as octal or as decimal.
    """
    cdef uint8_t quad[16]
    cdef char copy[46]
    if not read_quad(text.p, text.n, quad):
        # inet_pton would not see what stands behind a zero byte.
        if text.n == 0 or memchr(text.p, c':', text.n) == NULL or memchr(text.p, 0, text.n) != NULL:
            return -1
        if text.n >= 2 and text.p[0] == c'[' and text.p[text.n - 1] == c']':
            text.p += 1
            text.n -= 2
        if text.n < 2 or text.n > 45:
            return -1
        memcpy(copy, text.p, text.n)
        copy[text.n] = 0
        memset(quad, 0, 16)
        if inet_pton(AF_INET6, copy, quad) != 1:
            return -1
        if memcmp(quad, b"\0\0\0\0\0\0\0\0\0\0\xff\xff", 12) != 0:
            out.scope = 0
            out.family = 6
            memcpy(out.ip, quad, 16)
            return 0
        memcpy(quad, &quad[12], 4)
    set_ipv4(out, quad)
    return 0


cdef uint32_t render_ip(const Address* a, uint8_t* out, bint brackets) noexcept nogil:
    """Write the literal into out (ADDRESS_TEXT bytes); returns its length, 0 for no address."""
    cdef uint32_t n = 0
    cdef int i
    cdef char text[46]
    if a.family == 4:
        for i in range(4):
            memcpy(out + n, _OCTETS[a.ip[i]], 4)
            n += _OCTET_LENGTHS[a.ip[i]]
        return n - 1
    if a.family != 6 or inet_ntop(AF_INET6, a.ip, text, 46) == NULL:
        return 0
    if brackets:
        out[0] = c'['
        n = 1
    i = 0
    while text[i]:
        out[n] = <uint8_t>text[i]
        n += 1
        i += 1
    if brackets:
        out[n] = c']'
        n += 1
    return n


cdef bint address_is_host(const Address* a) noexcept nogil:
    """Whether it may be the address of one host: not unspecified, nor multicast, nor the limited broadcast."""
    if a.family == 4:
        return (a.ip[0] | a.ip[1] | a.ip[2] | a.ip[3]) != 0 and a.ip[0] & 0xF0 != 0xE0 and (
            a.ip[0] & a.ip[1] & a.ip[2] & a.ip[3]) != 0xFF
    return a.ip[0] != 0xFF and memcmp(a.ip, b"\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 16) != 0


cdef object address_host(const Address* a):
    """The host as str, without brackets."""
    cdef uint8_t text[ADDRESS_TEXT]
    cdef uint32_t n = render_ip(a, text, False)
    return (<const char*>text)[:n].decode("ascii")


cdef int address_from(str host, int port, Address* out) except -1:
    """Fill out from Python values; ValueError where host is no IP literal or port is out of range."""
    cdef bytes raw = host.encode("utf-8")
    cdef Slice text
    text.p = <const uint8_t*><const char*>raw
    text.n = <uint32_t>len(raw)
    memset(out, 0, sizeof(Address))
    if parse_ip(text, out) != 0:
        raise ValueError(f"not an IP address literal: {host!r}")
    if not 0 <= port <= 65535:
        raise ValueError(f"not a port number: {port}")
    out.port = <uint16_t>port
    return 0


cdef tuple _NAMES = ("udp", "tcp", "tls", "ws", "wss")


cdef int transport_number(str name) except -1:
    """The Transport of a name in lower case; ValueError for another."""
    if name not in _NAMES:
        raise ValueError(f"not a transport: {name!r}")
    return <int>_NAMES.index(name)


cdef str transport_name(int transport):
    """"udp", "tcp", "tls", "ws" or "wss"; "?" for another."""
    return <str>_NAMES[transport] if 0 <= transport < len(_NAMES) else "?"


def canonical_ip(host: str) -> str:
    """The canonical text of an IP literal (IPv4-mapped IPv6 as IPv4); ValueError where it is none."""
    cdef Address a
    address_from(host, 0, &a)
    return address_host(&a)
