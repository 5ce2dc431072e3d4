"""Where the thread's queue is full, commands wait here, and where that is full too they are lost and counted.

A command is filled where it stands: `commands_place` gives its place, `commands_publish` hands it over.
"""
from libc.stdint cimport uint8_t, uint32_t
from sipcore.base.pages cimport pages_give, pages_take
from sipcore.base.ring cimport ring_publish, ring_reserve
from sipcore.media.thread cimport thread_starve, thread_wake, thread_wake_later


cdef int commands_begin(CommandQueue* queue, uint32_t room) except -1:
    """room: commands that may wait here. MemoryError where there is none for them."""
    queue.waiting = <Command*>pages_take(room * sizeof(Command))
    if queue.waiting == NULL:
        raise MemoryError()
    queue.room = room
    return 0


cdef void commands_end(CommandQueue* queue) noexcept:
    pages_give(queue.waiting, queue.room * sizeof(Command))
    queue.waiting = NULL


cdef Command* commands_place(CommandQueue* queue, Thread* thread, uint32_t session, uint32_t generation, uint8_t kind,
                             int side) noexcept:
    """The place of the next command; NULL where the thread is too far behind, and it is lost."""
    cdef Command* command = NULL
    if queue.n == 0:
        command = <Command*>ring_reserve(thread.commands)
    queue.in_ring = command != NULL
    if command == NULL:
        if queue.n == queue.room:
            queue.lost += 1
            return NULL
        command = &queue.waiting[(queue.first + queue.n) % queue.room]
    command.session = session
    command.generation = generation
    command.kind = kind
    command.side = <uint8_t>side
    return command


cdef void commands_publish(CommandQueue* queue, Thread* thread) noexcept:
    """The command at hand is whole."""
    if queue.in_ring:
        ring_publish(thread.commands)
        queue.untold = queue.quiet
        if not queue.quiet:
            thread_wake(thread)
    else:
        queue.n += 1
        queue.waited += 1
        thread_starve(thread)


cdef bint commands_drain(CommandQueue* queue, Thread* thread) noexcept:
    """Hand over what waits, as far as there is room; the thread wakes the loop when there is more. Whether anything
    was: the thread has to be woken for it."""
    cdef Command* command
    cdef bint some = False
    while queue.n:
        command = <Command*>ring_reserve(thread.commands)
        if command == NULL:
            thread_starve(thread)
            break
        command[0] = commands_untaken(queue)[0]
        ring_publish(thread.commands)
        some = True
    return some


cdef Command* commands_untaken(CommandQueue* queue) noexcept:
    """Take the oldest that waits, NULL: none does. Good until the next one is placed."""
    cdef Command* command
    if queue.n == 0:
        return NULL
    command = &queue.waiting[queue.first]
    queue.first = (queue.first + 1) % queue.room
    queue.n -= 1
    return command


cdef void commands_tell(CommandQueue* queue, Thread* thread, bint later) noexcept:
    """The quiet is over. later: the commands may wait for the next packet or tick, unless one of them is urgent."""
    queue.quiet = False
    if queue.untold:
        queue.untold = False
        if later and not queue.urgent:
            thread_wake_later(thread)
        else:
            thread_wake(thread)
    queue.urgent = False
