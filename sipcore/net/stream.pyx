"""Streams: what comes over connections goes to the layer message by message, what it sends goes out by them.

The connections have an epoll of their own, which the loop watches as one descriptor: a wake-up takes up to 64 of
them, reads each once into one buffer that all share, and hands every whole message on where it lies. What the layer
sends meanwhile is queued and leaves in one write for each connection. No message makes a Python object, and an idle
connection has no buffer; its memory is a row of the table, and over TLS what OpenSSL keeps (15 KiB).

Bounds, all of which a stranger can reach: connections of one source, of all unlisted ones, of all together (a new one
takes the place of an idle one, of a stranger's first); how many are accepted of one source in a second; bytes of a
begun message, and the time until it is whole; bytes that wait for a peer that does not read, and for how long; in one
wake-up the bytes read of all connections (those that went without are the first ones of the next), the steps of TLS
handshakes, and the bytes of WebSocket frames, each of which costs as much as a message of another transport however
short it is (4 us), so that calls are not delayed by a storm of them.

A peer may end its sending side and read on, over TCP. Its connection is kept while requests of it wait for their final
responses, for as long as it may be idle, and for nothing else: whoever reads on cannot be told from whoever has gone,
before he has refused what he is sent. So what is written then counts as sent a second later.

A connection that ends tells the layer of each message that it had not written in full, just as a network tells of a
datagram (`transport_error`), but never from within `send`: `report` does it, when the layer is at rest.

Long because a connection's states stand in one place: connecting, handshake, upgrade, open, ending.
"""
from libc.errno cimport (
    EAGAIN, ECONNABORTED, EINTR, EMFILE, ENFILE, ENOBUFS, ENOMEM, EPROTO, errno,
)
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc, realloc
from libc.string cimport memcpy, strerror
from posix.unistd cimport close
from sipcore.base.address cimport (
    SCOPE_FLOW, TRANSPORT_TCP, TRANSPORT_TLS, TRANSPORT_WS, TRANSPORT_WSS, Address, address_from,
    address_host, transport_number,
)
from sipcore.base.bucket cimport SourceLimiter, bucket_take
from sipcore.base.sockname cimport address_of, name_of, sockaddr, sockaddr_storage, socklen_t
from sipcore.base.wheel cimport Wheel
from sipcore.net.connection cimport (
    AGAIN, ALIASED, ANSWERS_PINGS, BLOCKED, CAME_IN, DIRTY, FINISHED, HALF, HEARD, LISTED, PINGED, PROVEN,
    STATE_CONNECTING, STATE_ENDED, STATE_ENDING, STATE_FREE, STATE_HANDSHAKE, STATE_OPEN, STATE_UPGRADE, Connection,
    is_request, keep_begun, next_unsent, note_request, note_response, queue_bytes,
)
from sipcore.net.connections cimport NO_CONNECTION, Connections
from sipcore.net.tls cimport (
    TLS_DONE, TLS_END, TLS_WANTS_READ, TLS_WANTS_WRITE, TlsContext, tls_free, tls_handshake, tls_has_more, tls_peer,
    tls_read, tls_trouble, tls_write,
)
from sipcore.stack.admission cimport ADMIT_LISTED
from sipcore.stack.forward cimport Proxy
from sipcore.stack.layer cimport Layer
from sipcore.wire.framer cimport FRAME_BAD_LENGTH, FRAME_BROKEN, FRAME_CRLF, FRAME_MESSAGE, FRAME_MORE, next_frame

cdef extern from "sockets.h" nogil:
    int MSG_DONTWAIT, MSG_NOSIGNAL, SOCK_STREAM, SOCK_NONBLOCK, SOCK_CLOEXEC, SOL_SOCKET, SO_ERROR, SHUT_WR
    int accept4(int fd, sockaddr* name, socklen_t* n, int flags)
    ssize_t recv(int fd, void* p, size_t n, int flags)
    ssize_t send(int fd, const void* p, size_t n, int flags)
    int shutdown(int fd, int how)
    int getsockopt(int fd, int level, int option, void* value, socklen_t* n)
    int sipcore_connect(const sockaddr* source, socklen_t source_n, const sockaddr* to, socklen_t to_n)

