"""What has come, or was sent, of each SSRC under one key: packet indexes and the replay list (RFC 3711 3.3.1, 3.3.2).

Kept is the highest index and which of the 64 before it came. An SSRC is believed once a packet of it was authentic, so
a stranger takes no place; of more than SRTP_SOURCES the one that was heard longest ago is forgotten. Sending, none ever
is: two packets under one index would give away what they say.
"""
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memset

cdef enum:
    SRTP_SOURCES = 8        # SSRCs of one direction that are known at a time
    WINDOW = 64             # packets
    ROC_LAST = 0xFFFFFFFF

cdef struct Window:         # zeroed: nothing has come
    uint64_t highest        # index
    uint64_t seen           # bit k: highest - k
    uint8_t begun

cdef struct Source:
    uint32_t ssrc
    uint8_t used
    uint64_t turn           # of the last packet: the lowest has been quiet for longest
    Window rtp
    Window rtcp

cdef struct Sources:        # zeroed: none is known
    uint64_t turn
    Source each[SRTP_SOURCES]


cdef inline Source* source_of(Sources* sources, uint32_t ssrc) noexcept nogil:
    """NULL: not known."""
    cdef uint32_t i
    for i in range(SRTP_SOURCES):
        if sources.each[i].used and sources.each[i].ssrc == ssrc:
            return &sources.each[i]
    return NULL


cdef inline Source* source_new(Sources* sources, uint32_t ssrc, bint forgets) noexcept nogil:
    """A place for another SSRC; NULL where there is none left, and none may be forgotten."""
    cdef uint32_t i
    cdef Source* oldest = &sources.each[0]
    for i in range(SRTP_SOURCES):
        if not sources.each[i].used:
            oldest = &sources.each[i]
            break
        if sources.each[i].turn < oldest.turn:
            oldest = &sources.each[i]
    if oldest.used and not forgets:
        return NULL
    memset(oldest, 0, sizeof(Source))
    oldest.used = True
    oldest.ssrc = ssrc
    return oldest


cdef inline Source* source_heard(Sources* sources, Source* source, uint32_t ssrc) noexcept nogil:
    """A packet of this source was authentic; source: NULL where it was not known. Never NULL."""
    if source == NULL:
        source = source_new(sources, ssrc, True)
    sources.turn += 1
    source.turn = sources.turn
    return source


cdef inline int64_t packet_index(const Window* window, uint16_t seq) noexcept nogil:
    """The index that a sequence number most likely stands for (RFC 3711 3.3.1); -1 before the first one."""
    cdef uint32_t roc = <uint32_t>(window.highest >> 16), last = <uint32_t>window.highest & 0xFFFF
    if not window.begun:
        return seq
    if last < 0x8000:
        if seq > last + 0x8000:
            if roc == 0:
                return -1
            roc -= 1
    elif last - 0x8000 > seq:
        if roc == ROC_LAST:
            return -1
        roc += 1
    return <int64_t>roc << 16 | seq


cdef inline bint is_new(const Window* window, uint64_t index) noexcept nogil:
    """Whether it has not come yet, and is not older than the list."""
    if not window.begun or index > window.highest:
        return True
    return window.highest - index < WINDOW and not window.seen >> (window.highest - index) & 1


cdef inline void note(Window* window, uint64_t index) noexcept nogil:
    """It has come, or is sent."""
    cdef uint64_t on
    if not window.begun or index > window.highest:
        on = index - window.highest
        window.seen = window.seen << on | 1 if window.begun and on < WINDOW else 1
        window.highest = index
        window.begun = True
    else:
        window.seen |= <uint64_t>1 << (window.highest - index)
