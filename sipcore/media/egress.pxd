"""What leaves towards one side: one RTP stream, whoever speaks in it."""
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

cdef enum:
    SPEAKER_EDGE = 4            # the edge itself: a sound, digits
    SPEAKER_NONE = 255
    TAKE_OVER_US = 60_000       # three packets of 20 ms without the speaker: another one may speak
    PAYLOAD_PAIRS = 8
    LATE = 64                   # packets; SRTP's window

cdef struct Egress:
    uint64_t sent_us            # when the last packet left
    uint64_t ts_us              # when the first one with timestamp `ts` left
    uint32_t ssrc               # of the stream; the first source's own
    uint32_t source_ssrc        # what the present source calls itself
    uint32_t ts                 # of the packet with the highest sequence number
    uint32_t ts_offset          # added to the source's timestamps
    uint16_t seq                # highest that left
    uint16_t seq_offset         # added to the source's sequence numbers
    uint8_t speaker             # number of the present source, SPEAKER_NONE before the first
    uint8_t started             # something has left
    uint8_t rewrites            # the header must be changed; else packets leave as they came
    uint8_t mark                # the next packet begins another source's talkspurt
    uint8_t pairs               # payload types that are replaced
    uint8_t payload_from[PAYLOAD_PAIRS]
    uint8_t payload_to[PAYLOAD_PAIRS]
    uint8_t payload_law[PAYLOAD_PAIRS]      # Law that the payload is converted to
    uint8_t converts            # some of them are


cdef bint egress_switch(Egress* egress, uint8_t speaker, bint held, const uint8_t* packet, uint64_t now_us,
                        uint32_t clock) noexcept nogil
cdef void egress_rewrite(Egress* egress, uint8_t* packet) noexcept nogil
cdef void egress_map(Egress* egress, const uint8_t* triples, uint8_t n) noexcept nogil
cdef uint8_t egress_law(const Egress* egress, const uint8_t* packet) noexcept nogil


cdef inline bint egress_began_anew(const Egress* egress, uint16_t seq) noexcept nogil:
    """Whether the present source has fallen back further than a late packet does: where numbers must not come again
    (SRTP), the stream has to go on as if another source spoke."""
    cdef uint16_t behind = egress.seq - <uint16_t>(seq + egress.seq_offset)
    return egress.started and LATE <= behind < 0x8000


cdef inline void egress_track(Egress* egress, uint16_t seq, uint32_t ts, uint64_t now_us) noexcept nogil:
    """A packet with these numbers leaves. One from far behind is a source that began anew, not a late one."""
    if <uint16_t>(seq - egress.seq) < 0xFF00 or not egress.started:
        egress.seq = seq
        if ts != egress.ts or not egress.started:
            egress.ts = ts
            egress.ts_us = now_us
    egress.started = True
    egress.sent_us = now_us
