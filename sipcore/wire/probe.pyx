"""Loops in C for the benchmarks of the value parsers; nothing of the product uses them.

Each one parses the same bytes a number of times without Python in between; the sum that it returns depends on
every pass, so that the compiler drops none. WireFault where the value is malformed.
"""
from libc.stdint cimport uint32_t, uint64_t
from sipcore.base.slice cimport Slice, slice_from
from .cseq cimport parse_cseq
from .fault cimport wire_fault
from .nameaddr cimport NameAddr, parse_name_addr
from .sdp cimport SdpIndex, index_sdp
from .uri cimport URI, Uri, parse_uri
from .uriequal cimport uri_equal
from .via cimport Via, parse_via


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
