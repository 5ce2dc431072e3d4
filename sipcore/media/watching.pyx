"""Looking after sessions now and then: who has fallen silent, and what the kernel had to drop."""
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from sipcore.base.ring cimport relaxed_store
from sipcore.media.dtmf cimport DtmfEvent, dtmf_quiet
from sipcore.media.forward cimport say_digits, tell
from sipcore.media.latch cimport latch_target
from sipcore.media.offloading cimport offload_end, side_heard_us
from sipcore.media.parking cimport flow_use
from sipcore.media.session cimport EVENT_SILENT, EVENT_TIMEOUT, SIDES, Session, Side
from sipcore.media.srtp cimport srtp_free
from sipcore.media.thread cimport SWEEP_SLICES

cdef extern from "sockets.h" nogil:
    long sipcore_socket_drops(int fd)

cdef enum:
    DROPS_EVERY = 8             # sweeps between two looks at a socket's drops: a system call each

cdef uint64_t NEVER = <uint64_t>-1


cdef void watch_slice(Thread* thread, uint64_t now) noexcept nogil:
    """Look at the next slice of the sessions for silence."""
    cdef uint32_t n = (thread.high + SWEEP_SLICES - 1) // SWEEP_SLICES
    while n > 0:
        n -= 1
        if thread.cursor >= thread.high:
            thread.cursor = 0
            thread.sweeps += 1
            break
        if thread.generations[thread.cursor]:
            _watch(thread, thread.cursor, now)
        thread.cursor += 1


cdef void _watch(Thread* thread, uint32_t number, uint64_t now) noexcept nogil:
    cdef Session* session = &thread.sessions[number]
    cdef Side* side
    cdef uint64_t idle, least = NEVER
    cdef DtmfEvent digit
    cdef bint held = False
    cdef uint8_t i
    for i in range(SIDES):
        side = session.sides[i]
        if not side.made or side.flows[0].fd < 0:
            continue
        if thread.sweeps % DROPS_EVERY == 0:
            look_for_drops(thread, side)
        if side.keys.before != NULL and now >= side.keys.before_until_us:
            srtp_free(side.keys.before)
            side.keys.before = NULL
        if side.digits.going:
            say_digits(thread, session, number, i, &digit, dtmf_quiet(&side.digits, now, &digit))
        if not side.active:
            continue
        if not side.sends:
            # On hold: neither does the other one have to play anything.
            held = True
            continue
        idle = _since(max(side_heard_us(side), side.watch_us), now)
        if thread.silence_us and idle >= thread.silence_us and not side.silent:
            side.silent = True
            # Its next packet is the thread's, which says so.
            offload_end(thread, session, i)
            tell(thread, number, session, EVENT_SILENT, i, idle // 1000, latch_target(&side.flows[0].latch))
        # A muted phone may go on with its reports: it is not gone.
        least = min(least, _since(max(side.counters.alive_us, side_heard_us(side), side.watch_us), now))
    if held or least == NEVER or least < thread.timeout_us:
        session.timed_out = False
    elif thread.timeout_us and not session.timed_out:
        session.timed_out = True
        tell(thread, number, session, EVENT_TIMEOUT, SIDES, least // 1000, NULL)


cdef uint64_t _since(uint64_t then, uint64_t now) noexcept nogil:
    """The kernel may have passed on a packet after `now` was taken."""
    return now - then if now > then else 0


cdef void look_for_drops(Thread* thread, Side* side) noexcept nogil:
    cdef uint64_t drops = 0
    cdef long n
    cdef int i
    for i in range(2):
        if side.flows[i].fd >= 0:
            n = sipcore_socket_drops(side.flows[i].fd)
            if n > 0:
                drops += <uint32_t>n - flow_use(thread, side, i).drops
    if drops:
        relaxed_store(&side.counters.kernel_drops, drops)
