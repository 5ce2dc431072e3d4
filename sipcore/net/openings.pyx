"""How connections begin.

Those that come in: a stranger can reach how many there are of one source, of all unlisted ones, of all together (a new
one takes the place of an idle one, of a stranger's first), and how many are accepted of one source in a second.

Those to targets: a target that failed is tried again after a while, which grows with each failure in a row.
"""
from libc.errno cimport ECONNABORTED, EINTR, EMFILE, ENFILE, ENOBUFS, ENOMEM, EPROTO, errno
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport strerror
from posix.unistd cimport close
from sipcore.base.address cimport SCOPE_FLOW, Address, address_from, is_secure, is_websocket, transport_number
from sipcore.base.bucket cimport SourceLimiter
from sipcore.base.sockname cimport address_of, name_of, sockaddr, sockaddr_storage, socklen_t
from sipcore.net.connection cimport CAME_IN, LISTED, STATE_CONNECTING, Connection
from sipcore.net.connections cimport NO_CONNECTION, source_key, target_key
from sipcore.net.epoll cimport EPOLL_CTL_ADD, EPOLL_CTL_MOD, EPOLLIN, EPOLLOUT, epoll_set
from sipcore.net.outlet cimport address_text
from sipcore.net.peers cimport Peers, is_heard
from sipcore.stack.admission cimport ADMIT_LISTED
from sipcore.stack.listener cimport MAX_LISTENERS

cdef extern from "sockets.h" nogil:
    int SOCK_NONBLOCK, SOCK_CLOEXEC
    int accept4(int fd, sockaddr* name, socklen_t* n, int flags)
    int sipcore_connect(const sockaddr* source, socklen_t source_n, const sockaddr* to, socklen_t to_n)

cdef enum:
    ACCEPTS = 16                # of one listener in a wake-up
    PAUSE_MS = 200              # without a descriptor left
    FAILURES_KEPT = 4096        # targets that failed
    FIRST_PAUSE_MS = 500        # until a target that failed is tried again; doubled each time
    LONGEST_PAUSE_MS = 30_000


cdef class Openings(Peers):
    """sockets: the bound, listening socket of each listener of the layer, None where it is none of a stream;
    transports: tcp, tls, ws or wss, by listener. rate: connections of one source in a second."""

    def __cinit__(self, layer, sockets, transports, *, uint32_t rate=50, **_):
        cdef StreamListener* listener
        cdef int i
        self.rate = SourceLimiter(rate, 4 * rate, 4096)
        self.sources, self.failures = {}, {}
        for i in range(MAX_LISTENERS):
            self.listeners[i].fd = -1
        for i, sock in enumerate(sockets):
            listener = &self.listeners[i]
            listener.transport = <uint8_t>transport_number(transports[i])
            if sock is not None:
                host, port = sock.getsockname()[:2]
                address_from(host, port, &listener.bound)
                listener.fd = sock.fileno()

    # --- those that come in

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
            self._count(&source, 1)
            if not listed:
                self.unlisted += 1
            self.table.index(slot)
            self._add(slot, EPOLLIN)
            if is_secure(c.transport):
                self._begin_tls(slot, self.tls[listener], b"")
            else:
                self._on_open(slot, now)

    cdef bint _may_come(self, uint32_t listener, const Address* source, uint64_t now, bint* listed) noexcept:
        """Whether one more connection of that source is taken; makes room for it."""
        cdef uint32_t other
        cdef int admittance = self._admit(listener, source)
        if not is_heard(admittance):
            return False
        listed[0] = admittance == ADMIT_LISTED
        if not listed[0] and self.layer.is_banned(source, now):
            # A listed one may have calls in progress, and comes back for them.
            return False
        if not self.rate.take(source, now):
            return False
        if self.sources.get(source_key(source), 0) >= self.limits.per_source:
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

    cdef void _pause(self, uint32_t listener, uint64_t now) noexcept:
        """No descriptor is left: those that wait go on waiting for a moment."""
        self.listeners[listener].paused = True
        epoll_set(self.epoll, EPOLL_CTL_MOD, self.listeners[listener].fd, 0, LISTENER | listener)
        self.wheel.arm(self.table.capacity + listener, now + PAUSE_MS)
        self._say("error", "no connection accepted: no descriptor is left", {"listener": listener}, now)

    cdef void _resume(self, uint32_t listener) noexcept:
        self.listeners[listener].paused = False
        epoll_set(self.epoll, EPOLL_CTL_MOD, self.listeners[listener].fd, EPOLLIN, LISTENER | listener)

    cdef void _count(self, const Address* source, int change) noexcept:
        key = source_key(source)
        count = self.sources.get(key, 0) + change
        if count:
            self.sources[key] = count
        else:
            self.sources.pop(key, None)

    # --- those to targets

    cdef uint32_t _connect(self, uint32_t listener, const Address* to) noexcept:
        """Begin a connection to a target; NO_CONNECTION where none can be had now."""
        cdef sockaddr_storage name, bound
        cdef StreamListener* from_ = &self.listeners[listener]
        cdef Address source = from_.bound, target
        cdef Connection* c
        cdef uint32_t slot
        cdef int fd
        if to.scope & SCOPE_FLOW or to.port == 0 or is_websocket(from_.transport) or from_.fd < 0 \
                or to.transport != from_.transport or to.family != source.family:
            return NO_CONNECTION
        key = target_key(listener, to)
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
        if is_secure(target.transport):
            target.scope = 0        # a server name's number, no interface
        fd = sipcore_connect(<sockaddr*>&bound, name_of(&source, <sockaddr*>&bound),
                             <sockaddr*>&name, name_of(&target, <sockaddr*>&name))
        if fd < 0:
            self.counters.failed += 1
            self._on_failure(key, listener, address_text(to), strerror(-fd).decode("ascii", "replace"))
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

    # --- both

    cdef void _add(self, uint32_t slot, uint32_t events) noexcept nogil:
        cdef Connection* c = &self.table.slab[slot]
        epoll_set(self.epoll, EPOLL_CTL_ADD, c.fd, events, <uint64_t>c.generation << 32 | slot)

    cdef void _on_open(self, uint32_t slot, uint64_t now) noexcept:
        cdef Connection* c = &self.table.slab[slot]
        if not c.flags & CAME_IN:
            self.failures.pop(target_key(c.listener, &c.peer), None)
        Peers._on_open(self, slot, now)

    cdef void _on_end(self, uint32_t slot, bint began, str why) noexcept:
        cdef Connection* c = &self.table.slab[slot]
        if c.flags & CAME_IN:
            self._count(&c.peer, -1)
            if not c.flags & LISTED:
                self.unlisted -= 1
            if not began:
                self._on_refused(c, why)
        elif not began:
            self.counters.failed += 1
            self._on_failure(target_key(c.listener, &c.peer), c.listener, address_text(&c.peer), why)
        elif why:
            self._say("info", "connection to target ended", {
                "listener": c.listener, "target": address_text(&c.peer), "reason": why}, self.layer.now)
        Peers._on_end(self, slot, began, why)
