"""What the relay thread may take of the core that it shares with the event loop."""
from libc.stdint cimport uint64_t
from sipcore.media.thread cimport Thread


cdef void priority_begin(Thread* thread) noexcept nogil
cdef void priority_adjust(Thread* thread, uint64_t now) noexcept nogil
