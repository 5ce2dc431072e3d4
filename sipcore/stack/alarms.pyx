"""Alarms for whoever lives above the transactions: a leg's session timer, the wait for a NOTIFY, a ring timeout.

An alarm costs one Python object and 16 bytes of the wheel; setting and cancelling one are a few list operations, so
that a call may have several that hardly ever fire.
"""
from libc.stdint cimport uint32_t, uint64_t
from sipcore.base.wheel cimport Wheel

from sipcore.base.errors import LimitExceeded

cdef enum:
    BATCH = 64
    TROUBLES = 100


cdef class Alarm:
    """One callback to come. Made by `UserAgent.call_at`."""

    @property
    def waiting(self):
        """Whether it is still to come."""
        return self.callback is not None

    def cancel(self):
        """Forget it; nothing happens where it has fired or was cancelled."""
        if self.callback is None:
            return
        self.callback = None
        self.alarms.wheel.disarm(self.id)
        self.alarms.set[self.id] = None
        self.alarms.free.append(self.id)


cdef class Alarms:
    """capacity: alarms at once. troubles: gets a text for what a callback raises."""

    def __init__(self, uint32_t capacity, list troubles not None):
        self.wheel = Wheel(capacity)
        self.set = []
        self.free = []
        self.troubles = troubles

    cdef Alarm at(self, uint64_t when, object callback):
        """Raises LimitExceeded where all are set."""
        cdef Alarm alarm
        if not callable(callback):
            raise TypeError(f"not callable: {callback!r}")
        if not self.free and <uint32_t>len(self.set) >= self.wheel.capacity:
            raise LimitExceeded("all alarms are set", limit="limits.transactions")
        alarm = Alarm.__new__(Alarm)
        alarm.alarms = self
        alarm.callback = callback
        if self.free:
            alarm.id = self.free.pop()
            self.set[alarm.id] = alarm
        else:
            alarm.id = <uint32_t>len(self.set)
            self.set.append(alarm)
        self.wheel.arm(alarm.id, when)
        return alarm

    cdef void expire(self, uint64_t now) noexcept:
        """Call what is due at now; in bounded portions, like the layer's timers."""
        cdef uint32_t ids[BATCH]
        cdef int n, i
        cdef Alarm alarm
        n = self.wheel.expire(now, ids, BATCH)
        due = []
        for i in range(n):
            due.append(self.set[ids[i]])
        for alarm in due:
            # One that a callback before has cancelled; its id may be another's by now.
            if alarm.callback is None:
                continue
            callback = alarm.callback
            alarm.cancel()
            try:
                callback()
            except Exception as error:
                if len(self.troubles) < TROUBLES:
                    self.troubles.append(f"alarm: {type(error).__name__}: {error}")
