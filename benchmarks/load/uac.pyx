"""The calling side of the load generator (RFC 3261 sections 12, 13, 15, 17.1), a few hundred nanoseconds a packet.

A call's identifier (serial and slot, 16 hexadecimal digits) stands in its branch, tag and Call-ID, so a response
finds its call without a table, and one that comes after the slot was taken again is told apart. ACK is made
from the response alone, so a repeated final response is acknowledged even after its call is over. Requests
inside the dialog go to the first Route, or to the Contact without one; over connections, by that of the INVITE.
Strict routers (no lr) are not supported: their calls fail as malformed. A call costs 1 KiB.
"""
from libc.stdint cimport UINT64_MAX, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memchr, memcpy, memset

from benchmarks.load.histogram cimport record
from benchmarks.load.port cimport (
    AF_INET, DIGITS, Lane, Writer, compose, dispatch, put, sockaddr_in, write_hex, write_into,
)
from benchmarks.load.scan cimport (
    MAX_SPANS, Message, Span, find, first_value, host_port, scan, uri_of, value_of,
)
from benchmarks.load.timers cimport A_STEP, STEPS, T2_STEP, Queue, Timer, first, ladder, start_timer

from benchmarks.load.messages import MARK

cdef extern from "<arpa/inet.h>" nogil:
    uint32_t htonl(uint32_t) noexcept
    uint16_t htons(uint16_t) noexcept

cdef enum:
    SLOT_BITS = 24
    METHOD_SIZE = 4         # "ACK " and "BYE ": the request URI of a template goes behind them
    INVITE_SIZE = 7         # "INVITE "

cdef const char* END = "Content-Length: 0\r\n\r\n"


cdef inline uint64_t _read_identifier(const char* at) noexcept nogil:
    cdef uint64_t identifier = 0
    cdef int digit
    for digit in range(DIGITS):
        # '0'..'9' have 0x30, 'a'..'f' 0x60 above their value less 9.
        identifier = identifier << 4 | (<uint64_t>(at[digit] & 15) + (9 if at[digit] & 64 else 0))
    return identifier


cdef inline void _fill(char* base, const Template* template, uint64_t identifier) noexcept nogil:
    """Write the identifier into each mark of a template that begins at `base`."""
    cdef int index
    for index in range(template.marks):
        write_hex(base + template.mark[index], identifier)


cdef int _load(Template* template, bytes data) except -1:
    """Find the marks of a template; `data` must outlive it."""
    cdef int at = data.find(MARK)
    template.data = data
    template.size = len(data)
    template.marks = 0
    while at >= 0:
        if template.marks == MARKS:
            raise ValueError("a template has too many marks")
        template.mark[template.marks] = at
        template.marks += 1
        at = data.find(MARK, at + 1)
    return 0


