"""A bounded walk over compound packets. Nothing past the packet's end is read, whatever its length fields say.

Each packet of a compound says its own length; those must add up to the datagram (RFC 3550 A.2). SR and RR first is
not asked for: reduced-size compounds (RFC 5506) begin with anything. Encrypted RTCP (RFC 3711 3.4) never adds up, and
whoever relays it passes it on as it is.

The edge sends no reports of its own. It sees the round trip to a reporter all the same: an SR passes it on the way to
the reporter, and the report about it comes back DLSR after it came there (RFC 3550 6.4.1).
"""
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from .rtp cimport read_u16, read_u32, write_u16, write_u32

cdef enum:
    SENDER_INFO = 20        # NTP time, RTP timestamp, packets, octets
    BLOCK = 24              # one report block
    PADDED = 0x20           # the last byte says by how many (RFC 3550 6.4.1)
    # Blocks of extended reports, by their types.
    XR_PACKET_TIMES = 3     # it and those before it have the first and last sequence number behind the SSRC
    XR_RECEIVER_TIME = 4    # about nobody
    XR_DLRR = 5             # about several sources, of 12 bytes each
    XR_SUMMARY = 6          # sequence numbers as in 1 to 3


cdef uint32_t packet_at(const uint8_t* p, uint32_t n, uint32_t at) noexcept nogil:
    """Bytes of the packet of a compound that begins at `at`, header included; 0 where there is none that fits.

    What its type and count make necessary is in it: sender and report blocks, SSRCs of a BYE.
    """
    cdef uint32_t size, needed = 4, count
    if n - at < 4 or p[at] >> 6 != 2 or not 192 <= p[at + 1] <= 223:
        return 0
    size = 4 * (<uint32_t>read_u16(p + at + 2) + 1)
    if size > n - at:
        return 0
    count = p[at] & 0x1F
    if p[at + 1] == RTCP_SR:
        needed = 8 + SENDER_INFO + count * BLOCK
    elif p[at + 1] == RTCP_RR:
        needed = 8 + count * BLOCK
    elif p[at + 1] == RTCP_BYE:
        needed = 4 + 4 * count
    elif p[at + 1] == RTCP_APP or p[at + 1] == RTCP_RTPFB or p[at + 1] == RTCP_PSFB:
        needed = 12
    elif p[at + 1] == RTCP_XR:
        needed = 8
    return size if size >= needed else 0


cdef void read_blocks(const uint8_t* p, uint32_t count, uint32_t about, RtcpReport* out) noexcept nogil:
    """Keep the block about `about`; where there is none, the first."""
    cdef uint32_t _
    for _ in range(count):
        if not out.block or (out.about != about and read_u32(p) == about):
            out.block = True
            out.about = read_u32(p)
            out.fraction = p[4]
            # 24 bits with a sign.
            out.cumulative = <int32_t>(read_u32(p + 4) << 8) >> 8
            out.highest = read_u32(p + 8)
            out.jitter = read_u32(p + 12)
            out.lsr = read_u32(p + 16)
            out.dlsr = read_u32(p + 20)
        p += BLOCK


cdef int rtcp_read(const uint8_t* p, uint32_t n, uint32_t about, RtcpReport* out) noexcept nogil:
    """Read a compound packet of n bytes into out (zeroed by the caller); about: the SSRC whose block is wanted.

    Returns 0, or -1 where the packets do not add up; out then has what stood before.
    """
    cdef uint32_t at = 0, size
    if n < 4:
        return -1
    if n >= 8:
        out.ssrc = read_u32(p + 4)
    while at < n:
        size = packet_at(p, n, at)
        if size == 0:
            return -1
        if p[at + 1] == RTCP_SR:
            out.sr = True
            out.ntp_middle = read_u32(p + at + 10)
            read_blocks(p + at + 8 + SENDER_INFO, p[at] & 0x1F, about, out)
        elif p[at + 1] == RTCP_RR:
            read_blocks(p + at + 8, p[at] & 0x1F, about, out)
        elif p[at + 1] == RTCP_BYE:
            out.bye = True
        at += size
    return 0


cdef void rewrite_ssrc(uint8_t* p, uint32_t old, uint32_t new) noexcept nogil:
    if read_u32(p) == old:
        write_u32(p, new)


cdef void rewrite_blocks(uint8_t* p, uint32_t count, const RtcpMap* map) noexcept nogil:
    cdef uint32_t _, highest
    for _ in range(count):
        if read_u32(p) == map.reported_from:
            write_u32(p, map.reported_to)
            highest = read_u32(p + 8)
            # Where the number goes round below 0 the cycles are not known: none.
            write_u32(p + 8, highest - map.sequence_add if highest >= map.sequence_add
                      else <uint16_t>(highest - map.sequence_add))
        p += BLOCK


