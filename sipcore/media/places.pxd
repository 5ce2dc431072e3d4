"""Sounds and digits on their way to a side: the places that they are played from."""
from cpython.object cimport PyObject
from libc.stdint cimport uint32_t
from sipcore.media.session cimport Place


cdef class Places:
    cdef Place* each            # one is the thread's from COMMAND_PLAY until it says PLAYED
    cdef uint32_t n
    cdef PyObject** sounds      # by place: the bytes that the thread plays from, NULL: none
    cdef uint32_t* free         # numbers
    cdef uint32_t free_n

    cdef Place* take(self) noexcept
    cdef uint32_t number(self, const Place* it) noexcept
    cdef void keep(self, const Place* it, object sound) noexcept
    cdef void give(self, uint32_t number) noexcept
    cdef void end(self) noexcept


cdef int place_sound(Place* it, bytes frames, int payload, uint32_t frame_bytes, uint32_t ptime,
                     uint32_t timestamp_step, bint loop) except -1
cdef int place_digits(Place* it, str digits, int payload, uint32_t duration_ms, uint32_t gap_ms, uint32_t ptime,
                      uint32_t clock) except -1