cdef class Uac:
    """Calls from one socket, or over `flows` connections; driven by a Generator, never used from two threads."""

    def __cinit__(self, uint32_t capacity, *_):
        self.capacity = capacity
        self.calls = <Call*>calloc(capacity, sizeof(Call))
        self.idle = <uint32_t*>malloc(capacity * sizeof(uint32_t))
        if self.calls == NULL or self.idle == NULL:
            raise MemoryError

    def __init__(self, uint32_t capacity, bytes host, uint16_t port, double t1, double hold, uint64_t serial,
                 tuple templates, uint32_t flows):
        cdef int step
        cdef uint32_t slot
        memset(&self.target, 0, sizeof(sockaddr_in))
        self.target.sin_family = AF_INET
        memcpy(&self.target.sin_addr, <const char*>host, 4)
        self.target.sin_port = htons(port)
        for step in range(STEPS):
            self.queues[step].delay = <uint64_t>(t1 * 1e9) << step
        self.hold.delay = <uint64_t>(hold * 1e9)
        self.serial = serial
        self.flows = flows
        self._templates = templates
        _load(&self.invite, templates[0])
        _load(&self.ack, templates[1])
        _load(&self.bye, templates[2])
        for slot in range(capacity):
            self.idle[slot] = capacity - 1 - slot
        self.idle_count = capacity

    def __dealloc__(self):
        cdef int step
        for step in range(STEPS):
            free(self.queues[step].ring)
        free(self.hold.ring)
        free(self.idle)
        free(self.calls)

    cdef uint32_t _flow(self, uint64_t identifier) noexcept nogil:
        """The connection of a call: one for all that it sends, so that the order stays."""
        return <uint32_t>((identifier >> SLOT_BITS) % self.flows) if self.flows else 0

    cdef bint start(self, uint64_t now) noexcept nogil:
        """Send the INVITE of a new call; False, and counted, when all slots are in use."""
        cdef uint32_t slot
        cdef Call* call
        if self.idle_count == 0:
            self.skipped += 1
            return False
        self.idle_count -= 1
        slot = self.idle[self.idle_count]
        call = &self.calls[slot]
        self.serial += 1
        self.active += 1
        call.identifier = self.serial << SLOT_BITS | slot
        call.since = now
        call.state = CallState.INVITING
        call.step = 0
        call.rung = 0
        self._send_invite(call)
        self._next_timer(slot, now)
        return True

    cdef void on_message(self, const char* data, int size, uint64_t now) noexcept nogil:
        cdef Message message
        cdef const char* branch
        cdef uint64_t identifier
        cdef Call* call = NULL
        # 8.1.3.3: more than one Via means that the response was not for us.
        if scan(&message, data, size) < 0 or message.vias != 1 or memchr(message.via[0].at, b",", message.via[0].size):
            self.malformed += 1
            return
        branch = find(message.via[0], "branch=z9hG4bK", 14)
        if not message.status or branch == NULL or branch + 15 + DIGITS > message.via[0].at + message.via[0].size:
            self.strays += 1
            return
        identifier = _read_identifier(branch + 15)
        if (identifier & ((1 << SLOT_BITS) - 1)) < self.capacity:
            call = &self.calls[identifier & ((1 << SLOT_BITS) - 1)]
            if call.identifier != identifier or call.state == CallState.FREE:
                call = NULL
        if branch[14] == b"i":
            self._on_invite_response(call, &message, identifier, now)
        elif branch[14] == b"b" and call != NULL and call.state == CallState.ENDING:
            self._on_bye_response(call, &message, now)
        else:
            self.strays += 1

    cdef void _on_invite_response(self, Call* call, Message* message, uint64_t identifier, uint64_t now) noexcept nogil:
        """`call` is NULL once the call is over."""
        cdef bint waiting = call != NULL and (call.state == CallState.INVITING or call.state == CallState.PROCEEDING)
        cdef sockaddr_in next_hop
        cdef Writer writer
        if message.status < 200:
            if not waiting:
                self.strays += 1
                return
            call.state = CallState.PROCEEDING
            if message.status > 100 and not call.rung:
                call.rung = 1
                record(&self.ringing, now - call.since)
            return
        if self._acknowledge(message, identifier, &next_hop) < 0:
            self.malformed += 1
            if waiting:
                self._finish(call, now)
            return
        if not waiting:
            self.repeated_finals += 1
        elif message.status >= 300:
            self.statuses[message.status] += 1
            self._finish(call, now)
        else:
            writer = write_into(call.bye, BYE_ROOM)
            call.state = CallState.HOLDING
            if self._render(&writer, &self.bye, message, identifier, &call.next_hop) < 0 or writer.at > writer.end:
                self.malformed += 1
                self._finish(call, now)
                return
            call.bye_size = <int>(writer.at - call.bye)
            if self.hold.delay:
                call.stamp += 1
                start_timer(&self.hold, now, <uint32_t>(call - self.calls), call.stamp)
            else:
                self._begin_bye(<uint32_t>(call - self.calls), now)

    cdef void _on_bye_response(self, Call* call, Message* message, uint64_t now) noexcept nogil:
        if message.status < 200:
            return
        if message.status < 300:
            self.ok += 1
            record(&self.ending, now - call.since)
        else:
            self.statuses[message.status] += 1
        self._finish(call, now)

    cdef uint64_t expire(self, uint64_t now) noexcept nogil:
        """Run the timers that are due; return when the next one is, UINT64_MAX for never."""
        cdef uint64_t earliest = UINT64_MAX
        cdef Queue* queue
        cdef Timer* timer
        cdef uint32_t slot
        cdef int index
        for index in range(STEPS + 1):
            queue = &self.queues[index] if index < STEPS else &self.hold
            timer = first(queue)
            while timer != NULL:
                slot = timer.slot
                if self.calls[slot].stamp == timer.stamp:
                    if timer.at > now:
                        earliest = min(earliest, timer.at)
                        break
                    queue.head += 1
                    self._on_timer(slot, now)
                else:
                    queue.head += 1
                timer = first(queue)
        return earliest

    cdef void _on_timer(self, uint32_t slot, uint64_t now) noexcept nogil:
        cdef Call* call = &self.calls[slot]
        if call.state == CallState.HOLDING:
            self._begin_bye(slot, now)
        elif self._next_timer(slot, now) < 0:  # Timer B or F; a call that only rings is given up as well
            self.timeouts += 1
            self._finish(call, now)
        elif call.state == CallState.INVITING:
            self.retransmitted_invites += 1
            self._send_invite(call)
        elif call.state == CallState.ENDING:
            self.retransmitted_byes += 1
            self._send_bye(call)

    cdef int _acknowledge(self, Message* message, uint64_t identifier, sockaddr_in* next_hop) noexcept nogil:
        """Send the ACK for a final response: a request of its own for 2xx, else part of the INVITE (17.1.1.3)."""
        cdef Writer writer = compose(self.port, Lane.SETTLE)
        cdef const char* space
        cdef char* start = writer.at
        if message.status < 300:
            if self._render(&writer, &self.ack, message, identifier, next_hop) < 0:
                return -1
            return 0 if dispatch(self.port, Lane.SETTLE, &writer, next_hop, self._flow(identifier)) else -1
        # Same request URI and branch as the INVITE; its first Via is all that the templates share in place.
        space = <const char*>memchr(self.invite.data + INVITE_SIZE, b" ", self.invite.size - INVITE_SIZE)
        put(&writer, "ACK ", METHOD_SIZE)
        put(&writer, self.invite.data + INVITE_SIZE, space - self.invite.data - INVITE_SIZE)
        self._put_template(&writer, &self.ack, identifier)
        put(&writer, message.to.at, message.to.size)
        put(&writer, END, 21)
        if writer.at <= writer.end:
            (<char*>find(Span(start, <int>(writer.at - start)), "branch=z9hG4bK", 14))[14] = b"i"
        return 0 if dispatch(self.port, Lane.SETTLE, &writer, &self.target, self._flow(identifier)) else -1

    cdef int _render(self, Writer* writer, Template* template, Message* message, uint64_t identifier,
                     sockaddr_in* next_hop) noexcept nogil:
        """Write an ACK or BYE inside the dialog that a 2xx has made (12.2.1.1); -1 if no request can be made."""
        cdef Span routes[MAX_SPANS]
        cdef Span rest, uri
        cdef uint32_t host
        cdef uint16_t port
        cdef int count = 0, index
        if message.contact.at == NULL:
            return -1
        rest = value_of(message.contact)
        uri = uri_of(first_value(&rest))
        put(writer, template.data, METHOD_SIZE)
        put(writer, uri.at, uri.size)
        self._put_template(writer, template, identifier)
        for index in range(message.record_routes):
            rest = value_of(message.record_route[index])
            while rest.size:
                if count == MAX_SPANS:
                    return -1
                routes[count] = first_value(&rest)
                count += 1
        if count:
            uri = uri_of(routes[count - 1])
            if find(uri, ";lr", 3) == NULL:
                return -1
        for index in range(count - 1, -1, -1):
            put(writer, "Route: ", 7)
            put(writer, routes[index].at, routes[index].size)
            put(writer, "\r\n", 2)
        put(writer, message.to.at, message.to.size)
        put(writer, END, 21)
        next_hop[0] = self.target
        if host_port(uri, &host, &port) == 0:
            next_hop.sin_addr.s_addr = htonl(host)
            next_hop.sin_port = htons(port)
        return 0

    cdef void _put_template(self, Writer* writer, Template* template, uint64_t identifier) noexcept nogil:
        """Append what follows the method, the identifier filled in."""
        cdef char* base = writer.at - METHOD_SIZE
        put(writer, template.data + METHOD_SIZE, template.size - METHOD_SIZE)
        if writer.at <= writer.end:
            _fill(base, template, identifier)

    cdef void _send_invite(self, Call* call) noexcept nogil:
        cdef Writer writer = compose(self.port, Lane.BEGIN)
        cdef char* base = writer.at
        put(&writer, self.invite.data, self.invite.size)
        if writer.at <= writer.end:
            _fill(base, &self.invite, call.identifier)
        dispatch(self.port, Lane.BEGIN, &writer, &self.target, self._flow(call.identifier))

    cdef void _send_bye(self, Call* call) noexcept nogil:
        cdef Writer writer = compose(self.port, Lane.FINISH)
        put(&writer, call.bye, call.bye_size)
        dispatch(self.port, Lane.FINISH, &writer, &call.next_hop, self._flow(call.identifier))

    cdef void _begin_bye(self, uint32_t slot, uint64_t now) noexcept nogil:
        cdef Call* call = &self.calls[slot]
        call.state = CallState.ENDING
        call.since = now
        call.step = 0
        self._send_bye(call)
        self._next_timer(slot, now)

    cdef int _next_timer(self, uint32_t slot, uint64_t now) noexcept nogil:
        """Set the next timer of the transaction; -1 when its time is over, or without memory."""
        cdef Call* call = &self.calls[slot]
        cdef int step = ladder(call.step, T2_STEP if call.state == CallState.ENDING else A_STEP)
        if self.flows:
            # Nothing is sent again over a reliable transport (17.1.1.2, 17.1.2.2).
            step = STEPS - 1 if call.step == 0 else -1
        if step < 0:
            return -1
        call.step += 1
        call.stamp += 1
        return start_timer(&self.queues[step], now, slot, call.stamp)

    cdef void _finish(self, Call* call, uint64_t now) noexcept nogil:
        call.state = CallState.FREE
        call.stamp += 1
        self.idle[self.idle_count] = <uint32_t>(call - self.calls)
        self.idle_count += 1
        self.active -= 1
        self.last_end = now
