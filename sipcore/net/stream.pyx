"""Streams: what comes over connections goes to the layer message by message, what it sends goes out by them.

The connections have an epoll of their own, which the loop watches as one descriptor: a wake-up takes up to 64 of
them. An idle connection has no buffer; its memory is a row of the table, and over TLS what OpenSSL keeps (15 KiB).

What a connection goes through stands in one file each, each a class on top of the one before: what goes out by it and
how it ends (outlet), what comes (inlet), who its peer is (peers), how it begins (openings). This one hands events,
messages to be sent and deadlines to them.

Bounds, all of which a stranger can reach: how connections begin (openings); bytes of a begun message, and the time
until it is whole; bytes that wait for a peer that does not read, and for how long; the bytes read in one wake-up
(inlet), and the steps of TLS handshakes.
"""
from libc.errno cimport errno
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from sipcore.base.address cimport SCOPE_FLOW, TRANSPORT_TLS, Address, is_websocket
from sipcore.net.connection cimport (
    ANSWERS_PINGS, BLOCKED, CAME_IN, HALF, PINGED, STATE_CONNECTING, STATE_ENDED, STATE_ENDING, STATE_FREE,
    STATE_HANDSHAKE, STATE_OPEN, Connection, is_request, note_response,
)
from sipcore.net.connections cimport NO_CONNECTION
from sipcore.net.deadline cimport deadline_of, is_kept
from sipcore.net.epoll cimport (
    EPOLL_CTL_ADD, EPOLLERR, EPOLLHUP, EPOLLIN, EPOLLOUT, epoll_event, epoll_set, epoll_wait,
)
from sipcore.net.openings cimport LISTENER, Openings
from sipcore.net.outlet cimport StreamCounters
from sipcore.net.peers cimport named_authorities

cdef enum:
    HANDSHAKES = 2              # steps that cost a signature, in a wake-up
    BATCH = 256                 # deadlines handled at once

cdef bytes _PING = b"\r\n\r\n"


