"""Who the peers of connections have proven to be."""
from libc.stdint cimport uint16_t, uint32_t, uint64_t
from sipcore.base.address cimport Address
from sipcore.net.inlet cimport Inlet
from sipcore.stack.admission cimport ADMIT_LISTED, ADMIT_UNLISTED


cdef inline bint is_heard(int admittance) noexcept nogil:
    """Whether anything of an address with that Admittance is let in."""
    return admittance == ADMIT_LISTED or admittance == ADMIT_UNLISTED


cdef frozenset named_authorities(contexts)


cdef class Peers(Inlet):
    cdef uint32_t unlisted              # connections of unlisted sources
    cdef list tls                       # (TlsContext for those that come in, for those we open) or None, by listener
    cdef list origins                   # web pages that may connect, by listener
    cdef dict groups                    # group by the name that a certificate proves
    cdef dict contexts                  # TlsContext by slot, during a handshake
    cdef dict aliases                   # slot by the target that its peer says it is (RFC 5923)
    cdef dict peers                     # Certificate by slot, of those that came in
    cdef dict authorities               # fingerprint of who has vouched for its peer, by slot

    cdef bint _is_vouched(self, uint32_t slot) except -1
    cdef int _proven(self, uint32_t slot) except? -2
    cdef void _judge(self, uint32_t slot, frozenset before) except *
    cdef int _admit(self, uint32_t listener, const Address* source) noexcept
    cdef void _enlist(self, uint32_t slot, bint listed) noexcept nogil
    cdef void _on_connected(self, uint32_t slot, uint64_t now) noexcept
    cdef void _shake(self, uint32_t slot, uint64_t now) noexcept
    cdef void _on_open(self, uint32_t slot, uint64_t now) noexcept
    cdef void _disclaim(self, uint32_t slot) noexcept
    cdef uint32_t _reuse(self, uint32_t listener, const Address* to) noexcept
