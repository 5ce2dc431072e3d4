"""UDP in batches: recvmmsg into fixed buffers, each datagram taken to its end by the layer.

What batching saves is wake-ups and passes through the loop, not the kernel's cost of a packet. The buffers are
one byte longer than the message limit, so that an oversize datagram is seen as one, and one more for the byte
behind the message that the index may read.
"""
from libc.errno cimport EHOSTDOWN, EHOSTUNREACH, ENETUNREACH, ECONNREFUSED, ENOPROTOOPT, EPROTO, errno
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memset
from posix.time cimport CLOCK_REALTIME, clock_gettime, timespec
from sipcore.base.address cimport Address, address_host
from sipcore.base.sockname cimport address_of, sockaddr, sockaddr_storage
from sipcore.net.backlog cimport Backlog, Waiting, begins_something
from sipcore.stack.layer cimport Layer

import socket as sockets

cdef extern from * nogil:
    void __builtin_prefetch(const void* address)

cdef enum:
    ERRORS_AT_ONCE = 64
    LOOK_MS = 50
    ASK_MS = 10
    LONGEST_WAIT_NS = 60000000000
    IP_RECVERR = 11
    IPV6_RECVERR = 25
    SO_RCVBUFFORCE = 33
    SO_SNDBUFFORCE = 32


def bind_udp(str host not None, int port, *, int buffer_bytes=4 << 20, int send_buffer_bytes=0):
    """A non-blocking UDP socket with sized buffers and its error queue on. OSError says what could not be bound.

    buffer_bytes: for receiving, and for sending where send_buffer_bytes is 0; beyond the system's maximum only
    with CAP_NET_ADMIN. Without it the kernel gives what it may.
    """
    family = sockets.AF_INET6 if ":" in host else sockets.AF_INET
    sock = sockets.socket(family, sockets.SOCK_DGRAM | sockets.SOCK_NONBLOCK | sockets.SOCK_CLOEXEC)
    try:
        for force, plain, size in ((SO_RCVBUFFORCE, sockets.SO_RCVBUF, buffer_bytes),
                                   (SO_SNDBUFFORCE, sockets.SO_SNDBUF, send_buffer_bytes or buffer_bytes)):
            try:
                sock.setsockopt(sockets.SOL_SOCKET, force, size)
            except PermissionError:
                sock.setsockopt(sockets.SOL_SOCKET, plain, size)
        if family == sockets.AF_INET6:
            sock.setsockopt(sockets.IPPROTO_IPV6, sockets.IPV6_V6ONLY, 1)
            sock.setsockopt(sockets.IPPROTO_IPV6, IPV6_RECVERR, 1)
        else:
            sock.setsockopt(sockets.IPPROTO_IP, IP_RECVERR, 1)
        sock.bind((host, port))
    except OSError as error:
        sock.close()
        raise OSError(error.errno, f"cannot bind udp:{host}:{port}: {error.strerror}") from None
    return sock


