"""What becomes of a side's keys: taken over, replaced, inherited, forgotten.

A far end that keeps its key in a re-offer, or when it moves into another call, goes on counting its packets (RFC 3711
3.2.1, RFC 4568 7.1.4): how often their numbers have begun anew is in no packet, and has to be known.
"""
from libc.string cimport memset
from sipcore.media.clock cimport monotonic_us
from sipcore.media.session cimport NewKeys, Side
from sipcore.media.srtp cimport srtp_free, srtp_heard, srtp_same

cdef enum:
    KEYS_OVERLAP_US = 5_000_000     # a key counts for so long beside the next one: packets of both are under way


cdef void sidekeys_take(Side* side, const NewKeys* keys) noexcept nogil:
    """Take keys over. One that is the same as before goes on with what it knows (RFC 4568 7.1.4)."""
    if srtp_same(side.keys.receive, keys.receive):
        srtp_free(keys.receive)
    else:
        srtp_free(side.keys.before)
        side.keys.before = side.keys.receive
        side.keys.before_until_us = monotonic_us() + KEYS_OVERLAP_US
        side.keys.receive = keys.receive
    if srtp_same(side.keys.send, keys.send):
        srtp_free(keys.send)
    else:
        srtp_free(side.keys.send)
        side.keys.send = keys.send


cdef void sidekeys_inherit(Side* side, const Side* origin) noexcept nogil:
    """The far end of origin is that of side from now on, and may keep its key. Nothing where it has none."""
    if origin.made and origin.keys.receive != NULL:
        srtp_free(side.keys.receive)
        side.keys.receive = srtp_heard(origin.keys.receive)


cdef void sidekeys_forget(Side* side) noexcept nogil:
    srtp_free(side.keys.receive)
    srtp_free(side.keys.send)
    srtp_free(side.keys.before)
    memset(&side.keys, 0, sizeof(side.keys))
