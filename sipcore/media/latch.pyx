"""Learning the source of a media flow (symmetric RTP, RFC 4961) without letting a stranger in.

    state                     source                                       becomes
    before media is allowed   any                                          ADMIT_EARLY, dropped
    learning, none latched    rank at least what the rule allows           latched
    learning, one latched     a better rank                                latched instead
    learned, none latched     the signalled address and port               latched
    one latched               the same                                     ADMIT_KNOWN
    one latched               same host, other port, same SSRC, after      latched instead (a NAT that forgot;
                              half a second of silence                     not where learning is off)
    any                       any other                                    ADMIT_WRONG, dropped

Ranks are Rank's, the rule allows RANK_SIGNALLED (off), RANK_SIGNALLING (signalled-first) or RANK_OTHER (any).
Learning is bounded in time, begins only when offer and answer allow media, and again when the media has moved:
whoever comes later, or fits worse than whom we have, is never believed. Pure: time is an argument.
"""
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memset
from sipcore.base.address cimport Address, address_equal, address_from, address_host, address_same_host

# What Learning lets in while learning.
cdef uint8_t[3] LEAST
LEAST[:] = [RANK_SIGNALLED, RANK_SIGNALLING, RANK_OTHER]


cdef void latch_aim(Latch* latch, const Address* signalled, const Address* signalling, uint8_t learning, bint active,
                    bint moved, uint64_t now_us, uint64_t learn_us) noexcept nogil:
    """Take over what offer and answer say. moved: what was learned is forgotten, and learning begins again."""
    latch.signalled = signalled[0]
    latch.signalling = signalling[0]
    latch.learning = learning if learning <= LEARN_ANY else LEARN_OFF
    if moved:
        latch.source.family = 0
        latch.rank = 0
        latch.active = False
    if active and not latch.active:
        latch.until_us = now_us + learn_us
        latch.active = True
    if latch.source.family:
        latch.rank = latch_rank(latch, &latch.source)


cdef uint8_t latch_rank(const Latch* latch, const Address* source) noexcept nogil:
    if latch.signalled.family and address_same_host(source, &latch.signalled):
        return RANK_SIGNALLED if source.port == latch.signalled.port else RANK_HOST
    if latch.signalling.family and address_same_host(source, &latch.signalling):
        return RANK_SIGNALLING
    return RANK_OTHER


cdef Admission latch_admit(Latch* latch, const Address* source, uint32_t ssrc, uint64_t now_us) noexcept nogil:
    """Judge a packet by its source. ssrc: of the RTP packet, or of the sender of an RTCP packet."""
    cdef uint8_t rank
    cdef bint take
    if not latch.active:
        return ADMIT_EARLY
    if latch.source.family and address_equal(source, &latch.source):
        latch.heard_us = now_us
        latch.ssrc = ssrc
        return ADMIT_KNOWN
    rank = latch_rank(latch, source)
    if latch.source.family == 0:
        take = rank == RANK_SIGNALLED or (now_us < latch.until_us and rank >= LEAST[latch.learning])
    else:
        take = now_us < latch.until_us and rank > latch.rank and rank >= LEAST[latch.learning]
        if latch.learning != LEARN_OFF and ssrc == latch.ssrc and address_same_host(source, &latch.source):
            take = take or now_us >= latch.heard_us + REBIND_SILENCE_US
    if not take:
        return ADMIT_WRONG
    latch.source = source[0]
    latch.rank = rank
    latch.heard_us = now_us
    latch.ssrc = ssrc
    return ADMIT_LATCHED


cdef const Address* latch_target(const Latch* latch) noexcept nogil:
    """Where packets go: the latched source, else the signalled address; family 0 where neither is known."""
    return &latch.source if latch.source.family else &latch.signalled


cdef class LatchProbe:
    """One flow's learning as tests see it. Addresses are (host, port) or None; times are microseconds."""
    cdef Latch latch

    def __cinit__(self):
        memset(&self.latch, 0, sizeof(Latch))

    def aim(self, signalled=None, signalling=None, *, int learning=LEARN_SIGNALLED, bint active=True,
            bint moved=False, uint64_t now=0, uint64_t learn=10_000_000) -> None:
        cdef Address where, whence
        memset(&where, 0, sizeof(Address))
        memset(&whence, 0, sizeof(Address))
        if signalled is not None:
            address_from(signalled[0], signalled[1], &where)
        if signalling is not None:
            address_from(signalling[0], signalling[1], &whence)
        latch_aim(&self.latch, &where, &whence, <uint8_t>learning, active, moved, now, learn)

    def admit(self, source, uint32_t ssrc=1, uint64_t now=0) -> str:
        """"early", "wrong", "known" or "latched"."""
        cdef Address address
        address_from(source[0], source[1], &address)
        return ("early", "wrong", "known", "latched")[latch_admit(&self.latch, &address, ssrc, now)]

    def admit_often(self, source, int operations) -> int:
        """Packets of one source, 20 ms apart; returns how many were let in."""
        cdef Address address
        cdef int passed = 0
        cdef int i
        address_from(source[0], source[1], &address)
        for i in range(operations):
            passed += latch_admit(&self.latch, &address, 1, <uint64_t>i * 20_000) >= ADMIT_KNOWN
        return passed

    @property
    def target(self):
        """(host, port) that packets go to; None where no address is known."""
        cdef const Address* target = latch_target(&self.latch)
        return (address_host(target), target.port) if target.family else None

    @property
    def rank(self) -> int:
        return self.latch.rank
