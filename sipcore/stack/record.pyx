"""Dialog records in a slab, and the log line that each call leaves when it ends.

The line is rendered here, without Python, because every call writes one: JSON with all that a stranger chose
escaped (control characters, quotes, non-ASCII), so that no header can forge a line or reach a terminal.
"""
from libc.stdint cimport INT16_MAX, int16_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcpy, memmove, memset, strlen
from libc.time cimport gmtime_r, time_t, tm
from sipcore.base.address cimport Address, render_ip
from sipcore.base.decimal cimport put_number
from sipcore.base.runs cimport run_of_plain
from sipcore.base.slice cimport Slice, slice_from, slice_of
from sipcore.base.wheel cimport Wheel

import os
import struct

# In the order of EndedBy and ReferState.
ENDS = ("open", "caller", "callee", "refused", "timeout", "duration", "stop", "media", "transfer")
REFER_STATES = ("none", "sent", "accepted", "progress", "completed", "failed", "refused", "unknown")

cdef const char* _ends[9]
_ends[:] = [b"open", b"caller", b"callee", b"refused", b"timeout", b"duration", b"stop", b"media", b"transfer"]
cdef const char* _refer_states[8]
_refer_states[:] = [b"none", b"sent", b"accepted", b"progress", b"completed", b"failed", b"refused", b"unknown"]

cdef enum:
    LINE_ROOM = 4096        # the longest line without its media: every kept byte escaped to six


cdef uint8_t* put_text(uint8_t* o, const char* text) noexcept nogil:
    cdef size_t n = strlen(text)
    memcpy(o, text, n)
    return o + n


cdef uint8_t* put_json(uint8_t* o, Slice text) noexcept nogil:
    """Write text as a JSON string with its quotes; bytes outside printable ASCII as \\u00XX. Needs 6n + 2 bytes."""
    cdef uint32_t i = 0, plain
    cdef uint8_t c
    cdef const char* hexadecimal = "0123456789abcdef"
    o[0] = c'"'
    o += 1
    while i < text.n:
        plain = run_of_plain(text.p, i, text.n) - i
        memcpy(o, text.p + i, plain)
        o += plain
        i += plain
        if i == text.n:
            break
        c = text.p[i]
        i += 1
        if c < 32 or c > 126:
            o = put_text(o, b"\\u00")
            o[0] = hexadecimal[c >> 4]
            o[1] = hexadecimal[c & 15]
            o += 2
        else:
            if c == c'"' or c == c'\\':
                o[0] = c'\\'
                o += 1
            o[0] = c
            o += 1
    o[0] = c'"'
    return o + 1


cdef bytes _as_json(name):
    """The first 100 bytes of a name as a JSON string."""
    cdef uint8_t room[602]
    text = str(name).encode("ascii", "backslashreplace")[:100]
    return (<const char*>room)[:put_json(room, slice_from(text)) - room]


cdef inline uint8_t* _put_bytes(uint8_t* o, bytes text) noexcept:
    memcpy(o, <const char*>text, len(text))
    return o + len(text)


cdef uint8_t* _put_digits(uint8_t* o, int value, int width) noexcept nogil:
    cdef int i
    for i in range(width):
        o[width - 1 - i] = <uint8_t>(c'0' + value % 10)
        value //= 10
    return o + width


cdef void _put_second(uint8_t* o, time_t seconds) noexcept nogil:
    """The SECOND_TEXT bytes of RFC 3339 in UTC up to the second."""
    cdef tm t
    gmtime_r(&seconds, &t)
    o = _put_digits(o, t.tm_year + 1900, 4)
    o[0] = c'-'
    o = _put_digits(o + 1, t.tm_mon + 1, 2)
    o[0] = c'-'
    o = _put_digits(o + 1, t.tm_mday, 2)
    o[0] = c'T'
    o = _put_digits(o + 1, t.tm_hour, 2)
    o[0] = c':'
    o = _put_digits(o + 1, t.tm_min, 2)
    o[0] = c':'
    _put_digits(o + 1, t.tm_sec, 2)


cdef uint8_t* _put_address(uint8_t* o, const Address* a) noexcept nogil:
    o[0] = c'"'
    o += 1
    o += render_ip(a, o, True)
    o[0] = c':'
    o = put_number(o + 1, a.port)
    o[0] = c'"'
    return o + 1


