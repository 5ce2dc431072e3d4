"""The records of forwarded dialogs, kept up to date by what passes."""
from libc.stdint cimport uint32_t
from sipcore.base.address cimport Address
from sipcore.base.slice cimport Slice
from sipcore.stack.mediahook cimport MediaHook
from sipcore.stack.record cimport Records, Refer
from sipcore.stack.targettable cimport TargetTable
from sipcore.stack.useragent cimport UserAgent
from sipcore.stack.verdict cimport Verdict


cdef class Bookkeeper(UserAgent):
    cdef readonly Records records
    cdef bytes figures              # of the audio of the controlled call whose line is being written, as JSON
    cdef readonly TargetTable targets
    cdef dict notes                 # what the policy noted of a call, by record: most calls have nothing
    cdef dict refer_notes           # what the line of a REFER that is followed will say besides, as JSON, by its number
    cdef uint32_t outcome_ms        # how long a REFER's outcome is waited for
    cdef int group                  # of the message being handled, -1: none
    cdef MediaHook media            # None: no media is anchored

    cdef void _open_record(self, uint32_t record_slot, const Address* source, Verdict verdict) noexcept
    cdef void _count_at(self, uint32_t record_slot, const Address* target) noexcept
    cdef uint32_t _tag_hash(self, Slice tag) noexcept
    cdef void _arm_record(self, uint32_t record_slot) noexcept
    cdef void _drop_record(self, uint32_t record_slot) noexcept
    cdef void _close_record(self, uint32_t record_slot) noexcept
    cdef void _note_request(self, uint32_t slot, uint32_t record_slot, Verdict verdict) noexcept
    cdef void _describe(self, uint32_t record_slot, Refer* refer, uint32_t size, Verdict verdict) noexcept
    cdef void _refer_over(self, uint32_t record_slot, Refer* refer) noexcept
    cdef void _note_response(self, uint32_t slot, uint32_t status) noexcept
    cdef void _note_begun(self, uint32_t record_slot, uint32_t status, bint cancelled) noexcept
    cdef void _end_call(self, uint32_t record_slot, int by, uint32_t status) noexcept
    cdef void _stop_waiting(self, uint32_t record_slot) noexcept
