"""The two server state machines of RFC 3261 17.2, with the Accepted state of RFC 6026.

INVITE (17.2.1, figure 7; RFC 6026 7.1)             non-INVITE (17.2.2, figure 8)
  state       event             to                    state       event            to
  Trying      1xx sent          Proceeding            Trying      1xx sent         Proceeding
  Trying,     request again     (resend last 1xx)     Trying      request again    (absorbed)
  Proceeding                                          Proceeding  request again    (resend 1xx)
              2xx sent          Accepted  (L)                     final sent       Completed  (J)
              300-699 sent      Completed (G, H)      Completed   request again    (resend final)
  Completed   request, Timer G  (resend final)                    Timer J          Terminated
              ACK               Confirmed (I)
              Timer H           Terminated
  Confirmed   ACK, Timer I      (absorbed), Terminated
  Accepted    request           (absorbed)
              2xx sent          (passed on: a further 200 of the UAS)
              Timer L           Terminated

Timers I, J, L and the end of H run as the layer's linger queue of 64*T1: STEP_LINGER starts it. Timer I is longer
than T4 that way, which absorbs a late ACK that would otherwise match nothing.
"""
from libc.stdint cimport uint32_t, uint64_t
from sipcore.stack.tx cimport (
    SERVER_ACCEPTED, SERVER_COMPLETED, SERVER_CONFIRMED, SERVER_PROCEEDING, SERVER_TERMINATED, SERVER_TRYING,
    STEP_LINGER, STEP_NONE, STEP_PASS, STEP_RESEND_RESPONSE, TimerValues, Tx,
)
from sipcore.wire.tables cimport METHOD_INVITE


cdef int server_on_request(Tx* tx) noexcept nogil:
    """The request came again. The core never sees it a second time."""
    if tx.server == SERVER_COMPLETED or tx.server == SERVER_PROCEEDING:
        return STEP_RESEND_RESPONSE
    if tx.server == SERVER_TRYING and tx.method == METHOD_INVITE:
        return STEP_RESEND_RESPONSE
    return STEP_NONE


cdef int server_on_ack(Tx* tx) noexcept nogil:
    """An ACK with the INVITE's branch. STEP_PASS: it belongs to the 2xx and to the core (RFC 6026 7.1)."""
    if tx.server == SERVER_COMPLETED:
        tx.server = SERVER_CONFIRMED
        tx.next = 0
        tx.until = 0
        return STEP_LINGER
    if tx.server == SERVER_ACCEPTED:
        return STEP_PASS
    return STEP_NONE


cdef int server_on_response(Tx* tx, uint32_t status, uint64_t now, const TimerValues* t) noexcept nogil:
    """A response is about to be sent. STEP_PASS: send it; STEP_NONE: too late, it must not be sent."""
    if tx.server == SERVER_TRYING or tx.server == SERVER_PROCEEDING:
        if status < 200:
            if status > 100 or tx.method != METHOD_INVITE:
                tx.server = SERVER_PROCEEDING
            return STEP_PASS
        if tx.method != METHOD_INVITE:
            tx.server = SERVER_COMPLETED
            return STEP_PASS | STEP_LINGER
        if status < 300:
            tx.server = SERVER_ACCEPTED
            return STEP_PASS | STEP_LINGER
        tx.server = SERVER_COMPLETED
        tx.interval = <unsigned short>t.t1
        # Timer G runs on an unreliable transport only (table 4).
        tx.next = 0 if tx.source.transport else now + t.t1
        tx.until = now + 64 * t.t1
        return STEP_PASS
    if tx.server == SERVER_ACCEPTED and 200 <= status < 300:
        return STEP_PASS
    return STEP_NONE


cdef int server_on_timer(Tx* tx, uint64_t now, const TimerValues* t) noexcept nogil:
    """Timers G and H of an INVITE answered with 300-699."""
    if tx.server != SERVER_COMPLETED or tx.method != METHOD_INVITE:
        return STEP_NONE
    if now >= tx.until:
        tx.server = SERVER_TERMINATED
        tx.next = 0
        tx.until = 0
        return STEP_LINGER
    if tx.next and now >= tx.next:
        tx.interval = <unsigned short>min(2 * <uint32_t>tx.interval, t.t2)
        tx.next = now + tx.interval
        return STEP_RESEND_RESPONSE
    return STEP_NONE