cdef class Journal:
    """Bounded memory for log lines; what does not fit until the next take() is dropped and counted."""

    def __cinit__(self, uint32_t capacity=1 << 20):
        self.text = <uint8_t*>malloc(capacity)
        if self.text == NULL:
            raise MemoryError
        self.capacity = capacity
        self.enabled = True
        _put_second(self.second_text, 0)

    def __dealloc__(self):
        free(self.text)

    cdef uint8_t* begin(self, uint32_t room) noexcept nogil:
        """Where the next line may be written, room bytes; NULL where the journal is full."""
        if not self.enabled:
            return NULL
        if self.capacity - self.n < room:
            self.dropped += 1
            return NULL
        return self.text + self.n

    cdef uint8_t* begin_line(self, uint8_t* o, uint64_t ms) noexcept nogil:
        """Write '{"time":' and the time, ms since 1970, as RFC 3339 in UTC with milliseconds."""
        cdef uint64_t seconds = ms // 1000
        if seconds != self.second:
            self.second = seconds
            _put_second(self.second_text, <time_t>seconds)
        o = put_text(o, b'{"time":"')
        memcpy(o, self.second_text, SECOND_TEXT)
        o[SECOND_TEXT] = c'.'
        return put_text(_put_digits(o + SECOND_TEXT + 1, <int>(ms % 1000), 3), b'Z"')

    cdef bint has_room(self) noexcept nogil:
        """Whether one more line of any length is taken, or none is wanted."""
        return not self.enabled or self.capacity - self.n >= 2 * LINE_ROOM

    cdef void end(self, uint8_t* o) noexcept nogil:
        self.n = <uint32_t>(o - self.text)

    cdef void drop_first(self, uint32_t n) noexcept nogil:
        """Forget the first n bytes: they were written."""
        self.n -= n
        if self.n:
            memmove(self.text, self.text + n, self.n)

    def write(self, uint64_t at, bytes fields not None):
        """A line of somebody else's. at: ms since 1970; fields: JSON members without braces, as ASCII."""
        cdef uint32_t n = <uint32_t>len(fields)
        cdef uint8_t* o = self.begin(n + 64)
        if o == NULL:
            return
        o = self.begin_line(o, at)
        o[0] = c','
        memcpy(o + 1, <const char*>fields, n)
        self.end(put_text(o + 1 + n, b"}\n"))

    @property
    def waiting(self):
        """Bytes waiting."""
        return self.n

    def take(self):
        """All waiting lines as bytes."""
        cdef bytes lines = (<const char*>self.text)[:self.n]
        self.n = 0
        return lines


cdef class Names:
    """What the groups or the upstreams are called; of each name the first 100 bytes stand in log lines."""

    def __cinit__(self, names=()):
        self.names = list(names)
        self.texts = [_as_json(name) for name in self.names]
        self.numbers = {name: number for number, name in enumerate(self.names)}
        self.configured = len(self.names)

    cdef int find(self, Names before, int index) except -2:
        """The index now of what had this one before; -1 where it is configured no longer."""
        cdef int number = self.numbers.get(before.names[index], -1) if 0 <= index < len(before.names) else -1
        return number if number < self.configured else -1

    cdef int keep(self, Names before, int index) except -2:
        """The same for a record, which keeps a name that is gone."""
        if not 0 <= index < len(before.names):
            return -1
        name = before.names[index]
        if name not in self.numbers and len(self.names) <= INT16_MAX:
            self.numbers[name] = len(self.names)
            self.names.append(name)
            self.texts.append(before.texts[index])
        return self.numbers.get(name, -1)


