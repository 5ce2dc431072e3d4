"""What one side's session description says of each of its media sections, as far as anchoring asks."""
from libc.stdint cimport uint8_t, uint16_t, uint32_t
from sipcore.base.address cimport Address
from sipcore.wire.sdp cimport SdpIndex

cdef enum:
    MAX_SECTIONS = 8            # media sections of one call that may be anchored
    NO_PAYLOAD = 255
    CODEC_TEXT = 12

cdef enum Treatment:
    TREAT_REFUSE = 0            # port 0
    TREAT_PASS = 1              # as it is, end to end
    TREAT_ANCHOR = 2

cdef enum Sending:              # bits of Section.direction
    SENDS = 1
    RECEIVES = 2

cdef struct Rules:
    uint8_t learning            # media.latch.Learning
    uint8_t kinds               # bit of each MediaKind that is anchored
    uint8_t other               # Treatment of other kinds: TREAT_REFUSE or TREAT_PASS
    uint8_t srtp[2]             # sdes.SrtpMode towards who calls, and towards who is called
    uint8_t kept                # packets are copied to the relay's tap from the first one on

cdef struct Section:
    Address rtp                 # family 0: a host name
    Address rtcp
    uint32_t clock              # Hz of `payload`, 0: unknown
    uint16_t ptime              # ms, 20 where nothing is said
    uint8_t treatment           # Treatment
    uint8_t open                # its port is not 0
    uint8_t mux
    uint8_t savp                # its profile is RTP/SAVP
    uint8_t direction           # Sending bits
    uint8_t payload             # first that is no telephone-event or comfort noise; NO_PAYLOAD: none
    uint8_t event_payload       # telephone-event; NO_PAYLOAD: none
    char codec[CODEC_TEXT]      # encoding name of `payload`, cut, NUL behind it; empty: unknown


cdef const char* describe(const SdpIndex* sdp, const Rules* rules, Section* out) noexcept nogil


cdef inline bint goes_nowhere(const Address* a) noexcept nogil:
    """0.0.0.0 or ::, the hold of RFC 2543."""
    cdef int i
    for i in range(16):
        if a.ip[i]:
            return False
    return a.family != 0
