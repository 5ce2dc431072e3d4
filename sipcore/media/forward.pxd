"""The packet path: one datagram from a socket to the sockets of whoever hears its side."""
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memset
from sipcore.base.address cimport Address
from sipcore.base.ring cimport relaxed_add, ring_has_room, ring_publish, ring_reserve
from sipcore.media.dtmf cimport DtmfEvent
from sipcore.media.session cimport EVENT_CLOSED, EVENT_PLAYED, EVENT_RELEASED, Event, Flow, Session, Side
from sipcore.media.thread cimport Thread

cdef extern from *:
    void prefetch "__builtin_prefetch" (const void* p) noexcept nogil


cdef void forward_one(Thread* thread, Session* session, uint32_t number, uint8_t side,
                      uint8_t rtcp) noexcept nogil
cdef void forward_made(Thread* thread, Session* session, uint32_t number, uint8_t side, size_t n,
                       uint64_t now) noexcept nogil
cdef void say_digits(Thread* thread, Session* session, uint32_t number, uint8_t side, const DtmfEvent* events,
                     int n) noexcept nogil
cdef void flow_retarget(Flow* flow, uint8_t family) noexcept nogil


cdef inline void tell(Thread* thread, uint32_t number, const Session* session, uint8_t kind, uint8_t side,
                      uint64_t value, const Address* address) noexcept nogil:
    """Queue an event for the loop. Room is kept for a CLOSED of each session, a PLAYED of each place and every RELEASED
    that may be on its way, so that these never fail."""
    cdef Event* event
    cdef uint32_t kept = 0
    if kind != EVENT_CLOSED and kind != EVENT_PLAYED and kind != EVENT_RELEASED:
        kept = thread.limit + thread.places_n + thread.releases
    if not ring_has_room(thread.events, kept + 1):
        relaxed_add(&thread.counters.events_lost, 1)
        return
    event = <Event*>ring_reserve(thread.events)
    event.session = number
    event.generation = session.generation
    event.kind = kind
    event.side = side
    event.value = value
    if address != NULL:
        event.address = address[0]
    else:
        memset(&event.address, 0, sizeof(Address))
    ring_publish(thread.events)
    thread.told = True


cdef inline void forward_soon(const Session* session, uint8_t side) noexcept nogil:
    """A packet of this side is next: have what it needs fetched, all of it at once."""
    cdef const Side* origin = session.sides[side]
    cdef const Side* to = session.sides[side ^ 1]
    prefetch(&origin.flows[0])
    prefetch(&origin.flows[0].latch.heard_us)
    prefetch(&origin.counters)
    prefetch(&origin.reception)
    prefetch(<const char*>&origin.reception + 64)
    prefetch(&origin.watch_us)
    prefetch(&to.flows[0])
    prefetch(&to.egress)
    prefetch(<const char*>&to.egress + 40)
    prefetch(&to.counters.sent)
    prefetch(&to.watch_us)
