"""What can be wrong with a value on the wire: small negative codes below the GIL, one phrase for each above it.

The codes are unique over the wire layer: -1..-39 belong to the value parsers, -40..-99 to the message index.
"""

cdef enum Fault:
    WIRE_OK = 0
    FAULT_URI_EMPTY = -1        # URI
    FAULT_URI_SCHEME = -2
    FAULT_URI_USER = -3
    FAULT_URI_ESCAPE = -4
    FAULT_HOST = -5             # URI and Via
    FAULT_PORT = -6
    FAULT_URI_PARAM = -7
    FAULT_URI_HEADER = -8
    FAULT_URI_OPAQUE = -9
    FAULT_URI_COUNT = -10
    FAULT_TEL_NUMBER = -11
    FAULT_URI_PARAM_TWICE = -12
    FAULT_QUOTE = -13           # name-addr and lists
    FAULT_BRACKET = -14
    FAULT_DISPLAY = -15
    FAULT_ADDR_SPEC = -16
    FAULT_PARAM = -17
    FAULT_TAG = -18
    FAULT_LIST = -19
    FAULT_VIA_PROTOCOL = -20    # Via
    FAULT_VIA_TRANSPORT = -21
    FAULT_VIA_SENT_BY = -22
    FAULT_VIA_PARAM_TWICE = -23
    FAULT_VIA_BRANCH = -24
    FAULT_VIA_RPORT = -25
    FAULT_VIA_TTL = -26
    FAULT_CSEQ_NUMBER = -27     # CSeq and other numbers
    FAULT_CSEQ_METHOD = -28
    FAULT_NUMBER = -29
    FAULT_SDP_LINE = -30        # SDP
    FAULT_SDP_VERSION = -31
    FAULT_SDP_ORIGIN = -32
    FAULT_SDP_CONNECTION = -33
    FAULT_SDP_BANDWIDTH = -34
    FAULT_SDP_MEDIA = -35
    FAULT_SDP_MEDIA_COUNT = -36
    FAULT_SDP_PORT = -37
    FAULT_SDP_FORMAT = -38
    FAULT_SDP_ATTRIBUTE = -39
    FAULT_START_LINE = -40      # message index
    FAULT_VERSION = -41
    FAULT_METHOD = -42
    FAULT_STATUS = -43
    FAULT_LINE_LONG = -44
    FAULT_HEADERS_MANY = -45
    FAULT_MESSAGE_LONG = -46
    FAULT_HEADER_NAME = -47
    FAULT_CONTROL = -48
    FAULT_LINE_END = -49
    FAULT_NO_END = -50
    FAULT_REPEATED = -51
    FAULT_MISSING = -52
    FAULT_CONTENT_LENGTH = -53
    FAULT_METHOD_MISMATCH = -54
    FAULT_URI_HEADERS = -55
    FAULT_MAX_FORWARDS = -56
    FAULT_CALL_ID = -57


cdef str fault_text(int code)
cdef object wire_fault(int code, bytes value)
