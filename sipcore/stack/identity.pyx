"""Keyed identifiers. A branch is the address of its transaction, a token that of its dialog's record; the check
beside the address is what keeps a stranger from making one up, so no table has to be searched to refuse it."""
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcmp, memcpy
from sipcore.base.base32 cimport BASE32_U64, base32_digit, get_base32_u64, put_base32_u64
from sipcore.base.siphash cimport (
    SipKey, SipState, key_from, siphash24, siphash24_init, siphash_final, siphash_update, siphash_update_word,
)
from sipcore.base.slice cimport Slice, slice_bytes, slice_from, slice_of

import hashlib

_TEST_SECRET = b"sipedge: a secret for tests, never used by a running edge"


cdef inline uint64_t _word(uint8_t worker, uint32_t slot, uint32_t generation, uint8_t version) noexcept nogil:
    return (<uint64_t>version << 60 | <uint64_t>worker << 52 | <uint64_t>(slot & 0x0FFFFFFF) << 24
            | (generation & 0xFFFFFF))


cdef inline uint64_t _branch_check(const SipKey* key, uint64_t word, uint32_t loop) noexcept nogil:
    cdef uint64_t both[2]
    both[0] = word
    both[1] = loop
    return siphash24(key, <uint8_t*>both, 16)


cdef inline uint64_t _token_check(const SipKey* key, uint64_t word, Slice call_id) noexcept nogil:
    cdef SipState s
    siphash24_init(&s, key)
    siphash_update_word(&s, word)
    siphash_update(&s, call_id.p, call_id.n)
    return siphash_final(&s)


cdef class Identity:
    """The keys of one worker.

    secret: bytes shared by all workers and machines that stand in for one another; tokens made with `previous`
    are still recognised, so that a secret can be rotated without losing calls. worker: 0..255.
    """

    def __init__(self, bytes secret not None=_TEST_SECRET, int worker=0, bytes previous=None):
        if not 0 <= worker <= 255:
            raise ValueError(f"worker numbers are 0..255, not {worker}")
        if len(secret) < 16:
            raise ValueError("the secret must have at least 16 bytes")
        self.worker = <uint8_t>worker
        key_from(_derive(secret, b"branch"), &self.branch_key)
        key_from(_derive(secret, b"tag"), &self.tag_key)
        key_from(_derive(secret, b"table"), &self.table_key)
        key_from(_derive(secret, b"token"), &self.token_keys[0])
        key_from(_derive(previous if previous is not None else secret, b"token"), &self.token_keys[1])

    cdef void put_branch(self, uint8_t* out, uint32_t slot, uint32_t generation, uint32_t loop) noexcept nogil:
        """Write BRANCH_TEXT bytes."""
        cdef uint64_t word = _word(self.worker, slot, generation, IDENTITY_VERSION)
        cdef int i
        memcpy(out, b"z9hG4bK", COOKIE)
        put_base32_u64(word, out + COOKIE)
        put_base32_u64(_branch_check(&self.branch_key, word, loop), out + COOKIE + BASE32_U64)
        for i in range(7):
            out[COOKIE + 2 * BASE32_U64 + i] = base32_digit((<uint64_t>loop << 3 >> (30 - 5 * i)) & 31)

    cdef bint get_branch(self, Slice text, BranchParts* out) noexcept nogil:
        """Whether text is a branch that a worker with our secret made; out then has its parts."""
        cdef uint64_t word, check, loop = 0
        cdef int i
        cdef uint8_t c
        if text.n != BRANCH_TEXT or memcmp(text.p, b"z9hG4bK", COOKIE) != 0:
            return False
        if get_base32_u64(text.p + COOKIE, &word) or get_base32_u64(text.p + COOKIE + BASE32_U64, &check):
            return False
        for i in range(7):
            c = text.p[COOKIE + 2 * BASE32_U64 + i]
            if c'0' <= c <= c'9':
                c -= c'0'
            elif c'a' <= c <= c'v':
                c -= c'a' - 10
            else:
                return False
            loop = loop << 5 | c
        if loop & 7 or _branch_check(&self.branch_key, word, <uint32_t>(loop >> 3)) != check:
            return False
        out.loop = <uint32_t>(loop >> 3)
        out.worker = <uint8_t>(word >> 52 & 0xFF)
        out.slot = <uint32_t>(word >> 24 & 0x0FFFFFFF)
        out.generation = <uint32_t>(word & 0xFFFFFF)
        return word >> 60 == IDENTITY_VERSION

    cdef void put_token(self, uint8_t* out, uint32_t slot, uint32_t generation, Slice call_id,
                        bint anchored) noexcept nogil:
        """Write TOKEN_TEXT bytes: the dialog's record, checked together with its Call-ID."""
        cdef uint64_t word = _word(self.worker, slot, generation, ANCHORED_VERSION if anchored else IDENTITY_VERSION)
        put_base32_u64(word, out)
        put_base32_u64(_token_check(&self.token_keys[0], word, call_id), out + BASE32_U64)

    cdef bint get_token(self, Slice text, Slice call_id, BranchParts* out) noexcept nogil:
        """Whether text is a token that we made for a dialog with that Call-ID."""
        cdef uint64_t word, check
        if text.n != TOKEN_TEXT:
            return False
        if get_base32_u64(text.p, &word) or get_base32_u64(text.p + BASE32_U64, &check):
            return False
        if (_token_check(&self.token_keys[0], word, call_id) != check
                and _token_check(&self.token_keys[1], word, call_id) != check):
            return False
        out.loop = 0
        out.worker = <uint8_t>(word >> 52 & 0xFF)
        out.slot = <uint32_t>(word >> 24 & 0x0FFFFFFF)
        out.generation = <uint32_t>(word & 0xFFFFFF)
        out.anchored = word >> 60 == ANCHORED_VERSION
        return out.anchored or word >> 60 == IDENTITY_VERSION

    cdef void put_tag(self, uint8_t* out, uint64_t seed) noexcept nogil:
        """Write TAG_TEXT bytes; the same seed gives the same tag, so that a stateless answer repeats itself."""
        cdef uint64_t both[2]
        both[0] = seed
        both[1] = self.worker
        put_base32_u64(<uint64_t>self.worker << 56 | siphash24(&self.tag_key, <uint8_t*>both, 16) >> 8, out)

    def branch(self, uint32_t slot, uint32_t generation, uint32_t loop=0):
        """The branch text of a transaction, as bytes."""
        cdef uint8_t text[BRANCH_TEXT]
        self.put_branch(text, slot, generation, loop)
        return slice_bytes(slice_of(text, BRANCH_TEXT))

    def parse_branch(self, bytes text not None):
        """(worker, slot, generation, loop hash) of a branch of ours, or None."""
        cdef BranchParts parts
        if not self.get_branch(slice_from(text), &parts):
            return None
        return parts.worker, parts.slot, parts.generation, parts.loop

    def token(self, uint32_t slot, uint32_t generation, bytes call_id not None):
        """The dialog token, as bytes."""
        cdef uint8_t text[TOKEN_TEXT]
        self.put_token(text, slot, generation, slice_from(call_id), False)
        return slice_bytes(slice_of(text, TOKEN_TEXT))

    def parse_token(self, bytes text not None, bytes call_id not None):
        """(worker, slot, generation) of a token of ours for that Call-ID, or None."""
        cdef BranchParts parts
        if not self.get_token(slice_from(text), slice_from(call_id), &parts):
            return None
        return parts.worker, parts.slot, parts.generation


cdef bytes _derive(bytes secret, bytes purpose):
    return hashlib.blake2b(secret, digest_size=16, person=purpose).digest()