cdef extern from "sys/epoll.h" nogil:
    enum: EPOLL_CTL_ADD, EPOLL_CTL_MOD, EPOLL_CLOEXEC, EPOLLIN, EPOLLOUT, EPOLLERR, EPOLLHUP
    union epoll_data:
        uint64_t u64
    struct epoll_event:
        uint32_t events
        epoll_data data
    int epoll_create1(int flags)
    int epoll_ctl(int epoll, int what, int fd, epoll_event* event)
    int epoll_wait(int epoll, epoll_event* events, int n, int ms)

cdef enum:
    READ_BYTES = 1 << 16        # of one read, at least
    READS = 4                   # of one connection in a wake-up, where no other has something
    RECORDS = 64                # TLS records of one connection in a wake-up
    RECORD_BYTES = 1 << 14
    BYTES = 1 << 17             # read of all connections together in a wake-up, that of the last read not counted
    ACCEPTS = 16                # of one listener in a wake-up
    HANDSHAKES = 2              # steps that cost a signature, in a wake-up
    WS_READ_BYTES = 4096        # of one WebSocket connection in a wake-up
    WS_BYTES = 1 << 14          # of all of them together
    BATCH = 256                 # deadlines handled at once
    ENDING_MS = 1000            # what an ended connection has for its last words, and a peer to refuse them
    PONG_MS = 10_000            # for the answer to a ping (RFC 5626 4.4.1)
    PAUSE_MS = 200              # without a descriptor left
    REPORTED_BYTES = 1 << 20    # of messages that found no connection
    PROGRESS = 16384            # bytes that a slow peer has to take within its deadline
    FAILURES_KEPT = 4096        # targets that failed
    FIRST_PAUSE_MS = 500        # until a target that failed is tried again; doubled each time
    LONGEST_PAUSE_MS = 30_000
    LINES = 5                   # log lines a second about peers that came in
    LISTENER = 1 << 30          # marks an event of a listener

cdef bytes _PING = b"\r\n\r\n"
cdef bytes _PONG = b"\r\n"


cdef inline bint _is_tls(uint8_t transport) noexcept nogil:
    return transport == TRANSPORT_TLS or transport == TRANSPORT_WSS


cdef inline bint _is_ws(uint8_t transport) noexcept nogil:
    return transport == TRANSPORT_WS or transport == TRANSPORT_WSS


cdef void _take_out(uint32_t* slots, uint32_t* n, uint32_t slot) noexcept nogil:
    """Take a slot out of a list; the last one comes into its place."""
    cdef uint32_t i
    for i in range(n[0]):
        if slots[i] == slot:
            n[0] -= 1
            slots[i] = slots[n[0]]
            return


cdef bytes _source_of(const Address* address):
    """Whose connections are counted together: an address, of IPv6 its first half."""
    return (<const char*>address.ip)[:4 if address.family == 4 else 8]


cdef bytes _target_of(uint32_t listener, const Address* to):
    return (<const char*>to)[:sizeof(Address)] + bytes((listener,))


cdef str _text(const Address* address):
    host = address_host(address)
    return f"[{host}]:{address.port}" if address.family == 6 else f"{host}:{address.port}"


