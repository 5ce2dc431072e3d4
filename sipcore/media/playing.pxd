"""What the thread itself sends: sounds and digits, each towards one side."""
from libc.stdint cimport uint32_t, uint64_t
from sipcore.media.session cimport Session
from sipcore.media.thread cimport Thread


cdef void playing_begin(Thread* thread, Session* session, uint32_t place, uint64_t now) noexcept nogil
cdef void playing_end(Thread* thread, Session* session, uint32_t place, bint whole) noexcept nogil
cdef void playing_go_on(Thread* thread, uint64_t now) noexcept nogil
