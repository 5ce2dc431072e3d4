"""Loops in C for the benchmarks of messages and values; nothing of the product uses them.

Each one parses the same bytes a number of times without Python in between; the sum that it returns depends on
every pass, so that the compiler drops none. WireFault where the value is malformed.
"""
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from sipcore.base.slice cimport Slice, slice_from
from .cseq cimport parse_cseq
from .edit cimport Edit, edit_begin, edit_render, edit_replace, edit_size
from .fault cimport wire_fault
from .index cimport DEFAULT_LIMITS, KIND_REQUEST, Msg, index_message, msg_has
from .nameaddr cimport NameAddr, parse_name_addr
from .sdp cimport SdpIndex, index_sdp
from .tables cimport H_CONTACT, H_ROUTE
from .uri cimport URI, Uri, parse_uri
from .uriequal cimport uri_equal
from .values cimport msg_check, msg_contact, msg_route, msg_uri
from .via cimport Via, parse_via

cdef Msg _message
cdef Edit _edit


def index_often(bytes message not None, uint32_t times, bint with_values) -> int:
    """with_values: request URI, top Via, From, To, Call-ID, CSeq, Contact and Route are parsed, too."""
    cdef uint64_t total = 0
    cdef int code
    for _ in range(times):
        code = index_message(&_message, <const uint8_t*><const char*>message, <uint32_t>len(message), &DEFAULT_LIMITS)
        if code == 0 and with_values:
            code = msg_check(&_message)
            if code == 0 and _message.kind == KIND_REQUEST:
                code = msg_uri(&_message)
            if code == 0 and msg_has(&_message, H_CONTACT):
                code = msg_contact(&_message)
            if code == 0 and msg_has(&_message, H_ROUTE):
                code = msg_route(&_message)
        if code != 0:
            raise wire_fault(code, message)
        total += _message.count
    return total


def edit_often(bytes message not None, list places not None, bytes text not None, uint32_t times) -> int:
    """text is put in at each of the places; every pass sizes and renders the whole message."""
    cdef bytearray out = bytearray(len(message) + len(places) * len(text))
    cdef uint32_t[64] at
    cdef uint64_t total = 0
    cdef uint32_t i, n = <uint32_t>len(places)
    if n > 64:
        raise ValueError("64 places at most")
    for i in range(n):
        at[i] = places[i]
    for _ in range(times):
        edit_begin(&_edit, <const uint8_t*><const char*>message, 0, <uint32_t>len(message))
        for i in range(n):
            edit_replace(&_edit, at[i], 0, slice_from(text))
        if edit_size(&_edit) > <uint32_t>len(out):
            raise ValueError("more places than the edit takes")
        total += edit_render(&_edit, out)
    return total


def uri_often(bytes value not None, uint32_t times) -> int:
    cdef Uri uri
    cdef Slice text = slice_from(value)
    cdef uint64_t total = 0
    cdef int code
    for _ in range(times):
        code = parse_uri(text, &uri)
        if code != 0:
            raise wire_fault(code, value)
        total += uri.host.n
    return total


def uri_equal_often(URI a not None, URI b not None, uint32_t times) -> int:
    cdef uint64_t total = 0
    for _ in range(times):
        total += uri_equal(&a._uri, &b._uri)
    return total


def name_addr_often(bytes value not None, uint32_t times, bint with_uri) -> int:
    """with_uri: the URI inside is parsed, too."""
    cdef NameAddr address
    cdef Uri uri
    cdef Slice text = slice_from(value)
    cdef uint64_t total = 0
    cdef int code
    for _ in range(times):
        code = parse_name_addr(text, &address)
        if code == 0 and with_uri:
            code = parse_uri(address.uri, &uri)
        if code != 0:
            raise wire_fault(code, value)
        total += address.uri.n
    return total


def via_often(bytes value not None, uint32_t times) -> int:
    cdef Via via
    cdef Slice rest
    cdef uint64_t total = 0
    cdef int code
    for _ in range(times):
        rest = slice_from(value)
        code = parse_via(&rest, &via)
        if code != 0:
            raise wire_fault(code, value)
        total += via.branch.n
    return total


def cseq_often(bytes value not None, uint32_t times) -> int:
    cdef Slice method
    cdef uint32_t number = 0
    cdef uint64_t total = 0
    cdef int code
    for _ in range(times):
        code = parse_cseq(slice_from(value), &number, &method)
        if code != 0:
            raise wire_fault(code, value)
        total += number
    return total


def sdp_often(bytes value not None, uint32_t times) -> int:
    cdef SdpIndex sdp
    cdef Slice text = slice_from(value)
    cdef uint64_t total = 0
    cdef int code
    for _ in range(times):
        code = index_sdp(text, &sdp)
        if code != 0:
            raise wire_fault(code, value)
        total += sdp.lines
    return total
