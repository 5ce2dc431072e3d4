"""Character classes and the few inline scanners that every value parser shares (RFC 3261 25.1).

A scanner takes a Slice and an index and gives the next index, or a negative fault code. Nothing here
allocates; each byte is looked at once. LWS is space, tab and folds (CRLF followed by one of them); a CR or LF
anywhere else is no LWS and so no part of any value.
"""
from libc.stdint cimport int32_t, uint8_t, uint16_t, uint32_t
from sipcore.base.runs cimport run_of_plain
from sipcore.base.slice cimport Slice, slice_at, slice_iis, slice_of
from .fault cimport FAULT_PARAM, FAULT_PORT, FAULT_QUOTE

cdef extern from *:
    """
    /* One bit for a class, so that one load answers any of them. Deviations from RFC 3261 25.1, all of them
       harmless because every reader takes the bytes the same way: HOST has '_' (seen in real host names),
       VALUE and DISPLAY have the separators that delimit nothing there, and bytes over 0x7f. */
    #ifndef SIPCORE_WIRE_CHARS
    #define SIPCORE_WIRE_CHARS
    enum {
        CH_TOKEN = 1, CH_USER = 2, CH_PASSWORD = 4, CH_URI_PARAM = 8, CH_URI_HEADER = 16, CH_HOST = 32, CH_HEX = 64,
        CH_DIGIT = 128, CH_VALUE = 256, CH_DISPLAY = 512, CH_QUOTED = 1024, CH_OPAQUE = 2048, CH_RESERVED = 4096,
        CH_SCHEME = 8192, CH_PHONE = 16384, CH_ALPHA = 32768,
        CH_PRINT_ = CH_VALUE | CH_DISPLAY | CH_QUOTED | CH_OPAQUE,
        CH_UNRESERVED_ = CH_USER | CH_PASSWORD | CH_URI_PARAM | CH_URI_HEADER | CH_PRINT_,
        CH_ALNUM_ = CH_UNRESERVED_ | CH_TOKEN | CH_HOST | CH_SCHEME
    };
    static const uint16_t CHARS[256] = {
        ['\\t'] = CH_QUOTED, [' '] = CH_QUOTED,
        ['0' ... '9'] = CH_ALNUM_ | CH_HEX | CH_DIGIT | CH_PHONE,
        ['A' ... 'F'] = CH_ALNUM_ | CH_ALPHA | CH_HEX | CH_PHONE, ['G' ... 'Z'] = CH_ALNUM_ | CH_ALPHA,
        ['a' ... 'f'] = CH_ALNUM_ | CH_ALPHA | CH_HEX | CH_PHONE, ['g' ... 'z'] = CH_ALNUM_ | CH_ALPHA,
        ['-'] = CH_ALNUM_ | CH_PHONE, ['.'] = CH_ALNUM_ | CH_PHONE,
        ['_'] = CH_UNRESERVED_ | CH_TOKEN | CH_HOST,
        ['~'] = CH_UNRESERVED_ | CH_TOKEN, ['!'] = CH_UNRESERVED_ | CH_TOKEN, ['\\''] = CH_UNRESERVED_ | CH_TOKEN,
        ['*'] = CH_UNRESERVED_ | CH_TOKEN | CH_PHONE,
        ['('] = CH_UNRESERVED_ | CH_PHONE, [')'] = CH_UNRESERVED_ | CH_PHONE,
        ['%'] = CH_TOKEN | CH_PRINT_, ['`'] = CH_TOKEN | CH_PRINT_,
        ['+'] = CH_TOKEN | CH_USER | CH_PASSWORD | CH_URI_PARAM | CH_URI_HEADER | CH_SCHEME | CH_RESERVED | CH_PRINT_,
        ['&'] = CH_USER | CH_PASSWORD | CH_URI_PARAM | CH_RESERVED | CH_PRINT_,
        ['='] = CH_USER | CH_PASSWORD | CH_RESERVED | CH_PRINT_,
        ['$'] = CH_USER | CH_PASSWORD | CH_URI_PARAM | CH_URI_HEADER | CH_RESERVED | CH_PRINT_,
        [','] = CH_USER | CH_PASSWORD | CH_RESERVED | CH_QUOTED | CH_OPAQUE,
        [';'] = CH_USER | CH_RESERVED | CH_QUOTED | CH_OPAQUE,
        ['?'] = CH_USER | CH_URI_HEADER | CH_RESERVED | CH_PRINT_,
        ['/'] = CH_USER | CH_URI_PARAM | CH_URI_HEADER | CH_RESERVED | CH_PRINT_,
        [':'] = CH_URI_PARAM | CH_URI_HEADER | CH_RESERVED | CH_VALUE | CH_QUOTED | CH_OPAQUE,
        ['@'] = CH_RESERVED | CH_PRINT_,
        ['['] = CH_URI_PARAM | CH_URI_HEADER | CH_PRINT_, [']'] = CH_URI_PARAM | CH_URI_HEADER | CH_PRINT_,
        ['#'] = CH_PHONE | CH_PRINT_,
        ['{'] = CH_PRINT_, ['|'] = CH_PRINT_, ['}'] = CH_PRINT_, ['^'] = CH_PRINT_,
        ['<'] = CH_QUOTED, ['>'] = CH_QUOTED,
        [0x80 ... 0xff] = CH_VALUE | CH_DISPLAY | CH_QUOTED
    };
    #endif
    """
    enum:
        CH_TOKEN        # token
        CH_USER         # unreserved and user-unreserved; escapes apart, as in the next three
        CH_PASSWORD
        CH_URI_PARAM    # paramchar
        CH_URI_HEADER   # hnv-unreserved and unreserved
        CH_HOST         # host name or IPv4 address
        CH_HEX
        CH_DIGIT
        CH_VALUE        # an unquoted header-parameter value
        CH_DISPLAY      # an unquoted display name, without its LWS
        CH_QUOTED       # qdtext without folds
        CH_OPAQUE       # the rest of a URI with a scheme that is not ours
        CH_RESERVED     # reserved (RFC 2396): the escape of one is not the same as the character
        CH_SCHEME
        CH_PHONE        # phonedigit-hex with visual separators (RFC 3966)
        CH_ALPHA
    const uint16_t CHARS[256]

