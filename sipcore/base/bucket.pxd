"""Token buckets: a rate with a burst, for one thing (Bucket) or for each source address (SourceLimiter)."""
from libc.stdint cimport uint32_t, uint64_t
from .address cimport Address
from .siphash cimport SipKey

cdef enum:
    BUCKET_WAYS = 8         # entries a set of SourceLimiter: two cache lines

cdef struct Bucket:
    uint64_t at             # ms, when spent was last brought up to date
    uint64_t spent          # thousandths of a token that are missing; a zeroed Bucket is full

cdef struct SourceEntry:
    uint64_t at             # as in Bucket; also says which entry of a set was used least recently
    uint32_t spent
    uint32_t tag            # the part of the source's hash that does not choose the set


cdef inline uint64_t bucket_refill(uint64_t at, uint64_t spent, uint64_t now, uint32_t rate) noexcept nogil:
    """What is still missing at now. An elapsed time above 24 days counts as 24 days; time that goes back as none."""
    cdef uint64_t elapsed = now - at if now > at else 0
    if elapsed > 0x7FFFFFFF:
        elapsed = 0x7FFFFFFF
    elapsed *= rate         # milliseconds times tokens a second are thousandths of a token
    return spent - elapsed if spent > elapsed else 0


cdef inline bint bucket_take(Bucket* bucket, uint64_t now, uint32_t rate, uint32_t burst) noexcept nogil:
    """Take one token at now (ms); whether there was one. rate: tokens a second, burst: tokens of a full bucket.

    Exact, without rounding. rate and burst may change between calls; burst 0 refuses everything.
    """
    bucket.spent = bucket_refill(bucket.at, bucket.spent, now, rate)
    if now > bucket.at:
        bucket.at = now
    if bucket.spent + 1000 > <uint64_t>burst * 1000:
        return False
    bucket.spent += 1000
    return True


cdef class SourceLimiter:
    cdef SourceEntry* entry         # sets of BUCKET_WAYS
    cdef uint32_t mask              # sets - 1
    cdef SipKey key
    cdef readonly uint32_t rate     # tokens a second and source
    cdef readonly uint32_t burst    # tokens of a source that was not seen lately
    cdef readonly uint32_t entries  # sources that are remembered at most
    cdef readonly uint64_t refused
    cdef readonly uint64_t evicted  # sources forgotten while their bucket was not full again

    cdef SourceEntry* _find(self, const Address* source, SourceEntry** set, uint32_t* tag) noexcept nogil
    cdef bint take(self, const Address* source, uint64_t now) noexcept nogil
    cdef void give_back(self, const Address* source) noexcept nogil
