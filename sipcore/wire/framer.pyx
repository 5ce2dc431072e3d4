"""Framing of a byte stream, sans-IO: each byte is looked at once, and nothing is allocated.

A message ends where its header section says (Content-Length, which a stream needs). What two peers could frame
differently ends the stream: a Content-Length that is missing, repeated, no plain number, or beyond the limit, and a
line that ends in a bare LF. Nothing that follows is ever taken for a message. Whatever else may be wrong inside of a
message is for the index (`index_message`), which reads names and numbers by the same rules.
"""
from libc.stdint cimport uint8_t, uint32_t
from libc.string cimport memchr
from sipcore.base.slice cimport slice_of
from sipcore.wire.cseq cimport parse_uint
from sipcore.wire.tables cimport H_CONTENT_LENGTH, header_id

cdef enum:
    LONGEST_NAME = 14           # "Content-Length"


cdef inline bint _is_length(const uint8_t* p, uint32_t n) noexcept nogil:
    """Whether a line is a Content-Length header: name, white space, colon."""
    cdef uint32_t i = 0, name_n
    cdef uint8_t c
    if n == 0:
        return False
    c = p[0] | 0x20
    if c != c'c' and c != c'l':
        return False
    while i < n and i <= LONGEST_NAME and p[i] != c':' and p[i] != c' ' and p[i] != c'\t':
        i += 1
    name_n = i
    while i < n and (p[i] == c' ' or p[i] == c'\t'):
        i += 1
    return i < n and p[i] == c':' and header_id(p, name_n) == H_CONTENT_LENGTH


cdef inline bint _is_start_line(const uint8_t* p, uint32_t n) noexcept nogil:
    """Whether a line begins with "SIP/", or its last word does: of which version, the index sees."""
    cdef uint32_t i = n
    if n >= 4 and _is_sip(p):
        return True
    while i and p[i - 1] != c' ':
        i -= 1
    return i > 0 and n - i >= 4 and _is_sip(p + i)


cdef inline bint _is_sip(const uint8_t* p) noexcept nogil:
    return (p[0] | 0x20) == c's' and (p[1] | 0x20) == c'i' and (p[2] | 0x20) == c'p' and p[3] == c'/'


cdef int _content_length(const uint8_t* p, uint32_t begin, uint32_t end, uint32_t limit, uint32_t* out) noexcept nogil:
    """The number in the header line p[begin..end), folds and CRLF included; 0, or -1 where it is none up to limit."""
    cdef uint32_t i = begin
    while p[i] != c':':
        i += 1
    i += 1
    while i < end and (p[i] == c' ' or p[i] == c'\t' or p[i] == c'\r' or p[i] == c'\n'):
        i += 1
    end -= 2
    while end > i and (p[end - 1] == c' ' or p[end - 1] == c'\t'):
        end -= 1
    if end <= i:
        return -1
    return 0 if parse_uint(slice_of(p + i, end - i), limit, out) == 0 else -1


cdef int next_frame(Framer* f, const uint8_t* p, uint32_t n, uint32_t limit, uint32_t* used) noexcept nogil:
    """What the n bytes at p begin with; `used` of them belong to it.

    p: all that came and was not used yet; the same bytes and more of them after FRAME_MORE. limit: bytes of a message.
    After FRAME_BAD_LENGTH the bytes used are the header section, which an answer can be made from. After it and
    FRAME_BROKEN the stream is over.
    """
    cdef const uint8_t* found
    cdef uint32_t line = f.looked, end, length
    used[0] = 0
    if f.total:
        if n < f.total:
            return FRAME_MORE
        return _whole(f, f.total, used)
    if line == 0:
        if n == 0 or (n == 1 and p[0] == c'\r'):
            return FRAME_MORE
        if p[0] == c'\r' and p[1] == c'\n':
            used[0] = 2
            f.after_crlf = not f.after_crlf
            return FRAME_CRLF if f.after_crlf else FRAME_PING
        f.after_crlf = False
        if p[0] <= c' ' or p[0] >= 127:
            # A start line begins with a token: what begins otherwise is not waited for.
            return FRAME_BROKEN
    while True:
        found = <const uint8_t*>memchr(p + line, c'\n', min(n, limit) - line)
        if found == NULL:
            return FRAME_MORE if n < limit else FRAME_BROKEN
        end = <uint32_t>(found - p) + 1
        if end - line < 2 or p[end - 2] != c'\r':
            return FRAME_BROKEN
        if end - line == 2:
            break
        if line == 0:
            if not _is_start_line(p, end - 2):
                return FRAME_BROKEN
        elif p[line] == c' ' or p[line] == c'\t':
            if f.length_end == line:
                f.length_end = end
        elif _is_length(p + line, end - 2 - line):
            if f.length_at:
                f.length_at = 1         # no header begins there: repeated
            else:
                f.length_at = line
                f.length_end = end
        line = f.looked = end
    if f.length_at <= 1 or _content_length(p, f.length_at, f.length_end, limit - end, &length) != 0:
        used[0] = end
        return FRAME_BAD_LENGTH
    f.total = end + length
    if n < f.total:
        return FRAME_MORE
    return _whole(f, f.total, used)


cdef inline int _whole(Framer* f, uint32_t total, uint32_t* used) noexcept nogil:
    used[0] = total
    f.looked = f.total = f.length_at = f.length_end = 0
    return FRAME_MESSAGE


cdef class Framing:
    """A Framer with its bytes, for tests and tools. limit: bytes of a message."""
    cdef Framer framer
    cdef bytes rest
    cdef uint32_t limit
    cdef bint over

    def __init__(self, uint32_t limit=65535):
        self.rest = b""
        self.limit = limit

    def feed(self, bytes data not None):
        """What comes out of the stream with these bytes: (kind, bytes) of each frame."""
        cdef uint32_t at = 0, used = 0
        cdef int kind
        cdef bytes all_ = self.rest + data
        found = []
        while not self.over:
            kind = next_frame(&self.framer, <const uint8_t*><const char*>all_ + at, <uint32_t>len(all_) - at,
                              self.limit, &used)
            if kind == FRAME_MORE:
                break
            found.append((_KINDS[kind], all_[at:at + used]))
            at += used
            self.over = kind >= FRAME_BAD_LENGTH
        self.rest = b"" if self.over else all_[at:]
        return found

    @property
    def waiting(self):
        """Bytes of a begun message."""
        return len(self.rest)


_KINDS = ("more", "message", "crlf", "ping", "bad length", "broken")
