"""When two URIs are the same: RFC 3261 19.1.4 for sip and sips, RFC 3966 5 for tel, bytes for the rest."""
from libc.stdint cimport uint8_t, uint32_t
from libc.string cimport memcmp
from sipcore.base.address cimport Address, address_same_host, parse_ip
from sipcore.base.slice cimport Slice, ascii_lower, slice_at, slice_iequal, slice_iis
from .escape cimport same_unescaped
from .host cimport HOST_NAME
from .uri cimport KNOWN_LR, SCHEME_OTHER, SCHEME_TEL, URI, Uri, known_param, next_uri_part


cdef bint _find_part(Slice parts, uint8_t separator, Slice name, Slice* value) noexcept nogil:
    cdef Slice found
    while next_uri_part(&parts, separator, &found, value):
        if same_unescaped(found, name, True):
            return True
    return False


cdef bint _params_equal(const Uri* a, const Uri* b) noexcept nogil:
    """Parameters of a against those of b: common ones equal, none missing in b that decides alone."""
    cdef Slice rest = a.params, name, value, other
    while next_uri_part(&rest, c';', &name, &value):
        if _find_part(b.params, c';', name, &other):
            if not same_unescaped(value, other, True):
                return False
        elif known_param(name) > KNOWN_LR:     # transport, maddr, user, method, ttl
            return False
    return True


cdef uint32_t _count_header(Slice headers, Slice name, Slice value, uint32_t* total) noexcept nogil:
    """How many headers of name and value there are, and in total all of them."""
    cdef uint32_t count = 0
    cdef Slice n, v
    total[0] = 0
    while next_uri_part(&headers, c'&', &n, &v):
        total[0] += 1
        if same_unescaped(n, name, True) and same_unescaped(v, value, True):
            count += 1
    return count


cdef bint _headers_equal(Slice a, Slice b) noexcept nogil:
    """The same headers, each as often, in any order: headers are never ignored (19.1.4)."""
    cdef Slice rest = a, name, value
    cdef uint32_t total_a = 0, total_b = 0
    if a.n == 0 or b.n == 0:
        return a.n == b.n
    while next_uri_part(&rest, c'&', &name, &value):
        if _count_header(a, name, value, &total_a) != _count_header(b, name, value, &total_b):
            return False
    return total_a == total_b


cdef bint _host_equal(const Uri* a, const Uri* b) noexcept nogil:
    cdef Address x, y
    if a.host_kind != b.host_kind:
        return False
    if slice_iequal(a.host, b.host):
        return True
    if a.host_kind == HOST_NAME:
        return False
    return parse_ip(a.host, &x) == 0 and parse_ip(b.host, &y) == 0 and address_same_host(&x, &y)


cdef inline bint _is_separator(uint8_t c) noexcept nogil:
    return c == c'-' or c == c'.' or c == c'(' or c == c')'


cdef bint _number_equal(Slice a, Slice b) noexcept nogil:
    """Telephone numbers without their visual separators (RFC 3966 5)."""
    cdef uint32_t i = 0, j = 0
    while True:
        while i < a.n and _is_separator(slice_at(a, i)):
            i += 1
        while j < b.n and _is_separator(slice_at(b, j)):
            j += 1
        if i == a.n or j == b.n:
            return i == a.n and j == b.n
        if ascii_lower(slice_at(a, i)) != ascii_lower(slice_at(b, j)):
            return False
        i += 1
        j += 1


cdef bint _tel_params_equal(Slice a, Slice b) noexcept nogil:
    """Whether each parameter of a stands in b with the same value; ext and phone-context hold numbers."""
    cdef Slice name, value, other
    while next_uri_part(&a, c';', &name, &value):
        if not _find_part(b, c';', name, &other):
            return False
        if same_unescaped(value, other, True):
            continue
        if not (slice_iis(name, b"ext", 3) or (slice_iis(name, b"phone-context", 13)
                and value.n and slice_at(value, 0) == c'+')) or not _number_equal(value, other):
            return False
    return True


cdef bint uri_equal(const Uri* a, const Uri* b) noexcept nogil:
    """Compare two parsed URIs by RFC 3261 19.1.4, tel URIs by RFC 3966 5, others by their bytes.

    Not transitive (parameters of one side only are ignored where the RFC says so): no key for a table.
    """
    if a.scheme != b.scheme:
        return False
    if a.scheme == SCHEME_OTHER:
        return (slice_iequal(a.scheme_text, b.scheme_text) and a.text.n == b.text.n
                and memcmp(a.text.p + a.scheme_text.n, b.text.p + a.scheme_text.n, a.text.n - a.scheme_text.n) == 0)
    if a.scheme == SCHEME_TEL:
        return (_number_equal(a.user, b.user) and _tel_params_equal(a.params, b.params)
                and _tel_params_equal(b.params, a.params))
    return (a.has_user == b.has_user and a.has_password == b.has_password and a.port == b.port
            and _host_equal(a, b) and same_unescaped(a.user, b.user, False)
            and same_unescaped(a.password, b.password, False)
            and _params_equal(a, b) and _params_equal(b, a) and _headers_equal(a.headers, b.headers))


def same_uri(a: URI, b: URI) -> bool:
    """Whether two URIs are equal by RFC 3261 19.1.4 (tel: RFC 3966 5); not transitive."""
    return bool(uri_equal(&a._uri, &b._uri))
