"""name-addr and addr-spec: From, To, Contact, Route, Record-Route, Refer-To... (RFC 3261 20.10, 25.1)."""
from libc.stdint cimport uint32_t
from sipcore.base.slice cimport Slice

cdef struct NameAddr:
    Slice text              # the whole value, without LWS around it
    Slice display           # as received, quotes included; n = 0: none
    Slice uri               # inside "<>", or the bare addr-spec; not yet parsed
    Slice params            # after the first ";" that belongs to the header; n = 0: none
    Slice tag               # n = 0: none
    bint brackets
    bint star               # Contact: *


cdef int parse_name_addr(Slice text, NameAddr* out) noexcept nogil
cdef int next_value(Slice* rest, Slice* item) noexcept nogil
cdef bint param_value(Slice params, const char* name, uint32_t n, Slice* value) noexcept nogil
cdef dict param_dict(Slice params)
cdef bytes render_params(Slice params)
