"""The relay's sessions as the loop sees them: opened, bound and closed; events read.

Everything here belongs to the loop's thread, is cheap, and never blocks.
"""
from libc.stdint cimport int16_t, uint8_t, uint16_t, uint32_t, uint64_t
from sipcore.media.commands cimport CommandQueue
from sipcore.media.counters cimport SideCounters
from sipcore.media.places cimport Places
from sipcore.media.ports cimport PortPool
from sipcore.media.session cimport NO_SESSION, SIDES, Command, Side
from sipcore.media.tap cimport Tap
from sipcore.media.thread cimport Thread

cdef enum SlotState:
    SLOT_FREE = 0
    SLOT_OPEN = 1
    SLOT_CLOSING = 2            # the thread was told, or will be (`unsaid`)

cdef struct Slot:               # the loop's own part of a session
    uint32_t generation
    uint32_t next               # of the free ones, or of the unsaid closes
    uint8_t state               # SlotState
    int16_t pool[SIDES]         # -1: not bound
    uint16_t port[SIDES]


cdef class Sessions:
    cdef Thread thread
    cdef Slot* slots
    cdef Side* sides
    cdef readonly tuple pools               # PortPool
    cdef readonly uint32_t sessions         # limit
    cdef readonly uint32_t open_sessions    # opened, and not yet closed by the thread
    cdef readonly uint64_t opened
    cdef readonly uint64_t refused          # opens that found no free session
    cdef CommandQueue commands
    cdef uint32_t free_slots                # list head, NO_SESSION where empty
    cdef uint32_t fresh                     # slots from here on were never used
    cdef uint32_t unsaid, unsaid_last       # closes that found the queue full, in order
    cdef SideCounters ended                 # summed over closed sessions
    cdef uint32_t releasing                 # RELEASED not yet taken
    cdef readonly Tap tap                   # copies of packets of captured sessions, None: no captures
    cdef Places places
    cdef object program                     # what hands streams to the kernel (offload_program.py), None: nothing does

    cdef void hush(self) noexcept
    cdef void tell(self, bint later=*) noexcept
    cpdef uint32_t open(self) noexcept
    cpdef int bind(self, uint32_t session, int side, int pool) noexcept
    cpdef bint release(self, uint32_t session, int side) noexcept
    cpdef void close(self, uint32_t session) noexcept
    cdef int _own(self, PortPool pool) except -1
    cdef void _watch_ports(self) noexcept
    cdef uint8_t _kept(self, uint32_t session) noexcept
    cdef void _drop_spare(self) noexcept
    cdef void _finish(self) noexcept
    cdef bint _is_open(self, uint32_t session, int side) noexcept
    cdef Command* _command(self, uint32_t session, uint8_t kind, int side) noexcept
    cdef void _flush(self) noexcept
    cdef void _on_released(self, uint64_t pair, uint64_t now_us) noexcept
    cdef void _on_closed(self, uint32_t session, uint8_t kept, uint64_t now_us) noexcept
    cdef void _close_descriptors(self) noexcept
