"""What lets calls in progress overtake new ones where more comes than can be done at once.

The kernel's queue is one for all, so a flood of INVITEs makes a BYE wait as long as they do. Where a whole batch was
read, more is behind it: from then on requests that begin something are put aside in their order, and everything else is
handled as it comes. They are taken up again when the socket has been emptied, and a few of them after each batch, so
that new calls are never shut out. Overtaking is safe: what has a tag in To answers to something that has been
handled, and a CANCEL, which has none, stays behind its INVITE.

4 MiB a socket, from the first flood on: some 7,000 INVITEs of 550 bytes. What finds no room is dropped, counted, and a
sign of overload; UDP requests are repeated (RFC 3261 17.1).
"""
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memchr, memcmp, memcpy
from sipcore.base.address cimport Address, address_from, address_host
from sipcore.base.slice cimport ascii_lower


cdef bint begins_something(const uint8_t* data, uint32_t n) noexcept nogil:
    """Whether a datagram is a request without a tag in To (RFC 3261 12.2: those inside dialogs have one).

    A look at lines alone: for what cannot be read, either answer will do.
    """
    cdef const uint8_t* p = data
    cdef const uint8_t* end = data + n
    cdef const uint8_t* line_end
    cdef bint in_to = False
    if n < 8 or memcmp(data, b"SIP/2.0 ", 8) == 0 or memcmp(data, b"ACK ", 4) == 0:
        return False
    while p < end:
        line_end = <const uint8_t*>memchr(p, c'\n', end - p)
        if line_end == NULL:
            line_end = end
        if line_end - p <= 1:
            return True         # the end of the headers
        # A folded line (RFC 3261 7.3.1) belongs to the one before it.
        if not (in_to and (p[0] == c' ' or p[0] == c'\t')):
            in_to = _is_to(p, line_end)
        if in_to and _has_tag(p, line_end):
            return False
        p = line_end + 1
    return True


cdef bint _is_to(const uint8_t* p, const uint8_t* end) noexcept nogil:
    """Whether a line is the To header: `To` or `t`, white space, a colon."""
    if ascii_lower(p[0]) != c't':
        return False
    p += 1
    if p < end and ascii_lower(p[0]) == c'o':
        p += 1
    while p < end and p[0] in (c' ', c'\t'):
        p += 1
    return p < end and p[0] == c':'


cdef bint _has_tag(const uint8_t* p, const uint8_t* end) noexcept nogil:
    """Whether a parameter `tag` begins in a line."""
    while True:
        p = <const uint8_t*>memchr(p, c';', end - p)
        if p == NULL:
            return False
        p += 1
        while p < end and p[0] in (c' ', c'\t'):
            p += 1
        if end - p >= 3 and ascii_lower(p[0]) == c't' and ascii_lower(p[1]) == c'a' and ascii_lower(p[2]) == c'g':
            return True


cdef class Backlog:
    """A queue of datagrams, first in, first out."""

    def __dealloc__(self):
        if self.made:
            bytering_free(&self.ring)

    def __len__(self):
        return self.count

    @staticmethod
    def is_new(bytes data not None):
        """Whether a datagram begins something, and so waits."""
        return begins_something(<const uint8_t*><const char*>data, <uint32_t>len(data))

    def add(self, bytes data not None, str host not None, int port, uint64_t since=0):
        """Put a datagram at the end; whether there was room."""
        cdef Address source
        address_from(host, port, &source)
        return self.put(&source, <const uint8_t*><const char*>data, <uint32_t>len(data), since)

    def take(self):
        """(bytes, host, port, since) of the first one, which leaves; None where there is none."""
        cdef const Waiting* head = self.front()
        cdef object found
        if head == NULL:
            return None
        found = ((<const char*>head)[sizeof(Waiting):sizeof(Waiting) + head.n], address_host(&head.source),
                 head.source.port, head.since)
        self.release()
        return found

    cdef bint put(self, const Address* source, const uint8_t* data, uint32_t n, uint64_t since) noexcept nogil:
        """Copy a datagram to the end; False, and it is counted as dropped, where there is no room."""
        cdef uint8_t* room = NULL
        cdef Waiting* head
        cdef uint32_t whole = <uint32_t>sizeof(Waiting) + n + 1
        if not self.made:
            self.made = bytering_init(&self.ring, BACKLOG_BYTES) == 0
        if self.made:
            room = bytering_reserve(&self.ring, whole)
        if room == NULL:
            self.dropped += 1
            return False
        head = <Waiting*>room
        head.source = source[0]
        head.since = since
        head.n = n
        memcpy(room + sizeof(Waiting), data, n)
        room[sizeof(Waiting) + n] = 0
        bytering_publish(&self.ring, whole)
        self.count += 1
        self.deferred += 1
        return True

    cdef const Waiting* front(self) noexcept nogil:
        """The first one, its bytes behind it, until it is released; NULL where there is none."""
        cdef uint32_t n
        if self.count == 0:
            return NULL
        return <const Waiting*>bytering_front(&self.ring, &n)

    cdef void release(self) noexcept nogil:
        """The first one leaves."""
        cdef uint32_t n
        if self.count and bytering_front(&self.ring, &n) != NULL:
            bytering_release(&self.ring, n)
            self.count -= 1
