"""Messages that the stack makes itself, each as an edit of the request that it belongs to."""
from libc.stdint cimport uint32_t
from sipcore.base.address cimport Address
from sipcore.base.slice cimport Slice
from sipcore.wire.edit cimport Edit
from sipcore.wire.index cimport Msg

cdef enum ResponseForm:
    RESPONSE_DIALOG = 1         # keep Record-Route (provisional and 2xx responses of a UAS)
    RESPONSE_STORED = 2         # the request is our own forwarded copy: its top Via is ours and goes


cdef void plan_response(Edit* e, Msg* m, uint32_t status, Slice reason, Slice headers, Slice tag,
                        const Address* source, int form) noexcept nogil
cdef void plan_sibling(Edit* e, const Msg* invite, Slice method, const Msg* response, Slice lines) noexcept nogil