cdef struct Param:
    Slice name
    Slice value         # with its quotes; n = 0 where there is none
    Slice text          # name, LWS, "=" and value
    bint quoted


cdef inline bint is_class(uint8_t c, uint16_t kind) noexcept nogil:
    return CHARS[c] & kind != 0


cdef inline uint32_t skip_class(const uint8_t* p, uint32_t i, uint32_t stop, uint16_t kind) noexcept nogil:
    """The first index from i on, before stop, that is not of class kind: one that has what run_of_plain skips."""
    i = run_of_plain(p, i, stop)
    while i < stop and is_class(p[i], kind):
        i = run_of_plain(p, i + 1, stop)
    return i


cdef inline uint32_t skip_lws(Slice s, uint32_t i) noexcept nogil:
    """The first index from i on that is no LWS."""
    cdef uint8_t c
    while i < s.n:
        c = slice_at(s, i)
        if c > c' ':
            break
        if c == c' ' or c == c'\t':
            i += 1
        elif c == c'\r' and i + 2 < s.n and slice_at(s, i + 1) == c'\n' and (
                slice_at(s, i + 2) == c' ' or slice_at(s, i + 2) == c'\t'):
            i += 3
        else:
            break
    return i


cdef inline Slice trim_lws(Slice s) noexcept nogil:
    """s without the LWS at both ends."""
    cdef uint32_t start = skip_lws(s, 0)
    cdef uint8_t c
    while s.n > start:
        c = slice_at(s, s.n - 1)
        if c != c' ' and c != c'\t' and c != c'\r' and c != c'\n':
            break
        s.n -= 1
    return slice_of(s.p + start, s.n - start)


cdef inline int hex_value(uint8_t c) noexcept nogil:
    """0..15, or -1 where c is no hexadecimal digit."""
    if c'0' <= c <= c'9':
        return c - c'0'
    c |= 0x20
    if c'a' <= c <= c'f':
        return c - c'a' + 10
    return -1


