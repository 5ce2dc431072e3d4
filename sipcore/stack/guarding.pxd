"""What keeps a worker going under too much work and against those who mean it no good."""
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from sipcore.base.address cimport Address
from sipcore.base.bans cimport Bans
from sipcore.stack.control cimport Controlling
from sipcore.wire.fingerprints cimport Fingerprints
from sipcore.stack.overload cimport Overload


cdef class Guarding(Controlling):
    cdef readonly Overload overload
    cdef readonly Bans bans
    cdef readonly Fingerprints scanners     # None: nobody is looked for
    cdef public object on_ban               # (host, until in ms): an address has earned a ban
    cdef uint64_t known_dropped             # datagrams that the outbox had no room for, as of the last look
    cdef bint banned                        # whether the message being handled comes from a banned address

    cdef bint _is_listed(self, const Address* source, bint listed) noexcept
    cdef void _take_stun(self, uint32_t listener, const Address* source, const uint8_t* data, uint32_t n) noexcept
    cdef bint _turn_away(self, uint32_t listener, const Address* source, uint64_t key) noexcept
    cdef void _offend(self, const Address* source) noexcept
