"""Where messages begin and end in a byte stream (RFC 3261 18.3, RFC 5626 4.4.1)."""
from libc.stdint cimport uint8_t, uint32_t

cdef enum Frame:
    FRAME_MORE = 0          # what there is begins a message, or nothing
    FRAME_MESSAGE = 1       # a whole message
    FRAME_CRLF = 2          # an empty line: of a ping the first half, or a pong
    FRAME_PING = 3          # the second empty line in a row: the peer expects one back
    # What comes behind these is no message any more, whatever it looks like.
    FRAME_BAD_LENGTH = 4    # a header section whose Content-Length is missing, repeated, no number, or too large
    FRAME_BROKEN = 5        # no SIP, a bare LF, or a header section that does not end within the limit

cdef struct Framer:
    uint32_t looked         # bytes of the begun message up to the last line end that was seen
    uint32_t total          # its bytes, 0 where that is not known yet
    uint32_t length_at      # its Content-Length header: first byte, and behind its last line; 0: not seen
    uint32_t length_end
    bint after_crlf         # an empty line came just before


cdef int next_frame(Framer* f, const uint8_t* p, uint32_t n, uint32_t limit, uint32_t* used) noexcept nogil
