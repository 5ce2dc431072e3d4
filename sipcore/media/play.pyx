"""The pace of a sound that the edge sends itself.

Frame k is due at start + k * ptime and at no other time, so that wake-ups that come late do not add up. A wake-up
that is late by a frame or more skips what should have left by then: the timestamp goes on with the clock, the
sequence number only with packets sent, and nobody gets a burst.
"""
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy
from .rtp cimport RTP_HEADER, RTP_MARKER, write_u16, write_u32


cdef void write_header(uint8_t* out, uint8_t payload, bint marker, uint16_t sequence, uint32_t timestamp,
                       uint32_t ssrc) noexcept nogil:
    """The fixed RTP header (RFC 3550 5.1): version 2, no padding, extension or contributing sources."""
    out[0] = 0x80
    out[1] = <uint8_t>(payload | RTP_MARKER if marker else payload)
    write_u16(out + 2, sequence)
    write_u32(out + 4, timestamp)
    write_u32(out + 8, ssrc)


cdef void player_start(Player* player, const uint8_t* frames, uint32_t frame_bytes, uint32_t frame_count,
                       uint32_t ptime_us, uint32_t timestamp_step, bint loop, uint64_t now_us) noexcept nogil:
    """Begin a sound, its first frame due at now_us and marked. ptime_us is above 0.

    payload, ssrc, sequence and timestamp of the first packet are the caller's to set, before or after.
    """
    player.frames = frames
    player.frame_bytes = frame_bytes
    player.frame_count = frame_count
    player.frame = 0
    player.ptime_us = ptime_us
    player.timestamp_step = timestamp_step
    player.loop = loop
    player.marker = True
    player.skipped = 0
    player.due_us = now_us


cdef int player_next(Player* player, uint64_t now_us, uint8_t* out) noexcept nogil:
    """Write the packet that is due into out (RTP_HEADER + frame_bytes); returns its length.

    0: nothing is due before due_us. -1: the sound is over, and the time of its last frame too. At most one packet for
    each call, and the next one not before the next frame's time.
    """
    cdef uint64_t late
    if now_us < player.due_us:
        return 0
    late = (now_us - player.due_us) // player.ptime_us
    player.due_us += late * player.ptime_us
    player.timestamp += <uint32_t>late * player.timestamp_step
    if player.loop and player.frame_count:
        player.skipped += <uint32_t>late
        player.frame = <uint32_t>((player.frame + late) % player.frame_count)
    elif late >= player.frame_count - player.frame:
        player.skipped += player.frame_count - player.frame
        player.frame = player.frame_count
        return -1
    else:
        player.skipped += <uint32_t>late
        player.frame += <uint32_t>late
    write_header(out, player.payload, player.marker, player.sequence, player.timestamp, player.ssrc)
    memcpy(out + RTP_HEADER, player.frames + <size_t>player.frame * player.frame_bytes, player.frame_bytes)
    player.marker = False
    player.sequence += 1
    player.timestamp += player.timestamp_step
    player.due_us += player.ptime_us
    player.frame += 1
    if player.loop and player.frame == player.frame_count:
        player.frame = 0
    return <int>(RTP_HEADER + player.frame_bytes)