cdef int rewrite_sdes(uint8_t* p, uint32_t size, uint32_t chunks, const RtcpMap* map) noexcept nogil:
    """SSRCs of an SDES packet (RFC 3550 6.5); -1 where its items do not fit into it."""
    cdef uint32_t at = 4, _
    for _ in range(chunks):
        if at + 4 > size:
            return -1
        rewrite_ssrc(p + at, map.sender_from, map.sender_to)
        at += 4
        # Items: type, length, text; a zero ends them, and zeros fill up to a multiple of four.
        while at < size and p[at]:
            if at + 2 > size:
                return -1
            at += 2 + <uint32_t>p[at + 1]
        if at >= size:
            return -1
        at = (at + 4) & ~<uint32_t>3
    return 0


cdef int rewrite_xr(uint8_t* p, uint32_t size, const RtcpMap* map) noexcept nogil:
    """What an extended report says of a source (RFC 3611 4); -1 where its blocks do not fit into it."""
    cdef uint32_t at = 8, block, i
    cdef uint8_t type
    if p[0] & PADDED:
        if p[size - 1] > size - 8:
            return -1
        size -= p[size - 1]
    while at < size:
        if at + 4 > size:
            return -1
        type = p[at]
        block = 4 + 4 * <uint32_t>read_u16(p + at + 2)
        if at + block > size:
            return -1
        if type == XR_DLRR:
            for i in range((block - 4) // 12):
                rewrite_ssrc(p + at + 4 + 12 * i, map.reported_from, map.reported_to)
        elif type != XR_RECEIVER_TIME and block >= 8 and read_u32(p + at + 4) == map.reported_from:
            # The SSRC of its source is the first word of every other block, of later RFCs' too (RFC 6776 and on).
            write_u32(p + at + 4, map.reported_to)
            if block >= 12 and (type <= XR_PACKET_TIMES or type == XR_SUMMARY):
                for i in range(8, 12, 2):
                    write_u16(p + at + i, <uint16_t>(read_u16(p + at + i) - map.sequence_add))
        at += block
    return 0


cdef int rtcp_rewrite(uint8_t* p, uint32_t n, const RtcpMap* map) noexcept nogil:
    """Change a compound packet in place: SSRCs, RTP timestamps of sender reports, sequence numbers of blocks, and the
    same in extended reports.

    What an application-defined packet says stays. Returns 0, or -1 where the packets
    do not add up: it is then half changed, and no use to anybody.
    """
    cdef uint32_t at = 0, size, count, i
    cdef uint8_t* packet
    cdef uint8_t type
    while at < n:
        size = packet_at(p, n, at)
        if size == 0:
            return -1
        packet = p + at
        type = packet[1]
        count = packet[0] & 0x1F
        if type == RTCP_SDES:
            if rewrite_sdes(packet, size, count, map) != 0:
                return -1
        elif type == RTCP_BYE:
            for i in range(count):
                rewrite_ssrc(packet + 4 + 4 * i, map.sender_from, map.sender_to)
        elif size >= 8:
            rewrite_ssrc(packet + 4, map.sender_from, map.sender_to)
        if type == RTCP_SR:
            write_u32(packet + 16, read_u32(packet + 16) + map.timestamp_add)
            rewrite_blocks(packet + 8 + SENDER_INFO, count, map)
        elif type == RTCP_RR:
            rewrite_blocks(packet + 8, count, map)
        elif type == RTCP_XR:
            if rewrite_xr(packet, size, map) != 0:
                return -1
        elif type == RTCP_RTPFB or type == RTCP_PSFB:
            rewrite_ssrc(packet + 8, map.reported_from, map.reported_to)
        at += size
    return 0 if n else -1


cdef void rtcp_passes(RtcpPassages* passages, uint32_t ntp_middle, uint64_t now_us) noexcept nogil:
    """A sender report goes towards the side at now_us."""
    passages.ntp_middle[passages.next] = ntp_middle
    passages.at_us[passages.next] = now_us
    passages.next = (passages.next + 1) % RTCP_PASSAGES


cdef int64_t rtcp_round_trip(const RtcpPassages* passages, uint32_t lsr, uint32_t dlsr, uint64_t now_us) noexcept nogil:
    """Microseconds from the edge to the reporter and back, from a block that arrives at now_us; -1: not known.

    Where DLSR is said to be longer than the whole took (more than its own resolution and a reporter's clock explain,
    1 ms), the block is not believed.
    """
    cdef int64_t trip
    cdef int i
    if lsr == 0:
        return -1
    for i in range(RTCP_PASSAGES):
        if passages.ntp_middle[i] == lsr and passages.at_us[i]:
            trip = <int64_t>(now_us - passages.at_us[i]) - (<int64_t>dlsr * 1000000 >> 16)
            return trip if trip >= 0 else 0 if trip > -1000 else -1
    return -1
