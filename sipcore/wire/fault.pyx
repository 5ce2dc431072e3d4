"""Fault codes as words: one table, and the exception that carries a code into Python."""
from sipcore.base.errors import MalformedMessage

cdef dict FAULT_TEXT = {
    FAULT_URI_EMPTY: "empty URI, expected scheme:...",
    FAULT_URI_SCHEME: "bad URI scheme, expected a letter, then letters, digits, '+', '-' or '.', then ':'",
    FAULT_URI_USER: "bad character in the user part of a URI, expected %HH escapes",
    FAULT_URI_ESCAPE: "bad escape in a URI, expected '%' and two hexadecimal digits",
    FAULT_HOST: "bad host, expected a host name, an IPv4 address or an IPv6 address in brackets",
    FAULT_PORT: "bad port, expected 1 to 65535",
    FAULT_URI_PARAM: "bad URI parameter, expected ;name or ;name=value",
    FAULT_URI_HEADER: "bad URI header, expected ?name=value&name=value",
    FAULT_URI_OPAQUE: "bad character in a URI, expected printable ASCII without spaces, quotes and angle brackets",
    FAULT_URI_COUNT: "too many URI parameters or headers, expected 64 at most",
    FAULT_TEL_NUMBER: "bad telephone number, expected '+' and digits, or digits",
    FAULT_URI_PARAM_TWICE: "URI parameter given twice, expected once",
    FAULT_QUOTE: "unbalanced or broken quoted string, expected a closing quote",
    FAULT_BRACKET: "unbalanced angle bracket, expected <URI>",
    FAULT_DISPLAY: "bad display name, expected a quoted string or words",
    FAULT_ADDR_SPEC: "bad address, expected <URI>, or a URI without ',', ';', '?' and spaces",
    FAULT_PARAM: "bad parameter, expected ;name or ;name=value",
    FAULT_TAG: "bad tag, expected one tag with a value",
    FAULT_LIST: "empty value in a comma list, expected a value",
    FAULT_VIA_PROTOCOL: "bad Via protocol, expected SIP/2.0/transport",
    FAULT_VIA_TRANSPORT: "bad Via transport, expected a token and a space",
    FAULT_VIA_SENT_BY: "bad Via sent-by, expected host or host:port",
    FAULT_VIA_PARAM_TWICE: "Via parameter given twice, expected once",
    FAULT_VIA_BRANCH: "bad Via branch, expected a token",
    FAULT_VIA_RPORT: "bad Via rport, expected nothing or 1 to 65535",
    FAULT_VIA_TTL: "bad Via ttl, expected 0 to 255",
    FAULT_CSEQ_NUMBER: "bad CSeq number, expected 0 to 2147483647",
    FAULT_CSEQ_METHOD: "bad CSeq method, expected a token",
    FAULT_NUMBER: "bad number, expected digits within the limit",
    FAULT_SDP_LINE: "bad SDP line, expected letter=value",
    FAULT_SDP_VERSION: "bad SDP version, expected v=0 first",
    FAULT_SDP_ORIGIN: "bad SDP origin, expected o=user id version IN IP4|IP6 address",
    FAULT_SDP_CONNECTION: "bad SDP connection, expected c=IN IP4|IP6 address",
    FAULT_SDP_BANDWIDTH: "bad SDP bandwidth, expected b=type:number",
    FAULT_SDP_MEDIA: "bad SDP media line, expected m=kind port proto formats",
    FAULT_SDP_MEDIA_COUNT: "SDP too long, expected 32 media sections and 512 lines at most",
    FAULT_SDP_PORT: "bad SDP port, expected 0 to 65535",
    FAULT_SDP_FORMAT: "bad SDP format, expected tokens, 64 at most",
    FAULT_SDP_ATTRIBUTE: "bad SDP attribute, expected a=name or a=name:value",
    FAULT_START_LINE: "bad start line, expected METHOD SP URI SP SIP/2.0 or SIP/2.0 SP code SP reason",
    FAULT_VERSION: "unknown version, expected SIP/2.0",
    FAULT_STATUS: "bad status code, expected 100 to 699",
    FAULT_LINE_LONG: "line longer than the limit",
    FAULT_HEADERS_MANY: "more headers than the limit",
    FAULT_MESSAGE_LONG: "message longer than the limit",
    FAULT_HEADER_NAME: "bad header name, expected a token and a colon",
    FAULT_CONTROL: "control character, expected it in a quoted pair only",
    FAULT_LINE_END: "bare CR, bare LF or blank continuation, expected CRLF",
    FAULT_NO_END: "headers without an end, expected an empty line",
    FAULT_REPEATED: "header repeated that may stand once",
    FAULT_MISSING: "mandatory header missing, expected Via, From, To, Call-ID and CSeq",
    FAULT_CONTENT_LENGTH: "bad Content-Length, expected the length of the body",
    FAULT_METHOD_MISMATCH: "CSeq method differs from the request line, expected the same",
    FAULT_URI_HEADERS: "headers in the request URI, expected none",
    FAULT_MAX_FORWARDS: "bad Max-Forwards, expected 0 to 255",
    FAULT_CALL_ID: "bad Call-ID, expected word@word",
}


class WireFault(MalformedMessage, ValueError):
    """A value that the grammar refuses. Its text is the phrase for `code`; `value` has the bytes, cut to 80."""
    code: int = WIRE_OK
    value: bytes = b""

    def __init__(self, code: int, value: bytes = b"") -> None:
        super().__init__(fault_text(code))
        self.code = code
        self.value = value[:80]


cdef str fault_text(int code):
    """What is wrong and what was expected, in words fit for a reason phrase."""
    return FAULT_TEXT.get(code, "malformed value")


cdef object wire_fault(int code, bytes value):
    """The exception for code, to be raised by the caller."""
    return WireFault(code, value)


def fault_codes() -> dict[int, str]:
    """Every code with its phrase."""
    return dict(FAULT_TEXT)
