"""Finding the exchange that a description belongs to.

    description in          is                                                  RFC
    INVITE, UPDATE, PRACK   an offer; in a PRACK an answer where the response    3264, 3262 5, 3311 5
                            that it acknowledges made an offer
    their 1xx and 2xx       the answer; an offer where an INVITE had none        3261 13.2.1
    ACK                     the answer to an offer in the 2xx                    3261 13.2.2.4
"""
from libc.stdint cimport uint8_t
from sipcore.wire.tables cimport METHOD_ACK, METHOD_INVITE, METHOD_PRACK


cdef Exchange* exchange_of(Exchange** all, const Passing* p) noexcept nogil:
    """The exchange that the message's request began (for an ACK: its INVITE), NULL where it began none."""
    cdef uint8_t invite = p.method == METHOD_INVITE or p.method == METHOD_ACK
    cdef int i
    for i in range(EXCHANGES):
        if (all[i].state != EXCHANGE_FREE and all[i].cseq == p.cseq and all[i].side == p.side
                and all[i].invite == invite):
            return all[i]
    return NULL


cdef Exchange* exchange_answered(Exchange** all, const Passing* p) noexcept nogil:
    """The offer of the other side that an ACK or a PRACK with a description answers, NULL where there is none."""
    cdef Exchange* found = NULL
    cdef int i
    if p.method == METHOD_ACK:
        found = exchange_of(all, p)
        return found if found != NULL and found.offerer != p.side else NULL
    if p.method == METHOD_PRACK:
        for i in range(EXCHANGES):
            if all[i].state == EXCHANGE_OFFERED and all[i].side == p.side and all[i].offerer != p.side:
                return all[i]
    return NULL


cdef Exchange* exchange_room(Exchange** all, const Passing* p) noexcept nogil:
    """Where the exchange of p's request is kept: where it was, a free place, or the oldest answered one's.

    NULL: so many offers wait for their answers that no sound peer would make another one (RFC 3261 14.2: 491).
    """
    cdef Exchange* found = exchange_of(all, p)
    cdef int i
    if found != NULL:
        return found
    for i in range(EXCHANGES):
        if all[i].state == EXCHANGE_FREE:
            all[i].number = <uint8_t>i
            return all[i]
        if all[i].state == EXCHANGE_ANSWERED and (found == NULL or all[i].turn < found.turn):
            found = all[i]
    return found
