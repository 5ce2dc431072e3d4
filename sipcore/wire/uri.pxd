"""URIs: sip, sips and tel in parts, any other scheme opaque (RFC 3261 19.1, RFC 3966)."""
from libc.stdint cimport uint8_t, uint16_t, uint32_t
from sipcore.base.runs cimport run_to_byte
from sipcore.base.slice cimport Slice, slice_of

cdef enum Scheme:
    SCHEME_OTHER = 0
    SCHEME_SIP = 1
    SCHEME_SIPS = 2
    SCHEME_TEL = 3

cdef enum:
    URI_MAX_PARTS = 64      # parameters, and headers, that one URI may have

cdef enum Known:             # parameters of RFC 3261 19.1.1
    KNOWN_NONE = 0
    KNOWN_LR = 1
    KNOWN_TRANSPORT = 2
    KNOWN_MADDR = 3
    KNOWN_USER = 4
    KNOWN_METHOD = 5
    KNOWN_TTL = 6

cdef struct Uri:
    Slice text              # all of it
    Slice scheme_text       # without ":"
    Slice user              # as received, escapes included; the number of a tel URI
    Slice password          # after ":"; deprecated, kept for comparison
    Slice host              # without brackets; n = 0 for tel and unknown schemes
    Slice host_port         # host with its brackets and ":port"
    Slice params            # after the first ";", up to "?"
    Slice headers           # after "?"
    Slice transport         # the values of the parameters that the stack asks for; n = 0: absent
    Slice maddr
    Slice method
    Slice ttl
    Slice user_param        # ;user=phone
    uint16_t port           # 0: absent
    uint8_t scheme          # Scheme
    uint8_t host_kind       # HostKind (host.pxd)
    uint8_t quad[4]         # the host where it is an IPv4 address
    bint has_user
    bint has_password       # "user:@host" has an empty one
    bint lr


cdef int parse_uri(Slice text, Uri* out) noexcept nogil
cdef bint uri_param(const Uri* uri, const char* name, uint32_t n, Slice* value) noexcept nogil
cdef Known known_param(Slice name) noexcept nogil


cdef inline bint next_uri_part(Slice* rest, uint8_t separator, Slice* name, Slice* value) noexcept nogil:
    """Take the next name[=value] off parameters (separator ";") or headers ("&") of a parsed URI.

    value.p is NULL where there is no "=". False at the end.
    """
    cdef uint32_t stop, equals
    if rest.n == 0:
        return False
    stop = run_to_byte(rest.p, 0, rest.n, separator)
    equals = run_to_byte(rest.p, 0, stop, c'=')
    name[0] = slice_of(rest.p, equals)
    value[0] = slice_of(rest.p + equals + 1, stop - equals - 1) if equals < stop else slice_of(NULL, 0)
    stop = stop + 1 if stop < rest.n else stop
    rest[0] = slice_of(rest.p + stop, rest.n - stop)
    return True


cdef class URI:
    cdef bytes _raw
    cdef Uri _uri
