"""The outcome of a forwarded REFER, read off its answer and its NOTIFYs (RFC 3515 2.4, RFC 6665).

  state      event                                   to
  sent       2xx                                     accepted
  sent       300-699                                 refused
  sent, accepted, progress
             NOTIFY "SIP/2.0 1xx"                    progress    (it may come before the REFER's own answer)
             NOTIFY "SIP/2.0 2xx"                    completed
             NOTIFY "SIP/2.0 300-699"                failed
             NOTIFY terminated, without a final one  unknown
             the referee's BYE                       unknown
             nothing until the bound                 unknown

Accepted and completed are never the same: a 202 says only that the referee will try.
"""
from libc.stdint cimport uint32_t
from sipcore.base.slice cimport Slice, slice_iis, slice_of
from sipcore.stack.record cimport (
    MAX_REFERS, REFER_ACCEPTED, REFER_COMPLETED, REFER_FAILED, REFER_PROGRESS, REFER_REFUSED, REFER_SENT,
    REFER_UNKNOWN, Record, Refer,
)
from sipcore.wire.cseq cimport parse_uint
from sipcore.wire.index cimport Msg, msg_value
from sipcore.wire.nameaddr cimport param_value
from sipcore.wire.tables cimport H_EVENT, H_SUBSCRIPTION_STATE


cdef bint refer_pending(const Refer* refer) noexcept nogil:
    return refer.state == REFER_SENT or refer.state == REFER_ACCEPTED or refer.state == REFER_PROGRESS


cdef bint refers_pending(const Record* r) noexcept nogil:
    cdef int i
    for i in range(MAX_REFERS):
        if refer_pending(&r.refers[i]):
            return True
    return False


cdef Refer* refer_sent(Record* r, uint32_t cseq, bint by_caller) noexcept nogil:
    """Follow one more REFER; NULL where as many as are followed at a time are pending."""
    cdef int i
    for i in range(MAX_REFERS):
        if not refer_pending(&r.refers[i]):
            r.refers[i].cseq = cseq
            r.refers[i].status = 0
            r.refers[i].state = REFER_SENT
            r.refers[i].by_caller = by_caller
            return &r.refers[i]
    return NULL


cdef Refer* refer_answered(Record* r, uint32_t tx, uint32_t status) noexcept nogil:
    """The REFER of that transaction was answered finally; returns it, NULL where it is not followed any more."""
    cdef int i
    cdef Refer* refer
    for i in range(MAX_REFERS):
        refer = &r.refers[i]
        if refer.tx == tx and refer_pending(refer):
            refer.tx = 0xFFFFFFFF
            if refer.state == REFER_SENT:
                refer.status = <unsigned short>status
                refer.state = REFER_ACCEPTED if status < 300 else REFER_REFUSED
            return refer
    return NULL


cdef uint32_t _sipfrag_status(const Msg* m) noexcept nogil:
    """The status of a message/sipfrag body that begins with a status line (RFC 3420); 0 where it does not."""
    cdef const unsigned char* p = m.base + m.body
    cdef uint32_t status, i
    if m.n - m.body < 11 or not slice_iis(slice_of(p, 8), b"SIP/2.0 ", 8):
        return 0
    for i in range(8, 11):
        if not c'0' <= p[i] <= c'9':
            return 0
    status = (p[8] - c'0') * 100 + (p[9] - c'0') * 10 + (p[10] - c'0')
    return status if 100 <= status <= 699 else 0


cdef Refer* refer_notified(Record* r, Msg* m, bint by_caller) noexcept nogil:
    """A NOTIFY of the refer package passed; returns the REFER that it tells of, NULL where there is none.

    Without an id parameter the NOTIFY belongs to the one pending REFER of the other side (RFC 3515 2.4.6).
    """
    cdef Slice event = msg_value(m, H_EVENT), state = msg_value(m, H_SUBSCRIPTION_STATE), text
    cdef uint32_t status, id = 0, i
    cdef Refer* refer = NULL
    i = 0
    while i < event.n and event.p[i] != c';' and event.p[i] != c' ':
        i += 1
    if not slice_iis(slice_of(event.p, i), b"refer", 5):
        return NULL
    if i < event.n and param_value(slice_of(event.p + i + 1, event.n - i - 1), b"id", 2, &text):
        if parse_uint(text, 0x7FFFFFFF, &id) != 0:
            return NULL
    for i in range(MAX_REFERS):
        if refer_pending(&r.refers[i]) and r.refers[i].by_caller != by_caller and (id == 0 or id == r.refers[i].cseq):
            refer = &r.refers[i]
            break
    if refer == NULL:
        return NULL
    status = _sipfrag_status(m)
    if status:
        refer.status = <unsigned short>status
    if status >= 200:
        refer.state = REFER_COMPLETED if status < 300 else REFER_FAILED
    elif state.n >= 10 and slice_iis(slice_of(state.p, 10), b"terminated", 10):
        refer.state = REFER_UNKNOWN
    elif status:
        refer.state = REFER_PROGRESS
    return refer
