"""One datagram: taken, judged, counted, and sent on through the socket whose port its receiver was told.

Per packet one recvfrom and one sendto, nothing allocated, nothing locked. One datagram an event: epoll is
level-triggered, so a port that is flooded comes up once a round like every other one. Sockets are unconnected and
do not ask for the error queue, so that an ICMP error never makes a send fail.
"""
from libc.errno cimport EAGAIN, EINTR, errno
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcmp, memcpy
from sipcore.base.address cimport Address
from sipcore.base.ring cimport relaxed_add, relaxed_store
from sipcore.base.sockname cimport address_of, name_of, sockaddr, sockaddr_in6, socklen_t
from sipcore.media.clock cimport monotonic_us
from sipcore.media.counters cimport SideCounters
from sipcore.media.egress cimport Egress, egress_rewrite, egress_switch, egress_track
from sipcore.media.latch cimport ADMIT_EARLY, ADMIT_LATCHED, ADMIT_WRONG, Admission, latch_admit, latch_target
from sipcore.media.quality cimport reception_packet
from sipcore.media.rtp cimport (
    KIND_DTLS, KIND_RTCP, KIND_RTP, KIND_SHORT, KIND_STUN, KIND_ZRTP, RTP_HEADER, Kind, kind_of, read_u32,
    rtp_sequence, rtp_ssrc, rtp_timestamp,
)
from sipcore.media.session cimport EVENT_HEARD_AGAIN, EVENT_LATCHED, SIDES, Flow, Session, Side
from sipcore.media.thread cimport PACKET_MAX, Thread

cdef extern from "<sys/socket.h>" nogil:
    int MSG_TRUNC, SOL_SOCKET, SO_ERROR
    ssize_t recvfrom(int fd, void* data, size_t n, int flags, sockaddr* name, socklen_t* size)
    ssize_t sendto(int fd, const void* data, size_t n, int flags, const sockaddr* name, socklen_t size)
    int getsockopt(int fd, int level, int option, void* value, socklen_t* size)


