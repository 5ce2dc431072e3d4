"""Sending a prepared sound as RTP, one packet a call, paced by its own clock."""
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

cdef struct Player:
    const uint8_t* frames       # frame_count times frame_bytes; borrowed until the player is given up
    uint64_t due_us             # when the next packet is to leave
    uint32_t frame_bytes        # payload of one packet
    uint32_t frame_count
    uint32_t frame              # the next one
    uint32_t ptime_us
    uint32_t skipped            # frames that were not sent because their time had passed
    uint32_t ssrc
    uint32_t timestamp          # of the next packet; where the stream goes on, when this is over
    uint32_t timestamp_step     # a frame
    uint16_t sequence           # of the next packet
    uint8_t payload             # payload type
    uint8_t loop                # begin again after the last frame
    uint8_t marker              # the next packet begins a talkspurt (RFC 3551 4.1)


cdef void player_start(Player* player, const uint8_t* frames, uint32_t frame_bytes, uint32_t frame_count,
                       uint32_t ptime_us, uint32_t timestamp_step, bint loop, uint64_t now_us) noexcept nogil
cdef int player_next(Player* player, uint64_t now_us, uint8_t* out) noexcept nogil
cdef void write_header(uint8_t* out, uint8_t payload, bint marker, uint16_t sequence, uint32_t timestamp,
                       uint32_t ssrc) noexcept nogil
