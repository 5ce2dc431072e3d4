"""Loop detection (RFC 3261 16.3, RFC 5393)."""
from libc.stdint cimport uint32_t
from sipcore.stack.identity cimport Identity
from sipcore.wire.index cimport Msg

cdef uint32_t loop_hash(const Msg* m, uint32_t origin) noexcept nogil
cdef bint has_looped(Identity identity, const Msg* m, uint32_t loop) noexcept nogil
