"""The deadline of each state: until a connection stands, its handshake, a begun message; silence, pings, and a peer
that takes too little of what it is sent."""
from libc.stdint cimport uint64_t
from sipcore.base.address cimport is_websocket
from sipcore.net.connection cimport (
    ANSWERS_PINGS, CAME_IN, HEARD, LISTED, PINGED, RETIRED, STATE_CONNECTING, STATE_ENDING, STATE_HANDSHAKE,
    STATE_UPGRADE, Connection,
)

cdef enum:
    PONG_MS = 10_000            # for the answer to a ping (RFC 5626 4.4.1)


cdef uint64_t deadline_of(const Connection* c, const StreamLimits* limits) noexcept nogil:
    """When something has to happen to a connection."""
    cdef uint64_t at
    if c.state == STATE_CONNECTING or (c.state == STATE_HANDSHAKE and not c.flags & CAME_IN):
        return c.born + limits.connect
    if c.state == STATE_HANDSHAKE or c.state == STATE_UPGRADE:
        return c.born + limits.handshake
    if c.state == STATE_ENDING:
        return c.born + ENDING_MS
    at = max(c.heard, c.said) + (limits.idle if c.flags & LISTED else limits.unlisted_idle)
    if not c.flags & (LISTED | HEARD):
        at = min(at, c.born + limits.unlisted_idle)
    if c.waiting:
        at = min(at, c.waiting + limits.message)
    if c.stalled:
        at = min(at, c.stalled + limits.write)
    if is_kept(c, limits):
        at = min(at, max(c.heard, c.said) + (
            PONG_MS if c.flags & PINGED and c.flags & ANSWERS_PINGS else limits.keepalive))
    return at


cdef bint is_kept(const Connection* c, const StreamLimits* limits) noexcept nogil:
    """Whether its peer is pinged: a target, or a WebSocket client that is none of the strangers."""
    return limits.keepalive != 0 and c.flags & (LISTED | RETIRED) == LISTED and (
        not c.flags & CAME_IN or is_websocket(c.transport))
