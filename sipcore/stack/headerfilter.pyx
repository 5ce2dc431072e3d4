"""Takes headers out of a message: case, short form, folding and space before the colon make no difference.

Names are sorted out when the configuration is loaded, so that a message costs one look at the headers that have no
id, of which most messages have few or none.
"""
from libc.stdint cimport uint32_t
from sipcore.base.slice cimport Slice, slice_from, slice_iequal
from sipcore.wire.edit cimport Edit, edit_delete
from sipcore.wire.index cimport NO_HEADER, Msg, header_text
from sipcore.wire.tables cimport H_OTHER

from sipcore.wire.tables import HEADERS, canonical_name


cdef class HeaderFilter:
    """names: header names in any spelling, or beginnings of names that end in "*"."""

    def __init__(self, names=()):
        cdef int i
        self.names = tuple(names)
        self.unknown = []
        for name in self.names:
            pattern = name.endswith("*")
            text = name.removesuffix("*").lower() if pattern else canonical_name(name).lower()
            self.unknown.append((text.encode("ascii"), pattern))
            for i in range(1, H_COUNT):
                full = HEADERS[i][0].lower()
                if (full.startswith(text) if pattern else full == text) and i not in self.ids[:self.count]:
                    self.ids[self.count] = i
                    self.count += 1

    cdef void remove(self, Edit* e, const Msg* m) noexcept:
        """Delete every header that matches."""
        cdef uint32_t k, i
        for k in range(self.count):
            i = m.first[self.ids[k]]
            while i != NO_HEADER:
                edit_delete(e, m.headers[i].name, <uint32_t>m.headers[i].end - m.headers[i].name)
                i = m.headers[i].next
        i = m.first[H_OTHER]
        while i != NO_HEADER:
            if self._matches(header_text(m, i)):
                edit_delete(e, m.headers[i].name, <uint32_t>m.headers[i].end - m.headers[i].name)
            i = m.headers[i].next

    cdef bint _matches(self, Slice name) noexcept:
        cdef Slice wanted
        cdef bytes text
        for text, pattern in self.unknown:
            wanted = slice_from(text)
            if pattern and name.n > wanted.n:
                if slice_iequal(Slice(name.p, wanted.n), wanted):
                    return True
            elif slice_iequal(name, wanted):
                return True
        return False
