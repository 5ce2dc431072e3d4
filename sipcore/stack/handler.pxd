"""Who hears what happens to transactions."""


cdef class Handler:
    pass
