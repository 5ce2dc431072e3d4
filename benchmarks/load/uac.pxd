"""The calling side: sends INVITE, acknowledges, hangs up after the hold time, and times every call."""
from libc.stdint cimport uint8_t, uint32_t, uint64_t

from benchmarks.load.histogram cimport Histogram
from benchmarks.load.port cimport Port, sockaddr_in, Writer
from benchmarks.load.scan cimport Message
from benchmarks.load.timers cimport STEPS, Queue

cdef enum:
    BYE_ROOM = 976
    MARKS = 8               # places in a template where the call's identifier stands

cdef enum CallState:
    FREE
    INVITING                # INVITE sent, Timers A and B
    PROCEEDING              # provisional received: Timer A stopped
    HOLDING                 # answered, BYE not yet sent
    ENDING                  # BYE sent, Timers E and F

cdef struct Call:
    uint64_t identifier     # serial << 24 | slot: stands in branch, tag and Call-ID
    uint64_t since          # ns when the present transaction's request was sent first
    uint32_t stamp          # of the timer that counts
    uint8_t state
    uint8_t step            # of the timer ladder
    uint8_t rung            # a 180 has been seen
    int bye_size
    sockaddr_in next_hop    # of requests inside the dialog
    char bye[BYE_ROOM]

cdef struct Template:
    const char* data
    int size
    int marks
    int mark[MARKS]

cdef class Uac:
    cdef Port* port
    cdef Call* calls
    cdef uint32_t* idle     # stack of free slots: the warmest is taken first
    cdef readonly uint32_t capacity
    cdef uint32_t idle_count
    cdef uint32_t active
    cdef uint64_t serial    # of the last call; begins at random, so that no run repeats another's branches
    cdef uint64_t last_end  # ns
    cdef sockaddr_in target
    cdef uint32_t flows     # connections among which the calls are shared, 0 over UDP
    cdef Queue queues[STEPS]
    cdef Queue hold
    cdef object _templates  # keeps the bytes alive that the templates point into
    cdef Template invite, ack, bye
    cdef uint64_t ok, timeouts, strays, malformed, skipped
    cdef uint64_t retransmitted_invites, retransmitted_byes, repeated_finals
    cdef uint64_t statuses[700]
    cdef Histogram ringing, ending

    cdef uint32_t _flow(self, uint64_t identifier) noexcept nogil
    cdef bint start(self, uint64_t now) noexcept nogil
    cdef void on_message(self, const char* data, int size, uint64_t now) noexcept nogil
    cdef uint64_t expire(self, uint64_t now) noexcept nogil
    cdef void _on_invite_response(self, Call* call, Message* message, uint64_t identifier, uint64_t now) noexcept nogil
    cdef void _on_bye_response(self, Call* call, Message* message, uint64_t now) noexcept nogil
    cdef void _on_timer(self, uint32_t slot, uint64_t now) noexcept nogil
    cdef int _acknowledge(self, Message* message, uint64_t identifier, sockaddr_in* next_hop) noexcept nogil
    cdef int _render(self, Writer* writer, Template* template, Message* message, uint64_t identifier,
                     sockaddr_in* next_hop) noexcept nogil
    cdef void _put_template(self, Writer* writer, Template* template, uint64_t identifier) noexcept nogil
    cdef void _send_invite(self, Call* call) noexcept nogil
    cdef void _send_bye(self, Call* call) noexcept nogil
    cdef void _begin_bye(self, uint32_t slot, uint64_t now) noexcept nogil
    cdef int _next_timer(self, uint32_t slot, uint64_t now) noexcept nogil
    cdef void _finish(self, Call* call, uint64_t now) noexcept nogil
