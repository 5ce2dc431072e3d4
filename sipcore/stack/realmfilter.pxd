"""Credentials for realms of the edge's own, taken out of what it sends on."""
from sipcore.base.slice cimport Slice
from sipcore.wire.edit cimport Edit
from sipcore.wire.index cimport Msg


cdef class RealmFilter:
    cdef readonly tuple realms      # as given
    cdef list texts                 # their bytes

    cdef void remove(self, Edit* e, const Msg* m) noexcept
    cdef bint _matches(self, Slice value) noexcept
    cdef bint _is_ours(self, Slice text) noexcept
