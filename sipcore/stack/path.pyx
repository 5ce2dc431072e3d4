"""Path (RFC 3327): a registrar sends what is for a phone through us, back to where its REGISTER came from.

    Path: <sip:host:port;lr;f=flow>     the flow is listener and address, keyed (identity.pxd): nothing is kept of it
"""
from libc.stdint cimport uint8_t, uint32_t
from libc.string cimport memcpy
from sipcore.base.address cimport Address
from sipcore.stack.identity cimport FLOW_TEXT, Identity
from sipcore.stack.listener cimport Listener
from sipcore.wire.edit cimport Edit, edit_insert, edit_room, edit_text
from sipcore.wire.index cimport Msg
from sipcore.wire.tables cimport H_VIA


cdef void put_path(Edit* e, const Msg* m, Identity identity, uint32_t listener_in, const Listener* out,
                   const Address* source) noexcept nogil:
    """Put our Path above all others. out: the listener that the registrar knows us by.

    Whether the phone knows of Path is nothing to us, as it has to do nothing about it: Supported is said in its place.
    """
    cdef uint8_t* room = edit_room(e, out.record_route_n + FLOW_TEXT + 24)
    cdef uint8_t* o = room
    if room == NULL:
        return
    memcpy(o, b"Path", 4)
    # ": <sip:host:port;lr;t=" of Record-Route, without the name of its token.
    memcpy(o + 4, &out.record_route[12], out.record_route_n - 14)
    o += out.record_route_n - 10
    memcpy(o, b"f=", 2)
    o += 2
    o += identity.put_flow(o, listener_in, source)
    memcpy(o, b">\r\nSupported: path\r\n", 20)
    edit_insert(e, m.headers[m.first[H_VIA]].name, edit_text(e, room, o + 20))
