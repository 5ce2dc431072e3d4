"""The one table of header names, compact forms and flags; methods; reason phrases; the characters of a word.

A name is found by a perfect hash over its first sixteen letters. The factor is searched when the module is loaded (a
few milliseconds), so that adding a header is one line here and one in the enum.
"""
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from sipcore.base.slice cimport Slice, slice_equal, slice_of

# (name, compact form, flags), in the order of HeaderId. Compact forms: RFC 3261 7.3.3, 3515, 3841, 3892, 4028,
# 4474, 6665. SINGLE marks those whose repetition would be read differently by different peers.
HEADERS = (
    ("", "", 0),
    ("Via", "v", HEADER_LIST),
    ("From", "f", HEADER_SINGLE),
    ("To", "t", HEADER_SINGLE),
    ("Call-ID", "i", HEADER_SINGLE),
    ("CSeq", "", HEADER_SINGLE),
    ("Contact", "m", HEADER_LIST),
    ("Max-Forwards", "", HEADER_SINGLE),
    ("Route", "", HEADER_LIST),
    ("Record-Route", "", HEADER_LIST),
    ("Content-Length", "l", HEADER_SINGLE),
    ("Content-Type", "c", HEADER_SINGLE),
    ("Require", "", HEADER_LIST),
    ("Proxy-Require", "", HEADER_LIST),
    ("Supported", "k", HEADER_LIST),
    ("Unsupported", "", HEADER_LIST),
    ("Allow", "", HEADER_LIST),
    ("Expires", "", HEADER_SINGLE),
    ("Event", "o", HEADER_SINGLE),
    ("Subscription-State", "", HEADER_SINGLE),
    ("Refer-To", "r", HEADER_SINGLE),
    ("Referred-By", "b", HEADER_SINGLE),
    ("Refer-Sub", "", HEADER_SINGLE),
    ("Replaces", "", HEADER_SINGLE),
    ("Authorization", "", 0),
    ("Proxy-Authorization", "", 0),
    ("WWW-Authenticate", "", 0),
    ("Proxy-Authenticate", "", 0),
    ("P-Asserted-Identity", "", HEADER_LIST),
    ("Privacy", "", 0),
    ("Diversion", "", HEADER_LIST),
    ("Identity", "y", 0),
    ("Identity-Info", "n", 0),
    ("User-to-User", "", HEADER_LIST),
    ("Warning", "", HEADER_LIST),
    ("Retry-After", "", HEADER_SINGLE),
    ("Reason", "", HEADER_LIST),
    ("RAck", "", HEADER_SINGLE),
    ("RSeq", "", HEADER_SINGLE),
    ("Session-Expires", "x", HEADER_SINGLE),
    ("Min-SE", "", HEADER_SINGLE),
    ("Min-Expires", "", HEADER_SINGLE),
    ("Timestamp", "", HEADER_SINGLE),
    ("Path", "", HEADER_LIST),
    ("Service-Route", "", HEADER_LIST),
    ("Content-Encoding", "e", HEADER_LIST),
    ("Content-Disposition", "", HEADER_SINGLE),
    ("Content-Language", "", HEADER_LIST),
    ("MIME-Version", "", HEADER_SINGLE),
    ("Accept", "", HEADER_LIST),
    ("Accept-Encoding", "", HEADER_LIST),
    ("Accept-Language", "", HEADER_LIST),
    ("Accept-Contact", "a", HEADER_LIST),
    ("Reject-Contact", "j", HEADER_LIST),
    ("Request-Disposition", "d", HEADER_LIST),
    ("Allow-Events", "u", HEADER_LIST),
    ("Subject", "s", HEADER_SINGLE),
    ("Date", "", HEADER_SINGLE),
    ("User-Agent", "", 0),
    ("Server", "", 0),
    ("Organization", "", 0),
    ("Priority", "", 0),
    ("Join", "", HEADER_SINGLE),
    ("History-Info", "", HEADER_LIST),
    ("In-Reply-To", "", HEADER_LIST),
    ("Reply-To", "", 0),
    ("Call-Info", "", HEADER_LIST),
    ("Alert-Info", "", HEADER_LIST),
    ("Error-Info", "", HEADER_LIST),
    ("Target-Dialog", "", HEADER_SINGLE),
)

METHODS = ("", "INVITE", "ACK", "BYE", "CANCEL", "OPTIONS", "REGISTER", "REFER", "NOTIFY", "SUBSCRIBE", "MESSAGE",
           "INFO", "UPDATE", "PRACK", "PUBLISH")

