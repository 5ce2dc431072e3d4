"""The even/odd port pairs of one media address."""
from libc.stdint cimport uint16_t, uint32_t, uint64_t
from sipcore.base.address cimport Address

cdef struct PortPair:
    int rtp                     # bound, non-blocking UDP sockets
    int rtcp
    uint16_t port               # the even one

cdef struct Waiting:            # a pair of ports that nobody has
    uint64_t until_us           # not before: quarantine
    uint16_t port

cdef struct WaitingPairs:       # a ring of `pairs`, longest free first
    Waiting* items
    uint32_t first              # index of the oldest
    uint32_t n

cdef struct PortUse:            # of one port; the relay thread's alone
    uint32_t holder             # session, side and kind as parking.pxd packs them, 0: nobody's
    uint32_t drops              # the kernel's count when the holder began
    uint32_t late               # packets that came since nobody has it
    uint32_t deaf               # 1: the kernel refuses what comes (parking.pyx)


cdef class PortPool:
    cdef readonly str bound             # address literal on this machine
    cdef readonly str advertised        # what session descriptions say
    cdef readonly int family            # 4 or 6
    cdef readonly uint16_t first_port   # the lowest even one
    cdef readonly uint16_t last_port    # the odd one above the highest even one
    cdef readonly uint32_t pairs        # in all
    cdef readonly uint32_t free         # nobody has them; quarantined ones included
    cdef readonly uint64_t skipped      # ports that another process had
    cdef readonly uint64_t exhausted    # calls of take that failed
    cdef readonly uint64_t failed       # of those: no descriptor or no memory, not ports, was missing
    cdef readonly uint32_t spare        # free pairs that may stay bound
    cdef Address address
    cdef uint64_t quarantine_us
    cdef int tos                        # byte of the IP header
    cdef WaitingPairs closed            # free pairs without sockets
    cdef WaitingPairs parked            # free pairs that are bound
    cdef uint32_t parking               # pairs that the thread will park, or close, and say so
    cdef int* sockets                   # by port: its socket, -1: none
    cdef PortUse* uses                  # by port
    cdef int epoll_fd                   # of the relay that takes from here, -1: none
    cdef uint16_t number                # of this pool there

    cdef int take(self, PortPair* pair, uint64_t now_us) noexcept
    cdef bint is_deaf(self, uint16_t port) noexcept
    cdef bint keeps(self) noexcept
    cdef void give(self, uint16_t port, bint kept, uint64_t now_us) noexcept
    cdef void bind_ahead(self, uint64_t now_us) noexcept
    cdef bint unpark(self, PortPair* pair) noexcept
    cdef void close_all(self) noexcept
    cdef int _open(self, PortPair* pair, uint64_t now_us) noexcept
    cdef int _bind_pair(self, uint16_t port) noexcept
    cdef int _bind(self, uint16_t port) noexcept
    cdef void _close_pair(self, uint16_t port) noexcept
    cdef bint _listen(self, uint16_t port) noexcept
