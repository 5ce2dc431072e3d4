"""Ports of one media address: even ports for RTP, each with the odd one above it for RTCP (RFC 3550 11).

Free pairs wait in a queue, longest free first, so that a port rests as long as the load allows, and at least the
quarantine: what a far end still sends to an ended call must not reach the next one. Taking a pair binds both of its
sockets: six system calls, no Python. A pair that another process has goes to the end of the queue.
"""
from libc.errno cimport EACCES, EADDRINUSE, errno
from libc.stdint cimport uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from posix.unistd cimport close
from sipcore.base.address cimport address_from
from sipcore.base.sockname cimport AF_INET, AF_INET6, name_of, sockaddr, sockaddr_in6, socklen_t

import os
import random

cdef extern from "<sys/socket.h>" nogil:
    int SOCK_DGRAM, SOCK_NONBLOCK, SOCK_CLOEXEC, SOL_SOCKET, SO_RCVBUF
    int socket(int family, int kind, int protocol)
    int bind(int fd, const sockaddr* name, socklen_t size)
    int setsockopt(int fd, int level, int option, const void* value, socklen_t size)

cdef extern from "<netinet/in.h>" nogil:
    int IPPROTO_IP, IPPROTO_IPV6, IP_TOS, IPV6_TCLASS, IPV6_V6ONLY

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
        if self.queue != NULL:
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
        self.queue = <Waiting*>calloc(len(ports), sizeof(Waiting))
        if self.queue == NULL:
            raise MemoryError()
        self.pairs = <uint32_t>len(ports)
        for port in ports:
            self._append(port, 0)

    def __dealloc__(self):
        free(self.queue)

    @property
    def used(self) -> int:
        """Pairs that sessions have."""
        return self.pairs - self.free

    cdef int take(self, PortPair* pair, uint64_t now_us) noexcept:
        """Bind the next pair into *pair; returns 0, or -1 where none is to be had."""
        cdef uint32_t tries = min(self.free, <uint32_t>TRIES)
        cdef Waiting* next_pair
        cdef int fd
        while tries > 0:
            next_pair = &self.queue[self.first]
            if next_pair.until_us > now_us:
                break
            tries -= 1
            pair.port = next_pair.port
            self.first = (self.first + 1) % self.pairs
            self.free -= 1
            fd = pair.rtp = self._bind(pair.port)
            if fd >= 0:
                fd = pair.rtcp = self._bind(pair.port + 1)
                if fd >= 0:
                    return 0
                close(pair.rtp)
            self._append(pair.port, now_us)
            if fd != -EADDRINUSE and fd != -EACCES:
                self.failed += 1
                break
            self.skipped += 1
        self.exhausted += 1
        return -1

    cdef void give(self, uint16_t port, uint64_t now_us) noexcept:
        """Take a pair back; its sockets are closed already."""
        self._append(port, now_us + self.quarantine_us)

    cdef void _append(self, uint16_t port, uint64_t until_us) noexcept:
        cdef Waiting* place = &self.queue[(self.first + self.free) % self.pairs]
        place.port = port
        place.until_us = until_us
        self.free += 1

    cdef int _bind(self, uint16_t port) noexcept:
        """A socket on that port, -errno where there cannot be one."""
        cdef bint v6 = self.address.family == 6
        cdef int fd, one = 1, size = RECEIVE_BYTES
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
        self.address.port = port
        n = name_of(&self.address, <sockaddr*>&name)
        if bind(fd, <sockaddr*>&name, n) == 0:
            return fd
        one = errno
        close(fd)
        return -one
