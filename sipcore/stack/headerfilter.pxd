"""Headers by name or by the beginning of a name, in every spelling."""
from libc.stdint cimport uint8_t, uint32_t
from sipcore.base.slice cimport Slice
from sipcore.wire.edit cimport Edit
from sipcore.wire.index cimport Msg
from sipcore.wire.tables cimport H_COUNT


cdef class HeaderFilter:
    cdef readonly tuple names       # as given
    cdef uint8_t ids[H_COUNT]       # known headers that match
    cdef uint32_t count             # of them
    cdef list unknown               # (lower-case text, is a pattern): what headers without an id are compared with

    cdef void remove(self, Edit* e, const Msg* m) noexcept
    cdef bint _matches(self, Slice name) noexcept
