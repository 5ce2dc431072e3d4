"""How a request is changed on its way through: one plan of patches, whose size is known before it is rendered."""
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from sipcore.base.address cimport Address
from sipcore.base.slice cimport Slice
from sipcore.stack.listener cimport Listener
from sipcore.stack.verdict cimport Target, Verdict
from sipcore.wire.edit cimport Edit
from sipcore.wire.index cimport Msg
from sipcore.wire.uri cimport Uri

cdef enum:
    MAX_ROUTES = 32         # Route values looked at in one request

cdef struct RouteValue:
    Slice item              # the value, within its header line
    Slice uri_text
    uint8_t header          # index of its header
    Uri uri

cdef struct Routing:
    uint32_t count          # Route values
    uint32_t own            # leading ones that are ours and are removed
    bint to_uri             # the request URI was ours by a strict router: the last Route value takes its place
    bint strict             # the next hop is a strict router (no lr)
    bint changed            # the request URI changes by the two rules above
    Slice uri               # request URI after them
    Slice next_hop          # URI that says where the request goes
    Slice token             # our dialog token, as found in a Route value or in the request URI
    uint8_t out             # listener to send from, as the second of a double Record-Route names it; 255: any
    RouteValue values[MAX_ROUTES]

cdef struct Passage:
    const Listener* listener_in
    const Listener* listener_out
    const Listener* listener_route  # whose Record-Route it gets: listener_out, unless this request alone leaves by that
    const Address* source
    Slice branch            # BRANCH_TEXT bytes
    Slice token             # TOKEN_TEXT bytes, or empty: no Record-Route
    const Slice* body       # takes the place of the message's and of the verdict's; NULL: none does


cdef int plan_routing(Msg* m, Routing* r, const Listener* listeners, uint32_t count) noexcept nogil
cdef int plan_request(Edit* e, Msg* m, const Routing* r, const Passage* passage, Verdict verdict,
                      Target target) except -1
cdef void plan_body(Edit* e, const Msg* m, Slice body) noexcept nogil
cdef void plan_normal_form(Edit* e, const Msg* m, uint64_t ids=*) noexcept nogil
cdef void plan_via_source(Edit* e, Msg* m, const Address* source) noexcept nogil
