"""Header and method ids, and the one lookup from a header name to its id.

The names, compact forms and flags of these ids stand in tables.pyx, in one table, and nowhere else.
"""
from libc.stdint cimport uint8_t, uint32_t
from sipcore.base.slice cimport Slice

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

cdef enum CharClass:
    CHAR_TOKEN = 1          # RFC 3261 25.1 token
    CHAR_WORD = 2           # RFC 3261 25.1 word (Call-ID)

cdef uint8_t* CHAR_CLASS       # [256] of CharClass bits

cdef uint8_t header_id(const uint8_t* name, uint32_t n) noexcept nogil
cdef uint8_t header_flags(uint8_t id) noexcept nogil
cdef Slice header_name(uint8_t id) noexcept nogil
cdef Slice header_compact(uint8_t id) noexcept nogil
cdef uint8_t method_id(const uint8_t* text, uint32_t n) noexcept nogil
cdef Slice method_name(uint8_t method) noexcept nogil
cdef Slice reason_phrase(uint32_t status) noexcept nogil
