"""What goes out over connections, and how they end.

What the layer sends is queued, and leaves in one write for each connection. A connection that ends tells the layer of
each message that it had not written in full, just as a network tells of a datagram (`transport_error`), but never from
within a send: `report` does it, when the layer is at rest.

A peer may end its sending side and read on, over TCP. Its connection is kept while requests of it wait for their final
responses, for as long as it may be idle, and for nothing else. Whoever reads on cannot be told from whoever has gone
before he has refused what he is sent: what is written to him counts as sent a second after all is.
"""
from libc.errno cimport EAGAIN, EINTR, errno
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from posix.unistd cimport close
from sipcore.base.address cimport TRANSPORT_TCP, Address, address_host
from sipcore.base.bucket cimport bucket_take
from sipcore.base.wheel cimport Wheel
from sipcore.net.connection cimport (
    BLOCKED, DIRTY, FINISHED, HALF, STATE_ENDED, STATE_ENDING, STATE_FREE, STATE_UPGRADE, Connection, keep_begun,
    next_unsent, queue_bytes,
)
from sipcore.net.connections cimport Connections
from sipcore.net.deadline cimport deadline_of
from sipcore.net.epoll cimport (
    EPOLL_CLOEXEC, EPOLL_CTL_MOD, EPOLLIN, EPOLLOUT, epoll_create1, epoll_set,
)
from sipcore.net.slots cimport slots_add, slots_remove
from sipcore.net.tls cimport TLS_WANTS_READ, TLS_WANTS_WRITE, tls_free, tls_write
from sipcore.net.unsent cimport Unsent
from sipcore.stack.layer cimport Layer
from sipcore.stack.listener cimport MAX_LISTENERS

cdef extern from "sockets.h" nogil:
    int MSG_DONTWAIT, MSG_NOSIGNAL, SHUT_WR
    ssize_t send(int fd, const void* p, size_t n, int flags)
    int shutdown(int fd, int how)

cdef enum:
    RECORD_BYTES = 1 << 14
    PROGRESS = 16384            # bytes that a slow peer has to take within its deadline
    LINES = 5                   # log lines a second about peers that came in


cdef str address_text(const Address* address):
    host = address_host(address)
    return f"[{host}]:{address.port}" if address.family == 6 else f"{host}:{address.port}"


