"""One RTP stream out of several sources, so that the far end notices no change (RFC 3550 5.1, 7.1).

The first source's stream leaves as it is. When another one takes over, the stream goes on with its own SSRC, the
next sequence number, and a timestamp that stands for the time that has passed; the first packet of the new source
bears the marker, because there a receiver may adjust its play-out delay (RFC 3551 4.1). One speaks at a time: the
first keeps the egress as long as it speaks. A source that changes its own SSRC is passed on as it is, as long as
nothing has been rewritten: the far end would see the same without an edge. Pure: time is an argument.
"""
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset
from sipcore.media.law cimport LAW_KEPT
from sipcore.media.rtp cimport (
    RTP_HEADER, RTP_MARKER, rtp_payload_type, rtp_sequence, rtp_ssrc, rtp_timestamp, write_u16, write_u32,
)


cdef bint egress_switch(Egress* egress, uint8_t speaker, bint held, const uint8_t* packet, uint64_t now_us,
                        uint32_t clock) noexcept nogil:
    """A packet comes whose source is not the present one: may it leave?

    held: the present speaker may keep the egress; where it is no longer to be heard, the next one needs not wait.
    clock: Hz of the timestamps. Nothing is changed where the answer is no.
    """
    # Packets of one telephone event bear the timestamp of its beginning.
    cdef uint64_t passed = now_us - egress.ts_us
    cdef bint same = egress.speaker == speaker
    if not same and held and egress.speaker != SPEAKER_NONE and now_us - egress.sent_us < TAKE_OVER_US:
        return False
    if not egress.started or (same and speaker != SPEAKER_EDGE and not egress.rewrites):
        egress.ssrc = rtp_ssrc(packet)
    else:
        egress.mark = not same
        egress.rewrites = True
        egress.seq_offset = egress.seq + 1 - rtp_sequence(packet)
        if passed > 3600 * <uint64_t>1_000_000:
            passed = 3600 * <uint64_t>1_000_000
        # At least one unit on: two packets of different sources never share a timestamp.
        egress.ts_offset = egress.ts + <uint32_t>(passed * clock // 1_000_000) + 1 - rtp_timestamp(packet)
    egress.speaker = speaker
    egress.source_ssrc = rtp_ssrc(packet)
    return True


cdef void egress_rewrite(Egress* egress, uint8_t* packet) noexcept nogil:
    """Give a packet of the present source the numbers of the stream."""
    cdef uint8_t i, payload = rtp_payload_type(packet)
    write_u16(packet + 2, rtp_sequence(packet) + egress.seq_offset)
    write_u32(packet + 4, rtp_timestamp(packet) + egress.ts_offset)
    write_u32(packet + 8, egress.ssrc)
    # What the edge says itself has the listener's payload types already.
    for i in range(egress.pairs if egress.speaker != SPEAKER_EDGE else 0):
        if egress.payload_from[i] == payload:
            packet[1] = (packet[1] & RTP_MARKER) | egress.payload_to[i]
            break
    if egress.mark:
        packet[1] |= RTP_MARKER
        egress.mark = False


cdef void egress_map(Egress* egress, const uint8_t* triples, uint8_t n) noexcept nogil:
    """Replace payload types from now on: n times (from, to, Law), at most PAYLOAD_PAIRS."""
    cdef uint8_t i
    egress.pairs = min(n, <uint8_t>PAYLOAD_PAIRS)
    egress.converts = False
    for i in range(egress.pairs):
        egress.payload_from[i] = triples[3 * i]
        egress.payload_to[i] = triples[3 * i + 1] & 0x7F
        egress.payload_law[i] = triples[3 * i + 2]
        egress.converts = egress.converts or egress.payload_law[i] != LAW_KEPT
    if n:
        egress.rewrites = True


cdef uint8_t egress_law(const Egress* egress, const uint8_t* packet) noexcept nogil:
    """What the payload of the present source's packet is to be converted to, before its header is rewritten."""
    cdef uint8_t i, payload = rtp_payload_type(packet)
    for i in range(egress.pairs if egress.speaker != SPEAKER_EDGE else 0):
        if egress.payload_from[i] == payload:
            return egress.payload_law[i]
    return LAW_KEPT


cdef class EgressProbe:
    """One egress as tests see it; times are microseconds."""
    cdef Egress egress

    def __cinit__(self):
        memset(&self.egress, 0, sizeof(Egress))
        self.egress.speaker = SPEAKER_NONE

    def map(self, bytes pairs not None) -> None:
        """pairs: from, to, from, to, ..."""
        cdef bytes triples = b"".join([pairs[at:at + 2] + b"\0" for at in range(0, len(pairs), 2)])
        egress_map(&self.egress, <const uint8_t*><const char*>triples, <uint8_t>(len(pairs) // 2))

    def send(self, int speaker, bytes packet not None, uint64_t now, *, bint held=True, uint32_t clock=8000):
        """The packet as it leaves; None where it does not. ValueError where it has no whole header."""
        cdef bytearray copy = bytearray(packet)
        cdef uint8_t* p = copy
        if len(packet) < RTP_HEADER:
            raise ValueError("shorter than an RTP header")
        if self.egress.speaker != speaker or self.egress.source_ssrc != rtp_ssrc(p):
            if not egress_switch(&self.egress, <uint8_t>speaker, held, p, now, clock):
                return None
        if self.egress.rewrites:
            egress_rewrite(&self.egress, p)
        egress_track(&self.egress, rtp_sequence(p), rtp_timestamp(p), now)
        return bytes(copy)

    def send_often(self, int speaker, bytes packet not None, uint64_t now, int operations) -> int:
        """A packet that often, its number one higher each time; returns the number of the last as it left."""
        cdef bytearray copy = bytearray(packet)
        cdef uint8_t* p = copy
        cdef uint8_t whole[RTP_HEADER]
        cdef int i
        memcpy(whole, p, RTP_HEADER)
        for i in range(operations):
            memcpy(p, whole, RTP_HEADER)
            write_u16(p + 2, <uint16_t>(rtp_sequence(p) + i))
            if self.egress.speaker != speaker or self.egress.source_ssrc != rtp_ssrc(p):
                if not egress_switch(&self.egress, <uint8_t>speaker, False, p, now, 8000):
                    break
            if self.egress.rewrites:
                egress_rewrite(&self.egress, p)
            egress_track(&self.egress, rtp_sequence(p), rtp_timestamp(p), now)
        return self.egress.seq

    @property
    def rewrites(self) -> bool:
        return self.egress.rewrites