cdef class Records:
    """The dialog records of one worker. capacity: dialogs at once."""

    def __cinit__(self, uint32_t capacity=1 << 18, Journal journal=None):
        if not 16 <= capacity < 0x0FFFFFFF:
            raise ValueError(f"dialogs must be 16 to {0x0FFFFFFE}, not {capacity}")
        self.slab = <Record*>calloc(capacity, sizeof(Record))
        if self.slab == NULL:
            raise MemoryError
        self.capacity = capacity
        self.wheel = Wheel(capacity)
        self.journal = journal if journal is not None else Journal()
        self.seed = struct.unpack("<I", os.urandom(4))[0] & 0xFFFFFF
        self.groups = Names()
        self.upstreams = Names()

    def __dealloc__(self):
        free(self.slab)

    def set_names(self, groups, upstreams):
        """What the groups and the upstreams are called from now on, by index: calls go on with what has their name.

        One pass over the records, where the names are not the same as before; returns whether they are others."""
        cdef Names groups_before = self.groups, upstreams_before = self.upstreams
        cdef Record* r
        cdef uint32_t i
        self.groups, self.upstreams = Names(groups), Names(upstreams)
        if self.groups.names == groups_before.names and self.upstreams.names == upstreams_before.names:
            return False
        memset(self.calls, 0, sizeof(self.calls))
        for i in range(self.fresh):
            r = &self.slab[i]
            if r.state == RECORD_FREE:
                continue
            r.group = <int16_t>self.groups.keep(groups_before, r.group)
            r.upstream = <int16_t>self.upstreams.keep(upstreams_before, r.upstream)
            if r.state < RECORD_ENDED and 0 <= r.upstream < 256:
                self.calls[r.upstream] += 1
        return True

    cdef uint32_t open(self) noexcept nogil:
        """A cleared record, 0xFFFFFFFF where all are in use."""
        cdef uint32_t slot, generation, i
        cdef Record* r
        if self.free_head:
            slot = self.free_head - 1
            r = &self.slab[slot]
            self.free_head = r.next_free
            generation = r.generation + 1
        elif self.fresh < self.capacity:
            slot = self.fresh
            self.fresh += 1
            r = &self.slab[slot]
            generation = self.seed
        else:
            return 0xFFFFFFFF
        memset(r, 0, sizeof(Record))
        r.generation = generation & 0xFFFFFF
        r.state = RECORD_TRYING
        r.group = -1
        r.upstream = -1
        r.begin_tx = 0xFFFFFFFF
        r.end_tx = 0xFFFFFFFF
        for i in range(MAX_REFERS):
            r.refers[i].tx = 0xFFFFFFFF
        self.live += 1
        return slot

    cdef void close(self, uint32_t slot) noexcept nogil:
        cdef Record* r = &self.slab[slot]
        if r.state == RECORD_FREE:
            return
        self.wheel.disarm(slot)
        r.state = RECORD_FREE
        r.next_free = self.free_head
        self.free_head = slot + 1
        self.live -= 1

    cdef Record* get(self, uint32_t slot, uint32_t generation) noexcept nogil:
        """The record that a token names, NULL where it is gone."""
        if slot >= self.fresh or self.slab[slot].generation != generation or self.slab[slot].state == RECORD_FREE:
            return NULL
        return &self.slab[slot]

    cdef void write_call(self, Record* r, uint64_t now, Slice note, Slice media) noexcept:
        """One line for a call that ended: who, where, how it ended, how long; media: a JSON value, or empty."""
        cdef uint8_t* o = self.journal.begin(LINE_ROOM + media.n)
        if o == NULL:
            return
        o = self.journal.begin_line(o, now + self.wall)
        o = put_text(o, b',"event":"call","call_id":')
        o = put_json(o, slice_of(r.call_id, r.call_id_n))
        o = put_text(o, b',"from":')
        o = put_json(o, slice_of(r.from_user, r.from_n))
        o = put_text(o, b',"to":')
        o = put_json(o, slice_of(r.to_user, r.to_n))
        o = put_text(o, b',"caller":')
        o = _put_address(o, &r.caller)
        o = put_text(o, b',"callee":')
        o = _put_address(o, &r.callee)
        if 0 <= r.group < len(self.groups.texts):
            o = put_text(o, b',"group":')
            o = _put_bytes(o, <bytes>self.groups.texts[r.group])
        if 0 <= r.upstream < len(self.upstreams.texts):
            o = put_text(o, b',"upstream":')
            o = _put_bytes(o, <bytes>self.upstreams.texts[r.upstream])
        o = put_text(o, b',"status":')
        o = put_number(o, r.status)
        o = put_text(o, b',"ended":"')
        o = put_text(o, _ends[r.ended_by])
        o = put_text(o, b'","ring_ms":')
        o = put_number(o, r.ring_ms)
        o = put_text(o, b',"talk_ms":')
        o = put_number(o, now - r.answered if r.answered else 0)
        o = put_text(o, b',"total_ms":')
        o = put_number(o, now - r.began)
        if note.n:
            if note.n > 300:
                note.n = 300
            o = put_text(o, b',"note":')
            o = put_json(o, note)
        if media.n:
            o = put_text(o, b',"media":')
            memcpy(o, media.p, media.n)
            o += media.n
        self.journal.end(put_text(o, b"}\n"))

    cdef void write_refer(self, Record* r, Refer* refer, uint64_t now, Slice about) noexcept:
        """One line for what became of a REFER. about: further members, each with a comma before it."""
        cdef uint8_t* o = self.journal.begin(LINE_ROOM)
        if o == NULL:
            return
        o = self.journal.begin_line(o, now + self.wall)
        o = put_text(o, b',"event":"transfer","call_id":')
        o = put_json(o, slice_of(r.call_id, r.call_id_n))
        o = put_text(o, b',"cseq":')
        o = put_number(o, refer.cseq)
        o = put_text(o, b',"by":"')
        o = put_text(o, b"caller" if refer.by_caller else b"callee")
        o = put_text(o, b'","outcome":"')
        o = put_text(o, _refer_states[refer.state])
        o = put_text(o, b'","status":')
        o = put_number(o, refer.status)
        memcpy(o, about.p, about.n)
        self.journal.end(put_text(o + about.n, b"}\n"))

    def call_id(self, uint32_t slot, uint32_t generation):
        """The Call-ID of a record, as much of it as is kept; None where it is gone."""
        cdef Record* r = self.get(slot, generation)
        return None if r == NULL else r.call_id[:r.call_id_n].decode("utf-8", "backslashreplace")

    def find(self, str call_id not None):
        """(slot, generation) of the calls in progress with that Call-ID, compared as far as it is kept."""
        cdef bytes wanted = call_id.encode("utf-8", "surrogateescape")[:CALL_ID_KEPT]
        cdef uint32_t i
        cdef Record* r
        found = []
        for i in range(self.fresh):
            r = &self.slab[i]
            if RECORD_FREE < r.state < RECORD_ENDED and r.call_id[:r.call_id_n] == wanted:
                found.append((i, r.generation))
        return found

    def record_size(self):
        """Bytes of one record."""
        return sizeof(Record)
