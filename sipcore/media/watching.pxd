"""What the relay thread looks at now and then; every tick a slice of its sessions."""
from libc.stdint cimport uint64_t
from sipcore.media.session cimport Side
from sipcore.media.thread cimport Thread


cdef void watch_slice(Thread* thread, uint64_t now) noexcept nogil
cdef void look_for_drops(Thread* thread, Side* side) noexcept nogil
