"""Where a request goes first: the address in a URI (RFC 3261 8.1.2, 19.1.2; RFC 3263 4, for addresses only)."""
from libc.stdint cimport uint8_t, uint16_t, uint32_t
from libc.string cimport memset
from sipcore.base.address cimport (
    Address, TRANSPORT_OTHER, TRANSPORT_TCP, TRANSPORT_TLS, TRANSPORT_UDP, TRANSPORT_WS, TRANSPORT_WSS, address_from,
    address_host, parse_ip, transport_name, transport_number,
)
from sipcore.base.slice cimport Slice, slice_of
from sipcore.wire.host cimport host_address
from sipcore.wire.uri cimport SCHEME_SIP, SCHEME_SIPS, SCHEME_TEL, Uri, parse_uri
from sipcore.wire.via cimport transport_of


# Host and port; by another transport than UDP also its name and the scope of an Address.
Hop = tuple[str, int] | tuple[str, int, str, int]


cdef int uri_transport(const Uri* uri) noexcept nogil:
    """The transport that a sip: or sips: URI asks for, UDP where it names none (TLS for sips:).

    TRANSPORT_OTHER where there is none that we speak. transport=tls is what RFC 3261 26.2.2 deprecates and everybody
    writes; sips: with transport=ws is a secure WebSocket (RFC 7118 5.3), and sips: over UDP is nothing.
    """
    cdef int asked = TRANSPORT_UDP
    if uri.transport.n:
        asked = transport_of(uri.transport)
        if asked > TRANSPORT_WSS:
            return TRANSPORT_OTHER
    if uri.scheme != SCHEME_SIPS:
        return asked
    if uri.transport.n == 0 or asked == TRANSPORT_TCP or asked == TRANSPORT_TLS:
        return TRANSPORT_TLS
    return TRANSPORT_WSS if asked == TRANSPORT_WS or asked == TRANSPORT_WSS else TRANSPORT_OTHER


cdef uint16_t default_port(int transport) noexcept nogil:
    """The port of a URI without one (RFC 3261 19.1.2, RFC 7118 5.3)."""
    if transport == TRANSPORT_TLS:
        return 5061
    if transport == TRANSPORT_WS:
        return 80
    return 443 if transport == TRANSPORT_WSS else 5060


cdef int hop_address(Slice text, Address* out) noexcept nogil:
    """As hop_of_uri, of what is perhaps no URI."""
    cdef Uri uri
    return 400 if parse_uri(text, &uri) != 0 else hop_of_uri(&uri, out)


cdef int hop_of_uri(const Uri* uri, Address* out) noexcept nogil:
    """Where a URI leads; HOP_OK, HOP_NAME where a name stands there (transport and port are set, 0 for no port), or
    the status to answer with."""
    cdef int transport
    if uri.scheme == SCHEME_TEL:
        return 404
    if uri.scheme != SCHEME_SIP and uri.scheme != SCHEME_SIPS:
        return 416
    transport = uri_transport(uri)
    if transport == TRANSPORT_OTHER:
        return 503
    out.transport = <uint8_t>transport
    out.port = uri.port
    if (parse_ip(uri.maddr, out) if uri.maddr.n else host_address(uri.host, uri.host_kind, uri.quad, out)) != 0:
        return HOP_NAME
    if out.port == 0:
        out.port = default_port(transport)
    return HOP_OK


cdef object hop_of_address(const Address* address):
    """An address as a Hop: (host, port) by UDP, (host, port, transport, scope) by another transport."""
    if address.transport == TRANSPORT_UDP:
        return address_host(address), address.port
    return address_host(address), address.port, transport_name(address.transport), address.scope


cdef int address_of_hop(object hop, Address* out) except -1:
    """Fill out from a Hop; ValueError where it is none."""
    address_from(hop[0], hop[1], out)
    if len(hop) > 2:
        out.transport = <uint8_t>transport_number(hop[2])
        out.scope = hop[3]
    return 0


def hop_of(str uri not None):
    """The Hop of a URI with an IP literal (maddr before host); None for a name, or what is no SIP URI."""
    cdef bytes text = uri.encode("utf-8", "surrogateescape")
    cdef Address address
    memset(&address, 0, sizeof(address))
    if hop_address(slice_of(text, <uint32_t>len(text)), &address) != HOP_OK:
        return None
    return hop_of_address(&address)