cdef void forward_one(Thread* thread, Session* session, uint32_t number, uint8_t side,
                      uint8_t rtcp) noexcept nogil:
    """Take one datagram from a socket that has one, or an error, and pass it on."""
    cdef Side* origin = &session.sides[side]
    cdef Flow* flow = &origin.flows[rtcp]
    cdef uint8_t* packet = thread.packet
    cdef sockaddr_in6 name
    cdef socklen_t size = sizeof(name)
    cdef ssize_t n
    cdef uint64_t now
    cdef Kind kind
    cdef int error
    n = recvfrom(flow.fd, packet, PACKET_MAX, MSG_TRUNC, <sockaddr*>&name, &size)
    if n < 0:
        if errno != EAGAIN and errno != EINTR:
            # Reading took the pending error; a second look makes sure that the socket does not stay readable.
            size = sizeof(error)
            getsockopt(flow.fd, SOL_SOCKET, SO_ERROR, &error, &size)
            relaxed_add(&thread.counters.socket_errors, 1)
        return
    kind = kind_of(packet, <uint32_t>n if n <= PACKET_MAX else PACKET_MAX)
    if n > PACKET_MAX or kind > KIND_RTCP or (rtcp and kind == KIND_RTP):
        _count_junk(&origin.counters, kind, n)
        return
    now = monotonic_us()
    if not (flow.latched and size == flow.name_size and memcmp(&name, &flow.name, size) == 0):
        if not _admit(thread, session, number, side, flow, kind, &name, now):
            return
    else:
        flow.latch.heard_us = now
        flow.latch.ssrc = rtp_ssrc(packet) if kind == KIND_RTP else read_u32(packet + 4)
    relaxed_store(&origin.counters.alive_us, now)
    if kind == KIND_RTP:
        if origin.silent:
            origin.silent = False
            tell(thread, number, session, EVENT_HEARD_AGAIN, side,
                 (now - max(origin.counters.heard_us, origin.watch_us)) // 1000, &flow.latch.source)
        relaxed_add(&origin.counters.packets, 1)
        relaxed_add(&origin.counters.octets, <uint64_t>n)
        relaxed_store(&origin.counters.heard_us, now)
        reception_packet(&origin.reception, rtp_ssrc(packet), rtp_sequence(packet), rtp_timestamp(packet), now * 1000,
                         origin.clock)
        if not _pass_rtp(session, side, packet, <size_t>n, now):
            relaxed_add(&origin.counters.unheard, 1)
    else:
        relaxed_add(&origin.counters.rtcp, 1)
        if not _pass_rtcp(session, side, packet, <size_t>n):
            relaxed_add(&origin.counters.unheard, 1)


cdef bint _pass_rtp(Session* session, uint8_t side, uint8_t* packet, size_t n, uint64_t now) noexcept nogil:
    """Send to every side that hears this one; False where nobody listens."""
    cdef uint8_t whole[RTP_HEADER]
    cdef uint8_t listener, listeners = session.heard_by[side]
    cdef Side* to
    cdef Egress* egress
    cdef bint heard = False, changed = False
    for listener in range(SIDES):
        if not listeners >> listener & 1:
            continue
        to = &session.sides[listener]
        if to.flows[0].name_size == 0 or not to.receives:
            relaxed_add(&to.counters.unsendable, 1)
            continue
        egress = &to.egress
        if changed:
            memcpy(packet, whole, RTP_HEADER)
        if egress.speaker != side or egress.source_ssrc != rtp_ssrc(packet):
            if not egress_switch(egress, side, egress.speaker < SIDES and session.hears[listener] >> egress.speaker & 1,
                                 packet, now, session.sides[side].clock):
                continue
        if egress.rewrites:
            memcpy(whole, packet, RTP_HEADER)
            changed = True
            egress_rewrite(egress, packet)
        egress_track(egress, rtp_sequence(packet), rtp_timestamp(packet), now)
        heard = True
        if sendto(to.flows[0].fd, packet, n, 0, <sockaddr*>&to.flows[0].name, to.flows[0].name_size) < 0:
            relaxed_add(&to.counters.send_failed, 1)
        else:
            relaxed_add(&to.counters.sent, 1)
            relaxed_add(&to.counters.sent_octets, n)
    return heard


cdef bint _pass_rtcp(Session* session, uint8_t side, uint8_t* packet, size_t n) noexcept nogil:
    """Send reports of the speaker to every side that hears it; False where nobody does."""
    cdef uint8_t listener, listeners = session.heard_by[side]
    cdef Side* to
    cdef Flow* flow
    cdef bint heard = False
    for listener in range(SIDES):
        if not listeners >> listener & 1:
            continue
        to = &session.sides[listener]
        if to.egress.speaker != side and to.egress.started:
            continue
        flow = &to.flows[0 if to.mux else 1]
        if flow.name_size == 0:
            relaxed_add(&to.counters.unsendable, 1)
            continue
        heard = True
        if sendto(flow.fd, packet, n, 0, <sockaddr*>&flow.name, flow.name_size) < 0:
            relaxed_add(&to.counters.send_failed, 1)
        else:
            relaxed_add(&to.counters.sent_rtcp, 1)
    return heard


cdef bint _admit(Thread* thread, Session* session, uint32_t number, uint8_t side, Flow* flow, Kind kind,
                 const sockaddr_in6* name, uint64_t now) noexcept nogil:
    """Judge a source that is not the latched one; False where its packet is dropped."""
    cdef Side* origin = &session.sides[side]
    cdef Address source
    cdef Admission admission
    address_of(<const sockaddr*>name, &source)
    admission = latch_admit(&flow.latch, &source, read_u32(thread.packet + (8 if kind == KIND_RTP else 4)), now)
    if admission == ADMIT_EARLY:
        relaxed_add(&origin.counters.early, 1)
        return False
    if admission == ADMIT_WRONG:
        relaxed_add(&origin.counters.wrong_source, 1)
        return False
    if admission == ADMIT_LATCHED:
        flow_retarget(flow, origin.family)
        if flow == &origin.flows[0]:
            tell(thread, number, session, EVENT_LATCHED, side, flow.latch.rank, &source)
    return True


cdef void flow_retarget(Flow* flow, uint8_t family) noexcept nogil:
    """Have packets go where the latch says. An address of another family than the socket's is nobody's."""
    cdef const Address* target = latch_target(&flow.latch)
    flow.latched = flow.latch.source.family != 0
    flow.name_size = 0
    if target.family and target.family == family and target.port and flow.fd >= 0:
        flow.name_size = name_of(target, <sockaddr*>&flow.name)


cdef void _count_junk(SideCounters* counters, Kind kind, ssize_t n) noexcept nogil:
    if n > PACKET_MAX:
        relaxed_add(&counters.giant, 1)
    elif kind == KIND_STUN:
        relaxed_add(&counters.stun, 1)
    elif kind == KIND_DTLS:
        relaxed_add(&counters.dtls, 1)
    elif kind == KIND_ZRTP:
        relaxed_add(&counters.zrtp, 1)
    elif kind == KIND_SHORT:
        relaxed_add(&counters.truncated, 1)
    else:
        relaxed_add(&counters.other, 1)
