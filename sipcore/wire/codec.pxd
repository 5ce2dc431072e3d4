"""The codecs of an SDP media section: payload types with their names and lines (RFC 3551, RFC 8866 6.6)."""
from libc.stdint cimport int32_t, uint8_t, uint16_t, uint32_t
from sipcore.base.slice cimport Slice
from .sdp cimport SdpIndex

cdef struct SdpCodec:
    Slice name              # encoding name; n = 0: a dynamic payload type without rtpmap
    uint32_t clock          # Hz; 0: unknown
    uint16_t rtpmap_line    # SDP_NO_LINE: none
    uint16_t fmtp_line      # SDP_NO_LINE: none
    uint8_t payload         # RTP payload type, 0..127
    uint8_t channels


cdef uint32_t section_codecs(const SdpIndex* sdp, uint32_t media, SdpCodec* out) noexcept nogil
cdef int32_t payload_of(Slice* value) noexcept nogil
