"""Ports of one media address: even ports for RTP, each with the odd one above it for RTCP (RFC 3550 11).

Free pairs wait in two queues, longest free first, so that a port rests as long as the load allows, and at least the
quarantine: what a far end still sends to an ended call must not reach the next one. The pairs of one queue have their
sockets (parking.pyx): up to `spare` stay bound when their call ends, and taking one of them is no system call. A pair
of the other queue is bound when it is taken: ten system calls, no Python. One that another process has goes to the end
of its queue.

Memory: 4 bytes a port for its socket and 16 for what the thread notes of it, touched when it is first used; 3 KiB of
the kernel's for each socket.
"""
from libc.errno cimport EACCES, EADDRINUSE, errno
from libc.stdint cimport uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from posix.unistd cimport close
from sipcore.base.address cimport address_from
from sipcore.media.parking cimport parking_event
from sipcore.base.sockname cimport AF_INET, AF_INET6, name_of, sockaddr, sockaddr_in6, socklen_t

import os
import random

cdef extern from "<sys/socket.h>" nogil:
    int SOCK_DGRAM, SOCK_NONBLOCK, SOCK_CLOEXEC, SOL_SOCKET, SO_RCVBUF
    int socket(int family, int kind, int protocol)
    int bind(int fd, const sockaddr* name, socklen_t size)
    int setsockopt(int fd, int level, int option, const void* value, socklen_t size)

cdef extern from "<netinet/in.h>" nogil:
    int IPPROTO_IP, IPPROTO_IPV6, IP_TOS, IP_MTU_DISCOVER, IP_PMTUDISC_DO, IPV6_TCLASS, IPV6_V6ONLY

cdef extern from "<sys/epoll.h>" nogil:
    ctypedef union epoll_data_t:
        uint64_t u64

    struct epoll_event:
        uint32_t events
        epoll_data_t data

    enum:
        EPOLLIN, EPOLL_CTL_ADD
    int epoll_ctl(int epoll, int operation, int fd, epoll_event* event)

cdef enum:
    # Kernel memory, used only while packets wait: the kernel doubles it, and three hundred short packets fit.
    RECEIVE_BYTES = 131072
    # Pairs tried for one call; each costs two failed system calls.
    TRIES = 64