cdef class Streams(Openings):
    """The connections of a Layer's stream listeners.

    sockets: the bound, listening socket of each listener of the layer, None where it is none of a stream; transports:
    tcp, tls, ws or wss, by listener. log: callable(level, event, fields).
    """

    def __init__(self, layer not None, sockets, transports, *, connections=16384, message_limit=65535, rate=50,
                 log=None):
        self.sockets = list(sockets)
        self.configure()

    def configure(self, *, tls=(), origins=(), groups=None, uint32_t per_source=100,
                  uint32_t unlisted=1000, uint32_t queue=262144, uint64_t idle=900_000, uint64_t unlisted_idle=32_000,
                  uint64_t handshake=5000, uint64_t message=5000, uint64_t write=10_000, uint64_t connect=3000,
                  uint64_t keepalive=0):
        """What holds from now on; connections stay, but those that are idle longer than they may, or denied now, end.

        tls: by listener, contexts for connections that come in and for those that we open, or None. origins: by
        listener, web pages that may connect. groups: the number of a group by a name that a certificate proves.
        per_source, unlisted: most connections. queue: bytes. Times in ms.
        """
        cdef uint32_t slot
        cdef Connection* c
        before = [named_authorities(one) for one in self.tls or ()]
        self.tls = [*tls, *[None] * (len(self.sockets) - len(tls))]
        self.origins = [*origins, *[()] * (len(self.sockets) - len(origins))]
        self.groups = {} if groups is None else dict(groups)
        self.limits.per_source = per_source
        self.limits.unlisted = unlisted
        self.limits.queue = queue
        self.limits.idle = idle
        self.limits.unlisted_idle = unlisted_idle
        self.limits.handshake = handshake
        self.limits.message = message
        self.limits.write = write
        self.limits.connect = connect
        self.limits.keepalive = keepalive
        for slot in range(self.table.fresh):
            c = &self.table.slab[slot]
            if c.state != STATE_FREE and c.state != STATE_ENDED:
                self._judge(slot, before[c.listener])
                if c.state != STATE_ENDED:
                    self._arm(slot)

    def start(self):
        """Accept connections from now on."""
        cdef uint32_t i
        for i in range(<uint32_t>len(self.sockets)):
            if self.listeners[i].fd >= 0 and epoll_set(
                    self.epoll, EPOLL_CTL_ADD, self.listeners[i].fd, EPOLLIN, LISTENER | i) != 0:
                raise OSError(errno, "listening socket not watched")

    def stop(self, uint64_t now):
        """Write what can be written at once, and end all connections."""
        cdef uint32_t slot
        self.flush()
        for slot in range(self.table.fresh):
            if self.table.slab[slot].state != STATE_FREE:
                self._end(slot, "")
        self.report(now)

    def close(self):
        for sock in self.sockets:
            if sock is not None:
                sock.close()

    def set_trace(self, trace):
        """Show every message to trace(direction, listener, host, port, bytes); None ends it."""
        self.trace = trace

    def statistics(self):
        """Counters and gauges by name."""
        cdef StreamCounters* n = &self.counters
        return {
            "connections": self.table.live, "connections_unlisted": self.unlisted,
            "connections_accepted": n.accepted, "connections_opened": n.opened, "connections_refused": n.refused,
            "connections_given_up": n.given_up, "connections_failed": n.failed,
            "handshakes_failed": n.handshake_failed, "connections_idle": n.idle_closed,
            "connections_slow": n.slow_closed, "connections_stalled": n.stalled_closed,
            "framing_faults": n.framing_faults, "stream_messages_in": n.messages_in,
            "stream_messages_out": n.messages_out, "stream_pings": n.pings, "connections_reused": n.reused,
            "stream_unsent": n.unsent, "stream_lost": n.lost,
        }

    # --- in

    cdef int receive(self, uint64_t now) noexcept:
        """Take what the connections have, of at most STREAM_EVENTS of them; returns how many events there were."""
        cdef epoll_event events[STREAM_EVENTS]
        cdef uint32_t slot, i
        cdef int n = epoll_wait(self.epoll, events, STREAM_EVENTS, 0)
        self.layer.now = now
        self.handshakes = HANDSHAKES
        self._begin_turn(<uint32_t>max(n, 0), now)
        for i in range(<uint32_t>max(n, 0)):
            slot = <uint32_t>events[i].data.u64
            if slot & LISTENER:
                self._accept(slot & ~<uint32_t>LISTENER, now)
            elif self.table.slab[slot].generation == <uint32_t>(events[i].data.u64 >> 32):
                self._on_event(slot, events[i].events, now)
        return n

    cdef void _on_event(self, uint32_t slot, uint32_t events, uint64_t now) noexcept:
        cdef Connection* c = &self.table.slab[slot]
        if c.state == STATE_CONNECTING:
            self._on_connected(slot, now)
        elif c.state == STATE_HANDSHAKE:
            # What waits for a later wake-up is told again then.
            if self.handshakes:
                self.handshakes -= 1
                self._shake(slot, now)
        elif c.state != STATE_FREE and c.state != STATE_ENDED:
            if events & EPOLLOUT and c.flags & BLOCKED:
                c.flags &= <uint16_t>~BLOCKED
                self._watch(slot, 0 if c.flags & HALF else EPOLLIN)
                self._mark(slot)
            if c.flags & HALF:
                if events & (EPOLLHUP | EPOLLERR):
                    self._end(slot, "connection lost")
            elif events & (EPOLLIN | EPOLLHUP | EPOLLERR):
                self._read(slot, now)

    # --- out

    cdef void send(self, uint32_t listener, const Address* to, const uint8_t* data, uint32_t n) noexcept:
        """Queue a message for a peer, over the connection that is there or a new one; `flush` writes it.

        Nothing comes back from here: what cannot be sent is told by `report`.
        """
        cdef uint32_t slot = self.table.find(listener, to)
        cdef Connection* c
        cdef bytes frame
        if slot == NO_CONNECTION and to.transport == TRANSPORT_TLS and not to.scope & SCOPE_FLOW and self.aliases:
            slot = self._reuse(listener, to)
        if slot == NO_CONNECTION:
            slot = self._connect(listener, to)
        if slot == NO_CONNECTION:
            self._refuse(data, n)
            return
        c = &self.table.slab[slot]
        if c.flags & HALF and is_request(data, n):
            self._refuse(data, n)
            return
        if self.trace is not None:
            self._show("out", c, data, n)
        if is_websocket(c.transport):
            try:
                upgrade = self.upgrades.get(slot)
                if upgrade is None or not upgrade.writable:
                    # Its handshake is under way, or it is about to end.
                    self._refuse(data, n)
                    return
                upgrade.send((<const char*>data)[:n])
                frame = upgrade.to_send()
            except Exception as error:
                self._refuse(data, n)
                self._end(slot, f"WebSocket: {type(error).__name__}: {error}")
                return
            if not self._queue(slot, <const uint8_t*><const char*>frame, <uint32_t>len(frame)):
                self._refuse(data, n)
                return
        elif not self._queue(slot, data, n):
            self._refuse(data, n)
            return
        self.counters.messages_out += 1
        if note_response(c, data, n) and c.flags & HALF:
            self._finish(slot, self.layer.now)

    # --- time

    cdef uint64_t next_deadline(self) noexcept nogil:
        return self.wheel.next_deadline()

    cdef void expire(self, uint64_t now) noexcept:
        cdef uint32_t ids[BATCH]
        cdef int n, i
        n = self.wheel.expire(now, ids, BATCH)
        for i in range(n):
            if ids[i] >= self.table.capacity:
                self._resume(ids[i] - self.table.capacity)
            elif self.table.slab[ids[i]].state != STATE_FREE and self.table.slab[ids[i]].state != STATE_ENDED:
                self._on_due(ids[i], now)

    cdef void _on_due(self, uint32_t slot, uint64_t now) noexcept:
        cdef Connection* c = &self.table.slab[slot]
        if deadline_of(c, &self.limits) > now:
            self._arm(slot)
            return
        if c.state == STATE_OPEN:
            if c.stalled and c.stalled + self.limits.write <= now:
                self.counters.stalled_closed += 1
                self._end(slot, "does not read what it is sent")
            elif c.waiting and c.waiting + self.limits.message <= now:
                self.counters.slow_closed += 1
                self._end(slot, "a message that was begun did not come to its end")
            elif is_kept(c, &self.limits):
                if c.flags & PINGED and c.flags & ANSWERS_PINGS:
                    self._end(slot, "no answer to a keepalive")
                    return
                c.flags |= PINGED
                c.said = now
                if self._queue_ping(slot):
                    self.counters.pings += 1
                    self._arm(slot)
            else:
                self.counters.idle_closed += 1
                self._end(slot, "")
        elif c.state == STATE_ENDING:
            self._end(slot, "")
        else:
            self.counters.slow_closed += c.flags & CAME_IN != 0
            self._end(slot, "not within its time")

    cdef bint _queue_ping(self, uint32_t slot) noexcept:
        cdef bytes out = _PING
        if is_websocket(self.table.slab[slot].transport):
            try:
                upgrade = self.upgrades[slot]
                upgrade.ping()
                out = upgrade.to_send()
            except Exception as error:
                self._end(slot, f"WebSocket: {type(error).__name__}: {error}")
                return False
        return self._queue(slot, <const uint8_t*><const char*>out, <uint32_t>len(out))
