"""What peers are told of a listener, and which one a URI names or a target is sent to from."""
from libc.stdint cimport uint8_t, uint16_t, uint32_t
from libc.string cimport memcpy, memset
from sipcore.base.address cimport (
    ADDRESS_TEXT, Address, TRANSPORT_TLS, TRANSPORT_WSS, address_is_host, address_same_host, is_secure,
    render_ip, transport_name,
)
from sipcore.stack.hop cimport default_port, uri_transport
from sipcore.wire.host cimport host_address
from sipcore.wire.uri cimport SCHEME_SIP, SCHEME_SIPS, Uri


cdef int make_listener(Listener* listener, Address* bound, Address* advertised) except -1:
    """Fill a Listener and the texts that name it; advertised may equal bound. The transport is that of bound.

    Where a Request-URI is sips:, so is our Record-Route (RFC 5630 3.1.4); otherwise the transport parameter says it.
    """
    cdef uint8_t host[ADDRESS_TEXT]
    cdef bytes name, transport = transport_name(bound.transport).encode("ascii")
    cdef bytes param = b";transport=" + transport if bound.transport else b""
    memset(listener, 0, sizeof(Listener))
    listener.bound = bound[0]
    listener.advertised = advertised[0]
    name = (<const char*>host)[:render_ip(advertised, host, True)] + b":%d" % advertised.port
    listener.advertised.transport = bound.transport
    # By a connection that we open by TLS, with our certificate, requests may come back (RFC 5923 7.1).
    listener.via_n = _write(listener.via, b"Via: SIP/2.0/" + transport.upper() + b" " + name + (
        b";alias" if bound.transport == TRANSPORT_TLS else b"") + b";branch=")
    listener.record_route_n = _write(listener.record_route, b"Record-Route: <sip:" + name + param + b";lr;t=")
    if is_secure(bound.transport):
        param = b";transport=ws" if bound.transport == TRANSPORT_WSS else b""
        listener.secure_route_n = _write(listener.secure_route, b"Record-Route: <sips:" + name + param + b";lr;t=")
    listener.contact_n = _write(listener.contact, name)
    return 0


cdef uint16_t _write(uint8_t* out, bytes text) noexcept:
    memcpy(out, <const char*>text, len(text))
    return <uint16_t>len(text)


cdef int find_listener(const Listener* listeners, uint32_t count, const Uri* uri) noexcept nogil:
    """The listener that a URI names by its advertised or bound address; -1: it is not us.

    Several may share address and port: the one of the URI's transport is meant, and one of any where it names none.
    """
    cdef Address a
    cdef uint32_t i
    cdef int transport, found = -1
    cdef uint16_t port
    if uri.scheme != SCHEME_SIP and uri.scheme != SCHEME_SIPS:
        return -1
    if host_address(uri.host, uri.host_kind, uri.quad, &a) != 0:
        return -1
    transport = uri_transport(uri)
    port = uri.port if uri.port else default_port(transport)
    a.transport = <uint8_t>transport
    for i in range(count):
        if ((listeners[i].advertised.port == port and address_same_host(&listeners[i].advertised, &a))
                or (listeners[i].bound.port == port and address_same_host(&listeners[i].bound, &a))):
            if listeners[i].bound.transport == transport:
                return <int>i
            if found < 0 and uri.transport.n == 0 and uri.scheme == SCHEME_SIP:
                found = <int>i
    return found


cdef bint is_listener(const Listener* listeners, uint32_t count, const Address* to) noexcept nogil:
    """Whether an address is one of ours, advertised or bound."""
    cdef uint32_t i
    for i in range(count):
        if listeners[i].bound.transport == to.transport and (
                (listeners[i].advertised.port == to.port and address_same_host(&listeners[i].advertised, to))
                or (listeners[i].bound.port == to.port and address_same_host(&listeners[i].bound, to))):
            return True
    return False


cdef int choose_listener(const Listener* listeners, uint32_t count, const Address* to, uint32_t listener_in,
                         int wanted) noexcept nogil:
    """The listener to send from, of the target's transport and family: the wanted one (-1: none is), the one that the
    request came by, the first that fits; -1 where there is none, or where the target is not one host."""
    cdef uint32_t i
    if not address_is_host(to):
        return -1
    if 0 <= wanted < <int>count and _fits(&listeners[wanted], to):
        return wanted
    if _fits(&listeners[listener_in], to):
        return <int>listener_in
    for i in range(count):
        if _fits(&listeners[i], to):
            return <int>i
    return -1


cdef inline bint _fits(const Listener* listener, const Address* to) noexcept nogil:
    return listener.bound.family == to.family and listener.bound.transport == to.transport
