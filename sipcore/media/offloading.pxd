"""When a stream is in the kernel's hands, and when it is the thread's again."""
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from sipcore.base.ring cimport relaxed_load
from sipcore.media.counters cimport SideCounters
from sipcore.media.offload cimport OFFLOAD_ANY, Offload, OffloadFlow
from sipcore.media.quality cimport Reception, RtpNumbers
from sipcore.media.session cimport Session, Side
from sipcore.media.thread cimport Thread

cdef extern from "<netinet/in.h>" nogil:
    uint32_t htonl(uint32_t value)


cdef void offload_bind(Thread* thread, Side* side) noexcept nogil
cdef void offload_begin(Thread* thread, Session* session, uint8_t side, uint32_t ssrc, uint8_t payload) noexcept nogil
cdef void offload_end(Thread* thread, Session* session, uint8_t side) noexcept nogil
cdef void offload_end_session(Thread* thread, Session* session) noexcept nogil
cdef int offload_share(Offload* offload, object program) except -1
cdef void offload_pause(Session* session) noexcept nogil
cdef const SideCounters* offload_counters(const Session* session, int side, SideCounters* seen) noexcept nogil
cdef void offload_tick(Thread* thread, uint64_t now) noexcept nogil


cdef inline void offload_passed(Thread* thread, Session* session, uint8_t side, const RtpNumbers* packet,
                                uint8_t payload) noexcept nogil:
    """The thread has passed on a packet of a side that has a record. It is handed over once: what cannot be, is not
    asked for again before something is said of the session, or the system's routes change."""
    cdef Side* origin = session.sides[side]
    if origin.settled < thread.offload.settled:
        origin.settled += 1
        if origin.settled == thread.offload.settled:
            offload_begin(thread, session, side, packet.ssrc, payload)


cdef inline uint64_t side_heard_us(const Side* side) noexcept nogil:
    """When the side's last RTP came, CLOCK_MONOTONIC; 0: none yet."""
    cdef uint64_t heard = relaxed_load(&side.counters.heard_us)
    return max(heard, relaxed_load(&side.offload.heard_ns) // 1000) if side.offload != NULL else heard


cdef inline bint offload_has(const Side* side, uint32_t ssrc, uint8_t payload) noexcept nogil:
    """Whether a packet of a stream that the kernel has is one that it would have passed on: it was under way to the
    thread before, or the kernel left it to the stack for its form. The stream stays where it is: under a load that
    the thread cannot bear, something is always under way."""
    cdef const OffloadFlow* flow = side.offload
    return htonl(ssrc) == flow.ssrc and payload != flow.event_payload and (
        flow.payload == OFFLOAD_ANY or payload == flow.payload)


cdef inline Reception* side_reception(Side* side) noexcept nogil:
    """How the side's RTP arrives; whoever passes it on counts it. The loop may ask while the thread gives the port up.
    """
    cdef OffloadFlow* flow = side.offload
    return &flow.reception if side.offloaded and flow != NULL else &side.reception