# Reason phrases: the SIP response code registry.
REASONS = {
    100: "Trying", 180: "Ringing", 181: "Call Is Being Forwarded", 182: "Queued", 183: "Session Progress",
    199: "Early Dialog Terminated", 200: "OK", 202: "Accepted", 204: "No Notification",
    300: "Multiple Choices", 301: "Moved Permanently", 302: "Moved Temporarily", 305: "Use Proxy",
    380: "Alternative Service", 400: "Bad Request", 401: "Unauthorized", 402: "Payment Required", 403: "Forbidden",
    404: "Not Found", 405: "Method Not Allowed", 406: "Not Acceptable", 407: "Proxy Authentication Required",
    408: "Request Timeout", 410: "Gone", 412: "Conditional Request Failed", 413: "Request Entity Too Large",
    414: "Request-URI Too Long", 415: "Unsupported Media Type", 416: "Unsupported URI Scheme",
    417: "Unknown Resource-Priority", 420: "Bad Extension", 421: "Extension Required",
    422: "Session Interval Too Small", 423: "Interval Too Brief", 424: "Bad Location Information",
    428: "Use Identity Header", 429: "Provide Referrer Identity", 430: "Flow Failed", 433: "Anonymity Disallowed",
    436: "Bad Identity-Info", 437: "Unsupported Certificate", 438: "Invalid Identity Header",
    439: "First Hop Lacks Outbound Support", 440: "Max-Breadth Exceeded", 469: "Bad Info Package",
    470: "Consent Needed", 480: "Temporarily Unavailable", 481: "Call/Transaction Does Not Exist",
    482: "Loop Detected", 483: "Too Many Hops", 484: "Address Incomplete", 485: "Ambiguous", 486: "Busy Here",
    487: "Request Terminated", 488: "Not Acceptable Here", 489: "Bad Event", 491: "Request Pending",
    493: "Undecipherable", 494: "Security Agreement Required", 500: "Server Internal Error", 501: "Not Implemented",
    502: "Bad Gateway", 503: "Service Unavailable", 504: "Server Time-out", 505: "Version Not Supported",
    513: "Message Too Large", 555: "Push Notification Service Not Supported", 580: "Precondition Failure",
    600: "Busy Everywhere", 603: "Decline", 604: "Does Not Exist Anywhere", 606: "Not Acceptable",
    607: "Unwanted", 608: "Rejected",
}

cdef enum:
    REASON_SIZE = 701

cdef HeaderNames _header_names
HEADER_NAMES = &_header_names
cdef uint8_t _flags[H_COUNT]
cdef Slice _compacts[H_COUNT]
cdef Slice _methods[METHOD_COUNT]
cdef Slice _reasons[REASON_SIZE]
cdef uint8_t _words[256]
WORD_CHARS = &_words[0]

# The slices above point into these objects.
_KEEP = []


cdef uint8_t header_flags(uint8_t id) noexcept nogil:
    return _flags[id]


cdef Slice header_name(uint8_t id) noexcept nogil:
    """The full name in its usual spelling; empty for H_OTHER."""
    return _header_names.names[id]


cdef Slice header_compact(uint8_t id) noexcept nogil:
    """The one-letter name; empty where there is none."""
    return _compacts[id]


cdef uint8_t method_id(const uint8_t* text, uint32_t n) noexcept nogil:
    """Methods are case-sensitive (RFC 3261 7.1)."""
    cdef int i
    for i in range(1, METHOD_COUNT):
        if slice_equal(_methods[i], slice_of(text, n)):
            return <uint8_t>i
    return METHOD_OTHER


cdef Slice method_name(uint8_t method) noexcept nogil:
    return _methods[method]


cdef Slice reason_phrase(uint32_t status) noexcept nogil:
    """The registered phrase, or that of the class's x00 code."""
    if status > 699 or status < 100:
        return _reasons[500]
    if _reasons[status].n:
        return _reasons[status]
    return _reasons[status // 100 * 100] if status >= 200 else _reasons[183]


cdef Slice _keep(str text) except *:
    cdef bytes data = text.encode("ascii")
    _KEEP.append(data)
    return slice_of(<const uint8_t*><const char*>data, <uint32_t>len(data))


def _load() -> None:
    cdef int i
    cdef bytes name
    if len(HEADERS) != H_COUNT or len(METHODS) != METHOD_COUNT:
        raise AssertionError("tables.pyx and tables.pxd list different headers or methods")
    for i, (full, compact, flags) in enumerate(HEADERS):
        _header_names.names[i] = _keep(full)
        _compacts[i] = _keep(compact)
        _flags[i] = flags
    for i in range(1, METHOD_COUNT):
        _methods[i] = _keep(METHODS[i])
    for status, phrase in REASONS.items():
        _reasons[<int>status] = _keep(phrase)
    for i in range(256):
        _words[i] = chr(i).isascii() and (chr(i).isalnum() or chr(i) in "-.!%*_+`'~()<>:\\\"/[]?{}")
    names = [(text.encode(), header) for header, entry in enumerate(HEADERS) for text in entry[:2] if text]
    if len(names) >= HEADER_KEYS:
        raise AssertionError("too many header names: enlarge HEADER_KEYS")
    for i, (name, header) in enumerate(names):
        _header_names.keys[i + 1] = header_key(name, <uint32_t>len(name))
        _header_names.keys[i + 1].id = <uint32_t>header
    for seed in range(1, 100_000):
        # 2**64 by the golden ratio, so that all bits vary.
        _header_names.factor = <uint64_t>seed * <uint64_t>0x9E3779B97F4A7C15 | 1
        if len({_slot(i + 1) for i in range(len(names))}) == len(names):
            break
    else:
        raise AssertionError("no perfect hash for the header names: enlarge HEADER_HASH")
    for i in range(len(names)):
        _header_names.slots[_slot(i + 1)] = <uint8_t>(i + 1)


cdef uint32_t _slot(int key) noexcept:
    return header_hash(_header_names.keys[key].low, _header_names.keys[key].high)


_load()


def lookup_header(name: bytes) -> tuple[str, str, int]:
    """(full name, compact form, flags) of a header name in any spelling; ("", "", 0) where it is unknown."""
    return HEADERS[header_id(name, <uint32_t>len(name))]


def canonical_name(name: str) -> str:
    """The usual spelling of a header name given in any case or in compact form; unknown names as they are."""
    return lookup_header(name.encode("utf-8", "surrogateescape"))[0] or name


def phrase(status: int) -> str:
    """The registered reason phrase of a status code."""
    cdef Slice text = reason_phrase(status)
    return (<const char*>text.p)[:text.n].decode("ascii")
