"""A list of connections by slot, that something is to be done with; each stands in it at most once, by a flag."""
from libc.stdint cimport uint32_t

cdef struct Slots:
    uint32_t* at            # with room for all connections there are
    uint32_t n


cdef inline void slots_add(Slots* list, uint32_t slot) noexcept nogil:
    list.at[list.n] = slot
    list.n += 1


cdef inline void slots_remove(Slots* list, uint32_t slot) noexcept nogil:
    """The last one comes into its place."""
    cdef uint32_t i
    for i in range(list.n):
        if list.at[i] == slot:
            list.n -= 1
            list.at[i] = list.at[list.n]
            return