cdef class PortPool:
    """Media address `bound` (an IP literal), the ports first to last, both inclusive.

    advertised: what peers are told, `bound` where empty. quarantine: seconds. dscp: of what is sent (46, expedited
    forwarding: RFC 4594 4.1). shuffled: take ports in an order that nobody can guess. ValueError where the address
    is no literal or the range holds no pair; OSError where the address is not on this machine.
    """

    def __init__(self, str bound not None, int first, int last, *, str advertised="", double quarantine=2.0,
                 int dscp=46, bint shuffled=True):
        cdef int fd
        address_from(bound, 0, &self.address)
        if advertised:
            address_from(advertised, 0, &self.address)
            address_from(bound, 0, &self.address)
        if not 1 <= first <= last <= 65535:
            raise ValueError(f"not a range of ports: {first}-{last}")
        ports = list(range(first + first % 2, last, 2))
        if not ports:
            raise ValueError(f"no even port with the odd one above it in {first}-{last}")
        if self.closed.items != NULL:
            raise RuntimeError("a pool is set up once")
        self.bound = bound
        self.advertised = advertised or bound
        self.family = self.address.family
        self.first_port, self.last_port = ports[0], ports[len(ports) - 1] + 1
        self.quarantine_us = <uint64_t>(quarantine * 1e6)
        self.tos = dscp << 2
        fd = self._bind(0)
        if fd < 0:
            raise OSError(-fd, f"cannot bind media address {bound}: {os.strerror(-fd)}")
        close(fd)
        if shuffled:
            random.shuffle(ports)
        self.closed.items = <Waiting*>calloc(len(ports), sizeof(Waiting))
        self.parked.items = <Waiting*>calloc(len(ports), sizeof(Waiting))
        self.sockets = <int*>calloc(2 * len(ports), sizeof(int))
        self.uses = <PortUse*>calloc(2 * len(ports), sizeof(PortUse))
        if self.closed.items == NULL or self.parked.items == NULL or self.sockets == NULL or self.uses == NULL:
            raise MemoryError()
        self.pairs = self.free = <uint32_t>len(ports)
        for port in ports:
            self.sockets[port - self.first_port] = self.sockets[port + 1 - self.first_port] = -1
            _append(&self.closed, self.pairs, port, 0)

    def __cinit__(self):
        self.epoll_fd = -1

    def __dealloc__(self):
        self.close_all()
        free(self.closed.items)
        free(self.parked.items)
        free(self.sockets)
        free(self.uses)

    @property
    def used(self) -> int:
        """Pairs that sessions have."""
        return self.pairs - self.free

    @property
    def bound_ahead(self) -> int:
        """Free pairs that have their sockets."""
        return self.parked.n

    cdef int take(self, PortPair* pair, uint64_t now_us) noexcept:
        """The next pair, bound, into *pair; returns 0, or -1 where none is to be had."""
        if _take(&self.parked, self.pairs, &pair.port, now_us):
            pair.rtp = self.sockets[pair.port - self.first_port]
            pair.rtcp = self.sockets[pair.port + 1 - self.first_port]
        elif self._open(pair, now_us) != 0:
            self.exhausted += 1
            return -1
        self.free -= 1
        return 0

    cdef bint is_deaf(self, uint16_t port) noexcept:
        """Whether the kernel refuses what comes to one of a pair until the thread has taken it (parking.pyx)."""
        return self.uses[port - self.first_port].deaf or self.uses[port + 1 - self.first_port].deaf

    cdef bint keeps(self) noexcept:
        """Whether a pair that its session gives back stays bound; `give` says afterwards what became of it."""
        if self.parked.n + self.parking >= self.spare:
            return False
        self.parking += 1
        return True

    cdef void give(self, uint16_t port, bint kept, uint64_t now_us) noexcept:
        """Take a pair back. kept: it is still bound, as `keeps` allowed; else its sockets are closed already."""
        if kept:
            self.parking -= 1
        else:
            self.sockets[port - self.first_port] = self.sockets[port + 1 - self.first_port] = -1
        _append(&self.parked if kept else &self.closed, self.pairs, port, now_us + self.quarantine_us)
        self.free += 1

    cdef void bind_ahead(self, uint64_t now_us) noexcept:
        """Bind free pairs until `spare` are, as far as that goes: calls do what is missing."""
        cdef PortPair pair
        while self.parked.n < self.spare and self._open(&pair, now_us) == 0:
            _append(&self.parked, self.pairs, pair.port, 0)

    cdef bint unpark(self, PortPair* pair) noexcept:
        """Take out a bound pair that is more than `spare`, for the thread to close; False where there is none."""
        if self.parked.n <= self.spare or not _take(&self.parked, self.pairs, &pair.port, <uint64_t>-1):
            return False
        pair.rtp = self.sockets[pair.port - self.first_port]
        pair.rtcp = self.sockets[pair.port + 1 - self.first_port]
        self.free -= 1
        return True

    cdef void close_all(self) noexcept:
        """Close the sockets of free pairs; no thread looks at them any more."""
        cdef uint16_t port = 0
        while _take(&self.parked, self.pairs, &port, <uint64_t>-1):
            self._close_pair(port)
            _append(&self.closed, self.pairs, port, 0)
        self.epoll_fd = -1
        self.parking = 0

    cdef int _open(self, PortPair* pair, uint64_t now_us) noexcept:
        """Bind the longest free pair that has no sockets; returns 0, or -1 where none is to be had."""
        cdef uint32_t tries = min(self.closed.n, <uint32_t>TRIES)
        cdef int error
        while tries > 0 and _take(&self.closed, self.pairs, &pair.port, now_us):
            tries -= 1
            error = self._bind_pair(pair.port)
            if error == 0:
                pair.rtp = self.sockets[pair.port - self.first_port]
                pair.rtcp = self.sockets[pair.port + 1 - self.first_port]
                return 0
            _append(&self.closed, self.pairs, pair.port, now_us)
            if error != EADDRINUSE and error != EACCES:
                self.failed += 1
                break
            self.skipped += 1
        return -1

    cdef int _bind_pair(self, uint16_t port) noexcept:
        """Both sockets of a pair, known to the relay's epoll as nobody's yet; 0 or an errno, and then there is none."""
        cdef int* fds = &self.sockets[port - self.first_port]
        cdef int i, error = 0
        for i in range(2):
            fds[i] = self._bind(<uint16_t>(port + i))
            if fds[i] < 0:
                error = -fds[i]
                fds[i] = -1
                break
            if not self._listen(<uint16_t>(port + i)):
                error = errno
                break
        if error:
            self._close_pair(port)
        return error

    cdef bint _listen(self, uint16_t port) noexcept:
        cdef int fd = self.sockets[port - self.first_port]
        cdef epoll_event event
        event.events = EPOLLIN
        event.data.u64 = parking_event(fd, self.number, port)
        return self.epoll_fd < 0 or epoll_ctl(self.epoll_fd, EPOLL_CTL_ADD, fd, &event) == 0

    cdef void _close_pair(self, uint16_t port) noexcept:
        cdef int* fds = &self.sockets[port - self.first_port]
        cdef int i
        for i in range(2):
            if fds[i] >= 0:
                close(fds[i])
            fds[i] = -1

    cdef int _bind(self, uint16_t port) noexcept:
        """A socket on that port, -errno where there cannot be one."""
        cdef bint v6 = self.address.family == 6
        cdef int fd, one = 1, size = RECEIVE_BYTES, whole = IP_PMTUDISC_DO
        cdef sockaddr_in6 name
        cdef socklen_t n
        fd = socket(AF_INET6 if v6 else AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)
        if fd < 0:
            return -errno
        setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size))
        if v6:
            setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one))
            setsockopt(fd, IPPROTO_IPV6, IPV6_TCLASS, &self.tos, sizeof(self.tos))
        else:
            setsockopt(fd, IPPROTO_IP, IP_TOS, &self.tos, sizeof(self.tos))
            # What is never fragmented needs no identification (RFC 6864 4.1), and the kernel's are dear: forward.pyx.
            setsockopt(fd, IPPROTO_IP, IP_MTU_DISCOVER, &whole, sizeof(whole))
        self.address.port = port
        n = name_of(&self.address, <sockaddr*>&name)
        if bind(fd, <sockaddr*>&name, n) == 0:
            return fd
        one = errno
        close(fd)
        return -one


cdef void _append(WaitingPairs* pairs, uint32_t room, uint16_t port, uint64_t until_us) noexcept:
    cdef Waiting* place = &pairs.items[(pairs.first + pairs.n) % room]
    place.port = port
    place.until_us = until_us
    pairs.n += 1


cdef bint _take(WaitingPairs* pairs, uint32_t room, uint16_t* port, uint64_t now_us) noexcept:
    """Take the oldest one out, unless it has to rest."""
    if pairs.n == 0 or pairs.items[pairs.first].until_us > now_us:
        return False
    port[0] = pairs.items[pairs.first].port
    pairs.first = (pairs.first + 1) % room
    pairs.n -= 1
    return True
