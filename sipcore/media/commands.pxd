"""What the loop tells the relay thread, in order: its queue, and what waits here while that is full."""
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from sipcore.media.session cimport Command
from sipcore.media.thread cimport Thread

cdef struct CommandQueue:       # the loop's; zeroed: none
    Command* waiting            # commands that found the thread's queue full, a ring of `room`
    uint32_t room
    uint32_t first
    uint32_t n
    uint8_t in_ring             # where the command at hand has its place: in the thread's queue
    uint8_t quiet               # between hush and tell
    uint8_t untold              # commands were published in quiet
    uint8_t urgent              # one of them cannot wait, because no packet will bring it
    uint64_t waited             # found the queue full
    uint64_t lost               # the thread did not take them in time


cdef int commands_begin(CommandQueue* queue, uint32_t room) except -1
cdef void commands_end(CommandQueue* queue) noexcept
cdef Command* commands_place(CommandQueue* queue, Thread* thread, uint32_t session, uint32_t generation, uint8_t kind,
                             int side) noexcept
cdef void commands_publish(CommandQueue* queue, Thread* thread) noexcept
cdef bint commands_drain(CommandQueue* queue, Thread* thread) noexcept
cdef Command* commands_untaken(CommandQueue* queue) noexcept
cdef void commands_tell(CommandQueue* queue, Thread* thread, bint later) noexcept
