"""The answering side: 180 and 200 (or one refusal) to each INVITE, 200 to each BYE, and what it saw on the way."""
from libc.stdint cimport uint8_t, uint32_t, uint64_t

from benchmarks.load.port cimport Port, sockaddr_in, Writer
from benchmarks.load.scan cimport Message, Span
from benchmarks.load.timers cimport STEPS, Queue

cdef enum LegState:
    UNUSED
    ANSWERED                # final response sent, ACK not seen: it is repeated by Timer G or the 2xx rule
    CONFIRMED
    OVER                    # remembered until the leg is needed again

cdef struct Leg:
    uint64_t key            # hash of the Call-ID
    sockaddr_in peer
    uint32_t flow           # the connection that the INVITE came on
    uint32_t next           # in its hash chain, UINT32_MAX at the end
    uint32_t stamp          # of the timer that counts
    uint32_t buffer         # of the final response
    int size
    uint8_t state
    uint8_t step

cdef class Uas:
    cdef Port* port
    cdef Leg* legs
    cdef uint32_t* chains   # heads of the hash chains
    cdef uint32_t* idle     # ring of legs to take: the longest unused first, so that late repeats are recognised
    cdef char* buffers
    cdef uint32_t* spare    # stack of buffers: the warmest is taken first
    cdef readonly uint32_t capacity
    cdef uint32_t idle_head, idle_tail, spare_count
    cdef int status
    cdef bint reliable      # a refusal is not sent again
    cdef Queue queues[STEPS]
    cdef bytes _status_line, _ringing, _answered, _uri
    cdef Span status_line, ringing, answered, uri
    cdef uint64_t answered_calls, confirmed, ended, unacknowledged, strays, malformed, misrouted, skipped
    cdef uint64_t retransmitted_finals, repeated_requests

    cdef void on_message(self, const char* data, int size, const sockaddr_in* peer, uint32_t flow,
                         uint64_t now) noexcept nogil
    cdef uint64_t expire(self, uint64_t now) noexcept nogil
    cdef void _on_invite(self, Message* message, uint64_t key, const sockaddr_in* peer, uint32_t flow,
                         uint64_t now) noexcept nogil
    cdef void _on_ack(self, Message* message, Leg* leg) noexcept nogil
    cdef void _on_bye(self, Message* message, Leg* leg, const sockaddr_in* peer, uint32_t flow) noexcept nogil
    cdef void _on_timer(self, Leg* leg, uint64_t now) noexcept nogil
    cdef Leg* _find(self, uint64_t key) noexcept nogil
    cdef Leg* _take(self, uint64_t key) noexcept nogil
    cdef void _release(self, Leg* leg) noexcept nogil
    cdef void _check_route(self, Message* message) noexcept nogil
    cdef void _check_uri(self, Message* message) noexcept nogil
    cdef void _render(self, Writer* writer, Message* message, Span status_line, Span tail, uint64_t tag,
                      const sockaddr_in* peer) noexcept nogil
    cdef void _send_final(self, Leg* leg) noexcept nogil
    cdef int _next_timer(self, Leg* leg, uint64_t now) noexcept nogil
