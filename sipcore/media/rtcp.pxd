"""RTCP compound packets (RFC 3550 6): what a report says, the round trip, and the SSRCs for a changed egress."""
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t

cdef enum:
    RTCP_SR = 200
    RTCP_RR = 201
    RTCP_SDES = 202
    RTCP_BYE = 203
    RTCP_APP = 204
    RTCP_RTPFB = 205            # RFC 4585
    RTCP_PSFB = 206
    RTCP_XR = 207               # RFC 3611
    RTCP_PASSAGES = 4           # sender reports remembered for each direction

cdef struct RtcpReport:         # what rtcp_read found; zeroed before
    uint32_t ssrc               # of the first packet's sender
    uint32_t ntp_middle         # of the last SR: the middle 32 bits of its NTP time, what a receiver puts into LSR
    uint32_t about              # the source that the block below is about
    int32_t cumulative          # packets lost since the start; negative where some came twice
    uint32_t highest            # extended highest sequence number
    uint32_t jitter             # timestamp units
    uint32_t lsr                # 0: the reporter had no SR yet
    uint32_t dlsr               # 1/65536 s
    uint8_t fraction            # lost since the last report, of 256
    uint8_t sr                  # whether there was an SR
    uint8_t block               # whether there was a report block
    uint8_t bye                 # whether there was a BYE

cdef struct RtcpPassages:       # sender reports that went towards one side; zeroed: none
    uint64_t at_us[RTCP_PASSAGES]
    uint32_t ntp_middle[RTCP_PASSAGES]
    uint32_t next

cdef struct RtcpMap:            # how a side's RTCP changes on its way to another side
    uint32_t sender_from        # SSRC that the side sends with
    uint32_t sender_to          # SSRC that its packets leave with
    uint32_t timestamp_add      # what is added to its timestamps
    uint32_t reported_from      # SSRC that the side hears from us
    uint32_t reported_to        # SSRC of who sent that
    uint16_t sequence_add       # what was added to the sequence numbers that the side hears


cdef int rtcp_read(const uint8_t* p, uint32_t n, uint32_t about, RtcpReport* out) noexcept nogil
cdef int rtcp_rewrite(uint8_t* p, uint32_t n, const RtcpMap* map) noexcept nogil
cdef void rtcp_passes(RtcpPassages* passages, uint32_t ntp_middle, uint64_t now_us) noexcept nogil
cdef int64_t rtcp_round_trip(const RtcpPassages* passages, uint32_t lsr, uint32_t dlsr, uint64_t now_us) noexcept nogil
