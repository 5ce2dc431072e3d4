"""Which headers cross from one leg of a call to the other: the one table of it.

A leg is a user agent of its own, so a header that speaks about the hop, the dialog, the session description's coding
or what its sender can do ends with the leg that it came on. What speaks about the call, its parties or its purpose
goes on. What asserts who somebody is, or where a call has been, crosses only between groups that trust each other
(RFC 3325 10, RFC 5806 4, RFC 7044 10, RFC 8224 4). Unknown headers go on unchanged, those of 3GPP (`P-...`) only
between trusted groups.

Cost: 0.5 us for the usual INVITE: a look into an array for each header line; only those that cross become objects.
"""
from libc.stdint cimport uint8_t, uint32_t
from sipcore.base.slice cimport Slice, slice_bytes
from sipcore.wire.index cimport header_text, header_value
from sipcore.wire.message cimport Message
from sipcore.wire.tables cimport H_COUNT, H_OTHER, header_id

cdef enum Kind:         # when a header crosses
    KIND_NEVER = 0
    KIND_ALWAYS = 1
    KIND_TRUSTED = 2
    KIND_REFUSAL = 3    # in a final response from 300 on


def _row(str names not None):
    return frozenset(names.split())


NEVER = _row("""
    Via From To Call-ID CSeq Contact Max-Forwards Route Record-Route Path Service-Route Content-Length
    Content-Type Content-Encoding Content-Disposition Content-Language MIME-Version Require Proxy-Require
    Supported Unsupported Allow Allow-Events Accept Accept-Encoding Accept-Language Recv-Info Authorization
    Proxy-Authorization WWW-Authenticate Proxy-Authenticate Authentication-Info Proxy-Authentication-Info RAck
    RSeq Session-Expires Min-SE Timestamp Date User-Agent Server Expires Min-Expires Event Subscription-State
    Refer-To Refer-Sub Refer-Events-At Replaces Join Target-Dialog Flow-Timer P-Preferred-Identity SIP-ETag
    SIP-If-Match Security-Client Security-Server Security-Verify Max-Breadth
""")
TRUSTED = _row("""
    P-Asserted-Identity Privacy Diversion Identity Identity-Info History-Info Remote-Party-ID Geolocation
    Geolocation-Routing Feature-Caps
""")
REFUSAL = _row("""
    Retry-After Error-Info
""")
ALWAYS = _row("""
    User-to-User Referred-By Reason Warning Subject Organization Priority Resource-Priority In-Reply-To Reply-To
    Call-Info Alert-Info Accept-Contact Reject-Contact Request-Disposition Session-ID Info-Package Answer-Mode
    Priv-Answer-Mode
""")

cdef uint8_t _kinds[H_COUNT]
_others = {}


def _load() -> None:
    cdef bytes name
    cdef uint8_t id
    for names, kind in ((NEVER, KIND_NEVER), (TRUSTED, KIND_TRUSTED), (REFUSAL, KIND_REFUSAL), (ALWAYS, KIND_ALWAYS)):
        for text in names:
            name = text.encode()
            id = header_id(name, <uint32_t>len(name))
            if id == H_OTHER:
                _others[text.lower()] = kind
            else:
                _kinds[id] = kind


_load()


cdef uint8_t _kind_of_other(Slice name) except 255:
    """Of a header that tables.pyx does not know."""
    cdef str text
    if name.n > 2 and name.p[0] | 0x20 == c'x' and name.p[1] == c'-':
        return KIND_ALWAYS
    text = slice_bytes(name).decode("utf-8", "surrogateescape").lower()
    return _others.get(text, KIND_TRUSTED if text.startswith("p-") else KIND_ALWAYS)


def crossing(Message message not None, *, bint trusted):
    """(name, value) of what goes on in the request, or response, that this one becomes on the other leg, in order.

    trusted: whether both ends are of groups that trust each other with who a party is.
    """
    cdef bint refusal = message.msg.status >= 300
    cdef Slice name
    cdef uint32_t i
    cdef uint8_t kind
    found = []
    for i in range(message.msg.count):
        name = header_text(message.msg, i)
        kind = _kinds[message.msg.headers[i].id]
        if message.msg.headers[i].id == H_OTHER:
            kind = _kind_of_other(name)
        if kind == KIND_ALWAYS or (kind == KIND_TRUSTED and trusted) or (kind == KIND_REFUSAL and refusal):
            found.append((slice_bytes(name).decode("utf-8", "surrogateescape"), _text(header_value(message.msg, i))))
    return tuple(found)


cdef str _text(Slice value):
    """A header value, unfolded (RFC 3261 7.3.1)."""
    cdef bytes text = slice_bytes(value)
    if b"\r\n" in text:
        text = b" ".join(line.strip(b" \t") for line in text.split(b"\r\n"))
    return text.decode("utf-8", "surrogateescape")
