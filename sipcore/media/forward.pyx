"""One datagram: taken, judged, counted, and sent on through the socket whose port its receiver was told.

Per packet one recvfrom and one sendto, nothing allocated, nothing locked. One datagram an event: epoll is
level-triggered, so a port that is flooded comes up once a round like every other one. Sockets are unconnected and
do not ask for the error queue, so that an ICMP error never makes a send fail.
"""
from libc.errno cimport EAGAIN, EINTR, EMSGSIZE, errno
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcmp, memcpy, memset
from sipcore.base.address cimport Address, address_same_host
from sipcore.base.ring cimport relaxed_add, relaxed_load, relaxed_store
from sipcore.base.sockname cimport address_of, name_of, sockaddr, sockaddr_in6, socklen_t
from sipcore.media.clock cimport monotonic_us
from sipcore.media.counters cimport SideCounters
from sipcore.media.dtmf cimport DtmfEvent, dtmf_packet
from sipcore.media.egress cimport (
    SPEAKER_EDGE, Egress, egress_began_anew, egress_law, egress_rewrite, egress_switch, egress_track,
)
from sipcore.media.latch cimport ADMIT_EARLY, ADMIT_LATCHED, ADMIT_WRONG, Admission, Latch, latch_admit, latch_target
from sipcore.media.law cimport law_convert
from sipcore.media.offloading cimport (
    offload_end, offload_end_session, offload_has, offload_passed, side_heard_us, side_reception,
)
from sipcore.media.quality cimport RtpNumbers, reception_packet
from sipcore.media.rtcp cimport RtcpMap, RtcpReport, rtcp_passes, rtcp_read, rtcp_rewrite, rtcp_round_trip
from sipcore.media.rtp cimport (
    KIND_DTLS, KIND_RTCP, KIND_RTP, KIND_SHORT, KIND_STUN, KIND_ZRTP, RTP_HEADER, Kind, kind_of, read_u32,
    rtp_payload, rtp_payload_type, rtp_sequence, rtp_ssrc, rtp_timestamp,
)
from sipcore.media.session cimport EVENT_DTMF, EVENT_HEARD_AGAIN, EVENT_LATCHED, SIDES, Flow, Session, Side
from sipcore.media.srtp cimport SRTP_REPLAYED, SRTP_SPENT, SRTP_UNAUTHENTIC, srtp_protect, srtp_unprotect
from sipcore.media.tap cimport (
    TAP_IN, TAP_OPENED, TAP_OUT, TAP_PLAIN, TAP_SEALED, TapDirection, TapForm, TapRecord, put_record,
)
from sipcore.media.thread cimport PACKET_MAX, OwnPorts, Thread

cdef extern from "<sys/socket.h>" nogil:
    int MSG_TRUNC, SOL_SOCKET, SO_ERROR
    ssize_t recvfrom(int fd, void* data, size_t n, int flags, sockaddr* name, socklen_t* size)
    ssize_t sendto(int fd, const void* data, size_t n, int flags, const sockaddr* name, socklen_t size)
    int getsockopt(int fd, int level, int option, void* value, socklen_t* size)
    int setsockopt(int fd, int level, int option, const void* value, socklen_t size)

cdef extern from "<netinet/in.h>" nogil:
    int IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_WANT

cdef enum:
    OWN_A_SECOND = 1000         # packets of one flow from a port of the relay itself


