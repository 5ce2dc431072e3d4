"""The answering side of the load generator (RFC 3261 sections 8.2, 13.3, 17.2; RFC 3581), for any caller.

Legs are found by a hash of the Call-ID. A final response is kept until it is acknowledged; the leg itself (64
bytes) is remembered as long as capacity allows, so that a late repeat is not taken for a new call. Beside
answering it checks what a proxy must get right: ACK and BYE arrive with the Contact as request URI, and no Route
is left.
"""
from libc.stdint cimport UINT32_MAX, UINT64_MAX, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memchr, memcmp

from benchmarks.load.port cimport (
    DIGITS, ROOM, Lane, Writer, compose, dispatch, put, put_decimal, sockaddr_in, write_hex, write_into,
)
from benchmarks.load.scan cimport Message, Method, Span, find, scan, value_of
from benchmarks.load.timers cimport STEPS, T2_STEP, Timer, first, ladder, start_timer

cdef extern from "<arpa/inet.h>" nogil:
    uint32_t ntohl(uint32_t) noexcept
    uint16_t ntohs(uint16_t) noexcept


cdef inline Span _span(const char* text, int size) noexcept nogil:
    return Span(text, size)


cdef inline uint64_t _hash(Span text) noexcept nogil:
    """FNV-1a: two live calls with one hash in 64 bits do not happen."""
    cdef uint64_t key = 0xCBF29CE484222325ULL
    cdef int index
    for index in range(text.size):
        key = (key ^ <uint8_t>text.at[index]) * 0x100000001B3ULL
    return key


cdef inline void _put_top_via(Writer* writer, Span via, const sockaddr_in* peer) noexcept nogil:
    """Copy the top Via, with received and the port filled in where rport asks for it (RFC 3581 section 4)."""
    cdef uint32_t host = ntohl(peer.sin_addr.s_addr)
    cdef const char* comma = <const char*>memchr(via.at, b",", via.size)
    cdef const char* rport = find(Span(via.at, <int>(comma - via.at) if comma != NULL else via.size), ";rport", 6)
    cdef int shift
    if rport == NULL or rport[6] == b"=":
        put(writer, via.at, via.size)
        return
    put(writer, via.at, rport + 6 - via.at)
    put(writer, "=", 1)
    put_decimal(writer, ntohs(peer.sin_port))
    put(writer, ";received=", 10)
    for shift in range(24, -1, -8):
        put_decimal(writer, host >> shift & 255)
        if shift:
            put(writer, ".", 1)
    put(writer, rport + 6, via.at + via.size - rport - 6)


