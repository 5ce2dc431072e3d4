"""The two client state machines of RFC 3261 17.1, with the Accepted state of RFC 6026.

INVITE (17.1.1, figure 5; RFC 6026 7.2)             non-INVITE (17.1.2, figure 6)
  state       event         to                        state       event         to
  Calling     Timer A       (resend, A doubles)       Trying      Timer E       (resend, E doubles up to T2)
              Timer B       Terminated, timeout                   Timer F       Terminated, timeout
  Calling,    1xx           Proceeding, passed        Trying,     1xx           Proceeding, passed
  Proceeding  2xx           Accepted (M), passed      Proceeding  200-699       Completed (K), passed
              300-699       Completed (D), passed,    Proceeding  Timer E       (resend every T2)
                            ACK sent                              Timer F       Terminated, timeout
  Proceeding  Timer C       timeout (16.8)            Completed   any           (absorbed)
  Completed   300-699       ACK sent again
  Accepted    2xx           passed
              Timer M       Terminated

On a reliable transport nothing is sent again; a non-INVITE then only says when Timer E would have reached T2.
Timers D, K and M run as the layer's linger queue of 64*T1 (K is longer than T4 that way: it absorbs more).
"""
from libc.stdint cimport uint32_t, uint64_t
from sipcore.stack.tx cimport (
    CLIENT_ACCEPTED, CLIENT_CALLING, CLIENT_COMPLETED, CLIENT_PROCEEDING, STEP_ACK, STEP_LINGER, STEP_NONE, STEP_PASS,
    STEP_RESEND_REQUEST, STEP_TIMEOUT, STEP_TRYING_100, TX_CANCEL_SENT, TimerValues, Tx,
)
from sipcore.wire.tables cimport METHOD_INVITE


cdef void client_on_send(Tx* tx, uint64_t now, bint reliable, const TimerValues* t) noexcept nogil:
    """The request is about to be sent for the first time."""
    tx.client = CLIENT_CALLING
    tx.interval = <unsigned short>t.t1
    # RFC 4320 4.2: on a reliable transport the sender is told that we are waiting when Timer E would have got to T2,
    # which is when it fires for the first time at the earliest.
    tx.next = now + t.t1 if not reliable else 0 if tx.method == METHOD_INVITE else now + max(t.t2 - t.t1, t.t1)
    tx.until = now + 64 * t.t1


cdef int client_on_response(Tx* tx, uint32_t status, uint64_t now, const TimerValues* t) noexcept nogil:
    """A response whose branch is this transaction's."""
    if tx.client == CLIENT_CALLING or tx.client == CLIENT_PROCEEDING:
        if status < 200:
            if tx.method == METHOD_INVITE:
                tx.next = 0
                # 16.7 step 2: any provisional response but 100 starts Timer C anew.
                if (status > 100 or tx.client == CLIENT_CALLING) and not tx.flags & TX_CANCEL_SENT:
                    tx.until = now + (<uint64_t>tx.ring * 1000 if tx.ring else t.c)
            elif tx.target.transport:
                tx.next = 0
            elif tx.next:
                tx.interval = <unsigned short>t.t2
                tx.next = now + t.t2
            tx.client = CLIENT_PROCEEDING
            return STEP_PASS
        tx.next = 0
        tx.until = 0
        if tx.method != METHOD_INVITE:
            tx.client = CLIENT_COMPLETED
            return STEP_PASS | STEP_LINGER
        if status < 300:
            tx.client = CLIENT_ACCEPTED
            return STEP_PASS | STEP_LINGER
        tx.client = CLIENT_COMPLETED
        return STEP_PASS | STEP_ACK | STEP_LINGER
    if tx.client == CLIENT_COMPLETED and tx.method == METHOD_INVITE and status >= 300:
        return STEP_ACK
    if tx.client == CLIENT_ACCEPTED and 200 <= status < 300:
        return STEP_PASS
    return STEP_NONE


cdef int client_on_timer(Tx* tx, uint64_t now, const TimerValues* t) noexcept nogil:
    """Timers A, B, C, E and F. After STEP_TIMEOUT the core decides what follows; the state is left to it."""
    cdef uint32_t doubled
    if tx.client != CLIENT_CALLING and tx.client != CLIENT_PROCEEDING:
        return STEP_NONE
    if tx.until and now >= tx.until:
        return STEP_TIMEOUT
    if not tx.next or now < tx.next:
        return STEP_NONE
    if tx.target.transport:
        tx.next = 0
        return STEP_TRYING_100
    doubled = 2 * <uint32_t>tx.interval
    if tx.method != METHOD_INVITE and (tx.client == CLIENT_PROCEEDING or doubled > t.t2):
        doubled = t.t2
    tx.interval = <unsigned short>min(doubled, <uint32_t>65535)
    tx.next = now + tx.interval
    if tx.method != METHOD_INVITE and doubled == t.t2:
        return STEP_RESEND_REQUEST | STEP_TRYING_100
    return STEP_RESEND_REQUEST
