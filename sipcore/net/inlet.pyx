"""What comes over connections: read into one buffer that all share, and each whole message handed on where it lies.

No message makes a Python object, and an idle connection has no buffer. In one wake-up so many bytes are read of all
connections together; those that went without are the first ones of the next. Of WebSocket frames it is fewer: each
costs as much as a message of another transport however short it is (4 us), so that calls are not delayed by a storm.
"""
from libc.errno cimport EAGAIN, EINTR, errno
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcpy
from sipcore.base.address cimport TRANSPORT_TCP, Address, is_websocket
from sipcore.net.connection cimport (
    AGAIN, ANSWERS_PINGS, BLOCKED, CAME_IN, FINISHED, HALF, HEARD, LISTED, PINGED, PROVEN, STATE_ENDED, STATE_ENDING,
    STATE_OPEN, STATE_UPGRADE, Connection, keep_begun, note_request,
)
from sipcore.net.epoll cimport EPOLLOUT
from sipcore.net.outlet cimport Outlet
from sipcore.net.slots cimport slots_add, slots_remove
from sipcore.net.tls cimport TLS_WANTS_READ, TLS_WANTS_WRITE, tls_has_more, tls_read
from sipcore.stack.proxy cimport Proxy
from sipcore.wire.framer cimport FRAME_BAD_LENGTH, FRAME_BROKEN, FRAME_CRLF, FRAME_MESSAGE, FRAME_MORE, next_frame

cdef extern from "sockets.h" nogil:
    int MSG_DONTWAIT
    ssize_t recv(int fd, void* p, size_t n, int flags)

cdef enum:
    READ_BYTES = 1 << 16        # of one read, at least
    READS = 4                   # of one connection in a wake-up, where no other has something
    RECORDS = 64                # TLS records of one connection in a wake-up
    BYTES = 1 << 17             # read of all connections together in a wake-up, that of the last read not counted
    WS_READ_BYTES = 4096        # of one WebSocket connection in a wake-up
    WS_BYTES = 1 << 14          # of all of them together

cdef bytes _PING = b"\r\n\r\n"
cdef bytes _PONG = b"\r\n"