cdef inline bint is_escape(Slice s, uint32_t i, uint32_t stop) noexcept nogil:
    """Whether "%" HEXDIG HEXDIG stands at i, before stop."""
    return (i + 2 < stop and slice_at(s, i) == c'%' and is_class(slice_at(s, i + 1), CH_HEX)
            and is_class(slice_at(s, i + 2), CH_HEX))


cdef inline int32_t scan_quoted(Slice s, uint32_t i) noexcept nogil:
    """The index after the quoted-string that opens at i, or FAULT_QUOTE.

    A quoted-pair may hide any byte but CR and LF, NUL among them.
    """
    cdef uint8_t c
    i += 1
    while i < s.n:
        c = slice_at(s, i)
        if is_class(c, CH_QUOTED):
            i += 1
        elif c == c'"':
            return <int32_t>(i + 1)
        elif c == c'\\':
            if i + 1 >= s.n or slice_at(s, i + 1) == c'\r' or slice_at(s, i + 1) == c'\n':
                return FAULT_QUOTE
            i += 2
        elif c == c'\r' and skip_lws(s, i) > i:
            i += 3
        else:
            return FAULT_QUOTE
    return FAULT_QUOTE


cdef inline int32_t scan_param(Slice s, uint32_t i, Param* out) noexcept nogil:
    """Read one header parameter from i on; the result is the index of the ";" or "," after it, or the length.

    generic-param = token [ EQUAL gen-value ]; LWS may stand around ";" and "=". An empty value passes (its
    value.n is 0); an empty name does not.
    """
    cdef uint32_t start, stop
    cdef int32_t after
    i = skip_lws(s, i)
    start = i
    stop = i = skip_class(s.p, i, s.n, CH_TOKEN)
    if start == stop:
        return FAULT_PARAM
    out.name = slice_of(s.p + start, stop - start)
    out.value = slice_of(s.p + stop, 0)
    out.quoted = False
    i = skip_lws(s, i)
    if i < s.n and slice_at(s, i) == c'=':
        stop = i + 1
        i = skip_lws(s, i + 1)
        out.value = slice_of(s.p + i, 0)
        if i < s.n and slice_at(s, i) == c'"':
            after = scan_quoted(s, i)
            if after < 0:
                return after
            out.quoted = True
            out.value.n = <uint32_t>after - i
            i = <uint32_t>after
            stop = i
        else:
            after = <int32_t>skip_class(s.p, i, s.n, CH_VALUE)
            if <uint32_t>after > i:
                stop = i = <uint32_t>after
            out.value.n = i - <uint32_t>(out.value.p - s.p)
        i = skip_lws(s, i)
    out.text = slice_of(s.p + start, stop - start)
    if i < s.n and slice_at(s, i) != c';' and slice_at(s, i) != c',':
        return FAULT_PARAM
    return <int32_t>i


cdef inline uint32_t scan_known(Slice s, uint32_t i, const char* name, uint32_t n, Slice* value) noexcept nogil:
    """Read one header parameter in the form that nearly all have: name, "=" (n bytes together) and an unquoted value.

    The result is the index of the ";" or "," after it, or the length; 0 where another parameter or another form of
    this one stands at i, for scan_param to read.
    """
    cdef uint32_t start = i + n, stop
    if start >= s.n or not slice_iis(slice_of(s.p + i, n), name, n):
        return 0
    stop = skip_class(s.p, start, s.n, CH_VALUE)
    if stop == start or (stop < s.n and slice_at(s, stop) != c';' and slice_at(s, stop) != c','):
        return 0
    value[0] = slice_of(s.p + start, stop - start)
    return stop


cdef inline int32_t scan_port(Slice s, uint32_t i, uint16_t* port) noexcept nogil:
    """Read a port, 1..65535, from i on."""
    cdef uint32_t start = i, value = 0
    while i < s.n and is_class(slice_at(s, i), CH_DIGIT):
        value = value * 10 + (slice_at(s, i) - c'0')
        if value > 65535:
            return FAULT_PORT
        i += 1
    if i == start or value == 0:
        return FAULT_PORT
    port[0] = <uint16_t>value
    return <int32_t>i
