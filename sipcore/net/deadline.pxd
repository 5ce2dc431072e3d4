"""When something has to happen to a connection."""
from libc.stdint cimport uint32_t, uint64_t
from sipcore.net.connection cimport Connection

cdef enum:
    ENDING_MS = 1000            # what an ended connection has for its last words, and a peer to refuse them

# Times in ms, counts, bytes; 0 for no keepalive.
cdef struct StreamLimits:
    uint32_t per_source
    uint32_t unlisted           # connections of all unlisted sources together
    uint32_t queue              # bytes that wait for a peer
    uint64_t idle
    uint64_t unlisted_idle
    uint64_t handshake
    uint64_t message            # a begun message
    uint64_t write              # a peer that takes too little
    uint64_t connect            # with its handshake
    uint64_t keepalive          # between pings towards targets


cdef uint64_t deadline_of(const Connection* c, const StreamLimits* limits) noexcept nogil
cdef bint is_kept(const Connection* c, const StreamLimits* limits) noexcept nogil
