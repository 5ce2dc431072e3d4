"""Handing streams to the kernel and taking them back.

A stream that has gone on for half a second in the plain way (one source, one listener who hears nobody else, nothing
played, captured, converted or encrypted) is written down in the record of its port, and from then on the program at the
interface (offload.bpf.c) passes its packets on. Whatever is said of the session (a command), and every RTP packet that
is not one of that stream (a telephone event, another SSRC, another source that is let in), makes it the thread's again
first, with its numbers; it settles anew. So nothing else of the relay needs to know who has a stream.

The loop stops the kernel by itself when it says something of a session, so that a command holds for what is sent after
it; the thread takes the stream back when it comes to the command. Where packets leave is asked of the kernel's routes.
When routes, addresses or interfaces change, every stream is taken back, and settles over the new ones.
"""
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset
from sipcore.base.address cimport Address
from sipcore.base.ring cimport exchange, relaxed_add, relaxed_store
from sipcore.base.sockname cimport htons
from sipcore.media.clock cimport monotonic_us
from sipcore.media.egress cimport egress_track
from sipcore.media.latch cimport latch_target
from sipcore.media.law cimport LAW_KEPT
from sipcore.media.offload cimport OFFLOAD_ANY, OFFLOAD_INTERFACES, OffloadFlow, OffloadPool
from sipcore.media.routes cimport routes_changed, routes_to
from sipcore.media.session cimport SIDES
from sipcore.media.thread cimport OwnPorts

FLOW_BYTES = sizeof(OffloadFlow)
POOL_BYTES = sizeof(OffloadPool)

cdef enum:
    HOPS = 64                   # what the kernel gives a packet of a socket


cdef int offload_share(Offload* offload, object program) except -1:
    """Take over what a Program (offload_program.py) shares with the thread."""
    cdef uint8_t[::1] flows = program.flows
    cdef uint8_t[::1] beat = program.beat
    offload.flows = <OffloadFlow*>&flows[0]
    offload.beat = <uint64_t*>&beat[0]
    offload.ask_fd = program.ask.fileno()
    offload.changed_fd = program.changed.fileno()
    for interface in program.interfaces[:OFFLOAD_INTERFACES]:
        offload.interfaces[offload.interfaces_n] = interface
        offload.interfaces_n += 1
    return 0


cdef void offload_pause(Session* session) noexcept nogil:
    """Have the thread get the next packet of each stream: a command holds for what is sent after it. The loop's."""
    cdef OffloadFlow* flow
    cdef int side
    for side in range(SIDES):
        flow = session.sides[side].offload
        if flow != NULL:
            relaxed_store(&flow.active, 0)


