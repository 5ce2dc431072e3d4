"""What each side of a call sent, as a JSON object: the first section whose media flowed."""
from libc.stdint cimport uint8_t, uint32_t
from sipcore.anchor.anchor cimport CALLEE, CALLER
from sipcore.anchor.description cimport MAX_SECTIONS
from sipcore.base.decimal cimport put_number
from sipcore.media.session cimport SideCounters
from sipcore.stack.record cimport put_text


cdef uint8_t* _put_side(uint8_t* o, const SideCounters* c) noexcept:
    o = put_text(o, b'{"packets":')
    o = put_number(o, c.packets)
    o = put_text(o, b',"octets":')
    o = put_number(o, c.octets)
    o = put_text(o, b',"wrong_source":')
    o = put_number(o, c.wrong_source)
    return put_text(o, b"}")


cdef uint8_t* put_figures(uint8_t* o, const Call* call, MediaRelay relay) noexcept:
    """Write the figures at o; nothing where no media was agreed."""
    cdef uint32_t i
    for i in range(MAX_SECTIONS):
        if call.streams[i].agreed:
            o = put_text(o, b'{"caller":')
            o = _put_side(o, relay.counters(call.streams[i].session, CALLER))
            o = put_text(o, b',"callee":')
            o = _put_side(o, relay.counters(call.streams[i].session, CALLEE))
            if call.ice:
                o = put_text(o, b',"ice_removed":')
                o = put_number(o, call.ice)
            return put_text(o, b"}")
    return o
