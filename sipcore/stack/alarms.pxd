"""Timers of Python code above the stack: one callback each, driven by the user agent's `advance`."""
from libc.stdint cimport uint32_t, uint64_t
from sipcore.base.wheel cimport Wheel


cdef class Alarm:
    cdef Alarms alarms
    cdef object callback            # None once it has fired or was cancelled
    cdef uint32_t id


cdef class Alarms:
    cdef Wheel wheel
    cdef list set                   # Alarm or None, by id
    cdef list free                  # ids that were used before
    cdef list troubles              # texts for the log

    cdef Alarm at(self, uint64_t when, object callback)
    cdef void expire(self, uint64_t now) noexcept
