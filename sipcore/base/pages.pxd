"""Zeroed memory for large tables (pages.h): touched pages count, nothing else."""

cdef extern from "pages.h" nogil:
    void* pages_take(size_t size)
    void* pages_take_huge(size_t size)      # for what is entered at random
    void pages_fetch(void* p, size_t size)  # what will be written next; p at the beginning of a page
    void pages_give(void* p, size_t size)

cdef enum:
    PAGES_AHEAD = 16384                     # bytes worth fetching at once: a pause of some microseconds
