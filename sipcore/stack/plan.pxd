"""How a request is changed on its way through: one plan of patches, whose size is known before it is rendered."""
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from sipcore.base.address cimport Address
from sipcore.base.slice cimport Slice
from sipcore.stack.listener cimport Listener
from sipcore.stack.routing cimport Routing
from sipcore.stack.verdict cimport Target, Verdict
from sipcore.wire.edit cimport Edit
from sipcore.wire.index cimport Msg

cdef struct Passage:
    const Listener* listener_in
    const Listener* listener_out
    const Listener* listener_route  # whose Record-Route it gets: listener_out, unless this request alone leaves by that
    const Address* source
    Slice branch            # BRANCH_TEXT bytes
    Slice token             # TOKEN_TEXT bytes, or empty: no Record-Route
    const Slice* body       # takes the place of the message's and of the verdict's; NULL: none does


cdef int plan_request(Edit* e, Msg* m, const Routing* r, const Passage* passage, Verdict verdict,
                      Target target) except -1
cdef void plan_body(Edit* e, const Msg* m, Slice body) noexcept nogil
cdef void plan_normal_form(Edit* e, const Msg* m, uint64_t ids=*) noexcept nogil
cdef void plan_via_source(Edit* e, Msg* m, const Address* source) noexcept nogil