cdef const SideCounters* offload_counters(const Session* session, int side, SideCounters* seen) noexcept nogil:
    """A side's counters, with what the kernel has passed on. seen: room for that sum, where there is one. The loop's.
    """
    cdef const OffloadFlow* flow = session.sides[side].offload
    cdef const Side* origin
    cdef int other
    if flow == NULL:
        return &session.sides[side].counters
    seen[0] = session.sides[side].counters
    seen.packets += relaxed_load(&flow.packets)
    seen.octets += relaxed_load(&flow.octets)
    seen.heard_us = max(seen.heard_us, relaxed_load(&flow.heard_ns) // 1000)
    seen.alive_us = max(seen.alive_us, seen.heard_us)
    for other in range(SIDES):
        origin = session.sides[other]
        flow = origin.offload
        if flow != NULL and origin.offloaded and origin.listener == side:
            seen.sent += relaxed_load(&flow.packets)
            seen.sent_octets += relaxed_load(&flow.octets)
    return seen


cdef void offload_bind(Thread* thread, Side* side) noexcept nogil:
    """A side has got its ports: find the record of the RTP one."""
    cdef const OwnPorts* own = &thread.own[side.pool]
    side.offload = NULL
    side.settled = 0
    if thread.offload.flows != NULL and own.offload:
        side.offload = &thread.offload.flows[own.offload - 1 + (side.flows[0].port - own.first) // 2]
        memset(side.offload, 0, sizeof(OffloadFlow))


cdef void offload_begin(Thread* thread, Session* session, uint8_t side, uint32_t ssrc, uint8_t payload) noexcept nogil:
    """Hand a side's stream to the kernel, where that can pass it on. ssrc, payload: of its packets, as they come."""
    cdef Side* origin = session.sides[side]
    cdef OffloadFlow* flow = origin.offload
    cdef uint8_t i, listener = 0, listeners = session.heard_by[side]
    cdef Side* to
    cdef const Address* target
    while listener < SIDES - 1 and not listeners >> listener & 1:
        listener += 1
    to = session.sides[listener]
    if listeners != 1 << listener or session.hears[listener] != 1 << side or session.captured:
        return
    if origin.secure or to.secure or to.playing or not to.receives or not to.flows[0].name_size or to.offload == NULL:
        return
    if origin.family != to.family or not origin.flows[0].latched or origin.flows[0].own:
        return
    if to.egress.mark or to.egress.speaker != side or to.egress.source_ssrc != ssrc:
        return
    flow.payload = <uint8_t>OFFLOAD_ANY
    if to.egress.pairs:
        # Whatever else the stream has, as events or noise, is the thread's.
        flow.payload = flow.payload_out = payload
        for i in range(to.egress.pairs):
            if to.egress.payload_from[i] == payload:
                if to.egress.payload_law[i] != LAW_KEPT:
                    return
                flow.payload_out = to.egress.payload_to[i]
                break
    target = latch_target(&to.flows[0].latch)
    flow.interface = routes_to(&thread.offload, target, &thread.own[to.pool].bound, &origin.flows[0].latch.source)
    if flow.interface == 0:
        return
    _put(flow.source, &origin.flows[0].latch.source)
    _put(flow.local, &thread.own[to.pool].bound)
    _put(flow.target, target)
    flow.source_port = htons(origin.flows[0].latch.source.port)
    flow.local_port = htons(to.flows[0].port)
    flow.target_port = htons(target.port)
    flow.ttl = HOPS
    flow.tos = thread.own[to.pool].tos
    flow.ssrc = htonl(ssrc)
    flow.ssrc_out = htonl(to.egress.ssrc) if to.egress.rewrites else flow.ssrc
    flow.timestamp_add = to.egress.ts_offset if to.egress.rewrites else 0
    flow.sequence_add = to.egress.seq_offset if to.egress.rewrites else 0
    flow.event_payload = origin.event_payload
    flow.clock = origin.clock
    flow.timestamp = to.egress.ts
    flow.sequence = to.egress.seq
    flow.timestamp_ns = to.egress.ts_us * 1000
    flow.heard_ns = origin.counters.heard_us * 1000
    flow.reception = origin.reception
    relaxed_store(thread.offload.beat, monotonic_us() * 1000)
    origin.listener = listener
    origin.offloaded = True
    relaxed_add(&thread.offload.active, 1)
    relaxed_add(&thread.offload.begun, 1)
    exchange(&flow.active, 1)


cdef void _put(uint32_t* words, const Address* address) noexcept nogil:
    memcpy(words, address.ip, 16)


cdef void offload_end(Thread* thread, Session* session, uint8_t side) noexcept nogil:
    """Take a side's stream back, with what the kernel has counted."""
    cdef Side* origin = session.sides[side]
    cdef Side* to
    cdef OffloadFlow* flow = origin.offload
    cdef uint64_t packets, octets, heard_us
    if not origin.offloaded:
        return
    exchange(&flow.active, 0)
    origin.offloaded = False
    origin.settled = 0
    relaxed_store(&thread.offload.active, thread.offload.active - 1)
    to = session.sides[origin.listener]
    # Whoever reads in between sees less for a moment, never a packet twice; what the kernel is about to count stays.
    packets, octets, heard_us = exchange(&flow.packets, 0), exchange(&flow.octets, 0), flow.heard_ns // 1000
    relaxed_add(&origin.counters.packets, packets)
    relaxed_add(&origin.counters.octets, octets)
    relaxed_store(&origin.counters.heard_us, max(origin.counters.heard_us, heard_us))
    relaxed_store(&origin.counters.alive_us, max(origin.counters.alive_us, heard_us))
    relaxed_add(&to.counters.sent, packets)
    relaxed_add(&to.counters.sent_octets, octets)
    origin.reception = flow.reception
    origin.flows[0].latch.heard_us = max(origin.flows[0].latch.heard_us, heard_us)
    egress_track(&to.egress, flow.sequence, flow.timestamp, flow.timestamp_ns // 1000)
    to.egress.sent_us = max(to.egress.sent_us, heard_us)


cdef void offload_end_session(Thread* thread, Session* session) noexcept nogil:
    cdef uint8_t side
    if thread.offload.flows == NULL:
        return
    for side in range(SIDES):
        offload_end(thread, session, side)
        # Memory of sides that a session has not is left untouched.
        if session.sides[side].settled:
            session.sides[side].settled = 0


cdef void offload_tick(Thread* thread, uint64_t now) noexcept nogil:
    """A sign of life for the kernel, and a look at whether its routes are still the same."""
    cdef uint32_t number
    if thread.offload.flows == NULL:
        return
    relaxed_store(thread.offload.beat, now * 1000)
    if routes_changed(&thread.offload):
        for number in range(thread.high):
            if thread.generations[number]:
                offload_end_session(thread, &thread.sessions[number])
