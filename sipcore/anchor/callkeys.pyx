"""Keys of both sides of a forwarded call: an offer's are taken, and others offered in their place.

What an offer was told as is kept with its exchange, so that an answer is held against it, and an offer that passes
again is the same. What a side is sent with stays as long as the side does: a re-offer changes no key and makes no gap.

Memory: 7 KiB for a call, only where a rule makes the edge an end of its SRTP.
"""
from libc.stdint cimport uint8_t, uint32_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memset
from sipcore.anchor.description cimport TREAT_ANCHOR, TREAT_REFUSE
from sipcore.anchor.sdes cimport (
    PROFILE_BESIDE, PROFILE_PLAIN, PROFILE_SECURE, SRTP_NEVER, SRTP_OFFER, SRTP_OFFER_ALONE, SRTP_REQUIRE,
    cryptos_best, cryptos_match, key_fresh, mode_after_refusal, section_cryptos,
)
from sipcore.media.srtpkey cimport SUITE_NONE, srtp_wipe


cdef CallKeys* callkeys_new(const uint8_t* srtp, const uint8_t* suites, uint32_t n) noexcept:
    """srtp: the modes of both sides. suites: n that are offered. NULL without memory."""
    cdef CallKeys* keys = <CallKeys*>calloc(1, sizeof(CallKeys))
    if keys != NULL:
        memcpy(keys.srtp, srtp, 2)
        keys.count = <uint8_t>min(n, <uint32_t>SUITES)
        memcpy(keys.suites, suites, keys.count)
    return keys


cdef void callkeys_free(CallKeys* keys) noexcept:
    """NULL is nothing."""
    cdef int exchange, i
    if keys == NULL:
        return
    callkeys_forget(keys, 0)
    callkeys_forget(keys, 1)
    for i in range(MAX_SECTIONS):
        for exchange in range(EXCHANGES):
            srtp_wipe(&keys.offered[exchange][i].key)
        srtp_wipe(&keys.answered[i].key)
    free(keys)


cdef void callkeys_forget(CallKeys* keys, int side) noexcept:
    """Somebody else is on a side: other keys, and nothing agreed."""
    cdef int i, suite
    for i in range(MAX_SECTIONS):
        keys.suite[side][i] = SUITE_NONE
        for suite in range(SUITES):
            srtp_wipe(&keys.own[side][i][suite])
    keys.savp[side] = 0


cdef const char* callkeys_take_offer(CallKeys* keys, uint8_t srtp, const SdpIndex* sdp, Section* sections,
                                     uint32_t count, Crypto* accepted) noexcept:
    """Choose among an offer's keys, into accepted[MAX_SECTIONS]; sections without what the mode asks for are refused.

    Returns why, as the text of a Warning with its code, or NULL where none was.
    """
    cdef Cryptos offered
    cdef const Crypto* best
    cdef const char* why = NULL
    cdef uint32_t i
    memset(accepted, 0, MAX_SECTIONS * sizeof(Crypto))
    for i in range(count):
        if sections[i].treatment != TREAT_ANCHOR or not sections[i].open:
            continue
        section_cryptos(sdp, i, &offered)
        best = cryptos_best(&offered) if srtp != SRTP_NEVER else NULL
        if best != NULL:
            accepted[i] = best[0]
        elif sections[i].savp or srtp == SRTP_REQUIRE:
            sections[i].treatment = TREAT_REFUSE
            why = (b"399 SRTP alone is offered, and this side has none" if srtp == SRTP_NEVER
                   else b"399 SRTP is required here, and no key is offered that can be used" if srtp == SRTP_REQUIRE
                   else b"399 SRTP is offered without a key that can be used")
    return why


