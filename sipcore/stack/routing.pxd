"""What a request URI and a Route set say of a request's way (RFC 3261 16.4 and 16.6 step 6)."""
from libc.stdint cimport uint8_t, uint32_t
from sipcore.base.slice cimport Slice
from sipcore.stack.listener cimport Listener
from sipcore.wire.index cimport Msg
from sipcore.wire.uri cimport Uri

cdef enum:
    MAX_ROUTES = 32         # Route values looked at in one request
    PLAIN_URI = 512         # bytes of a request URI whose maddr names us

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
    uint8_t plain[PLAIN_URI]    # where uri is that of the request without its maddr
    uint8_t out             # listener to send from, as the second of a double Record-Route names it; 255: any
    RouteValue values[MAX_ROUTES]


cdef int plan_routing(Msg* m, Routing* r, const Listener* listeners, uint32_t count) noexcept nogil
