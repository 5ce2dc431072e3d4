"""The audio figures of a call, for its log line."""
from libc.stdint cimport uint8_t
from sipcore.anchor.streams cimport Call
from sipcore.media.relay cimport MediaRelay


cdef uint8_t* put_figures(uint8_t* o, const Call* call, MediaRelay relay) noexcept
