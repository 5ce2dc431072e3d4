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
    cdef Address address
    cdef uint64_t quarantine_us
    cdef int tos                        # byte of the IP header
    cdef Waiting* queue                 # ring of `pairs`, longest free first
    cdef uint32_t first                 # index of the oldest

    cdef int take(self, PortPair* pair, uint64_t now_us) noexcept
    cdef void give(self, uint16_t port, uint64_t now_us) noexcept
    cdef void _append(self, uint16_t port, uint64_t until_us) noexcept
    cdef int _bind(self, uint16_t port) noexcept
