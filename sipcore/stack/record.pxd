"""What the edge remembers of a dialog that it forwards: 256 bytes, found by the token in Record-Route.

A record is bookkeeping, not state that forwarding needs: an in-dialog request whose token is good passes also
after its record is gone (a restart, a late NOTIFY), only nothing is noted of it.
"""
from libc.stdint cimport int16_t, uint8_t, uint16_t, uint32_t, uint64_t
from sipcore.base.address cimport Address
from sipcore.base.slice cimport Slice
from sipcore.base.wheel cimport Wheel

cdef enum:
    SECOND_TEXT = 19        # bytes of a time up to the second

cdef enum RecordState:
    RECORD_FREE = 0
    RECORD_TRYING           # INVITE forwarded
    RECORD_RINGING          # a provisional response with more than 100 came
    RECORD_UP               # a 2xx came
    RECORD_ENDING           # a BYE was forwarded
    RECORD_ENDED            # kept for the NOTIFYs that still may come

cdef enum EndedBy:
    ENDED_NOT = 0
    ENDED_CALLER            # BYE or CANCEL of the side that sent the INVITE
    ENDED_CALLEE
    ENDED_REFUSED           # final response of 300-699
    ENDED_TIMEOUT           # no final response
    ENDED_DURATION          # max_duration, without a BYE
    ENDED_STOP              # the edge stopped
    ENDED_MEDIA             # no audio from either side for too long
    ENDED_TRANSFER          # by the edge, after a transfer: the caller is elsewhere, or that was the rule

cdef enum ReferState:
    REFER_NONE = 0
    REFER_SENT              # forwarded, no answer yet
    REFER_ACCEPTED          # 2xx to REFER
    REFER_PROGRESS          # a NOTIFY with 1xx
    REFER_COMPLETED         # final NOTIFY with 2xx
    REFER_FAILED            # final NOTIFY with 300-699
    REFER_REFUSED           # 300-699 to REFER
    REFER_UNKNOWN           # no final NOTIFY in time, or the subscription ended without one

cdef enum:
    MAX_REFERS = 2          # followed at a time in one dialog
    CALL_ID_KEPT = 56
    USER_KEPT = 25

cdef struct Refer:
    uint32_t cseq
    uint16_t status         # last one heard of: of the REFER, then of the NOTIFYs
    uint8_t state           # ReferState
    uint8_t by_caller       # who sent the REFER
    uint32_t tx             # its transaction, while it is not answered
    uint32_t until          # ms after `began`: from then on its outcome is unknown

cdef struct Record:
    uint64_t began          # ms
    uint64_t answered       # ms, 0: never
    uint64_t expires        # ms: maximum duration, 0: none
    Address caller
    Address callee
    Refer refers[MAX_REFERS]
    uint32_t generation
    uint32_t next_free
    int16_t group
    int16_t upstream
    uint16_t status         # last final status of the INVITE
    uint8_t state           # RecordState
    uint8_t ended_by        # EndedBy
    uint8_t call_id_n
    uint8_t from_n
    uint8_t to_n
    uint8_t rang
    uint8_t call_id[CALL_ID_KEPT]
    uint8_t from_user[USER_KEPT]
    uint8_t to_user[USER_KEPT]
    uint16_t target         # number of the target that it counts for, 0: none
    uint32_t ring_ms
    uint32_t begin_tx       # transactions that tell this record something, as long as they name it
    uint32_t end_tx
    uint32_t caller_tag     # hash of the caller's tag: which side an in-dialog request comes from
    uint32_t callee_tag     # of the first 2xx: other forks' dialogs are not the call; before, of one that was left
    uint32_t media          # the call's number with the media hook, 0: its media is not anchored


cdef class Journal:
    """Log lines waiting to be written: one JSON object a line, bounded."""
    cdef uint8_t* text
    cdef uint32_t n
    cdef uint32_t capacity
    cdef readonly uint64_t dropped
    cdef public bint enabled        # False: lines are not wanted and not counted as dropped
    cdef uint64_t second            # since 1970, and its text: many lines have the same
    cdef uint8_t second_text[SECOND_TEXT]

    cdef uint8_t* begin(self, uint32_t room) noexcept nogil
    cdef uint8_t* begin_line(self, uint8_t* o, uint64_t ms) noexcept nogil
    cdef void end(self, uint8_t* o) noexcept nogil
    cdef bint has_room(self) noexcept nogil
    cdef void drop_first(self, uint32_t n) noexcept nogil


cdef class Names:
    """What the groups or the upstreams are called, by index."""
    cdef list names                 # str; behind the configured ones those that are gone, as long as a record has them
    cdef list texts                 # bytes, as JSON strings
    cdef dict numbers               # index by name
    cdef int configured

    cdef int find(self, Names before, int index) except -2
    cdef int keep(self, Names before, int index) except -2


cdef class Records:
    cdef Record* slab
    cdef readonly Wheel wheel
    cdef readonly uint32_t capacity
    cdef readonly uint32_t live
    cdef uint32_t fresh
    cdef uint32_t free_head
    cdef uint32_t seed
    cdef readonly Journal journal
    cdef Names groups
    cdef Names upstreams
    cdef public uint64_t wall       # ms to add to now for the time of day
    cdef uint32_t calls[256]        # concurrent calls by upstream
    cdef readonly uint32_t up       # concurrent calls

    cdef uint32_t open(self) noexcept nogil
    cdef void close(self, uint32_t slot) noexcept nogil
    cdef Record* get(self, uint32_t slot, uint32_t generation) noexcept nogil
    cdef void write_call(self, Record* r, uint64_t now, Slice note, Slice media) noexcept
    cdef void write_refer(self, Record* r, Refer* refer, uint64_t now, Slice about) noexcept

cdef uint8_t* put_json(uint8_t* o, Slice text) noexcept nogil
cdef uint8_t* put_text(uint8_t* o, const char* text) noexcept nogil