cdef bint callkeys_plan(CallKeys* keys, int exchange, int to, uint8_t srtp, const Section* sections,
                        uint32_t count) noexcept:
    """Say how an offer goes on to a side: as agreed with it, else as its mode says. False without random bytes.

    What is accepted of its keys stands in `offered` already.
    """
    cdef Plan* plan
    cdef uint32_t i, k
    for i in range(count):
        plan = &keys.plan[exchange][i]
        memset(plan, 0, sizeof(Plan))
        plan.profile = PROFILE_PLAIN
        if sections[i].treatment != TREAT_ANCHOR or not sections[i].open:
            # It has no keys, but the profile that goes with the others.
            plan.profile = PROFILE_SECURE if srtp == SRTP_REQUIRE or srtp == SRTP_OFFER_ALONE else PROFILE_PLAIN
        elif keys.suite[to][i] != SUITE_NONE:
            plan.profile = PROFILE_SECURE if keys.savp[to] >> i & 1 else PROFILE_BESIDE
            plan.count = 1
            plan.suite[0] = keys.suite[to][i]
        elif srtp == SRTP_OFFER or srtp == SRTP_OFFER_ALONE or srtp == SRTP_REQUIRE:
            plan.profile = PROFILE_BESIDE if srtp == SRTP_OFFER else PROFILE_SECURE
            plan.count = keys.count
            memcpy(plan.suite, keys.suites, keys.count)
        for k in range(plan.count):
            if not key_fresh(&keys.own[to][i][plan.suite[k]], plan.suite[k]):
                return False
        # What the offer's sender will be answered with.
        k = keys.offered[exchange][i].key.suite
        if k != SUITE_NONE and not key_fresh(&keys.own[1 - to][i][k], <uint8_t>k):
            return False
    return True


cdef bint callkeys_refused(CallKeys* keys, int exchange, int by, uint32_t count, Slice refusal) noexcept:
    """An offer was refused. Whether it can be told in another way, see mode_after_refusal; the next plan does that."""
    cdef uint32_t i
    for i in range(count if keys.srtp[by] == SRTP_OFFER else 0):
        if keys.plan[exchange][i].count and keys.plan[exchange][i].profile == PROFILE_BESIDE:
            keys.srtp[by] = mode_after_refusal(refusal)
            return True
    return False


cdef void told(const CallKeys* keys, int exchange, int to, uint32_t section, Cryptos* out) noexcept:
    """The lines that a side was offered."""
    cdef const Plan* plan = &keys.plan[exchange][section]
    cdef uint32_t k
    out.count = plan.count
    for k in range(plan.count):
        out.line[k].tag = k + 1
        out.line[k].key = keys.own[to][section][plan.suite[k]]


cdef void callkeys_place_offer(const CallKeys* keys, int exchange, int to, uint32_t section, Place* place) noexcept:
    """A section of an offer as it was planned."""
    place.profile = keys.plan[exchange][section].profile
    told(keys, exchange, to, section, &place.made)


cdef bint callkeys_take_answer(CallKeys* keys, int exchange, int answerer, const SdpIndex* sdp,
                               const Section* sections, uint32_t count) noexcept:
    """Find what an answer takes of the keys that were offered, into `answered`; False where it must not go without."""
    cdef Cryptos offered, theirs
    cdef const Crypto* line = NULL
    cdef uint32_t i
    memset(keys.answered, 0, sizeof(keys.answered))
    for i in range(count):
        if sections[i].treatment != TREAT_ANCHOR or not sections[i].open:
            continue
        told(keys, exchange, answerer, i, &offered)
        section_cryptos(sdp, i, &theirs)
        if cryptos_match(&offered, &theirs, &line) != NULL:
            keys.answered[i] = line[0]
        elif sections[i].savp or keys.plan[exchange][i].profile == PROFILE_SECURE:
            return False
    return True


cdef void callkeys_place_answer(const CallKeys* keys, int exchange, int to, uint32_t section, bint savp,
                                Place* place) noexcept:
    """A section of an answer as the offer asked for it. savp: the offer's profile."""
    cdef const Crypto* offered = &keys.offered[exchange][section]
    place.profile = PROFILE_SECURE if savp else PROFILE_BESIDE
    if offered.key.suite != SUITE_NONE:
        place.made.count = 1
        place.made.line[0].tag = offered.tag
        place.made.line[0].key = keys.own[to][section][offered.key.suite]


cdef void callkeys_agree(CallKeys* keys, int exchange, int answerer, uint32_t section, bint offer_savp,
                         bint answer_savp) noexcept:
    """An answer counts: what each side has from now on."""
    cdef int offerer = 1 - answerer
    cdef uint8_t bit = <uint8_t>(1 << section)
    keys.suite[offerer][section] = keys.offered[exchange][section].key.suite
    keys.suite[answerer][section] = keys.answered[section].key.suite
    keys.savp[offerer] = keys.savp[offerer] | bit if offer_savp else keys.savp[offerer] & ~bit
    keys.savp[answerer] = keys.savp[answerer] | bit if answer_savp else keys.savp[answerer] & ~bit
