"""Via: one value at a time, with the extents that an edit needs (RFC 3261 20.42, RFC 3581)."""
from libc.stdint cimport int16_t, uint8_t, uint16_t
from sipcore.base.address cimport Transport
from sipcore.base.slice cimport Slice

cdef enum Rport:
    RPORT_ABSENT = 0
    RPORT_EMPTY = 1         # ;rport: the client asks for it
    RPORT_VALUE = 2         # ;rport=5060

cdef struct Via:
    Slice text              # exactly this value, without LWS and comma around it
    Slice transport         # as received
    Slice host              # sent-by, without brackets
    Slice sent_by           # host with its brackets and ":port"
    Slice params            # after the first ";"
    Slice branch            # n = 0: absent
    Slice received          # without brackets
    Slice received_text     # the whole parameter, for replacing it
    Slice maddr
    Slice rport_text        # the whole parameter, for replacing it
    uint16_t port           # 0: absent
    uint16_t rport_port     # for RPORT_VALUE
    int16_t ttl             # -1: absent
    uint8_t transport_id    # Transport
    uint8_t host_kind       # HostKind (host.pxd)
    uint8_t quad[4]         # the host where it is an IPv4 address
    uint8_t rport           # Rport
    bint protocol_ok        # SIP/2.0
    bint alias              # RFC 5923: requests may come back by this connection
    bint cookie             # branch begins with z9hG4bK and goes on


cdef int parse_via(Slice* rest, Via* out) noexcept nogil
cdef Transport transport_of(Slice name) noexcept nogil
