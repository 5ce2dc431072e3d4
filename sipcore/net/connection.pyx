"""The buffers of a connection. Both are there only while they hold something: an idle connection has none.

What is queued begins at the beginning of a message always, so that the messages which were not sent in full can be
found again when the connection ends. Of a WebSocket those are frames, as a server sends them: unmasked.
"""
from libc.stdint cimport uint8_t, uint32_t
from libc.stdlib cimport free, malloc, realloc
from libc.string cimport memcmp, memcpy, memmove, memset
from sipcore.base.address cimport TRANSPORT_WS, TRANSPORT_WSS
from sipcore.wire.framer cimport FRAME_CRLF, FRAME_MESSAGE, FRAME_PING, Framer, next_frame

cdef enum:
    SMALLEST = 2048             # bytes of a buffer
    LARGEST_MESSAGE = 65535
    WS_OPCODE = 15
    WS_TEXT = 1
    WS_BINARY = 2


cdef inline uint32_t _size(uint32_t n) noexcept nogil:
    """A power of two of which n + 1 bytes are a part: the byte behind a message is readable."""
    cdef uint32_t size = SMALLEST
    while size <= n:
        size *= 2
    return size


cdef bint keep_begun(Connection* c, const uint8_t* p, uint32_t n) noexcept nogil:
    """Keep n bytes of a begun message, or none; p may be what was kept before. False without memory."""
    cdef uint32_t size
    cdef uint8_t* room
    if n == 0:
        free(c.begun)
        c.begun = NULL
        c.in_n = c.in_capacity = 0
        return True
    if n >= c.in_capacity:
        size = _size(n)
        room = <uint8_t*>malloc(size)
        if room == NULL:
            return False
        memcpy(room, p, n)
        free(c.begun)
        c.begun = room
        c.in_capacity = size
    else:
        memmove(c.begun, p, n)
    c.in_n = n
    return True


cdef bint queue_bytes(Connection* c, const uint8_t* p, uint32_t n, uint32_t limit) noexcept nogil:
    """Queue n bytes; False where more than limit would wait, or without memory."""
    cdef uint32_t sent
    cdef uint8_t* room
    if c.out_n - c.out_at + n > limit:
        return False
    if c.out_n + n >= c.out_capacity and c.out_at:
        # Make room by what is sent in full.
        sent = _sent(c)
        c.out_n -= sent
        c.out_at -= sent
        c.out_seen -= min(sent, c.out_seen)
        memmove(c.out, c.out + sent, c.out_n)
    if c.out_n + n >= c.out_capacity:
        room = <uint8_t*>realloc(c.out, _size(c.out_n + n))
        if room == NULL:
            return False
        c.out = room
        c.out_capacity = _size(c.out_n + n)
    memcpy(c.out + c.out_n, p, n)
    c.out_n += n
    return True


cdef uint32_t _next_queued(const Connection* c, uint32_t at, uint32_t* used) noexcept nogil:
    """The length of the message that is queued at `at`, 0 where it is something else: a ping, a pong, an upgrade.

    used: with the frame around it; 0 where nothing can be told from the bytes.
    """
    cdef Framer framer
    cdef const uint8_t* p = c.out + at
    cdef uint32_t n = c.out_n - at
    cdef int kind
    used[0] = 0
    if c.transport == TRANSPORT_WS or c.transport == TRANSPORT_WSS:
        if p[0] != c'H':
            return next_payload(p, n, used)
        # Before all frames goes the answer to the HTTP request.
        while used[0] + 4 <= n:
            if memcmp(p + used[0], b"\r\n\r\n", 4) == 0:
                used[0] += 4
                return 0
            used[0] += 1
        used[0] = 0
        return 0
    memset(&framer, 0, sizeof(framer))
    kind = next_frame(&framer, p, n, LARGEST_MESSAGE, used)
    if kind != FRAME_MESSAGE and kind != FRAME_CRLF and kind != FRAME_PING:
        used[0] = 0
    return used[0] if kind == FRAME_MESSAGE else 0


cdef uint32_t _sent(const Connection* c) noexcept nogil:
    """Bytes of what was sent in full, be it a message or not: what follows begins where the peer sees a beginning."""
    cdef uint32_t at = 0, used = 0
    while at < c.out_at:
        _next_queued(c, at, &used)
        if used == 0:
            return c.out_at
        if at + used > c.out_at:
            break
        at += used
    return at


cdef uint32_t next_unsent(const Connection* c, uint32_t* at) noexcept nogil:
    """The length of the first message from *at on that was not sent in full; 0 where none is left.

    at: 0 at first; moved behind that message.
    """
    cdef uint32_t used = 0, n
    while at[0] < c.out_n:
        n = _next_queued(c, at[0], &used)
        if used == 0:
            return 0
        at[0] += used
        if n and at[0] > c.out_at:
            return n
    return 0


cdef uint32_t next_payload(const uint8_t* p, uint32_t n, uint32_t* used) noexcept nogil:
    """The payload's length of the frame at p (0 where it carries no message), and how long the frame is; 0: no frame.

    The payload is the end of the frame.
    """
    cdef uint32_t head = 2, length
    used[0] = 0
    if n < 2:
        return 0
    length = p[1]
    if length == 126 and n >= 4:
        head = 4
        length = <uint32_t>p[2] << 8 | p[3]
    elif length == 127 and n >= 10:
        head = 10
        length = <uint32_t>p[6] << 24 | <uint32_t>p[7] << 16 | <uint32_t>p[8] << 8 | p[9]
    elif length > 125:
        return 0
    if length > n - head:
        return 0
    used[0] = head + length
    return length if p[0] & WS_OPCODE == WS_TEXT or p[0] & WS_OPCODE == WS_BINARY else 0


cdef void drop_buffers(Connection* c) noexcept nogil:
    free(c.begun)
    free(c.out)
    c.begun = c.out = NULL
    c.in_n = c.in_capacity = c.out_n = c.out_at = c.out_capacity = c.out_seen = 0
