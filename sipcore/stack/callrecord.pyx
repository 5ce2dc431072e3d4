"""The record of a controlled call: its place in the limits from the INVITE on, and its log line when it ends.

What the INVITE is answered with is noted by itself; that the call is over only its owner knows, because a transfer may
leave nobody in it who was there when it began.
"""
from libc.stdint cimport uint32_t, uint64_t
from sipcore.stack.bookkeeping cimport Bookkeeper
from sipcore.stack.counters cimport C_CALLS_ENDED, C_CALLS_FAILED
from sipcore.stack.hop cimport address_of_hop
from sipcore.stack.record cimport ENDED_STOP, RECORD_ENDED, RECORD_UP, Record

from sipcore.stack.record import ENDS


cdef class CallRecord:
    """`ServerTransaction.record` of a controlled INVITE. One that nobody keeps any more ends as by "stop"."""

    @staticmethod
    cdef CallRecord of(Bookkeeper keeper, uint32_t slot):
        cdef CallRecord record = CallRecord.__new__(CallRecord)
        record.keeper = keeper
        record.slot = slot
        record.generation = keeper.records.slab[slot].generation
        return record

    @property
    def open(self):
        """Whether the call counts among the concurrent ones."""
        cdef Record* r
        if self.keeper is None:
            return False
        r = self.keeper.records.get(self.slot, self.generation)
        return r != NULL and r.state < RECORD_ENDED

    @property
    def place(self):
        """(slot, generation) among the records."""
        return self.slot, self.generation

    def note(self, str text not None):
        """Put a text into the call's log line; the last one stands."""
        if self.open:
            self.keeper.notes[self.slot] = text.encode("utf-8", "replace")

    def called(self, hop not None):
        """Whom the call went to, for its log line and its target's count."""
        cdef Record* r
        if self.open:
            r = &self.keeper.records.slab[self.slot]
            address_of_hop(hop, &r.callee)
            self.keeper._count_at(self.slot, &r.callee)

    def end(self, uint64_t now, str by not None="caller", bytes media not None=b""):
        """The call is over: free its place and write its line; whether it was still open.

        by: "caller", "callee", "refused", "timeout", "duration", "stop", "media" or "transfer". media: what the line
        says of the audio, a JSON value; empty for nothing.
        """
        cdef Record* r
        cdef int number = ENDS.index(by)
        if number == 0:
            raise ValueError("a call ends by somebody or something")
        if not self.open:
            return False
        r = self.keeper.records.get(self.slot, self.generation)
        self.keeper.now = now
        self.keeper.counters[<int>C_CALLS_ENDED if r.state >= RECORD_UP else <int>C_CALLS_FAILED] += 1
        self.keeper.figures = media
        self.keeper._end_call(self.slot, number, r.status)
        self.keeper.figures = None
        return True

    def __del__(self):
        if self.open:
            self.keeper._end_call(self.slot, ENDED_STOP,
                                  self.keeper.records.get(self.slot, self.generation).status)
