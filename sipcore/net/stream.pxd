"""The stream transports of an Endpoint: connections of TCP, TLS and WebSocket, in and out."""
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from sipcore.base.address cimport Address
from sipcore.base.bucket cimport Bucket, SourceLimiter
from sipcore.base.wheel cimport Wheel
from sipcore.net.connection cimport Connection
from sipcore.net.connections cimport Connections
from sipcore.stack.forward cimport Proxy
from sipcore.stack.layer cimport Layer
from sipcore.stack.listener cimport MAX_LISTENERS

cdef enum:
    STREAM_EVENTS = 64          # of one wake-up

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

cdef struct StreamListener:
    int fd                      # the listening socket, -1 where the listener is none of a stream
    uint8_t transport
    bint paused                 # no descriptor was left: nothing is accepted for a moment
    Address bound

cdef struct StreamCounters:
    uint64_t accepted
    uint64_t opened
    uint64_t refused            # connections, for a limit or by the access list
    uint64_t given_up           # for a new one
    uint64_t failed             # to a target: refused, deadline, certificate
    uint64_t handshake_failed   # of TLS or WebSocket, of peers that came in
    uint64_t idle_closed
    uint64_t slow_closed        # a handshake or message not complete in time
    uint64_t stalled_closed     # takes too little
    uint64_t framing_faults
    uint64_t messages_in
    uint64_t messages_out
    uint64_t pings
    uint64_t reused             # connections that came in, taken for requests to their peers
    uint64_t unsent             # messages reported to the stack
    uint64_t lost               # messages that were not even reported


cdef class Streams:
    cdef Layer layer
    cdef Proxy proxy                    # the layer, where it has an access list
    cdef readonly Connections table
    cdef Wheel wheel
    cdef SourceLimiter rate
    cdef readonly int epoll
    cdef StreamListener listeners[MAX_LISTENERS]
    cdef StreamLimits limits
    cdef StreamCounters counters
    cdef Bucket lines                   # log lines about peers that came in
    cdef uint32_t message_limit
    cdef uint8_t* room                  # a begun message and what was read behind it
    cdef uint32_t* dirty                # slots with something to write
    cdef uint32_t dirty_n
    cdef uint32_t* ended                # slots whose unsent messages are to be reported
    cdef readonly uint32_t ended_n
    cdef uint32_t* again                # slots to be read first in the next wake-up
    cdef uint32_t again_n
    cdef readonly uint32_t untold       # how many of them have bytes that no event tells of
    cdef uint8_t* refused               # messages that found no connection, each behind its length
    cdef readonly uint32_t refused_n
    cdef uint32_t refused_capacity
    cdef uint32_t unlisted              # connections of unlisted sources
    cdef uint32_t handshakes            # that may go a step in this wake-up
    cdef uint32_t bytes                 # that may be read in this wake-up
    cdef uint32_t ws_bytes              # those of WebSocket connections
    cdef uint32_t reads                 # of one connection in this wake-up
    cdef readonly object trace
    cdef object log                     # callable(level, event, fields)
    cdef list sockets                   # listening ones, by listener
    cdef list tls                       # (TlsContext for those that come in, for those we open) or None, by listener
    cdef list origins                   # web pages that may connect, by listener
    cdef dict groups                    # group by the name that a certificate proves
    cdef dict sources                   # connections by source
    cdef dict failures                  # target: (failures in a row, when it may be tried again)
    cdef dict contexts                  # TlsContext by slot, during a handshake
    cdef dict aliases                   # slot by the target that its peer says it is (RFC 5923)
    cdef dict peers                     # Certificate by slot, of those that came in
    cdef dict upgrades                  # WebSocket by slot

    cdef int receive(self, uint64_t now) noexcept
    cdef void send(self, uint32_t listener, const Address* to, const uint8_t* data, uint32_t n) noexcept
    cdef void flush(self) noexcept
    cdef void report(self, uint64_t now) noexcept
    cdef uint64_t next_deadline(self) noexcept nogil
    cdef void expire(self, uint64_t now) noexcept

    cdef void _accept(self, uint32_t listener, uint64_t now) noexcept
    cdef bint _may_come(self, uint32_t listener, const Address* source, uint64_t now, bint* listed) noexcept
    cdef uint32_t _connect(self, uint32_t listener, const Address* to) noexcept
    cdef void _on_event(self, uint32_t slot, uint32_t events, uint64_t now) noexcept
    cdef void _on_connected(self, uint32_t slot, uint64_t now) noexcept
    cdef void _shake(self, uint32_t slot, uint64_t now) noexcept
    cdef void _on_open(self, uint32_t slot, uint64_t now) noexcept
    cdef void _read(self, uint32_t slot, uint64_t now) noexcept
    cdef void _read_later(self, uint32_t slot) noexcept nogil
    cdef void _on_last_word(self, uint32_t slot, uint64_t now) noexcept
    cdef void _take(self, uint32_t slot, const uint8_t* p, uint32_t n, uint64_t now) noexcept
    cdef void _take_frames(self, uint32_t slot, const uint8_t* p, uint32_t n, uint64_t now) noexcept
    cdef void _on_pong(self, uint32_t slot) noexcept nogil
    cdef void _hand_on(self, Connection* c, const uint8_t* p, uint32_t n, uint64_t now) noexcept
    cdef void _claim(self, uint32_t slot, uint16_t port) noexcept
    cdef uint32_t _reuse(self, uint32_t listener, const Address* to) noexcept
    cdef bint _queue(self, uint32_t slot, const uint8_t* p, uint32_t n) noexcept
    cdef void _mark(self, uint32_t slot) noexcept nogil
    cdef void _write(self, uint32_t slot, uint64_t now) noexcept
    cdef void _watch(self, uint32_t slot, uint32_t events) noexcept nogil
    cdef bint _is_kept(self, const Connection* c) noexcept nogil
    cdef bint _queue_ping(self, uint32_t slot) noexcept
    cdef void _arm(self, uint32_t slot) noexcept nogil
    cdef uint64_t _due(self, const Connection* c) noexcept nogil
    cdef void _on_due(self, uint32_t slot, uint64_t now) noexcept
    cdef void _finish(self, uint32_t slot, uint64_t now) noexcept
    cdef void _end(self, uint32_t slot, str why) noexcept
    cdef void _on_refused(self, const Connection* c, str why) noexcept
    cdef void _offend(self, const Connection* c) noexcept
    cdef void _reap(self, uint32_t slot) noexcept
    cdef void _refuse(self, const uint8_t* data, uint32_t n) noexcept nogil
    cdef void _show(self, str direction, const Connection* c, const uint8_t* p, uint32_t n) noexcept