cdef void forward_one(Thread* thread, Session* session, uint32_t number, uint8_t side,
                      uint8_t rtcp) noexcept nogil:
    """Take one datagram from a socket that has one, or an error, and pass it on."""
    cdef Side* origin = session.sides[side]
    cdef Flow* flow = &origin.flows[rtcp]
    cdef uint8_t* packet = thread.packet
    cdef sockaddr_in6 name
    cdef socklen_t size = sizeof(name)
    cdef ssize_t n, came
    cdef uint64_t now
    cdef Kind kind
    cdef uint8_t payload
    cdef RtpNumbers numbers
    cdef int error
    n = came = recvfrom(flow.fd, packet, PACKET_MAX, MSG_TRUNC, <sockaddr*>&name, &size)
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
        if origin.secure:
            # Nobody is learned whose packet is not authentic, and no stranger's is looked at for long.
            if not _may_come(origin, flow, kind, packet, &name, now):
                return
            n = _open(thread, origin, <uint32_t>n, kind == KIND_RTCP, now)
            if n < 0:
                return
        if not _admit(thread, session, number, side, flow, kind, &name, now):
            return
    else:
        if origin.secure:
            n = _open(thread, origin, <uint32_t>n, kind == KIND_RTCP, now)
            if n < 0:
                return
        flow.latch.heard_us = now
        flow.latch.ssrc = rtp_ssrc(packet) if kind == KIND_RTP else read_u32(packet + 4)
    if flow.own and not _may_pass_again(flow, now):
        relaxed_add(&origin.counters.other, 1)
        return
    relaxed_store(&origin.counters.alive_us, now)
    if session.captured:
        _copy(thread, session, number, side, TAP_IN, TAP_SEALED if origin.secure else TAP_PLAIN, kind == KIND_RTCP,
              &flow.latch.source, packet, <size_t>came, now)
    if origin.secure:
        packet = thread.opened
        if session.captured:
            _copy(thread, session, number, side, TAP_IN, TAP_OPENED, kind == KIND_RTCP, &flow.latch.source, packet,
                  <size_t>n, now)
    if kind == KIND_RTCP:
        _on_rtcp(thread, session, number, side, packet, <uint32_t>n, now)
        return
    payload = rtp_payload_type(packet)
    if origin.offloaded and not offload_has(origin, rtp_ssrc(packet), payload):
        offload_end(thread, session, side)
        # The kernel may have passed on a packet since.
        now = monotonic_us()
    if origin.silent:
        origin.silent = False
        tell(thread, number, session, EVENT_HEARD_AGAIN, side,
             (now - max(side_heard_us(origin), origin.watch_us)) // 1000, &flow.latch.source)
    relaxed_add(&origin.counters.packets, 1)
    relaxed_add(&origin.counters.octets, <uint64_t>n)
    relaxed_store(&origin.counters.heard_us, now)
    numbers.ssrc = rtp_ssrc(packet)
    numbers.timestamp = rtp_timestamp(packet)
    numbers.sequence = rtp_sequence(packet)
    reception_packet(side_reception(origin), &numbers, now * 1000, origin.clock)
    if payload == origin.event_payload:
        _on_telephone_event(thread, session, number, side, packet, <uint32_t>n, now)
    if not _pass_rtp(thread, session, number, side, packet, <size_t>n, now):
        relaxed_add(&origin.counters.unheard, 1)
    elif origin.offload != NULL:
        offload_passed(thread, session, side, &numbers, payload)


cdef bint _pass_rtp(Thread* thread, Session* session, uint32_t number, uint8_t side, uint8_t* packet, size_t n,
                    uint64_t now) noexcept nogil:
    """Send to every side that hears this one; False where nobody listens."""
    cdef uint8_t whole[RTP_HEADER]
    cdef uint8_t listener, listeners = session.heard_by[side]
    cdef Side* to
    cdef Egress* egress
    cdef bint heard = False, changed = False
    for listener in range(SIDES):
        if not listeners >> listener & 1:
            continue
        to = session.sides[listener]
        if to.flows[0].name_size == 0 or not to.receives:
            relaxed_add(&to.counters.unsendable, 1)
            continue
        if to.playing:
            continue
        egress = &to.egress
        if changed:
            memcpy(packet, whole, RTP_HEADER)
        if egress.speaker != side or egress.source_ssrc != rtp_ssrc(packet) or (
                to.secure and egress_began_anew(egress, rtp_sequence(packet))):
            if not egress_switch(egress, side, egress.speaker < SIDES and session.hears[listener] >> egress.speaker & 1,
                                 packet, now, session.sides[side].clock):
                continue
        if egress.rewrites:
            memcpy(whole, packet, RTP_HEADER)
            changed = True
        _send_rtp(thread, session, number, listener, packet, n, now)
        heard = True
    return heard


cdef void _send_rtp(Thread* thread, Session* session, uint32_t number, uint8_t side, uint8_t* packet, size_t n,
                    uint64_t now) noexcept nogil:
    """Send a packet of the present speaker towards a side, with the stream's numbers."""
    cdef Side* to = session.sides[side]
    cdef uint8_t law
    cdef uint32_t at, length = 0
    cdef size_t wire_n = n
    if to.egress.rewrites:
        law = egress_law(&to.egress, packet) if to.egress.converts else 0
        if law:
            # Others may hear the packet as it is.
            memcpy(thread.made, packet, n)
            packet = thread.made
            at = rtp_payload(packet, <uint32_t>n, &length)
            if at:
                law_convert(packet + at, length, law)
        egress_rewrite(&to.egress, packet)
    egress_track(&to.egress, rtp_sequence(packet), rtp_timestamp(packet), now)
    if to.secure:
        packet = _seal(thread, session, number, side, False, &to.flows[0], packet, &wire_n, now)
        if packet == NULL:
            return
    if not _send(&to.flows[0], packet, wire_n):
        relaxed_add(&to.counters.send_failed, 1)
        return
    relaxed_add(&to.counters.sent, 1)
    relaxed_add(&to.counters.sent_octets, n)
    if session.captured:
        _copy(thread, session, number, side, TAP_OUT, TAP_SEALED if to.secure else TAP_PLAIN, False,
              latch_target(&to.flows[0].latch), packet, wire_n, now)


cdef bint _send(const Flow* flow, const uint8_t* packet, size_t n) noexcept nogil:
    """Hand a packet to the kernel; False where it is refused.

    Nothing is fragmented at first. A packet that is too long for its path shows that there is need for it, and from
    then on the socket lets the kernel do it.
    """
    cdef int fragmented = IP_PMTUDISC_WANT
    if sendto(flow.fd, packet, n, 0, <const sockaddr*>&flow.name, flow.name_size) >= 0:
        return True
    if errno != EMSGSIZE:
        return False
    setsockopt(flow.fd, IPPROTO_IP, IP_MTU_DISCOVER, &fragmented, sizeof(fragmented))
    return sendto(flow.fd, packet, n, 0, <const sockaddr*>&flow.name, flow.name_size) >= 0


cdef void forward_made(Thread* thread, Session* session, uint32_t number, uint8_t side, size_t n,
                       uint64_t now) noexcept nogil:
    """Send the packet in thread.made towards a side: the edge speaks, whoever else would."""
    cdef Side* to = session.sides[side]
    cdef Egress* egress = &to.egress
    if to.flows[0].name_size == 0 or not to.receives:
        relaxed_add(&to.counters.unsendable, 1)
        return
    if egress.speaker != SPEAKER_EDGE or egress.source_ssrc != rtp_ssrc(thread.made):
        egress_switch(egress, SPEAKER_EDGE, False, thread.made, now, to.clock)
    _send_rtp(thread, session, number, side, thread.made, n, now)
    relaxed_add(&to.counters.played, 1)


cdef void _on_rtcp(Thread* thread, Session* session, uint32_t number, uint8_t side, uint8_t* packet, uint32_t n,
                   uint64_t now) noexcept nogil:
    """Read a side's report, and send it to every side that hears this one."""
    cdef Side* origin = session.sides[side]
    cdef SideCounters* counters = &origin.counters
    cdef RtcpReport report
    cdef int64_t trip
    cdef bint heard = False
    cdef uint8_t listener, listeners = session.heard_by[side]
    relaxed_add(&counters.rtcp, 1)
    memset(&report, 0, sizeof(report))
    # What does not add up may be encrypted: it is passed on, and what stands in it is not believed.
    if rtcp_read(packet, n, origin.egress.ssrc, &report) == 0 and report.block:
        relaxed_add(&counters.reports, 1)
        relaxed_store(&counters.far_lost, <uint64_t>report.cumulative if report.cumulative > 0 else 0)
        relaxed_store(&counters.far_fraction, report.fraction)
        relaxed_store(&counters.far_jitter, report.jitter)
        trip = rtcp_round_trip(&origin.passages, report.lsr, report.dlsr, now)
        if trip >= 0:
            relaxed_store(&counters.round_trip_us, <uint64_t>trip)
    for listener in range(SIDES):
        if listeners >> listener & 1:
            heard = _send_rtcp(thread, session, number, side, listener, packet, n, &report, now) or heard
    if not heard:
        relaxed_add(&counters.unheard, 1)


cdef bint _send_rtcp(Thread* thread, Session* session, uint32_t number, uint8_t side, uint8_t listener,
                     uint8_t* packet, uint32_t n, const RtcpReport* report, uint64_t now) noexcept nogil:
    """Send a side's report to one that hears it, in the terms of the stream that this one gets; False where not.

    The reports of one that does not speak at present are nobody's: they would tell of another stream.
    """
    cdef Side* origin = session.sides[side]
    cdef Side* to = session.sides[listener]
    cdef Flow* flow = &to.flows[0 if to.mux else 1]
    cdef RtcpMap changes
    cdef size_t wire_n = n
    if to.egress.started and to.egress.speaker != side:
        return False
    if flow.name_size == 0:
        relaxed_add(&to.counters.unsendable, 1)
        return False
    if to.egress.rewrites or origin.egress.rewrites:
        changes.sender_from = to.egress.source_ssrc
        changes.sender_to = to.egress.ssrc
        changes.timestamp_add = to.egress.ts_offset
        changes.reported_from = origin.egress.ssrc
        changes.reported_to = origin.egress.source_ssrc
        changes.sequence_add = origin.egress.seq_offset
        memcpy(thread.made, packet, n)
        packet = thread.made
        if rtcp_rewrite(packet, n, &changes) != 0:
            return False
    if to.secure:
        packet = _seal(thread, session, number, listener, True, flow, packet, &wire_n, now)
        if packet == NULL:
            return True
    if report.sr:
        rtcp_passes(&to.passages, report.ntp_middle, now)
    if not _send(flow, packet, wire_n):
        relaxed_add(&to.counters.send_failed, 1)
        return True
    relaxed_add(&to.counters.sent_rtcp, 1)
    if session.captured:
        _copy(thread, session, number, listener, TAP_OUT, TAP_SEALED if to.secure else TAP_PLAIN, True,
              latch_target(&flow.latch), packet, wire_n, now)
    return True


cdef void _on_telephone_event(Thread* thread, Session* session, uint32_t number, uint8_t side, const uint8_t* packet,
                              uint32_t n, uint64_t now) noexcept nogil:
    cdef Side* origin = session.sides[side]
    cdef DtmfEvent events[2]
    cdef uint32_t length = 0
    cdef uint32_t at = rtp_payload(packet, n, &length)
    if at:
        say_digits(thread, session, number, side, events,
                   dtmf_packet(&origin.digits, packet + at, length, rtp_ssrc(packet), rtp_timestamp(packet),
                               origin.clock, now, events))


cdef void say_digits(Thread* thread, Session* session, uint32_t number, uint8_t side, const DtmfEvent* events,
                     int n) noexcept nogil:
    cdef int i
    for i in range(n):
        tell(thread, number, session, EVENT_DTMF, side, <uint64_t>events[i].event << 32 | events[i].duration_ms, NULL)


cdef int _open(Thread* thread, Side* origin, uint32_t n, bint rtcp, uint64_t now) noexcept nogil:
    """What the packet at hand says, in thread.opened; returns its length, or less than 0 where it is dropped."""
    cdef int length = SRTP_UNAUTHENTIC, earlier
    if origin.keys.receive != NULL:
        length = srtp_unprotect(origin.keys.receive, thread.packet, n, rtcp, thread.opened)
    if length < 0 and origin.keys.before != NULL and now < origin.keys.before_until_us:
        # It was on its way when the keys changed.
        earlier = srtp_unprotect(origin.keys.before, thread.packet, n, rtcp, thread.opened)
        length = earlier if earlier != SRTP_UNAUTHENTIC else length
    if length == SRTP_REPLAYED:
        relaxed_add(&origin.counters.replayed, 1)
    elif length < 0:
        relaxed_add(&origin.counters.unauthentic, 1)
    return length


cdef uint8_t* _seal(Thread* thread, Session* session, uint32_t number, uint8_t side, bint rtcp, const Flow* flow,
                    const uint8_t* packet, size_t* n, uint64_t now) noexcept nogil:
    """Protect a packet towards a side, into thread.made (where it may stand already); NULL where it cannot be sent."""
    cdef Side* to = session.sides[side]
    cdef int length = SRTP_SPENT
    if session.captured:
        _copy(thread, session, number, side, TAP_OUT, TAP_OPENED, rtcp, latch_target(&flow.latch), packet, n[0], now)
    if to.keys.send != NULL:
        length = srtp_protect(to.keys.send, packet, <uint32_t>n[0], rtcp, thread.made)
    if length < 0:
        relaxed_add(&to.counters.unsendable, 1)
        return NULL
    n[0] = <size_t>length
    return thread.made


cdef void _copy(Thread* thread, Session* session, uint32_t number, uint8_t side, TapDirection direction, TapForm form,
                bint rtcp, const Address* far, const uint8_t* packet, size_t n, uint64_t now) noexcept nogil:
    """Put a packet into the tap; what finds no room is counted there."""
    cdef TapRecord head
    if thread.tap == NULL:
        return
    head.time_ns = now * 1000
    head.far = far[0]
    head.session = number
    head.generation = session.generation
    head.n = <uint16_t>n
    head.side = side
    head.direction = <uint8_t>direction
    head.form = <uint8_t>form
    head.rtcp = rtcp
    put_record(thread.tap, &head, packet)


cdef bint _may_come(Side* origin, const Flow* flow, Kind kind, const uint8_t* packet, const sockaddr_in6* name,
                    uint64_t now) noexcept nogil:
    """Whether a source that is not the latched one would be let in; changes nothing but counters."""
    cdef Latch latch = flow.latch
    cdef Address source
    address_of(<const sockaddr*>name, &source)
    return _counted(origin, latch_admit(&latch, &source, read_u32(packet + (8 if kind == KIND_RTP else 4)), now))


cdef bint _counted(Side* origin, Admission admission) noexcept nogil:
    """Count a source that is not let in; whether it is."""
    if admission == ADMIT_EARLY:
        relaxed_add(&origin.counters.early, 1)
    elif admission == ADMIT_WRONG:
        relaxed_add(&origin.counters.wrong_source, 1)
    return admission != ADMIT_EARLY and admission != ADMIT_WRONG


cdef bint _admit(Thread* thread, Session* session, uint32_t number, uint8_t side, Flow* flow, Kind kind,
                 const sockaddr_in6* name, uint64_t now) noexcept nogil:
    """Judge a source that is not the latched one; False where its packet is dropped."""
    cdef Side* origin = session.sides[side]
    cdef Address source
    cdef Admission admission
    if origin.offloaded and flow == &origin.flows[0]:
        flow.latch.heard_us = max(flow.latch.heard_us, side_heard_us(origin))
    address_of(<const sockaddr*>name, &source)
    admission = latch_admit(&flow.latch, &source, read_u32(thread.packet + (8 if kind == KIND_RTP else 4)), now)
    if not _counted(origin, admission):
        return False
    if admission == ADMIT_LATCHED:
        flow_retarget(flow, origin.family)
        flow.own = _is_own(thread, &source)
        if flow == &origin.flows[0]:
            offload_end_session(thread, session)
            tell(thread, number, session, EVENT_LATCHED, side, flow.latch.rank, &source)
    return True


cdef bint _is_own(Thread* thread, const Address* source) noexcept nogil:
    """Whether a source is one of the relay's own ports."""
    cdef uint64_t i
    cdef const OwnPorts* own
    for i in range(relaxed_load(&thread.own_n)):
        own = &thread.own[i]
        if own.first <= source.port <= own.last and (
                address_same_host(source, &own.bound) or address_same_host(source, &own.advertised)):
            return True
    return False


cdef bint _may_pass_again(Flow* flow, uint64_t now) noexcept nogil:
    """A call may pass the edge twice, but not round and round: RTP counts no hops, so only its rate tells."""
    cdef uint32_t second = <uint32_t>(now // 1_000_000)
    if flow.own_second != second:
        flow.own_second = second
        flow.own_packets = 0
    flow.own_packets += flow.own_packets <= OWN_A_SECOND
    return flow.own_packets <= OWN_A_SECOND


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