cdef class Outlet:
    """The connections of a Layer, at most so many; log: callable(level, event, fields)."""

    def __cinit__(self, Layer layer not None, *_, uint32_t connections=16384, log=None, **__):
        self.layer = layer
        self.log = log
        self.table = Connections(connections)
        self.wheel = Wheel(connections + MAX_LISTENERS, 0)
        self.unsent = Unsent()
        self.upgrades = {}
        self.dirty.at = <uint32_t*>calloc(connections, sizeof(uint32_t))
        self.ended.at = <uint32_t*>calloc(connections, sizeof(uint32_t))
        if self.dirty.at == NULL or self.ended.at == NULL:
            raise MemoryError
        self.epoll = epoll_create1(EPOLL_CLOEXEC)
        if self.epoll < 0:
            raise OSError(errno, "no epoll")

    def __dealloc__(self):
        free(self.dirty.at)
        free(self.ended.at)
        if self.epoll > 0:
            close(self.epoll)

    # --- what is queued

    cdef bint _queue(self, uint32_t slot, const uint8_t* p, uint32_t n) noexcept:
        """Whether there was room; a peer that lets too much wait is given up."""
        cdef Connection* c = &self.table.slab[slot]
        if c.state == STATE_ENDED:
            return False
        if not queue_bytes(c, p, n, self.limits.queue):
            self.counters.stalled_closed += 1
            self._end(slot, "does not read what it is sent")
            return False
        self._mark(slot)
        return True

    cdef void _mark(self, uint32_t slot) noexcept nogil:
        cdef Connection* c = &self.table.slab[slot]
        if not c.flags & DIRTY:
            c.flags |= DIRTY
            slots_add(&self.dirty, slot)

    cdef void flush(self) noexcept:
        """Write what is queued, each connection once."""
        cdef uint32_t slot, i, count = self.dirty.n
        cdef Connection* c
        self.dirty.n = 0
        for i in range(count):
            slot = self.dirty.at[i]
            c = &self.table.slab[slot]
            c.flags &= <uint16_t>~DIRTY
            if not c.flags & BLOCKED and c.state >= STATE_UPGRADE and c.state <= STATE_ENDING:
                self._write(slot, self.layer.now)

    cdef void _write(self, uint32_t slot, uint64_t now) noexcept:
        cdef Connection* c = &self.table.slab[slot]
        cdef ssize_t n = 0
        cdef bint full = False
        while c.out_at < c.out_n:
            if c.ssl != NULL:
                n = tls_write(c.ssl, c.out + c.out_at, min(c.out_n - c.out_at, <uint32_t>RECORD_BYTES))
                full = n == TLS_WANTS_WRITE or n == TLS_WANTS_READ
            else:
                n = send(c.fd, c.out + c.out_at, c.out_n - c.out_at, MSG_DONTWAIT | MSG_NOSIGNAL)
                if n < 0 and errno == EINTR:
                    continue
                full = n < 0 and errno == EAGAIN
            if n <= 0:
                break
            c.out_at += <uint32_t>n
            c.said = now
        if c.out_at == c.out_n:
            if c.flags & HALF and c.transport == TRANSPORT_TCP and c.out_n:
                # Kept until the peer had time to refuse it.
                c.stalled = 0
                return
            free(c.out)
            c.out = NULL
            c.out_n = c.out_at = c.out_capacity = c.out_seen = 0
            c.stalled = 0
            if c.flags & FINISHED:
                self._finish(slot, now)
            return
        if not full:
            self._end(slot, "connection lost")
            return
        c.flags |= BLOCKED
        self._watch(slot, EPOLLOUT if c.flags & HALF else EPOLLIN | EPOLLOUT)
        if c.stalled == 0 or c.out_at - c.out_seen >= PROGRESS:
            c.stalled = now
            c.out_seen = c.out_at
            self._arm(slot)

    # --- the end

    cdef void _finish(self, uint32_t slot, uint64_t now) noexcept:
        """Nothing more is read; the connection ends when what is queued was sent, or in a second."""
        cdef Connection* c = &self.table.slab[slot]
        if c.state == STATE_ENDED:
            return
        if c.state != STATE_ENDING:
            c.state = STATE_ENDING
            c.born = now
            keep_begun(c, NULL, 0)
            self._hide(slot)
            self._arm(slot)
            # The layer's answer to what came last is in the outbox still.
            self._mark(slot)
            return
        if c.out_n == 0:
            if c.flags & HALF:
                self._end(slot, "")
            else:
                # Closing with unread bytes would make the kernel throw away what the peer has not yet read.
                shutdown(c.fd, SHUT_WR)

    cdef void _end(self, uint32_t slot, str why) noexcept:
        """Close a connection; its row stays until what it had not sent is reported. why: empty where all is well."""
        cdef Connection* c = &self.table.slab[slot]
        cdef bint began = c.state > STATE_UPGRADE
        if c.state == STATE_ENDED or c.state == STATE_FREE:
            return
        if c.flags & HALF and c.transport == TRANSPORT_TCP and why:
            # Nobody was there any more: nothing of what is kept has arrived.
            c.out_at = 0
        if c.ssl != NULL:
            tls_free(c.ssl, began and not why)
            c.ssl = NULL
        close(c.fd)
        c.fd = -1
        self._hide(slot)
        self.wheel.disarm(slot)
        self._on_end(slot, began, why)
        self.upgrades.pop(slot, None)
        c.state = STATE_ENDED
        slots_add(&self.ended, slot)

    cdef void _hide(self, uint32_t slot) noexcept:
        """Let a connection be taken for no target any more."""
        self.table.forget(slot)

    cdef void _on_end(self, uint32_t slot, bint began, str why) noexcept:
        """A connection is closed. began: it had come as far as messages, or as an upgrade to them."""
        pass

    cdef void _on_refused(self, const Connection* c, str why) noexcept:
        """A peer that came in got no further than its handshake."""
        self.counters.handshake_failed += 1
        self._say("info", "connection refused", {
            "listener": c.listener, "peer": address_text(&c.peer), "reason": why}, self.layer.now)

    cdef bint has_report(self) noexcept nogil:
        return self.ended.n != 0 or self.unsent.n != 0

    cdef void report(self, uint64_t now) noexcept:
        """Tell the layer of every message that was not sent; the layer may send others meanwhile."""
        cdef Unsent taken
        cdef const uint8_t* text
        cdef uint32_t at = 0, n = 0
        while self.ended.n:
            self._reap(self.ended.at[self.ended.n - 1])
        taken = self.unsent.take()
        self.layer.now = now
        text = taken.next(&at, &n)
        while text != NULL:
            self.counters.unsent += 1
            self.layer.transport_error(text, n)
            text = taken.next(&at, &n)

    cdef void _reap(self, uint32_t slot) noexcept:
        """Keep what an ended connection had not sent for the report, and give its row back."""
        cdef Connection* c = &self.table.slab[slot]
        cdef uint32_t at = 0
        cdef uint32_t n = next_unsent(c, &at)
        while n:
            self._refuse(c.out + at - n, n)
            n = next_unsent(c, &at)
        slots_remove(&self.ended, slot)
        if c.flags & DIRTY:
            slots_remove(&self.dirty, slot)
        self.table.release(slot)

    cdef void _refuse(self, const uint8_t* data, uint32_t n) noexcept nogil:
        """Keep a message for the report, as far as there is room."""
        if not self.unsent.keep(data, n):
            self.counters.lost += 1

    # --- small things

    cdef void _watch(self, uint32_t slot, uint32_t events) noexcept nogil:
        cdef Connection* c = &self.table.slab[slot]
        epoll_set(self.epoll, EPOLL_CTL_MOD, c.fd, events, <uint64_t>c.generation << 32 | slot)

    cdef void _arm(self, uint32_t slot) noexcept nogil:
        self.wheel.arm(slot, deadline_of(&self.table.slab[slot], &self.limits))

    def _say(self, level, event, fields, uint64_t now):
        """A log line that strangers can cause: a few a second."""
        if self.log is not None and bucket_take(&self.lines, now, LINES, 4 * LINES):
            self.log(level, event, fields)

    cdef void _show(self, str direction, const Connection* c, const uint8_t* p, uint32_t n) noexcept:
        try:
            self.trace(direction, c.listener, address_host(&c.peer), c.peer.port, (<const char*>p)[:n])
        except Exception as error:
            self.trace = None
            self._say("error", "trace failed", {"error": f"{type(error).__name__}: {error}"}, self.layer.now)
