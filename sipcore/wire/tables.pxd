"""Header and method ids, and the one lookup from a header name to its id.

The names, compact forms and flags of these ids stand in tables.pyx, in one table, and nowhere else.
"""
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from sipcore.base.slice cimport Slice, slice_iequal, slice_of

cdef enum:                  # header ids
    H_OTHER = 0
    H_VIA
    H_FROM
    H_TO
    H_CALL_ID
    H_CSEQ
    H_CONTACT
    H_MAX_FORWARDS
    H_ROUTE
    H_RECORD_ROUTE
    H_CONTENT_LENGTH
    H_CONTENT_TYPE
    H_REQUIRE
    H_PROXY_REQUIRE
    H_SUPPORTED
    H_UNSUPPORTED
    H_ALLOW
    H_EXPIRES
    H_EVENT
    H_SUBSCRIPTION_STATE
    H_REFER_TO
    H_REFERRED_BY
    H_REFER_SUB
    H_REPLACES
    H_AUTHORIZATION
    H_PROXY_AUTHORIZATION
    H_WWW_AUTHENTICATE
    H_PROXY_AUTHENTICATE
    H_P_ASSERTED_IDENTITY
    H_PRIVACY
    H_DIVERSION
    H_IDENTITY
    H_IDENTITY_INFO
    H_USER_TO_USER
    H_WARNING
    H_RETRY_AFTER
    H_REASON
    H_RACK
    H_RSEQ
    H_SESSION_EXPIRES
    H_MIN_SE
    H_MIN_EXPIRES
    H_TIMESTAMP
    H_PATH
    H_SERVICE_ROUTE
    H_CONTENT_ENCODING
    H_CONTENT_DISPOSITION
    H_CONTENT_LANGUAGE
    H_MIME_VERSION
    H_ACCEPT
    H_ACCEPT_ENCODING
    H_ACCEPT_LANGUAGE
    H_ACCEPT_CONTACT
    H_REJECT_CONTACT
    H_REQUEST_DISPOSITION
    H_ALLOW_EVENTS
    H_SUBJECT
    H_DATE
    H_USER_AGENT
    H_SERVER
    H_ORGANIZATION
    H_PRIORITY
    H_JOIN
    H_HISTORY_INFO
    H_IN_REPLY_TO
    H_REPLY_TO
    H_CALL_INFO
    H_ALERT_INFO
    H_ERROR_INFO
    H_TARGET_DIALOG
    H_COUNT

cdef enum HeaderFlag:
    HEADER_LIST = 1         # several values, in one line with commas or in several lines
    HEADER_SINGLE = 2       # a second one is refused: peers differ on which one counts

cdef enum:                  # methods
    METHOD_OTHER = 0
    METHOD_INVITE
    METHOD_ACK
    METHOD_BYE
    METHOD_CANCEL
    METHOD_OPTIONS
    METHOD_REGISTER
    METHOD_REFER
    METHOD_NOTIFY
    METHOD_SUBSCRIBE
    METHOD_MESSAGE
    METHOD_INFO
    METHOD_UPDATE
    METHOD_PRACK
    METHOD_PUBLISH
    METHOD_COUNT

cdef enum:
    HEADER_HASH = 10                # bits
    HEADER_KEYS = 128               # of known names, long and compact; the first one is that of H_OTHER

# The first eight bytes of a name and the next eight, with the bit that makes letters small; zeros behind its end.
cdef struct HeaderKey:
    uint64_t low
    uint64_t high
    uint32_t id

cdef struct HeaderNames:
    uint64_t factor
    uint8_t slots[1 << HEADER_HASH]     # index of a key
    HeaderKey keys[HEADER_KEYS]
    Slice names[H_COUNT]

cdef HeaderNames* HEADER_NAMES
cdef uint8_t* WORD_CHARS        # [256]: whether it may stand in a word (Call-ID, RFC 3261 25.1)

cdef uint8_t header_flags(uint8_t id) noexcept nogil
cdef Slice header_name(uint8_t id) noexcept nogil
cdef Slice header_compact(uint8_t id) noexcept nogil
cdef uint8_t method_id(const uint8_t* text, uint32_t n) noexcept nogil
cdef Slice method_name(uint8_t method) noexcept nogil
cdef Slice reason_phrase(uint32_t status) noexcept nogil


cdef inline uint32_t header_hash(uint64_t low, uint64_t high) noexcept nogil:
    return <uint32_t>((low ^ (high << 29 | high >> 35)) * HEADER_NAMES.factor >> (64 - HEADER_HASH))


cdef inline uint8_t header_of_key(uint64_t low, uint64_t high) noexcept nogil:
    """The id of a name of up to sixteen bytes, no control character among them, by its key; H_OTHER where unknown."""
    cdef const HeaderKey* key = &HEADER_NAMES.keys[HEADER_NAMES.slots[header_hash(low, high)]]
    return <uint8_t>key.id if key.low == low and key.high == high else <uint8_t>H_OTHER


cdef inline HeaderKey header_key(const uint8_t* name, uint32_t n) noexcept nogil:
    """The key of a name; its id is that of no header."""
    cdef HeaderKey key
    cdef uint32_t i
    key.low = key.high = 0
    key.id = H_OTHER
    for i in range(min(n, <uint32_t>8)):
        key.low |= <uint64_t>(name[i] | 0x20) << 8 * i
    for i in range(8, min(n, <uint32_t>16)):
        key.high |= <uint64_t>(name[i] | 0x20) << 8 * (i - 8)
    return key


cdef inline uint8_t header_id(const uint8_t* name, uint32_t n) noexcept nogil:
    """The id of a header name in any case, long or compact; H_OTHER where it is unknown or empty."""
    cdef HeaderKey key = header_key(name, n)
    cdef uint8_t id = header_of_key(key.low, key.high)
    if n == 1:
        return id       # what differs from a letter in that bit only is the letter in another case
    return id if id and slice_iequal(HEADER_NAMES.names[id], slice_of(name, n)) else <uint8_t>H_OTHER
