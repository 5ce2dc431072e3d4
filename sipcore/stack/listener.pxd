"""A listener: where the edge receives and sends, and the texts that name it."""
from libc.stdint cimport uint8_t, uint16_t, uint32_t
from sipcore.base.address cimport Address
from sipcore.wire.uri cimport Uri

cdef enum:
    MAX_LISTENERS = 32
    LISTENER_TEXT = 160

cdef struct Listener:
    Address bound           # its transport is the listener's
    Address advertised      # what we write into Via and Record-Route, and recognise in Route
    uint16_t via_n
    uint16_t record_route_n
    uint16_t secure_route_n
    uint16_t contact_n
    uint8_t via[LISTENER_TEXT]              # "Via: SIP/2.0/UDP host:port;branch="
    uint8_t record_route[LISTENER_TEXT]     # "Record-Route: <sip:host:port;lr;t="
    uint8_t secure_route[LISTENER_TEXT]     # the same with sips:, for TLS and WSS; n = 0: none
    uint8_t contact[LISTENER_TEXT]          # "host:port"


cdef int make_listener(Listener* listener, Address* bound, Address* advertised) except -1
cdef int find_listener(const Listener* listeners, uint32_t count, const Uri* uri) noexcept nogil
cdef bint is_listener(const Listener* listeners, uint32_t count, const Address* to) noexcept nogil
cdef int choose_listener(const Listener* listeners, uint32_t count, const Address* to, uint32_t listener_in,
                         int wanted) noexcept nogil