cdef class Inlet(Outlet):
    """Hands messages of at most message_limit bytes to the layer."""

    def __cinit__(self, layer, *_, uint32_t connections=16384, uint32_t message_limit=65535, **__):
        # The access list, where the layer has one.
        self.proxy = layer if isinstance(layer, Proxy) else None
        self.message_limit = message_limit
        self.room = <uint8_t*>malloc(message_limit + READ_BYTES + 1)
        self.again.at = <uint32_t*>calloc(connections, sizeof(uint32_t))
        if self.room == NULL or self.again.at == NULL:
            raise MemoryError

    def __dealloc__(self):
        free(self.room)
        free(self.again.at)

    cdef void _begin_turn(self, uint32_t events, uint64_t now) noexcept:
        """A wake-up in which so many connections have something; those that went without in the last one come first."""
        cdef uint32_t slot, i, count = self.again.n
        self.bytes = BYTES
        self.ws_bytes = WS_BYTES
        self.reads = READS if events + count <= 1 else 1
        self.again.n = self.untold = 0
        for i in range(count):
            slot = self.again.at[i]
            self.table.slab[slot].flags &= <uint16_t>~AGAIN
            if self.table.slab[slot].state == STATE_OPEN or self.table.slab[slot].state == STATE_UPGRADE:
                self._read(slot, now)

    cdef void _read(self, uint32_t slot, uint64_t now) noexcept:
        """Read a few times, as long as there is something."""
        cdef Connection* c = &self.table.slab[slot]
        cdef ssize_t n
        cdef uint32_t reads = 0, most = RECORDS if c.ssl != NULL else self.reads, room = READ_BYTES
        if is_websocket(c.transport):
            most = 1
            room = min(<uint32_t>WS_READ_BYTES, self.ws_bytes)
        while True:
            if self.bytes == 0 or room == 0:
                # Others had it all.
                self._read_later(slot)
                return
            if c.in_n:
                memcpy(self.room, c.begun, c.in_n)
            if c.ssl != NULL:
                n = tls_read(c.ssl, self.room + c.in_n, room)
                if n == TLS_WANTS_WRITE or n == TLS_WANTS_READ:
                    return
            else:
                n = recv(c.fd, self.room + c.in_n, room, MSG_DONTWAIT)
                if n < 0 and errno == EAGAIN:
                    return
                if n < 0 and errno == EINTR:
                    continue
            if n <= 0:
                if n < 0 or c.state == STATE_ENDING or not c.flags & CAME_IN:
                    self._end(slot, "closed by the peer" if n == 0 else "connection lost")
                else:
                    self._on_last_word(slot, now)
                return
            c.heard = now
            reads += 1
            self.bytes -= min(self.bytes, <uint32_t>n)
            if c.state == STATE_ENDING:
                if reads == most:
                    return
            elif is_websocket(c.transport):
                self.ws_bytes -= <uint32_t>n
                self._take_frames(slot, self.room, <uint32_t>n, now)
            else:
                self._take(slot, self.room, c.in_n + <uint32_t>n, now)
            if c.state == STATE_ENDED:
                return
            if c.ssl == NULL:
                if n < READ_BYTES or reads == most:
                    return
            elif not tls_has_more(c.ssl):
                return
            elif reads == most:
                self._read_later(slot)
                return

    cdef void _read_later(self, uint32_t slot) noexcept nogil:
        """Have the next wake-up read on, before it takes up what it is told of."""
        cdef Connection* c = &self.table.slab[slot]
        if not c.flags & AGAIN:
            c.flags |= AGAIN
            slots_add(&self.again, slot)
            self.untold += c.ssl != NULL and tls_has_more(c.ssl)

    cdef void _on_last_word(self, uint32_t slot, uint64_t now) noexcept:
        """A peer that came in has ended its sending side. It may still be told what it is owed (RFC 3261 18.2.2), and
        is sent no request any more: no answer could come."""
        cdef Connection* c = &self.table.slab[slot]
        c.flags |= HALF
        self._watch(slot, EPOLLOUT if c.flags & BLOCKED else 0)
        self._hide(slot)
        if c.owed == 0:
            c.flags |= FINISHED
            self._finish(slot, now)
            return
        keep_begun(c, NULL, 0)
        c.waiting = 0
        self._arm(slot)

    cdef void _take(self, uint32_t slot, const uint8_t* p, uint32_t n, uint64_t now) noexcept:
        """Take the whole messages of what a connection has; keep the rest."""
        cdef Connection* c = &self.table.slab[slot]
        cdef uint32_t at = 0, used = 0, before = c.in_n
        cdef int kind
        cdef bint pong = False
        while c.state == STATE_OPEN:
            kind = next_frame(&c.framer, p + at, n - at, self.message_limit, &used)
            if kind == FRAME_MORE:
                break
            if kind == FRAME_MESSAGE:
                self._hand_on(c, p + at, used, now)
            elif kind == FRAME_CRLF:
                if c.flags & PINGED:
                    c.flags |= ANSWERS_PINGS
            elif kind == FRAME_BAD_LENGTH or kind == FRAME_BROKEN:
                self.counters.framing_faults += 1
                if kind == FRAME_BROKEN:
                    self._offend(c)
                if kind == FRAME_BAD_LENGTH:
                    # It says itself what is wrong with it: answered with 400 where it is a request.
                    self._hand_on(c, p + at, used, now)
                    if c.state != STATE_OPEN:
                        return
                keep_begun(c, p, 0)
                c.waiting = 0
                c.flags |= FINISHED
                self._finish(slot, now)
                return
            else:
                pong = True
            at += used
        self._on_pong(slot)
        if c.state != STATE_OPEN:
            return
        if pong:
            # One answer, however many asked (RFC 5626 4.4.1).
            self.counters.pings += 1
            self._queue(slot, <const uint8_t*><const char*>_PING, 2)
        if not keep_begun(c, p + at, n - at):
            self._end(slot, "no memory")
            return
        if c.in_n == 0:
            c.waiting = 0
        elif at or before == 0:
            c.waiting = now
            self._arm(slot)

    cdef void _take_frames(self, uint32_t slot, const uint8_t* p, uint32_t n, uint64_t now) noexcept:
        """The same over a WebSocket: one message a message (RFC 7118 5)."""
        cdef Connection* c = &self.table.slab[slot]
        cdef bytes out, message
        try:
            upgrade = self.upgrades[slot]
            messages = upgrade.receive((<const char*>p)[:n])
            self._on_pong(slot)
            for message in messages:
                if message == _PING:
                    if upgrade.writable:
                        upgrade.send(_PONG)
                    continue
                if c.state != STATE_UPGRADE and c.state != STATE_OPEN:
                    return
                self._hand_on(c, <const uint8_t*><const char*>message, <uint32_t>len(message), now)
            if c.state != STATE_UPGRADE and c.state != STATE_OPEN:
                return
            out = upgrade.to_send()
            if out:
                self._queue(slot, <const uint8_t*><const char*>out, <uint32_t>len(out))
            if c.state == STATE_UPGRADE and upgrade.open:
                c.state = STATE_OPEN
                self._arm(slot)
            c.waiting = (c.waiting or now) if upgrade.begun else 0
            if c.waiting:
                self._arm(slot)
            if upgrade.over and (c.state == STATE_UPGRADE or c.state == STATE_OPEN):
                if upgrade.trouble:
                    self._offend(c)
                if upgrade.trouble and c.state == STATE_UPGRADE:
                    self._on_refused(c, upgrade.trouble)
                elif upgrade.trouble:
                    self.counters.framing_faults += 1
                c.flags |= FINISHED
                self._finish(slot, now)
        except Exception as error:
            self._end(slot, f"WebSocket: {type(error).__name__}: {error}")

    cdef void _on_pong(self, uint32_t slot) noexcept nogil:
        """Whatever comes says that the peer is there: its next ping is due after the next silence."""
        cdef Connection* c = &self.table.slab[slot]
        if c.flags & PINGED:
            c.flags &= <uint16_t>~PINGED
            if c.state == STATE_OPEN:
                self._arm(slot)

    cdef void _hand_on(self, Connection* c, const uint8_t* p, uint32_t n, uint64_t now) noexcept:
        """One message for the layer; p[n] is readable."""
        cdef Address source = c.peer
        self.counters.messages_in += 1
        c.flags |= HEARD
        if c.flags & CAME_IN and c.transport == TRANSPORT_TCP:
            note_request(c, p, n)
        if self.trace is not None:
            self._show("in", c, p, n)
        self.layer.proven_group = c.group
        self.layer.alias_port = 0
        self.layer.receive(c.listener, &source, p, n, now)
        if self.layer.alias_port and c.flags & PROVEN and c.alias.port == 0 and c.state == STATE_OPEN:
            self._claim(<uint32_t>(c - self.table.slab), self.layer.alias_port)

    cdef void _offend(self, const Connection* c) noexcept:
        """A strike against whoever sends what is none of the protocol, unless it is on the access list: a peer's
        mistake must not cost it its calls."""
        if c.flags & CAME_IN and not c.flags & LISTED and self.proxy is not None:
            self.proxy._offend(&c.peer)

    cdef void _claim(self, uint32_t slot, uint16_t port) noexcept:
        """The peer of a connection says that it is reached at that port by it (RFC 5923 7.2)."""
        pass

    cdef void _reap(self, uint32_t slot) noexcept:
        if self.table.slab[slot].flags & AGAIN:
            slots_remove(&self.again, slot)
        Outlet._reap(self, slot)
