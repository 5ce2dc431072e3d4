"""Keyed identifiers. A branch is the address of its transaction, a token that of its dialog's record; the check
beside the address is what keeps a stranger from making one up, so no table has to be searched to refuse it."""
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcmp, memcpy, memset
from sipcore.base.address cimport Address
from sipcore.base.base32 cimport BASE32_U64, base32_digit, get_base32, get_base32_u64, put_base32_u64
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
        cdef uint64_t word, check, loop
        if text.n != BRANCH_TEXT or memcmp(text.p, b"z9hG4bK", COOKIE) != 0:
            return False
        if get_base32_u64(text.p + COOKIE, &word) or get_base32_u64(text.p + COOKIE + BASE32_U64, &check):
            return False
        if get_base32(text.p + COOKIE + 2 * BASE32_U64, 7, &loop):
            return False
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

    cdef void put_contact(self, uint8_t* out, uint64_t number) noexcept nogil:
        """Write TOKEN_TEXT bytes: the token of a Contact of ours, the number's low 52 bits in it.

        It proves that we were there before, and who may look up a dialog; the dialog itself is told by its Call-ID and
        tags, of which ours nobody can guess.
        """
        cdef uint64_t word = (<uint64_t>(<int>CONTACT_VERSION) << 60 | <uint64_t>self.worker << 52
                              | number & <uint64_t>0xFFFFFFFFFFFFF)
        put_base32_u64(word, out)
        put_base32_u64(_token_check(&self.token_keys[0], word, slice_of(out, 0)), out + BASE32_U64)

    cdef bint get_contact(self, Slice text, uint8_t* worker) noexcept nogil:
        """Whether text is the token of a Contact that a worker with our secret made."""
        cdef uint64_t word, check
        if text.n != TOKEN_TEXT:
            return False
        if get_base32_u64(text.p, &word) or get_base32_u64(text.p + BASE32_U64, &check):
            return False
        if word >> 60 != CONTACT_VERSION:
            return False
        worker[0] = <uint8_t>(word >> 52 & 0xFF)
        return (_token_check(&self.token_keys[0], word, slice_of(text.p, 0)) == check
                or _token_check(&self.token_keys[1], word, slice_of(text.p, 0)) == check)

    cdef uint32_t put_flow(self, uint8_t* out, uint32_t listener, const Address* address) noexcept nogil:
        """Write FLOW_TEXT bytes at most: where a request came from, so that others can be sent there (RFC 5626 5.2);
        returns how many."""
        cdef uint64_t word = (<uint64_t>(<int>FLOW_VERSION) << 60 | <uint64_t>(listener & 0xFF) << 52
                              | <uint64_t>address.family << 48 | <uint64_t>(address.transport & 15) << 44
                              | <uint64_t>address.port << 28)
        cdef uint64_t words[3]
        cdef uint32_t i, n = 1 if address.family == 4 else 3
        words[0] = words[1] = 0
        memcpy(words, address.ip, 4 if n == 1 else 16)
        if n == 1:
            words[0] |= <uint64_t>address.scope << 32
        words[2] = address.scope
        put_base32_u64(word, out)
        for i in range(n):
            put_base32_u64(words[i], out + (i + 1) * BASE32_U64)
        put_base32_u64(_token_check(&self.token_keys[0], word, slice_of(out + BASE32_U64, n * BASE32_U64)),
                       out + (n + 1) * BASE32_U64)
        return (n + 2) * BASE32_U64

    cdef bint get_flow(self, Slice text, uint8_t* listener, Address* out) noexcept nogil:
        """Whether text is a flow that a worker with our secret wrote; the listener and the address then."""
        cdef uint64_t word, check
        cdef uint64_t words[3]
        cdef uint32_t i, n = 1 if text.n == 3 * BASE32_U64 else 3
        cdef Slice rest
        if text.n != (n + 2) * BASE32_U64:
            return False
        rest = slice_of(text.p + BASE32_U64, n * BASE32_U64)
        if get_base32_u64(text.p, &word) or get_base32_u64(rest.p + rest.n, &check):
            return False
        for i in range(n):
            if get_base32_u64(rest.p + i * BASE32_U64, &words[i]):
                return False
        if (_token_check(&self.token_keys[0], word, rest) != check
                and _token_check(&self.token_keys[1], word, rest) != check):
            return False
        listener[0] = <uint8_t>(word >> 52 & 0xFF)
        memset(out, 0, sizeof(Address))
        out.family = <uint8_t>(word >> 48 & 15)
        out.transport = <uint8_t>(word >> 44 & 15)
        out.port = <uint16_t>(word >> 28 & 0xFFFF)
        memcpy(out.ip, words, 4 if n == 1 else 16)
        out.scope = <uint32_t>(words[0] >> 32) if n == 1 else <uint32_t>words[2]
        return word >> 60 == FLOW_VERSION and (out.family == 4) == (n == 1)

    cdef bint is_own_tag(self, Slice text) noexcept nogil:
        """Whether text has the form of a tag of this worker; a far end's may have it by chance."""
        cdef uint64_t word
        return text.n == TAG_TEXT and get_base32_u64(text.p, &word) == 0 and word >> 56 == self.worker

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
