"""The configured targets that requests are sent to: their calls, whether their answers matter, and how much failover
an upstream may have."""
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from sipcore.base.address cimport Address

cdef enum:
    MAX_TARGETS = 1024      # known at a time
    PLACES = 4096           # of the hash table: a quarter is used at most
    MAX_UPSTREAMS = 256

cdef struct Cell:
    Address address
    uint32_t calls          # in progress
    uint32_t begun          # ever, wrapping
    uint8_t known           # part of the configuration; else kept for the calls that are still up
    uint8_t used
    uint8_t suspect         # its answers are told too

cdef struct RetryBudget:
    uint64_t at             # ms, when `left` was last brought up to date
    uint64_t left           # thousandths of a further try
    uint64_t most           # the same: `left` is never more
    uint32_t share          # thousandths of a try that each call earns; 1000: no limit
    uint32_t rate           # tries a second that come by themselves


cdef class TargetTable:
    cdef Cell cells[MAX_TARGETS + 1]        # by number; 0 is none
    cdef uint16_t places[PLACES]            # numbers by hash of the address
    cdef RetryBudget budgets[MAX_UPSTREAMS]
    cdef readonly uint32_t suspects         # targets whose answers are told
    cdef public object told                 # (number, status, retry_after), see targettable.pyx

    cdef uint16_t find(self, const Address* address) noexcept nogil
    cdef void earn(self, int upstream) noexcept nogil
    cdef bint may_retry(self, int upstream, uint64_t now) noexcept nogil
    cdef void _enter(self, uint16_t number) noexcept nogil
    cdef void _index(self) noexcept nogil
