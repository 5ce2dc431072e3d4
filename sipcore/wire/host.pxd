"""A host, where it stands in a URI, a Via or a session description: hostname / IPv4address / IPv6reference."""
from libc.stdint cimport int32_t, uint8_t, uint32_t
from sipcore.base.address cimport Address, parse_ip, read_quad, set_ipv4
from sipcore.base.runs cimport run_of_plain
from sipcore.base.slice cimport Slice, slice_at, slice_of
from .fault cimport FAULT_HOST
from .scan cimport CH_ALPHA, CH_DIGIT, CH_HEX, CH_HOST, is_class

cdef enum HostKind:
    HOST_NONE = 0
    HOST_IPV4 = 1
    HOST_IPV6 = 2
    HOST_NAME = 3


cdef inline int32_t scan_ipv6(Slice s, uint32_t i, Slice* host) noexcept nogil:
    """Read "[" IPv6address "]" from i on; host comes without the brackets.

    Groups of at most four digits, at most eight of them, one "::" at most; ":::" counts as "::" because the
    grammar of RFC 3261 produced it before an IPv4 tail (RFC 5118 4.10).
    """
    cdef uint32_t start = i + 1, digits = 0, groups = 0, dots = 0, colons = 0, octet = 0
    cdef bint gap = False, hexadecimal = False
    cdef uint8_t c
    i = start
    while i < s.n:
        c = slice_at(s, i)
        i += 1
        if c == c':':
            if dots:
                return FAULT_HOST
            colons += 1
            if colons == 2:
                if gap:
                    return FAULT_HOST
                gap = True
            elif colons > 3:
                return FAULT_HOST
            digits = 0
            hexadecimal = False
        elif c == c'.':
            if digits == 0 or hexadecimal or octet > 255:
                return FAULT_HOST
            dots += 1
            digits = 0
        elif is_class(c, CH_HEX):
            if digits == 0:
                if groups == 0 and colons == 1:
                    return FAULT_HOST
                if dots == 0:
                    groups += 1
                octet = 0
            colons = 0
            digits += 1
            octet = octet * 10 + (c & 0x0f)
            hexadecimal = hexadecimal or not is_class(c, CH_DIGIT)
            if digits > 4 or (dots and (hexadecimal or octet > 255)):
                return FAULT_HOST
        elif c == c']':
            if colons == 1 or (dots and (dots != 3 or digits == 0)):
                return FAULT_HOST
            if dots:
                groups += 1
            if (groups != 8 and not gap) or (gap and groups > 7):
                return FAULT_HOST
            host[0] = slice_of(s.p + start, i - 1 - start)
            return <int32_t>i
        else:
            return FAULT_HOST
    return FAULT_HOST


cdef inline uint32_t scan_ipv4(Slice s, uint32_t i, uint8_t* quad) noexcept nogil:
    """The index after the IPv4address at i; 0 where there is none, or more of a host name stands behind it."""
    cdef uint32_t stop = run_of_plain(s.p, i, s.n)
    if not read_quad(s.p + i, stop - i, quad) or (stop < s.n and is_class(slice_at(s, stop), CH_HOST)):
        return 0
    return stop


cdef inline int32_t scan_host(Slice s, uint32_t i, Slice* host, uint8_t* kind, uint8_t* quad) noexcept nogil:
    """Read host = hostname / IPv4address / IPv6reference from i on; kind becomes a HostKind, quad an IPv4 address.

    A name whose last label does not begin with a letter is refused unless it is an IPv4 address without
    leading zeros: "10.1" or "010.0.0.1" mean different addresses to different readers.
    """
    cdef uint32_t start = i, label = i
    cdef uint8_t c
    if i < s.n and slice_at(s, i) == c'[':
        kind[0] = HOST_IPV6
        return scan_ipv6(s, i, host)
    i = scan_ipv4(s, start, quad)
    if i:
        kind[0] = HOST_IPV4
        host[0] = slice_of(s.p + start, i - start)
        return <int32_t>i
    i = start
    while i < s.n:
        c = slice_at(s, i)
        if not is_class(c, CH_HOST):
            break
        i += 1
        if c == c'.':
            if i == label + 1:
                return FAULT_HOST
            label = i
    if i == start:
        return FAULT_HOST
    host[0] = slice_of(s.p + start, i - start)
    kind[0] = HOST_NAME
    if label == i:
        label -= 1
        while label > start and slice_at(s, label - 1) != c'.':
            label -= 1
    if not is_class(slice_at(s, label), CH_ALPHA) and slice_at(s, label) != c'_':
        return FAULT_HOST
    return <int32_t>i


cdef inline int host_address(Slice host, uint8_t kind, const uint8_t* quad, Address* out) noexcept nogil:
    """What scan_host has found as parse_ip reads it: 0, or -1 for a name."""
    if kind == HOST_IPV4:
        set_ipv4(out, quad)
        return 0
    return -1 if kind == HOST_NAME else parse_ip(host, out)