cdef class UdpSocket:
    """A bound socket that feeds a Layer. sock: from bind_udp; listener: its number at the layer."""

    def __cinit__(self, sock, int listener, Layer layer not None, uint32_t message_limit=65535):
        cdef int i
        self.socket = sock
        self.fd = sock.fileno()
        self.listener = <uint32_t>listener
        self.layer = layer
        self.backlog = Backlog()
        self.stride = (min(message_limit, <uint32_t>65535) + 2 + 63) & ~<uint32_t>63
        self.buffers = <uint8_t*>calloc(UDP_BATCH, self.stride)
        self.names = <sockaddr_storage*>calloc(UDP_BATCH, sizeof(sockaddr_storage))
        if self.buffers == NULL or self.names == NULL:
            raise MemoryError
        for i in range(UDP_BATCH):
            self.vectors[i].iov_base = self.buffers + i * self.stride
            self.vectors[i].iov_len = self.stride - 1
            self.received[i].msg_hdr.msg_iov = &self.vectors[i]
            self.received[i].msg_hdr.msg_iovlen = 1
            self.received[i].msg_hdr.msg_name = &self.names[i]

        # From here on the kernel notes when it takes a datagram in.
        sipcore_stamped_ns(self.fd)
        self.known_drops = sipcore_socket_drops(self.fd)

    def __dealloc__(self):
        free(self.buffers)
        free(self.names)

    @property
    def address(self):
        """(host, port) that the socket is bound to."""
        return self.socket.getsockname()[:2]

    @property
    def drops(self):
        """Datagrams that the kernel dropped because the receive buffer was full; -1 where it does not tell."""
        return sipcore_socket_drops(self.fd)

    def close(self):
        self.socket.close()

    cdef int receive(self, uint64_t now, object trace) noexcept:
        """Take one batch; returns how many datagrams came. `shaken` says whether an error waits."""
        cdef int i, n
        cdef Address source
        cdef uint8_t* data
        cdef uint32_t waited
        cdef const Waiting* first
        cdef bint behind, asking = now - self.asked >= ASK_MS
        n = self._take(0, 1 if asking and self.crowded else UDP_BATCH)
        if n == 0:
            return 0
        asking &= n == 1
        if asking:
            # Of the oldest one, while it is the one that was read last: where several came in the batch before, one is
            # read alone. Who was kept away for longer than ASK_MS always asks; more often it would cost more than it
            # tells.
            self.asked = now
            self.wait = self._waited()
            if self.crowded:
                n += self._take(1, UDP_BATCH - 1)
        self.crowded = n > 1
        self.datagrams += <uint64_t>n
        waited = self.wait
        behind = n == UDP_BATCH or self.backlog.count > 0
        if behind:
            first = self.backlog.front()
            if first != NULL:
                waited = max(waited, <uint32_t>min(1000 * (now - first.since), <uint64_t>LONGEST_WAIT_NS // 1000))
        if asking:
            self.layer.note_lag(waited, self.has_lost(now), now)
        for i in range(n):
            data = self.buffers + i * self.stride
            if i + 1 < n:
                self._expect(i + 1)
            address_of(<const sockaddr*>&self.names[i], &source)
            data[self.received[i].msg_len] = 0
            if self.received[i].msg_hdr.msg_flags & MSG_TRUNC:
                self.truncated += 1
            if trace is not None:
                _show(trace, self.listener, &source, data, self.received[i].msg_len)
            if behind and begins_something(data, self.received[i].msg_len):
                self.backlog.put(&source, data, self.received[i].msg_len, now - waited // 1000)
                continue
            self.layer.receive(self.listener, &source, data, self.received[i].msg_len, now)
        return n

    cdef void _expect(self, int i) noexcept nogil:
        """Begin to fetch the datagram that is handled next: so many came at once that it has left the nearest cache."""
        cdef uint8_t* data = self.buffers + i * self.stride
        cdef uint32_t at
        __builtin_prefetch(&self.names[i])
        for at in range(0, min(self.received[i].msg_len, <uint32_t>512), 64):
            __builtin_prefetch(data + at)

    cdef int _take(self, int first, int most) noexcept nogil:
        """Read that many datagrams at most into the places from the first one on; returns how many came."""
        cdef int i, n
        for i in range(first, first + most):
            self.received[i].msg_hdr.msg_namelen = sizeof(sockaddr_storage)
        n = recvmmsg(self.fd, &self.received[first], <unsigned int>most, MSG_DONTWAIT, NULL)
        if n >= 0:
            return n
        if errno in (ECONNREFUSED, EHOSTUNREACH, ENETUNREACH, EHOSTDOWN, EPROTO, ENOPROTOOPT):
            self.shaken = True
        return 0

    cdef void serve(self, uint64_t now, uint32_t most) noexcept:
        """Handle requests that were put aside, the oldest ones."""
        cdef const Waiting* first
        cdef uint32_t _i
        for _i in range(most):
            first = self.backlog.front()
            if first == NULL:
                break
            self.layer.receive(self.listener, &first.source, <const uint8_t*>first + sizeof(Waiting), first.n, now)
            self.backlog.release()

    cdef uint32_t _waited(self) noexcept nogil:
        """How long the datagram that was read last waited in the kernel, us; 0 where that is not known or the time of
        day was set meanwhile."""
        cdef uint64_t stamped = sipcore_stamped_ns(self.fd)
        cdef timespec t
        cdef uint64_t ns
        if stamped == 0:
            return 0
        clock_gettime(CLOCK_REALTIME, &t)
        ns = <uint64_t>t.tv_sec * 1000000000 + <uint64_t>t.tv_nsec
        return <uint32_t>((ns - stamped) // 1000) if stamped < ns < stamped + LONGEST_WAIT_NS else 0

    cdef bint has_lost(self, uint64_t now) noexcept nogil:
        """Whether datagrams were dropped since the last look, by the kernel or for want of room to wait; the kernel is
        not asked more often than LOOK_MS."""
        cdef long drops
        cdef bint lost = self.backlog.dropped != self.known_backlog_drops
        self.known_backlog_drops = self.backlog.dropped
        if now - self.looked < LOOK_MS:
            return lost
        self.looked = now
        drops = sipcore_socket_drops(self.fd)
        if drops <= self.known_drops:
            return lost
        self.known_drops = drops
        return True

    cdef int take_errors(self, uint64_t now) noexcept:
        """Hand what came back as undeliverable to its transaction; returns how many errors were taken."""
        cdef uint8_t data[2048]
        cdef uint8_t control[512]
        cdef sockaddr_storage name
        cdef iovec vector
        cdef msghdr message
        cdef ssize_t n
        cdef int taken = 0, error
        self.shaken = False
        while taken < ERRORS_AT_ONCE:
            memset(&message, 0, sizeof(message))
            vector.iov_base = data
            vector.iov_len = sizeof(data) - 1
            message.msg_name = &name
            message.msg_namelen = sizeof(name)
            message.msg_iov = &vector
            message.msg_iovlen = 1
            message.msg_control = control
            message.msg_controllen = sizeof(control)
            n = recvmsg(self.fd, &message, MSG_ERRQUEUE | MSG_DONTWAIT)
            if n < 0:
                break
            taken += 1
            self.errors += 1
            error = sipcore_queued_error(&message)
            data[n] = 0
            # A path that takes less (EMSGSIZE) is no dead one: the kernel fragments from now on.
            if error in (ECONNREFUSED, EHOSTUNREACH, ENETUNREACH, EHOSTDOWN, EPROTO, ENOPROTOOPT):
                self.layer.now = now
                self.layer.transport_error(data, <uint32_t>n)
        return taken


cdef void _show(object trace, uint32_t listener, const Address* source, const uint8_t* data, uint32_t n) noexcept:
    try:
        trace("in", listener, address_host(source), source.port, (<const char*>data)[:n])
    except Exception as error:
        # A broken trace must not cost a call; it ends here and the caller of `trace` sees nothing more.
        print(f"trace failed: {type(error).__name__}: {error}")
