"""The kernel's routes, asked over rtnetlink."""
from libc.stdint cimport uint32_t
from sipcore.base.address cimport Address
from sipcore.media.offload cimport Offload


cdef uint32_t routes_to(const Offload* offload, const Address* target, const Address* local,
                        const Address* source) noexcept nogil
cdef bint routes_changed(const Offload* offload) noexcept nogil
