"""A patch list over a message: what goes out is the bytes that came in, plus inserts, replacements, deletions.

The list is built while the message is looked at, its exact size is known at any time, and it is rendered once.
All pointers are borrowed: base bytes, inserted text and the edit itself live until the render is done.
"""
from libc.stdint cimport uint8_t, uint32_t
from sipcore.base.slice cimport SIPCORE_CHECK, Slice

cdef enum:
    MAX_PATCHES = 600           # compact names (one a header) and a few of our own, with room
    SCRATCH = 8192

cdef struct Patch:
    uint32_t at                 # offset in the base
    uint32_t cut                # bytes of the base left out from there
    Slice text                  # put in their place

cdef struct Edit:
    const uint8_t* base
    uint32_t start              # the rendered message begins here
    uint32_t n                  # and ends here
    uint32_t count
    uint32_t scratch_n
    bint overflow               # too many patches or too much text: the message must not be sent
    Patch patches[MAX_PATCHES]  # by offset; those with the same one in the order in which they were made
    uint8_t scratch[SCRATCH]    # room for short inserted text

cdef void edit_begin(Edit* e, const uint8_t* base, uint32_t start, uint32_t n) noexcept nogil
cdef Patch* edit_open(Edit* e, uint32_t at, uint32_t cut) noexcept nogil
cdef uint32_t edit_size(const Edit* e) noexcept nogil
cdef uint32_t edit_render(const Edit* e, uint8_t* out) noexcept nogil
cdef uint8_t* edit_room(Edit* e, uint32_t n) noexcept nogil
cdef Slice edit_number(Edit* e, uint32_t value) noexcept nogil


cdef inline void edit_replace(Edit* e, uint32_t at, uint32_t cut, Slice text) noexcept nogil:
    """Put text in place of `cut` bytes at offset `at`; text must stay where it is until the render."""
    cdef Patch* patch
    SIPCORE_CHECK(at + cut <= e.n)
    if 0 < e.count < MAX_PATCHES and e.patches[e.count - 1].at < at:
        patch = &e.patches[e.count]     # nearly all of them are made from the beginning to the end
        e.count += 1
    else:
        patch = edit_open(e, at, cut)
        if patch == NULL:
            return
    patch.at = at
    patch.cut = cut
    patch.text = text


cdef inline void edit_insert(Edit* e, uint32_t at, Slice text) noexcept nogil:
    edit_replace(e, at, 0, text)


cdef inline void edit_delete(Edit* e, uint32_t at, uint32_t cut) noexcept nogil:
    cdef Slice none
    none.p = e.base
    none.n = 0
    edit_replace(e, at, cut, none)


cdef inline Slice edit_text(Edit* e, uint8_t* start, uint8_t* end) noexcept nogil:
    """What was written into the room from start to end; the rest of the room is free again."""
    cdef Slice s
    s.p = start
    s.n = <uint32_t>(end - start)
    e.scratch_n = <uint32_t>(end - e.scratch)
    return s