cdef class Streams:
    """The connections of a Layer's stream listeners.

    sockets: the bound, listening socket of each listener of the layer, None where it is none of a stream; transports:
    tcp, tls, ws or wss, by listener. log: callable(level, event, fields).
    """

    def __init__(self, Layer layer not None, sockets, transports, *, uint32_t connections=16384,
                 uint32_t message_limit=65535, uint32_t rate=50, log=None):
        cdef int i
        cdef StreamListener* listener
        self.layer = layer
        # The access list, where the layer has one.
        self.proxy = layer if isinstance(layer, Proxy) else None
        self.table = Connections(connections)
        self.wheel = Wheel(connections + MAX_LISTENERS, 0)
        self.rate = SourceLimiter(rate, 4 * rate, 4096)
        self.message_limit = message_limit
        self.room = <uint8_t*>malloc(message_limit + READ_BYTES + 1)
        self.dirty = <uint32_t*>calloc(connections, sizeof(uint32_t))
        self.ended = <uint32_t*>calloc(connections, sizeof(uint32_t))
        self.again = <uint32_t*>calloc(connections, sizeof(uint32_t))
        if self.room == NULL or self.dirty == NULL or self.ended == NULL or self.again == NULL:
            raise MemoryError
        self.log = log
        self.sockets = list(sockets)
        self.groups, self.sources, self.failures = {}, {}, {}
        self.contexts, self.peers, self.upgrades, self.aliases = {}, {}, {}, {}
        self.tls = [None] * len(self.sockets)
        self.epoll = epoll_create1(EPOLL_CLOEXEC)
        if self.epoll < 0:
            raise OSError(errno, "no epoll")
        for i in range(MAX_LISTENERS):
            self.listeners[i].fd = -1
        for i, sock in enumerate(self.sockets):
            listener = &self.listeners[i]
            listener.transport = <uint8_t>transport_number(transports[i])
            if sock is not None:
                host, port = sock.getsockname()[:2]
                address_from(host, port, &listener.bound)
                listener.fd = sock.fileno()
        self.configure()

    def __dealloc__(self):
        free(self.room)
        free(self.dirty)
        free(self.ended)
        free(self.again)
        free(self.refused)
        if self.epoll >= 0:
            close(self.epoll)

    def configure(self, *, tls=(), origins=(), groups=None, uint32_t per_source=100,
                  uint32_t unlisted=1000, uint32_t queue=262144, uint64_t idle=900_000, uint64_t unlisted_idle=32_000,
                  uint64_t handshake=5000, uint64_t message=5000, uint64_t write=10_000, uint64_t connect=3000,
                  uint64_t keepalive=0):
        """What holds from now on; connections stay, and those that are idle longer than they may end.

        tls: by listener, contexts for connections that come in and for those that we open, or None. origins: by
        listener, web pages that may connect. groups: the number of a group by a name that a client certificate proves.
        per_source, unlisted: most connections. queue: bytes. Times in ms.
        """
        cdef uint32_t slot
        cdef Connection* c
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
                if slot in self.peers:
                    c.group = self._group_of(self.peers[slot])
                self._arm(slot)

    def start(self):
        """Accept connections from now on."""
        cdef epoll_event event
        cdef uint32_t i
        for i in range(<uint32_t>len(self.sockets)):
            if self.listeners[i].fd >= 0:
                event.events = EPOLLIN
                event.data.u64 = LISTENER | i
                if epoll_ctl(self.epoll, EPOLL_CTL_ADD, self.listeners[i].fd, &event) != 0:
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
        cdef uint32_t slot, i, count
        cdef int n = epoll_wait(self.epoll, events, STREAM_EVENTS, 0)
        self.layer.now = now
        self.handshakes = HANDSHAKES
        self.bytes = BYTES
        self.ws_bytes = WS_BYTES
        self.reads = READS if n + <int>self.again_n <= 1 else 1
        if self.again_n:
            count, self.again_n, self.untold = self.again_n, 0, 0
            for i in range(count):
                slot = self.again[i]
                self.table.slab[slot].flags &= <uint16_t>~AGAIN
                if self.table.slab[slot].state == STATE_OPEN or self.table.slab[slot].state == STATE_UPGRADE:
                    self._read(slot, now)
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

    cdef void _accept(self, uint32_t listener, uint64_t now) noexcept:
        """Take the connections that wait at a listener."""
        cdef StreamListener* from_ = &self.listeners[listener]
        cdef sockaddr_storage name
        cdef socklen_t name_n
        cdef Address source
        cdef Connection* c
        cdef uint32_t slot
        cdef int fd
        cdef bint listed = False
        for _ in range(ACCEPTS):
            name_n = sizeof(name)
            fd = accept4(from_.fd, <sockaddr*>&name, &name_n, SOCK_NONBLOCK | SOCK_CLOEXEC)
            if fd < 0:
                if errno in (EMFILE, ENFILE, ENOBUFS, ENOMEM):
                    self._pause(listener, now)
                elif errno in (EINTR, ECONNABORTED, EPROTO):
                    continue
                return
            address_of(<sockaddr*>&name, &source)
            source.transport = from_.transport
            if not self._may_come(listener, &source, now, &listed):
                self.counters.refused += 1
                close(fd)
                continue
            slot = self.table.open()
            c = &self.table.slab[slot]
            source.scope = self.table.flow_of(slot)
            c.peer = source
            c.fd = fd
            c.transport = from_.transport
            c.listener = <uint16_t>listener
            c.flags = CAME_IN | (LISTED if listed else 0)
            c.born = c.heard = c.said = now
            self.counters.accepted += 1
            self._count(_source_of(&source), 1)
            if not listed:
                self.unlisted += 1
            self.table.index(slot)
            self._add(slot, EPOLLIN)
            if _is_tls(c.transport):
                self._begin_tls(slot, self.tls[listener], b"")
            else:
                self._on_open(slot, now)

    cdef bint _may_come(self, uint32_t listener, const Address* source, uint64_t now, bint* listed) noexcept:
        """Whether one more connection of that source is taken; makes room for it."""
        cdef uint32_t other
        cdef int group = -1
        if self.proxy is not None:
            group = self.proxy.admission.group_of(listener, source)
            if group >= 0 and self.proxy.admission.rules[group].admittance != ADMIT_LISTED:
                return False
        listed[0] = group >= 0 or self.proxy is None
        if not listed[0] and self.layer.is_banned(source, now):
            # A listed one may have calls in progress, and comes back for them.
            return False
        if not self.rate.take(source, now):
            return False
        if self.sources.get(_source_of(source), 0) >= self.limits.per_source:
            return False
        if (listed[0] or self.unlisted < self.limits.unlisted) and self.table.live < self.table.capacity:
            return True
        other = self.table.idle_longest()
        if other == NO_CONNECTION or (self.table.slab[other].flags & LISTED and not listed[0]):
            return False
        if not listed[0] and self.unlisted >= self.limits.unlisted and self.table.slab[other].flags & LISTED:
            return False
        self.counters.given_up += 1
        self._end(other, "")
        self._reap(other)
        return True

    def _pause(self, uint32_t listener, uint64_t now):
        """No descriptor is left: those that wait go on waiting for a moment."""
        cdef epoll_event event
        event.events = 0
        event.data.u64 = LISTENER | listener
        self.listeners[listener].paused = True
        epoll_ctl(self.epoll, EPOLL_CTL_MOD, self.listeners[listener].fd, &event)
        self.wheel.arm(self.table.capacity + listener, now + PAUSE_MS)
        self._say("error", "no connection accepted: no descriptor is left", {"listener": listener}, now)

    def _resume(self, uint32_t listener):
        cdef epoll_event event
        event.events = EPOLLIN
        event.data.u64 = LISTENER | listener
        self.listeners[listener].paused = False
        epoll_ctl(self.epoll, EPOLL_CTL_MOD, self.listeners[listener].fd, &event)

    cdef void _on_connected(self, uint32_t slot, uint64_t now) noexcept:
        """The network has answered a connection of ours."""
        cdef Connection* c = &self.table.slab[slot]
        cdef int error = 0
        cdef socklen_t n = sizeof(error)
        if getsockopt(c.fd, SOL_SOCKET, SO_ERROR, &error, &n) != 0:
            error = errno
        if error:
            self._end(slot, strerror(error).decode("ascii", "replace"))
            return
        self._watch(slot, EPOLLIN)
        if _is_tls(c.transport):
            name = self.layer.server_name(c.peer.scope)
            if name is None:
                self._end(slot, "the expected server name is forgotten")
                return
            self._begin_tls(slot, self.tls[c.listener], name.encode())
            if c.state == STATE_HANDSHAKE:
                self._shake(slot, now)
        else:
            self._on_open(slot, now)

    def _begin_tls(self, uint32_t slot, contexts, bytes name):
        cdef Connection* c = &self.table.slab[slot]
        cdef TlsContext context
        if contexts is None:
            self._end(slot, "the listener has no certificate")
            return
        context = contexts[0 if c.flags & CAME_IN else 1]
        c.ssl = context.connection(c.fd, name)
        if c.ssl == NULL:
            self._end(slot, "no memory")
            return
        self.contexts[slot] = context
        c.state = STATE_HANDSHAKE
        self._arm(slot)

    cdef void _shake(self, uint32_t slot, uint64_t now) noexcept:
        """One step of a TLS handshake."""
        cdef Connection* c = &self.table.slab[slot]
        cdef int result = tls_handshake(c.ssl)
        if result == TLS_WANTS_READ:
            self._watch(slot, EPOLLIN)
        elif result == TLS_WANTS_WRITE:
            self._watch(slot, EPOLLIN | EPOLLOUT)
        elif result == TLS_DONE:
            self._watch(slot, EPOLLIN)
            trouble = self._identify(slot)
            if trouble:
                self._end(slot, trouble)
            else:
                self.contexts.pop(slot, None)
                self._on_open(slot, now)
        else:
            trouble = tls_trouble(c.ssl) if result != TLS_END else "the peer ended the handshake"
            if result != TLS_END and "alert" not in trouble:
                # What the peer finds wrong with the edge, it says with an alert; this is what it has sent itself.
                self._offend(c)
            self._end(slot, trouble)

    def _identify(self, uint32_t slot):
        """Who the peer has proven to be (RFC 5922 7); what is wrong with it, or nothing."""
        cdef Connection* c = &self.table.slab[slot]
        peer = tls_peer(c.ssl)
        if c.flags & CAME_IN:
            if peer is not None:
                self.peers[slot] = peer
                if c.transport == TRANSPORT_TLS:
                    c.flags |= PROVEN
                c.group = self._group_of(peer)
                if c.group >= 0 and not c.flags & LISTED:
                    c.flags |= LISTED
                    self.unlisted -= 1
            return ""
        name, host = self.layer.server_name(c.peer.scope), address_host(&c.peer)
        if name is None:
            return "the expected server name is forgotten"
        if peer is None or not peer.proves(name, host):
            return f"certificate is for {peer}, not for {name or host}"
        return ""

    def _group_of(self, peer):
        """The group that a client certificate proves, -1: none."""
        names = (*peer.domains, *map(str.lower, peer.names))
        return next((self.groups[name] for name in names if name in self.groups), -1)

    cdef void _on_open(self, uint32_t slot, uint64_t now) noexcept:
        cdef Connection* c = &self.table.slab[slot]
        c.state = STATE_UPGRADE if _is_ws(c.transport) else STATE_OPEN
        c.heard = c.said = now
        if not c.flags & CAME_IN:
            self.failures.pop(_target_of(c.listener, &c.peer), None)
            c.born = now
        elif _is_ws(c.transport):
            # The library is loaded where somebody comes by WebSocket, and nowhere else.
            from sipcore.net.websocket import WebSocket
            self.upgrades[slot] = WebSocket(self.message_limit, self.origins[c.listener])
            c.flags |= ANSWERS_PINGS
        if c.out_n:
            self._mark(slot)
        self._arm(slot)
        if c.ssl != NULL and tls_has_more(c.ssl):
            # The first message came with the last words of the handshake.
            self._read(slot, now)

    cdef void _read(self, uint32_t slot, uint64_t now) noexcept:
        """Read a few times, as long as there is something."""
        cdef Connection* c = &self.table.slab[slot]
        cdef ssize_t n
        cdef uint32_t reads = 0, most = RECORDS if c.ssl != NULL else self.reads, room = READ_BYTES
        if _is_ws(c.transport):
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
            elif _is_ws(c.transport):
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
            self.again[self.again_n] = slot
            self.again_n += 1
            self.untold += c.ssl != NULL and tls_has_more(c.ssl)

    cdef void _on_last_word(self, uint32_t slot, uint64_t now) noexcept:
        """A peer that came in has ended its sending side. It may still be told what it is owed (RFC 3261 18.2.2), and
        is sent no request any more: no answer could come."""
        cdef Connection* c = &self.table.slab[slot]
        c.flags |= HALF
        self._watch(slot, EPOLLOUT if c.flags & BLOCKED else 0)
        self.table.forget(slot)
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
        if _is_ws(c.transport):
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

    cdef void _claim(self, uint32_t slot, uint16_t port) noexcept:
        """The peer, who has shown a certificate, says that it is reached at that port by its connection (RFC 5923 7.2).

        At its own address alone, and only by who means a name that the certificate carries: who claims a port of
        somebody else gets nothing of his. A newer connection of the same peer takes the place of an older one.
        """
        cdef Connection* c = &self.table.slab[slot]
        c.alias = c.peer
        c.alias.port = port
        c.alias.scope = 0
        key = _target_of(c.listener, &c.alias)
        other = self.aliases.get(key)
        if other is not None:
            if self.peers[other] != self.peers[slot]:
                c.alias.port = 0
                return
            self._disclaim(other)
        self.aliases[key] = slot

    def _disclaim(self, uint32_t slot):
        """Take a connection for no target any more."""
        cdef Connection* c = &self.table.slab[slot]
        self.table.forget(slot)
        c.alias.scope = 0
        del self.aliases[_target_of(c.listener, &c.alias)]
        c.flags &= <uint16_t>~ALIASED
        c.alias.port = 0

    cdef uint32_t _reuse(self, uint32_t listener, const Address* to) noexcept:
        """A connection that came in and leads there: its peer has proven to be who is meant (RFC 5923 9, RFC 5922)."""
        cdef Address target = to[0]
        cdef Connection* c
        cdef uint32_t slot
        target.scope = 0
        found = self.aliases.get(_target_of(listener, &target))
        name = self.layer.server_name(to.scope)
        if found is None or name is None or not self.peers[found].proves(name, address_host(to)):
            return NO_CONNECTION
        slot = found
        c = &self.table.slab[slot]
        if not c.flags & ALIASED:
            c.alias.scope = to.scope
            c.flags |= ALIASED
            self.table.index(slot)
            self.counters.reused += 1
        return slot

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
            self.dirty[self.dirty_n] = slot
            self.dirty_n += 1

    cdef void flush(self) noexcept:
        """Write what is queued, each connection once."""
        cdef uint32_t slot, i, count = self.dirty_n
        cdef Connection* c
        self.dirty_n = 0
        for i in range(count):
            slot = self.dirty[i]
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

    cdef uint32_t _connect(self, uint32_t listener, const Address* to) noexcept:
        """Begin a connection to a target; NO_CONNECTION where none can be had now."""
        cdef sockaddr_storage name, bound
        cdef StreamListener* from_ = &self.listeners[listener]
        cdef Address source = from_.bound, target
        cdef Connection* c
        cdef uint32_t slot
        cdef int fd
        if to.scope & SCOPE_FLOW or to.port == 0 or _is_ws(from_.transport) or from_.fd < 0 \
                or to.transport != from_.transport or to.family != source.family:
            return NO_CONNECTION
        key = _target_of(listener, to)
        failed = self.failures.get(key)
        if failed is not None and failed[1] > self.layer.now:
            return NO_CONNECTION
        if self.table.live == self.table.capacity:
            slot = self.table.idle_longest()
            if slot == NO_CONNECTION:
                return NO_CONNECTION
            self.counters.given_up += 1
            self._end(slot, "")
            self._reap(slot)
        source.port = 0
        target = to[0]
        if _is_tls(target.transport):
            target.scope = 0        # a server name's number, no interface
        fd = sipcore_connect(<sockaddr*>&bound, name_of(&source, <sockaddr*>&bound),
                             <sockaddr*>&name, name_of(&target, <sockaddr*>&name))
        if fd < 0:
            self.counters.failed += 1
            self._on_failure(key, listener, _text(to), strerror(-fd).decode("ascii", "replace"))
            return NO_CONNECTION
        slot = self.table.open()
        c = &self.table.slab[slot]
        c.peer = to[0]
        c.fd = fd
        c.transport = to.transport
        c.listener = <uint16_t>listener
        c.state = STATE_CONNECTING
        c.flags = LISTED
        c.born = c.heard = c.said = self.layer.now
        self.counters.opened += 1
        self.table.index(slot)
        self._add(slot, EPOLLOUT)
        self._arm(slot)
        return slot

    def _on_failure(self, key, listener, target, why):
        """A target failed: it is tried again only after a while, which grows."""
        count = self.failures.pop(key, (0, 0))[0]
        pause = min(<uint64_t>LONGEST_PAUSE_MS, <uint64_t>FIRST_PAUSE_MS << min(count, 6))
        self.failures[key] = (count + 1, self.layer.now + pause)
        if len(self.failures) > FAILURES_KEPT:
            del self.failures[next(iter(self.failures))]
        if self.log is not None:
            self.log("warning", "target failed", {"listener": listener, "target": target, "reason": why,
                                                  "again_in": pause / 1000})

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

    cdef uint64_t _due(self, const Connection* c) noexcept nogil:
        """When something has to happen to a connection."""
        cdef uint64_t at
        if c.state == STATE_CONNECTING or (c.state == STATE_HANDSHAKE and not c.flags & CAME_IN):
            return c.born + self.limits.connect
        if c.state == STATE_HANDSHAKE or c.state == STATE_UPGRADE:
            return c.born + self.limits.handshake
        if c.state == STATE_ENDING:
            return c.born + ENDING_MS
        at = max(c.heard, c.said) + (self.limits.idle if c.flags & LISTED else self.limits.unlisted_idle)
        if not c.flags & (LISTED | HEARD):
            at = min(at, c.born + self.limits.unlisted_idle)
        if c.waiting:
            at = min(at, c.waiting + self.limits.message)
        if c.stalled:
            at = min(at, c.stalled + self.limits.write)
        if self._is_kept(c):
            at = min(at, max(c.heard, c.said) + (
                PONG_MS if c.flags & PINGED and c.flags & ANSWERS_PINGS else self.limits.keepalive))
        return at

    cdef bint _is_kept(self, const Connection* c) noexcept nogil:
        """Whether its peer is pinged: a target, or a WebSocket client that is none of the strangers."""
        return self.limits.keepalive != 0 and c.flags & LISTED and (not c.flags & CAME_IN or _is_ws(c.transport))

    cdef bint _queue_ping(self, uint32_t slot) noexcept:
        cdef bytes out = _PING
        if _is_ws(self.table.slab[slot].transport):
            try:
                upgrade = self.upgrades[slot]
                upgrade.ping()
                out = upgrade.to_send()
            except Exception as error:
                self._end(slot, f"WebSocket: {type(error).__name__}: {error}")
                return False
        return self._queue(slot, <const uint8_t*><const char*>out, <uint32_t>len(out))

    cdef void _arm(self, uint32_t slot) noexcept nogil:
        self.wheel.arm(slot, self._due(&self.table.slab[slot]))

    cdef void _on_due(self, uint32_t slot, uint64_t now) noexcept:
        cdef Connection* c = &self.table.slab[slot]
        if self._due(c) > now:
            self._arm(slot)
            return
        if c.state == STATE_OPEN:
            if c.stalled and c.stalled + self.limits.write <= now:
                self.counters.stalled_closed += 1
                self._end(slot, "does not read what it is sent")
            elif c.waiting and c.waiting + self.limits.message <= now:
                self.counters.slow_closed += 1
                self._end(slot, "a message that was begun did not come to its end")
            elif self._is_kept(c):
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
            if not c.flags & CAME_IN:
                self.table.forget(slot)
            elif c.alias.port:
                self._disclaim(slot)
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
        if c.alias.port:
            self._disclaim(slot)
        self.table.forget(slot)
        self.wheel.disarm(slot)
        if c.flags & CAME_IN:
            self._count(_source_of(&c.peer), -1)
            if not c.flags & LISTED:
                self.unlisted -= 1
            if not began:
                self._on_refused(c, why)
        elif not began:
            self.counters.failed += 1
            self._on_failure(_target_of(c.listener, &c.peer), c.listener, _text(&c.peer), why)
        elif why:
            self._say("info", "connection to target ended", {
                "listener": c.listener, "target": _text(&c.peer), "reason": why}, self.layer.now)
        self.contexts.pop(slot, None)
        self.peers.pop(slot, None)
        self.upgrades.pop(slot, None)
        c.state = STATE_ENDED
        self.ended[self.ended_n] = slot
        self.ended_n += 1

    cdef void _on_refused(self, const Connection* c, str why) noexcept:
        """A peer that came in got no further than its handshake."""
        self.counters.handshake_failed += 1
        self._say("info", "connection refused", {
            "listener": c.listener, "peer": _text(&c.peer), "reason": why}, self.layer.now)

    cdef void _offend(self, const Connection* c) noexcept:
        """A strike against whoever sends what is none of the protocol, unless it is on the access list: a peer's
        mistake must not cost it its calls."""
        if c.flags & CAME_IN and not c.flags & LISTED and self.proxy is not None:
            self.proxy._offend(&c.peer)

    cdef void report(self, uint64_t now) noexcept:
        """Tell the layer of every message that was not sent; the layer may send others meanwhile."""
        cdef uint32_t at = 0, n, count
        cdef uint8_t* texts
        while self.ended_n:
            self._reap(self.ended[self.ended_n - 1])
        texts, count = self.refused, self.refused_n
        self.refused = NULL
        self.refused_n = self.refused_capacity = 0
        self.layer.now = now
        while at < count:
            memcpy(&n, texts + at, sizeof(n))
            self.counters.unsent += 1
            self.layer.transport_error(texts + at + sizeof(n), n)
            at += <uint32_t>sizeof(n) + n + 1
        free(texts)

    cdef void _reap(self, uint32_t slot) noexcept:
        """Keep what an ended connection had not sent for the report, and give its row back."""
        cdef Connection* c = &self.table.slab[slot]
        cdef uint32_t at = 0
        cdef uint32_t n = next_unsent(c, &at)
        while n:
            self._refuse(c.out + at - n, n)
            n = next_unsent(c, &at)
        _take_out(self.ended, &self.ended_n, slot)
        if c.flags & DIRTY:
            _take_out(self.dirty, &self.dirty_n, slot)
        if c.flags & AGAIN:
            _take_out(self.again, &self.again_n, slot)
        self.table.release(slot)

    cdef void _refuse(self, const uint8_t* data, uint32_t n) noexcept nogil:
        """Keep a message for the report, as far as there is room; a zero stands behind it."""
        cdef uint32_t size = sizeof(n) + n + 1, capacity = self.refused_capacity
        cdef uint8_t* room
        if self.refused_n + size > capacity:
            capacity = max(2 * capacity, <uint32_t>4096)
            while capacity < self.refused_n + size:
                capacity *= 2
            room = <uint8_t*>realloc(self.refused, capacity) if capacity <= REPORTED_BYTES else NULL
            if room == NULL:
                self.counters.lost += 1
                return
            self.refused = room
            self.refused_capacity = capacity
        memcpy(self.refused + self.refused_n, &n, sizeof(n))
        memcpy(self.refused + self.refused_n + sizeof(n), data, n)
        self.refused[self.refused_n + size - 1] = 0
        self.refused_n += size

    # --- small things

    def _count(self, bytes source, int change):
        count = self.sources.get(source, 0) + change
        if count:
            self.sources[source] = count
        else:
            self.sources.pop(source, None)

    def _add(self, uint32_t slot, uint32_t events):
        cdef epoll_event event
        cdef Connection* c = &self.table.slab[slot]
        event.events = events
        event.data.u64 = <uint64_t>c.generation << 32 | slot
        epoll_ctl(self.epoll, EPOLL_CTL_ADD, c.fd, &event)

    cdef void _watch(self, uint32_t slot, uint32_t events) noexcept nogil:
        cdef epoll_event event
        cdef Connection* c = &self.table.slab[slot]
        event.events = events
        event.data.u64 = <uint64_t>c.generation << 32 | slot
        epoll_ctl(self.epoll, EPOLL_CTL_MOD, c.fd, &event)

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
