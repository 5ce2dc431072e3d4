"""One connection of a stream: its state, its two bounded buffers, and how they are read and filled."""
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from sipcore.base.address cimport Address
from sipcore.wire.framer cimport Framer

cdef enum State:
    STATE_FREE = 0
    STATE_CONNECTING = 1    # the network has not answered yet
    STATE_HANDSHAKE = 2     # TLS
    STATE_UPGRADE = 3       # the HTTP request of a WebSocket
    STATE_OPEN = 4
    STATE_ENDING = 5        # all was said: what still comes is not looked at
    STATE_ENDED = 6         # closed; what was not sent waits to be reported

cdef enum Flag:
    CAME_IN = 1             # the peer opened it
    LISTED = 2              # by its address or its certificate
    HEARD = 4               # a whole message came
    DIRTY = 8               # has something to write, and stands in the list of those
    BLOCKED = 16            # the network takes no more for the moment
    ANSWERS_PINGS = 32      # the peer has sent an empty line back
    PINGED = 64             # an empty line is expected back
    FINISHED = 128          # the end follows what is queued
    HALF = 256              # the peer has said its last word: it is read no more
    PROVEN = 1024           # it came in by TLS, and the peer has shown a certificate
    ALIASED = 2048          # it is found by its alias
    RETIRED = 4096          # we opened it, and the configuration no longer trusts who has vouched for its peer
    AGAIN = 512             # is to be read first in the next wake-up, and stands in the list of those

cdef enum:
    MOST_OWED = 0xFFFF

cdef struct Connection:
    Address peer            # scope: SCOPE_FLOW and its number where it came in, else as in a target
    Address alias           # where requests would go that may go by it instead (RFC 5923); port 0: nowhere
    int fd
    uint8_t state
    uint8_t transport
    uint16_t flags
    uint16_t listener
    uint16_t owed           # TCP, came in: requests that wait for their final response
    int group               # that its peer's certificate proves, -1: none
    uint32_t generation
    uint32_t next           # in its bucket, or in the free list
    uint32_t in_n
    uint32_t in_capacity
    uint32_t out_n          # bytes queued, and how many of them are sent
    uint32_t out_at
    uint32_t out_capacity
    uint32_t out_seen       # out_at when `stalled` was set
    uint8_t* begun          # bytes of a begun message
    uint8_t* out
    void* ssl
    Framer framer
    uint64_t born           # ms; of whichever state has a deadline of its own, its beginning
    uint64_t heard          # ms, last byte
    uint64_t waiting        # ms, since when a begun message waits for its rest; 0: none does
    uint64_t stalled        # ms, since when the peer takes too little; 0: it does not
    uint64_t said           # ms, last byte sent


cdef inline bint is_request(const uint8_t* p, uint32_t n) noexcept nogil:
    """Of a message: a slash stands in no method, and in SIP/2.0 it is the fourth character."""
    return n > 8 and p[3] != c'/'


cdef inline void note_request(Connection* c, const uint8_t* p, uint32_t n) noexcept nogil:
    """A message came: where it is a request, its peer is owed a final response, unless it is an ACK."""
    if is_request(p, n) and not (p[0] == c'A' and p[1] == c'C' and p[2] == c'K' and p[3] == c' '):
        c.owed += c.owed < MOST_OWED


cdef inline bint note_response(Connection* c, const uint8_t* p, uint32_t n) noexcept nogil:
    """A message is queued; whether it is the last final response that its peer was owed. A look at start lines alone: a
    2xx that comes again counts again, a request that nobody answers never."""
    if c.owed == 0 or n <= 8 or is_request(p, n) or p[8] < c'2':
        return False
    c.owed -= 1
    return c.owed == 0


cdef bint keep_begun(Connection* c, const uint8_t* p, uint32_t n) noexcept nogil
cdef bint queue_bytes(Connection* c, const uint8_t* p, uint32_t n, uint32_t limit) noexcept nogil
cdef uint32_t next_payload(const uint8_t* p, uint32_t n, uint32_t* used) noexcept nogil
cdef uint32_t next_unsent(const Connection* c, uint32_t* at) noexcept nogil
cdef void drop_buffers(Connection* c) noexcept nogil
