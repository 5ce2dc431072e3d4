"""From whom a media port takes packets, and to whom it sends: learning of one flow (RTP or RTCP of one side)."""
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from sipcore.base.address cimport Address

cdef enum Learning:
    LEARN_OFF = 0               # the signalled address and port only
    LEARN_SIGNALLED = 1         # "signalled-first"
    LEARN_ANY = 2               # anybody: only by an explicit rule

cdef enum Rank:                 # how well a source fits to what was signalled
    RANK_OTHER = 0
    RANK_SIGNALLING = 1         # the address that the signalling came from
    RANK_HOST = 2               # the signalled address, another port
    RANK_SIGNALLED = 3          # the signalled address and port

cdef enum Admission:
    ADMIT_EARLY = 0             # no offer/answer allows media yet
    ADMIT_WRONG = 1
    ADMIT_KNOWN = 2             # the latched source
    ADMIT_LATCHED = 3           # from now on the latched source

cdef enum:
    REBIND_SILENCE_US = 500_000

cdef struct Latch:
    Address signalled           # family 0: not known yet
    Address signalling          # family 0: none
    Address source              # the latched one; family 0: none
    uint64_t until_us           # learning ends; 0 before media is allowed
    uint64_t heard_us           # the last packet of the latched source
    uint32_t ssrc               # of that packet
    uint8_t learning            # Learning
    uint8_t active
    uint8_t rank                # Rank of the latched source


cdef void latch_aim(Latch* latch, const Address* signalled, const Address* signalling, uint8_t learning, bint active,
                    bint moved, uint64_t now_us, uint64_t learn_us) noexcept nogil
cdef uint8_t latch_rank(const Latch* latch, const Address* source) noexcept nogil
cdef Admission latch_admit(Latch* latch, const Address* source, uint32_t ssrc, uint64_t now_us) noexcept nogil
cdef const Address* latch_target(const Latch* latch) noexcept nogil