cdef class Uas:
    """Answers on one socket or connections; owned and driven by a Generator, never used from two threads.

    `capacity` is a power of two.
    """

    def __cinit__(self, uint32_t capacity, *_):
        self.capacity = capacity
        self.legs = <Leg*>calloc(capacity, sizeof(Leg))
        self.chains = <uint32_t*>malloc(capacity * sizeof(uint32_t))
        self.idle = <uint32_t*>malloc(capacity * sizeof(uint32_t))
        self.spare = <uint32_t*>malloc(capacity * sizeof(uint32_t))
        self.buffers = <char*>malloc(<size_t>capacity * ROOM)
        if not (self.legs and self.chains and self.idle and self.spare and self.buffers):
            raise MemoryError

    def __init__(self, uint32_t capacity, str uri, int status, double t1, tuple tails, bint reliable):
        cdef uint32_t index
        cdef int step
        self.status = status
        self.reliable = reliable
        for step in range(STEPS):
            self.queues[step].delay = <uint64_t>(t1 * 1e9) << step
        self._uri = uri.encode()
        self._ringing, self._answered = tails
        self._status_line = b"SIP/2.0 %d %b\r\n" % (status, b"OK" if status < 300 else b"Refused")
        if status >= 300:
            self._answered = b"Content-Length: 0\r\n\r\n"
        self.uri = _span(self._uri, len(self._uri))
        self.ringing = _span(self._ringing, len(self._ringing))
        self.answered = _span(self._answered, len(self._answered))
        self.status_line = _span(self._status_line, len(self._status_line))
        for index in range(capacity):
            self.chains[index] = UINT32_MAX
            self.idle[index] = self.spare[index] = index
        self.idle_tail = self.spare_count = capacity

    def __dealloc__(self):
        cdef int step
        for step in range(STEPS):
            free(self.queues[step].ring)
        free(self.buffers)
        free(self.spare)
        free(self.idle)
        free(self.chains)
        free(self.legs)

    cdef void on_message(self, const char* data, int size, const sockaddr_in* peer, uint32_t flow,
                         uint64_t now) noexcept nogil:
        cdef Message message
        cdef uint64_t key
        if scan(&message, data, size) < 0:
            self.malformed += 1
            return
        if message.status or message.method == Method.OTHER:
            self.strays += 1
            return
        key = _hash(value_of(message.call_id))
        if message.method == Method.INVITE:
            self._on_invite(&message, key, peer, flow, now)
        elif message.method == Method.ACK:
            self._on_ack(&message, self._find(key))
        else:
            self._on_bye(&message, self._find(key), peer, flow)

    cdef void _on_invite(self, Message* message, uint64_t key, const sockaddr_in* peer, uint32_t flow,
                         uint64_t now) noexcept nogil:
        cdef Leg* leg = self._find(key)
        cdef Writer writer
        if leg != NULL:
            self.repeated_requests += 1
            if leg.state == LegState.ANSWERED:
                self._send_final(leg)
            return
        leg = self._take(key)
        if leg == NULL:
            self.skipped += 1
            return
        self._check_route(message)
        leg.peer = peer[0]
        leg.flow = flow
        if self.status < 300:
            writer = compose(self.port, Lane.BEGIN)
            self._render(&writer, message, _span("SIP/2.0 180 Ringing\r\n", 21), self.ringing, key, peer)
            dispatch(self.port, Lane.BEGIN, &writer, peer, flow)
        writer = write_into(self.buffers + <size_t>leg.buffer * ROOM, ROOM)
        self._render(&writer, message, self.status_line, self.answered, key, peer)
        if writer.at > writer.end:
            self.port.oversized += 1
            self._release(leg)
            return
        leg.size = <int>(writer.at - self.buffers - <size_t>leg.buffer * ROOM)
        leg.state = LegState.ANSWERED
        self.answered_calls += 1
        self._send_final(leg)
        self._next_timer(leg, now)

    cdef void _on_ack(self, Message* message, Leg* leg) noexcept nogil:
        if leg == NULL:
            self.strays += 1
        elif leg.state != LegState.ANSWERED:
            self.repeated_requests += 1
        else:
            self.confirmed += 1
            if self.status < 300:
                self._check_route(message)
                self._check_uri(message)
                leg.state = LegState.CONFIRMED
                leg.stamp += 1
            else:
                self._release(leg)

    cdef void _on_bye(self, Message* message, Leg* leg, const sockaddr_in* peer, uint32_t flow) noexcept nogil:
        cdef Writer writer = compose(self.port, Lane.FINISH)
        cdef Span tail = _span("Content-Length: 0\r\n\r\n", 21)
        if leg == NULL:
            self.strays += 1
            self._render(&writer, message, _span("SIP/2.0 481 Call Does Not Exist\r\n", 33), tail, 0, peer)
        else:
            self._render(&writer, message, _span("SIP/2.0 200 OK\r\n", 16), tail, 0, peer)
            if leg.state == LegState.OVER:
                self.repeated_requests += 1
            else:
                self.ended += 1
                self.unacknowledged += leg.state == LegState.ANSWERED
                self._check_route(message)
                self._check_uri(message)
                self._release(leg)
        dispatch(self.port, Lane.FINISH, &writer, peer, flow)

    cdef uint64_t expire(self, uint64_t now) noexcept nogil:
        """Run the timers that are due; return when the next one is, UINT64_MAX for never."""
        cdef uint64_t earliest = UINT64_MAX
        cdef Timer* timer
        cdef Leg* leg
        cdef int index
        for index in range(STEPS):
            timer = first(&self.queues[index])
            while timer != NULL:
                leg = &self.legs[timer.slot]
                if leg.stamp == timer.stamp:
                    if timer.at > now:
                        earliest = min(earliest, timer.at)
                        break
                    self.queues[index].head += 1
                    self._on_timer(leg, now)
                else:
                    self.queues[index].head += 1
                timer = first(&self.queues[index])
        return earliest

    cdef void _on_timer(self, Leg* leg, uint64_t now) noexcept nogil:
        """Timer G or H (17.2.1), or the same for a 2xx (13.3.1.4)."""
        if self._next_timer(leg, now) < 0:
            self.unacknowledged += 1
            self._release(leg)
            return
        self.retransmitted_finals += 1
        self._send_final(leg)

    cdef Leg* _find(self, uint64_t key) noexcept nogil:
        cdef uint32_t index = self.chains[key & (self.capacity - 1)]
        while index != UINT32_MAX:
            if self.legs[index].key == key:
                return &self.legs[index]
            index = self.legs[index].next
        return NULL

    cdef Leg* _take(self, uint64_t key) noexcept nogil:
        """Make a leg of the longest unused one, which is forgotten; NULL when all are in calls."""
        cdef uint32_t index
        cdef uint32_t* link
        cdef Leg* leg
        if self.idle_head == self.idle_tail:
            return NULL
        index = self.idle[self.idle_head & (self.capacity - 1)]
        self.idle_head += 1
        leg = &self.legs[index]
        if leg.state == LegState.OVER:
            link = &self.chains[leg.key & (self.capacity - 1)]
            while link[0] != index:
                link = &self.legs[link[0]].next
            link[0] = leg.next
        self.spare_count -= 1
        leg.buffer = self.spare[self.spare_count]
        leg.key = key
        leg.step = 0
        leg.next = self.chains[key & (self.capacity - 1)]
        self.chains[key & (self.capacity - 1)] = index
        return leg

    cdef void _release(self, Leg* leg) noexcept nogil:
        leg.state = LegState.OVER
        leg.stamp += 1
        self.spare[self.spare_count] = leg.buffer
        self.spare_count += 1
        self.idle[self.idle_tail & (self.capacity - 1)] = <uint32_t>(leg - self.legs)
        self.idle_tail += 1

    cdef void _check_route(self, Message* message) noexcept nogil:
        self.misrouted += message.routes > 0

    cdef void _check_uri(self, Message* message) noexcept nogil:
        self.misrouted += message.uri.size != self.uri.size or memcmp(message.uri.at, self.uri.at, self.uri.size) != 0

    cdef void _render(self, Writer* writer, Message* message, Span status_line, Span tail, uint64_t tag,
                      const sockaddr_in* peer) noexcept nogil:
        """Write a response (8.2.6); `tag` is ours for a request that has none in To."""
        cdef char text[DIGITS]
        cdef Span to = value_of(message.to)
        cdef int index
        put(writer, status_line.at, status_line.size)
        _put_top_via(writer, message.via[0], peer)
        for index in range(1, message.vias):
            put(writer, message.via[index].at, message.via[index].size)
        for index in range(message.record_routes):
            put(writer, message.record_route[index].at, message.record_route[index].size)
        put(writer, message.from_.at, message.from_.size)
        put(writer, "To: ", 4)
        put(writer, to.at, to.size)
        if tag and find(to, ";tag=", 5) == NULL:
            write_hex(text, tag)
            put(writer, ";tag=", 5)
            put(writer, text, DIGITS)
        put(writer, "\r\n", 2)
        put(writer, message.call_id.at, message.call_id.size)
        put(writer, message.cseq.at, message.cseq.size)
        put(writer, tail.at, tail.size)

    cdef void _send_final(self, Leg* leg) noexcept nogil:
        cdef Writer writer = compose(self.port, Lane.SETTLE)
        put(&writer, self.buffers + <size_t>leg.buffer * ROOM, leg.size)
        dispatch(self.port, Lane.SETTLE, &writer, &leg.peer, leg.flow)

    cdef int _next_timer(self, Leg* leg, uint64_t now) noexcept nogil:
        """Set the next timer of the final response; -1 when its time is over, or without memory."""
        cdef int step = ladder(leg.step, T2_STEP)
        if self.reliable and self.status >= 300:
            # Timer G is for unreliable transports; a 2xx is repeated over any (17.2.1, 13.3.1.4).
            step = STEPS - 1 if leg.step == 0 else -1
        if step < 0:
            return -1
        leg.step += 1
        leg.stamp += 1
        return start_timer(&self.queues[step], now, <uint32_t>(leg - self.legs), leg.stamp)
