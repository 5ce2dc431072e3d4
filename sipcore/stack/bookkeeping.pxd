"""The records of forwarded dialogs, kept up to date by what passes."""
from libc.stdint cimport uint32_t
from sipcore.base.address cimport Address
from sipcore.base.slice cimport Slice
from sipcore.stack.layer cimport Layer
from sipcore.stack.mediahook cimport MediaHook
from sipcore.stack.record cimport Records, Refer
from sipcore.stack.verdict cimport Verdict


cdef class Bookkeeper(Layer):
    cdef readonly Records records
    cdef dict notes                 # what the policy noted of a call, by record: most calls have nothing
    cdef uint32_t outcome_ms        # how long a REFER's outcome is waited for
    cdef int group                  # of the message being handled, -1: none
    cdef MediaHook media            # None: no media is anchored
    cdef readonly list troubles     # texts for the log: what a configuration or policy mistake did

    cdef void _trouble(self, str text) noexcept
    cdef void _open_record(self, uint32_t record_slot, const Address* source, Verdict verdict) noexcept
    cdef uint32_t _tag_hash(self, Slice tag) noexcept
    cdef void _arm_record(self, uint32_t record_slot) noexcept
    cdef void _drop_record(self, uint32_t record_slot) noexcept
    cdef void _close_record(self, uint32_t record_slot) noexcept
    cdef void _note_request(self, uint32_t slot, uint32_t record_slot) noexcept
    cdef void _refer_over(self, uint32_t record_slot, Refer* refer) noexcept
    cdef void _note_response(self, uint32_t slot, uint32_t status) noexcept
    cdef void _end_call(self, uint32_t record_slot, int by, uint32_t status) noexcept
    cdef void _stop_waiting(self, uint32_t record_slot) noexcept
