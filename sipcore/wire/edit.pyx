"""The patch list: kept sorted by offset, sized by addition, rendered by one walk.

A patch that begins inside what an earlier one cuts is void: who removes a header removes what others wanted to
change in it. Size and rendering follow the same walk, so that the size is exact by construction.
"""
from libc.stdint cimport uint8_t, uint32_t
from libc.string cimport memcpy, memmove
from sipcore.base.decimal cimport DECIMAL_TEXT, put_number
from sipcore.base.slice cimport Slice, slice_from, slice_of


cdef void edit_begin(Edit* e, const uint8_t* base, uint32_t start, uint32_t n) noexcept nogil:
    e.base = base
    e.start = start
    e.n = n
    e.count = 0
    e.scratch_n = 0
    e.overflow = False


cdef Patch* edit_open(Edit* e, uint32_t at, uint32_t cut) noexcept nogil:
    """The place of a patch among the others; NULL (and overflow) where there is none left."""
    cdef uint32_t i = e.count
    if i >= MAX_PATCHES:
        e.overflow = True
        return NULL
    # At one offset, what is inserted comes before what is cut.
    while i > 0 and (e.patches[i - 1].at > at or (cut == 0 and e.patches[i - 1].at == at and e.patches[i - 1].cut)):
        i -= 1
    if i < e.count:
        memmove(&e.patches[i + 1], &e.patches[i], (e.count - i) * sizeof(Patch))
    e.count += 1
    return &e.patches[i]


cdef uint32_t edit_size(const Edit* e) noexcept nogil:
    """Bytes that edit_render will write."""
    cdef uint32_t i, cursor = e.start, size = 0
    for i in range(e.count):
        if e.patches[i].at < cursor:
            continue
        size += e.patches[i].at - cursor + e.patches[i].text.n
        cursor = e.patches[i].at + e.patches[i].cut
    return size + e.n - cursor


cdef uint32_t edit_render(const Edit* e, uint8_t* out) noexcept nogil:
    """Write the edited message; returns its length, edit_size() bytes."""
    cdef uint32_t i, cursor = e.start
    cdef uint8_t* o = out
    cdef const Patch* p
    for i in range(e.count):
        p = &e.patches[i]
        if p.at < cursor:
            continue
        memcpy(o, e.base + cursor, p.at - cursor)
        o += p.at - cursor
        if p.text.n:
            memcpy(o, p.text.p, p.text.n)
            o += p.text.n
        cursor = p.at + p.cut
    memcpy(o, e.base + cursor, e.n - cursor)
    o += e.n - cursor
    return <uint32_t>(o - out)


cdef uint8_t* edit_room(Edit* e, uint32_t n) noexcept nogil:
    """Room for n bytes of text, valid until the next edit_begin; NULL (and overflow) where there is none.

    Write, then call edit_text to take what was used.
    """
    if e.scratch_n + n > SCRATCH:
        e.overflow = True
        return NULL
    return e.scratch + e.scratch_n


cdef Slice edit_number(Edit* e, uint32_t value) noexcept nogil:
    """value as decimal text in the edit's own room."""
    cdef uint8_t* start = edit_room(e, DECIMAL_TEXT)
    if start == NULL:
        return slice_of(e.base, 0)
    return edit_text(e, start, put_number(start, value))


cdef class Editor:
    """A patch list for Python (tests, endpoints): replace(at, cut, text), size, render()."""
    cdef Edit edit
    cdef bytes _base
    cdef list _texts

    def __init__(self, bytes base not None):
        self._base = base
        self._texts = []
        edit_begin(&self.edit, slice_from(base).p, 0, <uint32_t>len(base))

    def replace(self, uint32_t at, uint32_t cut, bytes text not None):
        """Put text in place of cut bytes at offset at; ValueError outside the message or when the list is full."""
        if at > self.edit.n or cut > self.edit.n - at:
            raise ValueError(f"bytes {at}..{at + cut} lie outside the message of {self.edit.n} bytes")
        self._texts.append(text)
        edit_replace(&self.edit, at, cut, slice_from(text))
        if self.edit.overflow:
            raise ValueError(f"more than {MAX_PATCHES} patches")

    @property
    def size(self):
        return edit_size(&self.edit)

    def render(self):
        cdef bytearray out = bytearray(edit_size(&self.edit))
        edit_render(&self.edit, out)
        return bytes(out)
