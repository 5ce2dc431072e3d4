"""The audio figures of a call, for its log line."""
from libc.stdint cimport uint8_t, uint32_t
from sipcore.anchor.streams cimport Call
from sipcore.media.relay cimport MediaRelay


cdef uint8_t* put_figures(uint8_t* o, const Call* call, MediaRelay relay) noexcept
cdef dict side_figures(MediaRelay relay, uint32_t session, int side, int partner, str codec, dict before)
